"""How long the event loop is busy at a stretch: what anybody who wants something of the daemon may have to wait.

Measured where the loop waits: between one return of its selector and the next call of it lies one turn, with all the
callbacks that were ready. That costs two readings of the clock for each turn, and misses nothing.
"""

from __future__ import annotations

import asyncio
import selectors
from dataclasses import dataclass
from time import monotonic, thread_time
from typing import Any

STALL = 0.050
"""Seconds from which on a turn counts as a stall."""
WINDOW = 10.0
"""Seconds over which `recent` is the longest turn, at least; at most twice as long."""


@dataclass(frozen=True)
class Turns:
    """The longest turns, seconds, and how many were stalls.

    `cpu` is processor time: where it is far below the other, the machine was busy with somebody else.
    """

    longest: float
    longest_cpu: float
    recent: float
    recent_cpu: float
    stalls: int
    stalls_cpu: int


class Pulse(selectors.DefaultSelector):
    """The selector of the daemon's loop, with a stopwatch."""

    def __init__(self) -> None:
        super().__init__()
        self._since = self._cpu = 0.0
        self._windows = [(0.0, 0.0), (0.0, 0.0)]
        self._window = 0.0
        self._longest = (0.0, 0.0)
        self._stalls = (0, 0)

    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that this is the selector of."""
        return asyncio.SelectorEventLoop(self)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        """Wait as the selector does; what passed since the last time is a turn."""
        if self._since:
            self.turned(monotonic() - self._since, thread_time() - self._cpu)
        ready = super().select(timeout)
        self._since, self._cpu = monotonic(), thread_time()
        return ready

    def turned(self, wall: float, cpu: float) -> None:
        """Take down a turn."""
        self._roll()
        if wall > self._windows[0][0] or cpu > self._windows[0][1]:
            self._windows[0] = (max(wall, self._windows[0][0]), max(cpu, self._windows[0][1]))
            self._longest = (max(wall, self._longest[0]), max(cpu, self._longest[1]))
        if wall > STALL:
            self._stalls = (self._stalls[0] + 1, self._stalls[1] + (cpu > STALL))

    def turns(self) -> Turns:
        """What was measured so far."""
        self._roll()
        (now, now_cpu), (before, before_cpu) = self._windows
        return Turns(*self._longest, max(now, before), max(now_cpu, before_cpu), *self._stalls)

    def _roll(self) -> None:
        now = monotonic()
        if now - self._window >= WINDOW:
            self._windows = [(0.0, 0.0), self._windows[0] if now - self._window < 2 * WINDOW else (0.0, 0.0)]
            self._window = now
