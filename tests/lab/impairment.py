"""What becomes of datagrams on a bad link: decided by chance, and for the same seed always in the same way."""

from __future__ import annotations

import random
from dataclasses import dataclass

HELD_BACK = 0.03
"""Seconds by which a datagram comes later that others are to overtake; a second copy comes at most as late."""


@dataclass(frozen=True)
class Impairment:
    """What happens to datagrams; the first three are shares from 0 to 1."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0
    """Seconds that every datagram takes."""
    longest: int = 0
    """Octets of the longest frame with a datagram that arrives, as where the path has a smaller MTU than its ends know;
    0: any."""


GOOD = Impairment()
BAD = Impairment(drop=0.1, duplicate=0.1, reorder=0.2, delay=0.005)
"""Far worse than a network that anybody would keep."""


class Chance:
    """The fates of the datagrams of one direction. A change of the impairment does not change what is drawn later."""

    def __init__(self, seed: int, source: str, destination: str) -> None:
        self._random = random.Random(f"{seed} {source} {destination}")

    def fate(self, impairment: Impairment) -> tuple[float, ...]:
        """Return after how many seconds each copy of the next datagram arrives; none: it is lost."""
        lost, twice, late, apart = (self._random.random() for _ in range(4))
        if lost < impairment.drop:
            return ()
        first = impairment.delay + (HELD_BACK if late < impairment.reorder else 0.0)
        second = (impairment.delay + apart * HELD_BACK,) if twice < impairment.duplicate else ()
        return (first, *second)
