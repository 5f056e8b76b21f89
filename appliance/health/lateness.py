"""How late probes start: counts in a few steps, so that a heartbeat can carry what happened to thousands."""

from __future__ import annotations

from bisect import bisect_left

STEPS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds. A count is of the starts that were late by at most its step and by more than the one before; one more
count is of those beyond the last."""
COUNTS = len(STEPS) + 1


class Lateness:
    """What has been noted since it was last taken."""

    __slots__ = ("_counts", "_worst")

    def __init__(self) -> None:
        self._counts = [0] * COUNTS
        self._worst = 0.0

    def note(self, seconds: float) -> None:
        """Count one start; what is early is in time."""
        self._counts[bisect_left(STEPS, seconds)] += 1
        self._worst = max(self._worst, seconds)

    def take(self) -> tuple[tuple[int, ...], float]:
        """Return the counts and the worst in seconds (0 where nothing was late), and begin anew."""
        taken = tuple(self._counts), self._worst
        self._counts = [0] * COUNTS
        self._worst = 0.0
        return taken
