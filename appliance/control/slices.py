"""How much of a large change is done in one turn of the event loop, so that nothing else has to wait long for it.

A verdict on one server may concern thousands of services. They are planned and written a slice at a time, and between
two slices packets, probes and commands have their turn. A plan tells which services are left; a slice is a whole plan
of its own, so that whatever happens between two of them, an end of the process included, finds the tables consistent.
"""

from __future__ import annotations

from time import thread_time
from types import TracebackType

LONGEST = 0.010
"""Seconds of processor time that a slice may take: with what else a turn does, far below what anybody notices."""
LEAST, MOST = 4, 512
SLICES = 256
"""In so many at most, however long each takes: what a slice costs that does not depend on its size is paid as often."""


class Slices:
    """The number of services in a slice, from how long the last ones took."""

    def __init__(self) -> None:
        self.size = 32
        self._began = 0.0

    def of(self, services: int) -> int:
        """How many services of so many are in a slice."""
        return max(self.size, services // SLICES)

    def __enter__(self) -> None:
        self._began = thread_time()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.took(thread_time() - self._began)

    def took(self, seconds: float) -> None:
        """Learn from a slice: smaller ones at once where it took too long, larger ones little by little."""
        if seconds > LONGEST:
            self.size = max(LEAST, self.size // 2)
        elif seconds < LONGEST / 2:
            self.size = min(MOST, self.size + max(1, self.size // 4))
