"""When to ask the kernel for which neighbour. Pure; times are seconds of any steady clock.

What is not resolved is asked for at once and then 1, 2, 4, 5, 5 ... seconds later; what is resolved but not confirmed
every 5 seconds. The kernel itself gives up after three requests, one a second, and does not start again unasked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from appliance.model import Address
from appliance.net.view import CONFIRMED, RESOLVED, NeighbourState

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 5.0
BURST = 1000
"""Requests at one time: each may become a broadcast to the whole subnet."""


@dataclass(frozen=True)
class _Next:
    """When an address may be asked for again, how long the pause after that is, and what the last request was for."""

    at: float
    pause: float
    resolved: bool


class Resolution:
    """The neighbours that must stay resolved, each an (interface index, address)."""

    def __init__(self) -> None:
        self._wanted: dict[tuple[int, Address], _Next | None] = {}

    def want(self, neighbours: Iterable[tuple[int, Address]]) -> None:
        """Replace the set; those that stay keep their pace."""
        self._wanted = {neighbour: self._wanted.get(neighbour) for neighbour in neighbours}

    def due(self, state: Callable[[int, Address], NeighbourState], now: float) -> list[tuple[int, Address]]:
        """Return the neighbours to ask for now, at most BURST, the longest due first; they count as asked for."""
        due: list[tuple[float, tuple[int, Address], _Next]] = []
        for neighbour, last in self._wanted.items():
            current = state(*neighbour)
            if current & CONFIRMED:
                continue
            resolved = bool(current & RESOLVED)
            if last is None or last.resolved is not resolved:
                pause = LONGEST_PAUSE if resolved else FIRST_PAUSE
                due.append((-math.inf, neighbour, _Next(now + pause, pause, resolved)))
            elif now >= last.at:
                pause = min(2 * last.pause, LONGEST_PAUSE)
                due.append((last.at, neighbour, _Next(now + pause, pause, resolved)))
        due.sort(key=lambda one: one[0])
        del due[BURST:]
        for _, neighbour, following in due:
            self._wanted[neighbour] = following
        return [neighbour for _, neighbour, _ in due]
