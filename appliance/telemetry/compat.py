"""The metrics of the earlier vc5 under the names that it gave them, for `compat_metrics: true`. Pure.

What it filled with constants is left out (`defcon`, `reserves_used`, what was sent back to clients), and so is what it
counted and this program does not. Its counters do not end in `_total`, and two that do share the rest of their name
with a gauge; so all of them are of no type, which changes nothing for who reads them. `current` and `sessions` are
there where flows are counted: in services that remember all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appliance.model import ServiceKey
from appliance.telemetry.metrics import Metric, MetricType
from appliance.telemetry.readings import Labels, Reading

_SERVICE = ("service", "name")
_BACKEND = (*_SERVICE, "backend")
_XVS_SERVICE = ("address", "port", "protocol", "service")
_XVS_DESTINATION = ("address", "port", "protocol", "destination", "service")


def _rows(prefix: str, labels: Labels, type_: MetricType, **helps: str) -> tuple[Metric, ...]:
    return tuple(Metric(prefix + name, type_, f"Earlier name: {text}", labels) for name, text in helps.items())


def _of(prefix: str, labels: Labels) -> tuple[Metric, ...]:
    """The metrics that are the same for the whole, for services and for backends."""
    return (
        *_rows(prefix, labels, MetricType.GAUGE, sessions="flows that there are, where that is known."),
        *_rows(
            prefix,
            labels,
            MetricType.UNKNOWN,
            **{"session_total" if not labels else "sessions_total": "flows that began."},
            rx_packets="packets forwarded.",
            rx_octets="bytes of IP forwarded.",
        ),
    )


def _standing(prefix: str, labels: Labels) -> tuple[Metric, ...]:
    return (
        *_rows(prefix, labels, MetricType.GAUGE, status="1 up, 0 down."),
        *_rows(prefix, (*labels, "status"), MetricType.GAUGE, status_duration="seconds in this state."),
    )


_REASONS: dict[str, tuple[str, ...]] = {
    "malformed": ("malformed",),
    "not_ip": ("not-ip",),
    "not_a_vip": ("not-vip",),
    "probe_reply": ("probe-answer",),
    "l4_unsupported": ("protocol",),
    "icmp_unsupported": ("icmp-type",),
    "icmp_echo_request": ("echo",),
    "fragmented": ("fragment",),
    "service_not_found": ("unknown-port",),
    "no_backend": ("no-backend",),
    "too_big": ("too-big", "too-big-limited"),
    "expired": ("ttl",),
    "adjust_failed": ("no-room",),
}
"""What it called the reasons for which packets leave, with those of today."""
_XVS = ("packets", "octets", "flows", "errors")
_XVS_HELP = ("packets forwarded.", "bytes of IP forwarded.", "flows that began.", "packets dropped.")


def _xvs(prefix: str, labels: Labels) -> tuple[Metric, ...]:
    return _rows(prefix, labels, MetricType.UNKNOWN, **dict(zip(_XVS, _XVS_HELP, strict=True)))


COMPAT: tuple[Metric, ...] = (
    *_rows("vc5_", (), MetricType.UNKNOWN, uptime="seconds since the daemon was started."),
    *_rows("vc5_", (), MetricType.GAUGE, latency="nanoseconds for a packet, while kernel.bpf_stats_enabled is 1."),
    *_rows("vc5_", (), MetricType.UNKNOWN, toobig="packets that were too long for the way to their backend."),
    *_of("vc5_", ()),
    *_standing("vc5_vip_", ("vip",)),
    *_of("vc5_service_", _SERVICE),
    *_standing("vc5_service_", _SERVICE),
    *_of("vc5_backend_", _BACKEND),
    *_standing("vc5_backend_", _BACKEND),
    *_rows("xvs_global_", (), MetricType.GAUGE, latency="as vc5_latency."),
    *_xvs("xvs_global_", ()),
    *_rows(
        "xvs_global_",
        (),
        MetricType.UNKNOWN,
        **{name: f"packets that left for a reason ({', '.join(of)})." for name, of in _REASONS.items()},
    ),
    *_xvs("xvs_virtual_", ("address",)),
    *_xvs("xvs_service_", _XVS_SERVICE),
    *_xvs("xvs_destination_", _XVS_DESTINATION),
    *_rows(
        "xvs_destination_", _XVS_DESTINATION, MetricType.GAUGE, current="flows that there are, where that is known."
    ),
)
_BY_NAME = {metric.name: metric for metric in COMPAT}


class _Collected:
    """Readings under way."""

    def __init__(self) -> None:
        self._found: dict[str, Reading] = {}

    def add(self, name: str, labels: Labels, value: float | None) -> None:
        """Take a value, unless it is not known."""
        if value is not None:
            self._found.setdefault(name, Reading(_BY_NAME[name])).values.append((labels, value))

    def standing(self, prefix: str, labels: Labels, up: int, seconds: float | None) -> None:
        """Take whether something is up, and for how long."""
        self.add(f"{prefix}status", labels, up)
        told = None if seconds is None else float(max(0, int(seconds)))
        self.add(f"{prefix}status_duration", (*labels, "up" if up else "down"), told)

    def traffic(self, prefix: str, labels: Labels, counts: list[int], active: int | None) -> None:
        """Take what was forwarded: packets, octets, flows."""
        self.add(f"{prefix}sessions", labels, active)
        self.add(f"{prefix}session{'s' if labels else ''}_total", labels, counts[2])
        self.add(f"{prefix}rx_packets", labels, counts[0])
        self.add(f"{prefix}rx_octets", labels, counts[1])

    def xvs(self, prefix: str, labels: Labels, counts: list[int]) -> None:
        """Take what was counted: packets, octets, flows, drops."""
        for name, value in zip(_XVS, counts, strict=True):
            self.add(f"{prefix}{name}", labels, value)

    def __iter__(self) -> Iterator[Reading]:
        return (self._found[name] for name in _BY_NAME if name in self._found)


def compat_readings(snapshot: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield what the metrics of the earlier vc5 say of a snapshot (readings.py)."""
    found, numbers, now = _Collected(), snapshot["numbers"], float(snapshot["time"])
    verdicts, since = numbers.get("verdicts_total", {}), snapshot.get("vips_since", {})
    total, active = [0, 0, 0, 0], None
    vips: dict[str, list[int]] = {}
    for told in snapshot["services"]:
        key, counts = ServiceKey.parse(told[0]), told[7]
        flows = _service(found, key, told, now, backends=bool(snapshot["backends"]))
        active = flows if active is None else active + (flows or 0)
        total = [one + more for one, more in zip(total, counts, strict=True)]
        of_vip = vips.setdefault(str(key.vip), [0, 0, 0, 0])
        vips[str(key.vip)] = [one + more for one, more in zip(of_vip, counts, strict=True)]
    found.add("vc5_uptime", (), float(int(now - snapshot["started"])))
    for name in ("vc5_latency", "xvs_global_latency"):
        found.add(name, (), _latency(numbers))
    found.add("vc5_toobig", (), sum(verdicts.get(reason, 0) for reason in _REASONS["too_big"]))
    found.traffic("vc5_", (), total, active)
    for vip, up in numbers.get("vip_up", {}).items():
        found.standing("vc5_vip_", (vip,), up, now - since[vip] if vip in since else None)
    found.xvs("xvs_global_", (), total)
    for name, reasons in _REASONS.items():
        found.add(f"xvs_global_{name}", (), sum(verdicts.get(reason, 0) for reason in reasons))
    for vip, counts in vips.items():
        found.xvs("xvs_virtual_", (vip,), counts)
    yield from found


