"""What metrics say, as Prometheus reads it: text, or OpenMetrics where that is asked for. The one door to its library.

Nothing is kept from one answer to the next, and nothing counted here: each has a registry of its own, with one
collector around one snapshot (readings.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Sample

from appliance.telemetry.compat import compat_readings
from appliance.telemetry.metrics import MetricType
from appliance.telemetry.readings import BOUNDS, Histograms, Reading, readings

OPENMETRICS = "application/openmetrics-text"
"""What to accept for OpenMetrics."""


def exposition(snapshot: Mapping[str, Any], accept: str = "") -> tuple[bytes, str]:
    """Return the body and its content type for a snapshot; `accept` is what the client's header of that name says.

    Takes some milliseconds for a thousand series: not for a thread that others wait for.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(snapshot))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Snapshot(Collector):
    """The collector of one snapshot."""

    def __init__(self, snapshot: Mapping[str, Any]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Family]:
        for reading in readings(self._snapshot):
            yield _family(reading)
        if self._snapshot["compat"]:
            for reading in compat_readings(self._snapshot):
                yield _family(reading)


_SUFFIXES = {MetricType.COUNTER: "_total", MetricType.INFO: "_info"}


def _family(reading: Reading | Histograms) -> Family:
    metric = reading.metric
    # The library puts the suffix back on.
    family = Family(metric.name.removesuffix(_SUFFIXES.get(metric.type, "")), metric.help, str(metric.type))
    # The library goes through them once. Made one by one they are gone at once; thousands that are there together keep
    # the collector of garbage as busy as all the rest.
    family.samples = cast(list[Sample], _histograms(reading) if isinstance(reading, Histograms) else _samples(reading))
    return family


def _samples(reading: Reading) -> Iterator[Sample]:
    name, labels = reading.metric.name, reading.metric.labels
    for values, value in reading.values:
        yield Sample(name, dict(zip(labels, values, strict=True)), value)


def _histograms(reading: Histograms) -> Iterator[Sample]:
    metric = reading.metric
    for one in reading.series:
        labels = dict(zip(metric.labels, one.labels, strict=True))
        for bound, count in zip(BOUNDS, one.counts, strict=True):
            yield Sample(f"{metric.name}_bucket", {**labels, "le": bound}, count)
        yield Sample(f"{metric.name}_count", labels, one.counts[-1])
        yield Sample(f"{metric.name}_sum", labels, one.sum)
