"""How fast counters grow, told to whoever asks for a status now and then. Pure.

Nobody counts for the sake of it: a rate is that since a former status, of two seconds ago at least and a minute at
most. Where there was none, nothing is known of rates, and `seconds` is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.model import Address, ServiceKey

LEAST, MOST = 2.0, 60.0
"""Seconds between two looks."""
COUNTERS = ("packets", "octets", "flows", "drops")
PER_SECOND = tuple(f"{name}_per_second" for name in COUNTERS)

Counted = tuple[int, ...]


@dataclass
class _Look:
    at: float
    counts: dict[tuple[ServiceKey, Address], Counted] = field(default_factory=dict)


class Rates:
    """The counters of the last looks."""

    def __init__(self) -> None:
        self._older: _Look | None = None
        self._newer: _Look | None = None
        self.seconds = 0.0
        """Over which time the rates are that are told now."""

    def look(self, now: float) -> None:
        """Begin another look, in monotonic seconds."""
        newer = self._newer
        if newer is None or now - newer.at >= LEAST:
            self._older, self._newer = newer, _Look(now)
        if self._older is not None and now - self._older.at > MOST:
            self._older = None
        self.seconds = now - self._older.at if self._older is not None else 0.0

    def of(self, service: ServiceKey, backend: Address, counters: Mapping[str, int]) -> dict[str, float]:
        """Return by how much each of COUNTERS grows in a second, as `packets_per_second` and so on."""
        counts = tuple(counters[name] for name in COUNTERS)
        place = service, backend
        if self._newer is not None:
            self._newer.counts.setdefault(place, counts)
        was = self._older.counts.get(place) if self._older is not None else None
        if was is None or not self.seconds:
            return {f"{name}_per_second": 0.0 for name in COUNTERS}
        grown = zip(COUNTERS, counts, was, strict=True)
        # Never less than nothing: the counters of a program that was loaded anew begin at zero.
        return {f"{name}_per_second": round(max(0, now - then) / self.seconds, 1) for name, now, then in grown}