def _service(found: _Collected, key: ServiceKey, told: list[Any], now: float, *, backends: bool) -> int | None:
    """Take a service and its backends; returns how many flows there are, where that is known."""
    _, name, up, _, _, _, since, counts, members = told
    labels = (f"{key.vip}:{key.protocol}:{key.port}", name)
    own = f"{key.vip}:{key.port}:{key.protocol}"
    active = [member[4] for member in members if member[4] is not None]
    flows = sum(active) if active else None
    found.traffic("vc5_service_", labels, counts, flows)
    found.standing("vc5_service_", labels, up, None if since is None else now - since)
    parts = (str(key.vip), str(key.port), str(key.protocol))
    found.xvs("xvs_service_", (*parts, own), counts)
    for address, well, _, _, there, moved, *sums in members if backends else ():
        of = (*labels, f"{address}:{key.port}")
        found.traffic("vc5_backend_", of, sums, there)
        found.standing("vc5_backend_", of, well, None if moved is None else now - moved)
        found.xvs("xvs_destination_", (*parts, address, own), sums)
        found.add("xvs_destination_current", (*parts, address, own), there)
    return flows


def _latency(numbers: Mapping[str, Any]) -> float | None:
    runs, seconds = numbers.get("program_runs_total"), numbers.get("program_run_seconds_total")
    if not runs or not seconds or not sum(runs.values()):
        return None
    return float(round(sum(seconds.values()) / sum(runs.values()) * 1e9))
