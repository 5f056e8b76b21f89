"""Ranges of a table: which parts are in use, and where there is room."""

from __future__ import annotations

from collections.abc import Iterable


def first_fit(used: Iterable[tuple[int, int]], size: int, start: int, limit: int) -> int | None:
    """The lowest place in [start, limit) with room for `size` elements beside the used (first, count) ranges."""
    at = start
    for first, count in sorted(used):
        if first - at >= size:
            break
        at = max(at, first + count)
    return at if at + size <= limit else None
