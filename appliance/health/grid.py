"""The moments at which probes start: on a grid, so that several share the work of one turn of the loop. Pure.

A probe that starts alone is woken alone for each step of its conversation, and its result is sent alone, which costs
twice what it costs in company. Where probes are few, a wider grid brings them together. Where they are many they meet
on the narrowest one, and a wider one would only have them wait for each other.

A probe that is due between two moments waits for the next one. The usual rounds need not wait: what they are due at is
chosen by chance anyway, within the jitter, so it is chosen from every second moment (`meeting`), where twice as many
meet.
"""

from __future__ import annotations

from collections.abc import Iterable

NARROWEST, WIDEST = 0.01, 0.1
"""Seconds between two moments."""
TOGETHER = 5.0
"""Probes that are to start at once, where the grid allows."""
SHARE = 20
"""Moments in the shortest interval, at least, unless the grid is the narrowest."""


MEETING = 2
"""Moments from one at which usual rounds begin to the next."""


def meeting(width: float) -> float:
    """Return the seconds between two moments at which usual rounds begin, on a grid of `width`; 0 for any time."""
    return MEETING * width if width > NARROWEST else 0.0


def width(intervals: Iterable[float]) -> float:
    """Return the seconds between two moments, for probes of these intervals in seconds."""
    rate, shortest = 0.0, float("inf")
    for interval in intervals:
        rate += 1 / interval
        shortest = min(shortest, interval)
    if not rate:
        return NARROWEST
    return max(NARROWEST, min(WIDEST, TOGETHER / rate, shortest / SHARE))
