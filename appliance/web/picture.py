"""What consoles see, and what has changed of it: from answers of the daemon to events for browsers. Pure.

The daemon gives two things. The body of the status tells everything, and is asked for when something has happened, and
now and then. Numbers are counters and nothing else, cheap enough to be asked for all the time; what consoles get are
their rates. So a picture costs the same for one console and for fifty:

    event        data
    overview     the status without its services
    services     those that changed, those that are gone; in pieces at first
    numbers      rates that changed: packets, octets, new flows and drops in a second, and active flows
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

PIECE = 100
"""Services in one event, while a picture is sent for the first time."""
VOLATILE = frozenset(
    {"packets", "octets", "flows", "drops", "active_flows", "since_s"}
    | {f"{name}_per_second" for name in ("packets", "octets", "flows", "drops")}
)
"""What changes all the time, and is told as numbers or as a moment."""

Rates = list[float | int | None]
"""Packets, octets, new flows and drops in a second, and active flows (None: nobody counts)."""


@dataclass(frozen=True)
class Frame:
    """One event. `id` is that of a line of the log."""

    event: str
    data: Any
    id: int | None = None

    def encode(self) -> bytes:
        """As a browser reads it (HTML standard, section 9.2.6)."""
        lines = [f"event: {self.event}", f"data: {json.dumps(self.data, separators=(',', ':'))}"]
        if self.id is not None:
            lines.insert(0, f"id: {self.id}")
        return "\n".join((*lines, "\n")).encode("ascii")


@dataclass(frozen=True)
class Counts:
    """Counters at one moment: of each service `[packets, octets, flows, drops]`, its active flows, its backends."""

    at: float
    """Monotonic seconds of the daemon."""
    services: Mapping[str, tuple[list[int], int | None, Mapping[str, list[Any]]]]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Counts:
        """Read the daemon's answer; raises KeyError, TypeError or ValueError for what is none."""
        services = {
            key: (counts, active, {address: numbers for address, *numbers in backends})
            for key, counts, active, backends in answer["services"]
        }
        return cls(answer["at"], services)


@dataclass
class Picture:
    """What was told last."""

    overview: dict[str, Any] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    counts: Counts | None = None
    total: Rates = field(default_factory=lambda: [0, 0, 0, 0, None])
    rates: dict[str, tuple[Rates, dict[str, Rates]]] = field(default_factory=dict)
    seconds: float = 0.0

    def take(self, body: Mapping[str, Any], wall: float) -> list[Frame]:
        """Take the body of a status, of the moment `wall`; return what consoles should hear."""
        self.overview = _overview(body, wall)
        frames = [Frame("overview", self.overview)]
        known, self.services = self.services, {}
        changed = []
        for told in body.get("services", ()):
            key = str(told["service"])
            one, was = _service(told, wall), known.get(key)
            if was is not None:
                _steady([one, *one["backends"]], [was, *was["backends"]])
            if one != was:
                changed.append(one)
            self.services[key] = one
        removed = [key for key in known if key not in self.services]
        if changed or removed:
            frames.append(Frame("services", {"changed": changed, "removed": removed, "complete": True}))
        return frames

    def count(self, counts: Counts, wall: float) -> Frame:
        """Take counters; return the rates that differ from those told last."""
        before, self.counts = self.counts, counts
        self.seconds = counts.at - before.at if before is not None else 0.0
        known, self.rates = self.rates, {}
        changed: dict[str, Any] = {}
        sums = [0.0, 0.0, 0.0, 0.0]
        active: int | None = None
        for key, (total, flows, backends) in counts.services.items():
            was = before.services.get(key) if before is not None else None
            rates = _rates(total, was[0] if was else None, self.seconds, flows)
            each = {
                address: _rates(numbers[:4], was[2].get(address, [None])[:4] if was else None, self.seconds, numbers[4])
                for address, numbers in backends.items()
            }
            self.rates[key] = rates, each
            for index in range(4):
                sums[index] += rates[index] or 0
            if flows is not None:
                active = (active or 0) + flows
            if known.get(key) != (rates, each):
                changed[key] = {"rates": rates, "backends": each}
        self.total = [*map(_short, sums), active]
        return self._numbers(changed, wall)

    def whole(self, wall: float) -> Iterator[Frame]:
        """Yield everything, for who sees it for the first time."""
        yield Frame("overview", self.overview)
        services = list(self.services.values())
        for first in range(0, max(1, len(services)), PIECE):
            complete = first + PIECE >= len(services)
            piece = services[first : first + PIECE]
            yield Frame("services", {"changed": piece, "removed": [], "complete": complete})
        told = {key: {"rates": rates, "backends": each} for key, (rates, each) in self.rates.items()}
        yield self._numbers(told, wall)

    def _numbers(self, services: Mapping[str, Any], wall: float) -> Frame:
        told = {"time": round(wall, 3), "seconds": round(self.seconds, 3), "total": self.total, "services": services}
        return Frame("numbers", told)


def _rates(now: list[int], before: list[Any] | None, seconds: float, active: int | None) -> Rates:
    if before is None or seconds <= 0 or None in before:
        return [0, 0, 0, 0, active]
    # Never less than nothing: counters of a program that was loaded anew begin at zero.
    return [*(_short(max(0, count - was) / seconds) for count, was in zip(now, before, strict=True)), active]


def _short(rate: float) -> float | int:
    """Return a rate with as many digits as a person reads."""
    return round(rate) if rate >= 10 else round(rate, 1)


def _overview(body: Mapping[str, Any], wall: float) -> dict[str, Any]:
    told = {name: value for name, value in body.items() if name != "services"}
    told["started"] = round(wall - float(body.get("uptime_s") or 0.0), 1)
    told["vips"] = [_since(vip, wall) for vip in body.get("vips", ())]
    if routing := told.get("bgp"):
        # Thousands of VIPs may be told to each peer; consoles show how many they are.
        peers = [{name: value for name, value in peer.items() if name != "adj_rib_out"} for peer in routing["peers"]]
        told["bgp"] = {**routing, "peers": peers}
    return told


def _service(told: Mapping[str, Any], wall: float) -> dict[str, Any]:
    found = {name: value for name, value in told.items() if name not in VOLATILE}
    found |= {"since": _moment(told.get("since_s"), wall)}
    found["backends"] = [_since(one, wall) for one in told.get("backends", ())]
    return found


def _since(told: Mapping[str, Any], wall: float) -> dict[str, Any]:
    """Return it with the moment since when it is so, in place of how long."""
    found = {name: value for name, value in told.items() if name not in VOLATILE}
    return found | {"since": _moment(told.get("since_s"), wall)}


def _moment(ago: float | None, wall: float) -> float | None:
    return None if ago is None else round(wall - ago, 1)


def _steady(told: list[dict[str, Any]], before: list[dict[str, Any]]) -> None:
    """Leave as they were the moments that moved by rounding, and the times of checks that moved by little."""
    known = {one.get("address"): one for one in before}
    for one in told:
        was = known.get(one.get("address"))
        if was is None:
            continue
        for name, span, share in (("since", 1.5, 0.0), ("took_ms", 0.5, 0.25)):
            new, old = one.get(name), was.get(name)
            if new is not None and old is not None and abs(new - old) <= span + share * old:
                one[name] = old
