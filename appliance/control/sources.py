"""Who sends most: what the program counts by prefix of the source, now and some seconds ago. Pure.

The program counts one of SOURCE_SAMPLE packets: every 64th that a CPU forwards to one destination, or that leaves it
for one other reason. Where n were so counted, n * SOURCE_SAMPLE is the estimate, and SOURCE_SAMPLE * sqrt(n) bounds its
standard deviation: one percent of 640,000 packets, ten percent of 6,400. Counters have 32 bits, and begin anew after
275 billion packets from one prefix; differences stay right.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from appliance.dataplane.abi import SOURCE_PREFIX, SOURCE_SAMPLE, SOURCES
from appliance.model import Network

PERIOD = 5.0
"""Seconds from one snapshot to the next: rates are those of the last one or two periods."""
MOST = 1000
"""The longest list of the biggest."""
_PAGE = 4096
"""Counters that are looked at in one go, a millisecond or so."""
_MASK = (1 << 32) - 1

Row = tuple[int, int, int]
"""How much a counter has grown, how large it is, and which prefix it counts."""


@dataclass(frozen=True)
class Snapshot:
    """All counters at one moment, monotonic seconds."""

    at: float
    counts: bytes


class SourceCounts:
    """Remembers the counters of some seconds ago."""

    def __init__(self) -> None:
        self._older: Snapshot | None = None
        self._newer: Snapshot | None = None

    def look(self, counts: memoryview[int] | None, now: float) -> None:
        """Take a snapshot if it is time to; None where nothing is counted."""
        if counts is None:
            self._older = self._newer = None
        elif self._newer is None or now - self._newer.at >= PERIOD:
            self._older, self._newer = self._newer or Snapshot(now, counts.tobytes()), Snapshot(now, counts.tobytes())

    def before(self) -> Snapshot | None:
        """Return the snapshot that rates are to be told from."""
        return self._older


def pages(now: Snapshot, before: Snapshot | None) -> Iterator[list[Row]]:
    """Yield what is not zero, page by page, so that others can work in between."""
    new = memoryview(now.counts).cast("I")
    old = memoryview(before.counts).cast("I") if before is not None else None
    zeros = bytes(_PAGE * 4)
    for first in range(0, SOURCES, _PAGE):
        part = new[first : first + _PAGE]
        if part.tobytes() == zeros:
            continue
        then = old[first : first + _PAGE].tolist() if old is not None else part.tolist()
        yield [
            ((count - was) & _MASK, count, first + at)
            for at, (count, was) in enumerate(zip(part.tolist(), then, strict=True))
            if count or was
        ]


@dataclass
class Biggest:
    """Gathers the rows that grew most, and the sums of all."""

    top: int
    rows: list[Row]
    grown: int = 0
    total: int = 0
    prefixes: int = 0

    def take(self, page: list[Row]) -> None:
        """Take in a page."""
        self.rows = heapq.nlargest(self.top, (*self.rows, *page))
        self.grown += sum(row[0] for row in page)
        self.total += sum(row[1] for row in page)
        self.prefixes += len(page)

    def as_json(self, seconds: float, blocked: tuple[Network, ...]) -> dict[str, Any]:
        """Return the answer; `seconds` is the time in which counters grew, 0 where that is not known yet."""
        parts = Blocked(blocked)
        return {
            "sample": SOURCE_SAMPLE,
            "seconds": round(seconds, 3),
            "rate": _rate(self.grown, seconds),
            "packets": self.total * SOURCE_SAMPLE,
            "prefixes": self.prefixes,
            "top": [
                {
                    "prefix": str(prefix := prefix_of(place)),
                    "rate": _rate(grown, seconds),
                    "rate_error": _rate(math.sqrt(grown), seconds),
                    "packets": count * SOURCE_SAMPLE,
                    "share": round(grown / self.grown, 4) if self.grown else 0.0,
                    "blocked": parts.how(prefix),
                }
                for grown, count, place in self.rows
            ],
        }


def prefix_of(place: int) -> IPv4Network:
    """Return the prefix that a counter counts."""
    return IPv4Network((place << 32 - SOURCE_PREFIX, SOURCE_PREFIX))


class Blocked:
    """Which parts of the IPv4 address space are blocked, for many questions."""

    def __init__(self, blocked: Iterable[Network]) -> None:
        ends = ((int(one.network_address), one.prefixlen) for one in blocked if one.version == 4)
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, length in sorted(ends):
            last = first + (1 << 32 - length) - 1
            if self._lasts and first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(self._lasts[-1], last)
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def how(self, prefix: IPv4Network) -> str:
        """Return `yes` where all of a prefix is blocked, `partly` where some is, else `no`."""
        first = int(prefix.network_address)
        last = first + prefix.num_addresses - 1
        at = bisect_right(self._firsts, last) - 1
        if at < 0 or self._lasts[at] < first:
            return "no"
        return "yes" if self._firsts[at] <= first and last <= self._lasts[at] else "partly"


def _rate(count: float, seconds: float) -> float | None:
    """Packets a second; None where no time has passed."""
    return round(count * SOURCE_SAMPLE / seconds, 1) if seconds > 0 else None
