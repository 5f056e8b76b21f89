"""What `vc5 top` shows: rates, from the differences of two snapshots of the daemon's numbers (telemetry/readings.py).

A counter that has become smaller began anew; until the next snapshot nobody knows its rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.dataplane.enums import REASON_TEXT
from appliance.errors import ControlError

OCTET = 8
DROPS = frozenset(str(reason) for reason, text in REASON_TEXT.items() if "dropped" in text)
"""The reasons by which packets end, or may."""
STARTED_APART = 2.0
"""Seconds by which the start of another process differs at least; a clock that is corrected moves it by less."""


@dataclass(frozen=True)
class Line:
    """A service or, with `backend`, one of its backends; rates are by the second, and None where nobody knows them."""

    service: str
    backend: str
    name: str
    state: str
    """Of a service up or DOWN; of a backend up, aside (well, without new flows), kept (not well, yet with), down."""
    well: int
    """How many backends get new flows."""
    of: int
    """How many there are."""
    packets: float | None
    bits: float | None
    flows: float | None
    drops: float | None
    active: int | None
    """Flows that are under way, where they are counted."""

    @property
    def key(self) -> tuple[str, str]:
        """What it is called among others."""
        return self.service, self.backend


@dataclass(frozen=True)
class Reading:
    """All that one frame shows."""

    version: str
    time: float
    """Wall-clock seconds of the later snapshot."""
    started: float
    interval: float | None
    """Seconds between the two snapshots; None with one alone."""
    services: tuple[Line, ...] = ()
    backends: Mapping[str, tuple[Line, ...]] = field(default_factory=dict)
    dropped: Mapping[str, float] = field(default_factory=dict)
    """Packets by the second, by reason, where there are any."""
    frozen: bool = False
    prober: bool = True
    isolated: bool = False
    drained: bool = False
    missing: int = 0
    """Balancers of the fleet that have fallen silent."""
    differing: bool = False
    """Whether nodes of the fleet differ for longer than a moment."""

    def total(self, name: str) -> float | None:
        """Return the sum of a rate over all services; None where no rate is known."""
        known = [value for line in self.services if (value := getattr(line, name)) is not None]
        return sum(known) if known or (self.interval and not self.services) else None


Snapshot = Mapping[str, Any]


def restarted(before: Snapshot, after: Snapshot) -> bool:
    """Return whether another process answers now."""
    return abs(float(after["started"]) - float(before["started"])) > STARTED_APART


def reading(before: Snapshot | None, after: Any) -> Reading:
    """Return what two snapshots say, or a single one. Raises ControlError for what is none."""
    try:
        return _reading(before, after)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise ControlError("the daemon's numbers cannot be read; are daemon and command of one version?") from None


def _reading(before: Snapshot | None, after: Snapshot) -> Reading:
    interval = float(after["time"]) - float(before["time"]) if before else None
    seconds = interval if interval is not None and interval > 0 else None
    known = {str(row[0]): row for row in before["services"]} if before else {}
    services, backends = [], {}
    for key, name, up, of, available, _, _, sums, members in after["services"]:
        was = known.get(key)
        own = {str(member[0]): member for member in was[8]} if was else {}
        rows = tuple(_backend(str(key), member, own.get(str(member[0])), seconds) for member in members)
        active = [row.active for row in rows if row.active is not None]
        rates = _rates(was[7] if was else None, sums, seconds)
        state = "up" if up else "DOWN"
        services.append(
            Line(str(key), "", str(name), state, int(available), int(of), *rates, sum(active) if active else None)
        )
        backends[str(key)] = rows
    numbers: Mapping[str, Any] = after["numbers"]
    return Reading(
        str(after["version"]),
        float(after["time"]),
        float(after["started"]),
        seconds,
        tuple(services),
        backends,
        _dropped(before, numbers, seconds),
        bool(numbers.get("health_frozen")),
        bool(numbers.get("prober_up", 1)),
        bool(numbers.get("isolated")),
        bool(numbers.get("node_drained")),
        int(numbers.get("fleet_missing", 0)),
        bool(numbers.get("fleet_differences")),
    )


def _backend(service: str, row: Any, was: Any, seconds: float | None) -> Line:
    address, well, gets, _, active, _, *counts = row
    state = ("up" if gets else "aside") if well else "kept" if gets else "down"
    rates = _rates(was[6:] if was else None, counts, seconds)
    return Line(service, str(address), "", state, int(gets), 1, *rates, None if active is None else int(active))


def _rates(was: Any, now: Any, seconds: float | None) -> tuple[float | None, float | None, float | None, float | None]:
    """Return packets, bits, flows and drops by the second."""
    packets, octets, flows, drops = now
    if was is None or seconds is None:
        return None, None, None, None
    before = tuple(was)
    octets_ = _rate(before[1], octets, seconds)
    return (
        _rate(before[0], packets, seconds),
        None if octets_ is None else octets_ * OCTET,
        _rate(before[2], flows, seconds),
        _rate(before[3], drops, seconds),
    )


def _rate(was: Any, now: Any, seconds: float) -> float | None:
    return None if now < was else (now - was) / seconds


def _dropped(before: Snapshot | None, numbers: Mapping[str, Any], seconds: float | None) -> dict[str, float]:
    if before is None or seconds is None:
        return {}
    was, now = before["numbers"].get("verdicts_total") or {}, numbers.get("verdicts_total") or {}
    rates = {name: _rate(was.get(name, 0), number, seconds) for name, number in now.items() if name in DROPS}
    return {name: rate for name, rate in sorted(rates.items(), key=lambda item: -(item[1] or 0)) if rate}


def as_json(found: Reading) -> dict[str, Any]:
    """Return a reading as `vc5 top --json` prints it."""
    return {
        "time": found.time,
        "interval_s": found.interval,
        "version": found.version,
        "health_frozen": found.frozen,
        "total": {f"{name}_s": found.total(name) for name in ("packets", "bits", "flows", "drops")},
        "dropped_s": dict(found.dropped),
        "services": [
            _row(line) | {"backends": [_row(one) for one in found.backends[line.service]]} for line in found.services
        ],
    }


def _row(line: Line) -> dict[str, Any]:
    head: dict[str, Any] = (
        {"address": line.backend, "state": line.state}
        if line.backend
        else {
            "service": line.service,
            "name": line.name,
            "up": line.state == "up",
            "available": line.well,
            "configured": line.of,
        }
    )
    rates = {f"{name}_s": getattr(line, name) for name in ("packets", "bits", "flows", "drops")}
    return head | rates | {"active_flows": line.active}
