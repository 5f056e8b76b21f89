"""What members have taken in, and when they were told it. Pure.

A HELLO names the last number of its sender's stream. Who has all of the stream up to there has taken that HELLO in, as
a whole; its own HELLOs say so by the mark of the latest one, 16 bits made of its sequence number. So a node knows of
each other one when it told what that has taken in before its latest word.
"""

from __future__ import annotations

from collections import deque
from math import inf

MARKS = (1 << 16) - 1
KEPT = 256
"""HELLOs of which the times are remembered, at most: a quarter of a minute at 20 a second, minutes in peace."""
CLAIMS = 32
"""HELLOs of one member that wait for what is missing of its stream."""


def mark_of(sequence: int) -> int:
    """Return the mark of a HELLO with this sequence number, 1..MARKS."""
    return sequence % MARKS + 1


class Said:
    """When this node said each of its latest HELLOs."""

    def __init__(self) -> None:
        self._times: deque[tuple[int, float]] = deque(maxlen=KEPT)

    def add(self, sequence: int, now: float) -> None:
        """Note one."""
        self._times.append((mark_of(sequence), now))

    def when(self, mark: int) -> float:
        """Return when the HELLO with this mark was said; long ago, if that is not known."""
        return next((at for known, at in reversed(self._times) if known == mark), -inf)


class Taken:
    """Which HELLO of a member was taken in as a whole."""

    def __init__(self) -> None:
        self.mark = 0
        """Of the latest one; 0: none."""
        self.at = -inf
        """When it came."""
        self._waiting: deque[tuple[int, int, float]] = deque(maxlen=CLAIMS)

    def heard(self, sequence: int, last: int, now: float) -> None:
        """A HELLO has come, by which the stream goes up to `last`."""
        self._waiting.append((mark_of(sequence), last, now))

    def have(self, number: int) -> None:
        """The stream is here up to this number."""
        while self._waiting and self._waiting[0][1] <= number:
            self.mark, _, self.at = self._waiting.popleft()
