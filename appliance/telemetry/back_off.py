"""How long to wait after failures: longer each time, and never in step with others. Pure."""

from __future__ import annotations

from collections.abc import Callable

FIRST = 0.5
MOST = 30.0


def delay(failures: int, chance: float, first: float = FIRST, most: float = MOST) -> float:
    """Return the seconds to wait after so many failures in a row (1 or more); `chance` is a number from 0 to 1.

    Between half and the whole of a time that doubles up to the most, so that those who failed together do not all come
    back together.
    """
    return min(most, first * 2.0 ** min(failures - 1, 30)) * (0.5 + 0.5 * chance)


class BackOff:
    """Counts failures in a row. `chance` returns numbers from 0 to 1, evenly."""

    def __init__(self, chance: Callable[[], float], first: float = FIRST, most: float = MOST) -> None:
        self._chance, self._first, self._most = chance, first, most
        self.failures = 0

    def failed(self) -> float:
        """Return how many seconds to wait after another failure."""
        self.failures += 1
        return delay(self.failures, self._chance(), self._first, self._most)

    def succeeded(self) -> None:
        """Begin again with the shortest wait."""
        self.failures = 0
