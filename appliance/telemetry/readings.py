"""From a snapshot of the daemon to the values of metrics: what each metric says, series by series. Pure.

A snapshot is what `control/measuring.py` puts together, as JSON carries it:

    {"version": "0.7.0", "abi": "5f0c...", "time": 1.7e9, "started": 1.7e9, "compat": false, "backends": true,
     "numbers": {"sync_pending": 0, "vip_up": {"203.0.113.10": 1}, ...},     by label, where there are any
     "probes": {"http": {"buckets": [3, 0, ...], "sum_ns": 1200, "failures": {"timeout": 2}}},
     "services": [[KEY, NAME, up, backends, available, needed, since, [packets, octets, flows, drops],
                   [[ADDRESS, up, available, transitions, active, since, packets, octets, flows, drops], ...]], ...]}

Buckets are not cumulative, the last one takes what is above all bounds. `active` and `since` are null where they are
not known; `since` is wall-clock seconds. What other parts of the program count comes as further numbers, by the names
of the table without their prefix: `{"spool_bytes": 4096, "alerts_sent_total": {"slack": 3}}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from appliance.model import ServiceKey
from appliance.telemetry.metrics import BUCKETS, BY_NAME, VALUES, Metric

Labels = tuple[str, ...]


@dataclass
class Reading:
    """What a metric says: the values of its labels, in their order, with the number."""

    metric: Metric
    values: list[tuple[Labels, float]] = field(default_factory=list)


@dataclass
class Histogram:
    """A histogram of one series: cumulative counts by upper bound, `+Inf` being the last, and the sum, seconds."""

    labels: Labels
    counts: tuple[int, ...]
    sum: float


@dataclass
class Histograms:
    """What a histogram says, for each of its series."""

    metric: Metric
    series: list[Histogram] = field(default_factory=list)


def merged(snapshot: Mapping[str, Any], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return a snapshot with what another part of the program has counted, by names without the prefix."""
    return {**snapshot, "numbers": {**snapshot["numbers"], **numbers}}


def readings(snapshot: Mapping[str, Any]) -> Iterator[Reading | Histograms]:
    """Yield what each metric says, in the order of the table; those that have nothing to say are left out."""
    found: dict[str, Reading | Histograms] = {}
    for reading in (
        _one("build_info", ((str(snapshot["version"]), str(snapshot["abi"])), 1.0)),
        _one("start_timestamp_seconds", ((), float(snapshot["started"]))),
        *_numbers(snapshot["numbers"]),
        *_probes(snapshot["probes"]),
        *_services(snapshot["services"], backends=bool(snapshot["backends"])),
    ):
        found[reading.metric.short] = reading
    for name in BY_NAME:
        if name in found:
            yield found[name]


def _one(name: str, *values: tuple[Labels, float]) -> Reading:
    return Reading(BY_NAME[name], list(values))


def _numbers(numbers: Mapping[str, Any]) -> Iterator[Reading]:
    """Metrics that are said in a word; a name that is not in the table is nobody's, nor is one with other labels."""
    for name, said in numbers.items():
        metric = BY_NAME.get(name)
        if metric is None:
            continue
        values = [(labels, float(value)) for labels, value in _flat(said, ()) if len(labels) == len(metric.labels)]
        if values:
            yield Reading(metric, values)


def _flat(said: object, labels: Labels) -> Iterator[tuple[Labels, Any]]:
    """Yield the numbers of nested mappings, each with the keys that lead to it."""
    if isinstance(said, Mapping):
        for label, value in said.items():
            yield from _flat(value, (*labels, str(label)))
    elif said is not None:
        yield labels, said


def _probes(probes: Mapping[str, Any]) -> Iterator[Reading | Histograms]:
    durations = Histograms(BY_NAME["probe_duration_seconds"])
    failures = Reading(BY_NAME["probe_failures_total"])
    for kind, told in sorted(probes.items()):
        durations.series.append(Histogram((kind,), tuple(accumulate(told["buckets"])), told["sum_ns"] / 1e9))
        for reason in VALUES["failures"]:
            failures.values.append(((kind, reason), float(told["failures"].get(reason, 0))))
    if probes:
        yield durations
        yield failures


_OF_SERVICES = ("service_up", "service_backends", "service_backends_available", "service_backends_needed")
_SUMS = ("service_packets_total", "service_bytes_total", "service_flows_total", "service_drops_total")
_OF_BACKENDS = ("backend_up", "backend_available", "backend_transitions_total", "backend_active_flows")
_COUNTS = ("packets_total", "bytes_total", "flows_total", "drops_total")


def _services(services: list[Any], *, backends: bool) -> Iterator[Reading]:
    info = Reading(BY_NAME["service_info"])
    own = [Reading(BY_NAME[name]) for name in (*_OF_SERVICES, *_SUMS)]
    each = [Reading(BY_NAME[name]) for name in (*_OF_BACKENDS, *_COUNTS)] if backends else []
    for key, name, up, count, available, needed, _, sums, members in services:
        of = ServiceKey.parse(key)
        info.values.append(((key, str(of.vip), str(of.port), str(of.protocol), name), 1.0))
        labels = (key,)
        for reading, value in zip(own, (up, count, available, needed, *sums), strict=True):
            reading.values.append((labels, value))
        if not backends:
            continue
        for address, well, gets, transitions, active, _, *counts in members:
            pair = (key, address)
            for reading, value in zip(each, (well, gets, transitions, active, *counts), strict=True):
                if value is not None:
                    reading.values.append((pair, value))
    yield from (reading for reading in (info, *own, *each) if reading.values)


BOUNDS = (*(f"{bound:g}" if bound % 1 else f"{bound:.1f}" for bound in BUCKETS), "+Inf")
"""The values of `le`, as Prometheus's own library writes them."""
