"""The coarse clock: seconds that pass only while a daemon runs. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CoarseClock:
    """Goes on from what the tables say. Monotonic seconds in, coarse seconds out."""

    base: int
    started: float

    def at(self, now: float) -> int:
        """The coarse time at the monotonic time `now`."""
        return self.base + max(0, int(now - self.started))
