"""How long to wait after failures: longer each time, and never in step with others. Pure."""

from __future__ import annotations

from collections.abc import Callable

FIRST = 0.5
MOST = 30.0


class BackOff:
    """Counts failures in a row. `chance` returns numbers from 0 to 1, evenly."""

    def __init__(self, chance: Callable[[], float], first: float = FIRST, most: float = MOST) -> None:
        self._chance, self._first, self._most = chance, first, most
        self.failures = 0

    def failed(self, asked: float = 0.0) -> float:
        """Return how many seconds to wait after another failure, at least what the other side `asked` for.

        Between half and the whole of a time that doubles up to the most, so that those who failed together do not all
        come back together.
        """
        whole = min(self._most, self._first * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return max(asked, whole * (0.5 + 0.5 * self._chance()))

    def succeeded(self) -> None:
        """Begin again with the shortest wait."""
        self.failures = 0
