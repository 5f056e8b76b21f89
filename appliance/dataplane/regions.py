"""Ranges of a table: which parts are in use, and where there is room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from appliance.errors import NoRoom


def first_fit(used: Iterable[tuple[int, int]], size: int, start: int, limit: int) -> int | None:
    """The lowest place in [start, limit) with room for `size` elements beside the used (first, count) ranges."""
    at = start
    for first, count in sorted(used):
        if first - at >= size:
            break
        at = max(at, first + count)
    return at if at + size <= limit else None


def reserve(
    used: list[tuple[int, int]], avoided: Sequence[tuple[int, int]], size: int, start: int, limit: int, what: str
) -> int:
    """Find room and add it to `used`; avoided ranges are taken only where nothing else is left. Raises NoRoom."""
    at = first_fit((*used, *avoided), size, start, limit)
    if at is None:
        at = first_fit(used, size, start, limit)
    if at is None:
        raise NoRoom(f"no room for {size} more {what} among {limit}")
    used.append((at, size))
    return at
