"""Ranges of a table: which parts are in use, and where there is room."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.errors import NoRoom


class Room:
    """What is left of [start, limit) of a table; ranges are (first, count)."""

    def __init__(
        self, what: str, used: Iterable[tuple[int, int]], avoided: Iterable[tuple[int, int]], start: int, limit: int
    ) -> None:
        """Avoided ranges are taken only where nothing else is left; `what` names the elements in errors."""
        used = list(used)
        self._what, self._limit = what, limit
        self._free = _gaps((*used, *avoided), start, limit)
        self._last = _gaps(used, start, limit)

    def reserve(self, size: int) -> int:
        """Take the lowest room for `size` elements. Raises NoRoom."""
        for gaps in (self._free, self._last):
            at = next((first for first, count in gaps if count >= size), None)
            if at is not None:
                self._free, self._last = _without(self._free, at, size), _without(self._last, at, size)
                return at
        raise NoRoom(f"no room for {size} more {self._what} among {self._limit}")


def _gaps(used: Iterable[tuple[int, int]], start: int, limit: int) -> list[tuple[int, int]]:
    """The ranges of [start, limit) that are not used."""
    found, at = [], start
    for first, count in (*sorted(used), (limit, 0)):
        if min(first, limit) > at:
            found.append((at, min(first, limit) - at))
        at = max(at, first + count)
    return found


def _without(gaps: list[tuple[int, int]], at: int, size: int) -> list[tuple[int, int]]:
    """These ranges, without what lies in [at, at + size)."""
    found = []
    for first, count in gaps:
        if first >= at + size or first + count <= at:
            found.append((first, count))
            continue
        if first < at:
            found.append((first, at - first))
        if first + count > at + size:
            found.append((at + size, first + count - at - size))
    return found
