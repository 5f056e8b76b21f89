"""A play: a site opens, then change after change, with a burst of frames behind each."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tests.dataplane.equivalence.pair import Pair
from tests.dataplane.equivalence.site import Site
from tests.dataplane.equivalence.traffic import Traffic

BURST = 40
"""Frames behind each change."""

Step = tuple[int, Sequence[int]]
"""A seed for the change, and one for each frame. A frame with seed 0 is left out: so a long play shrinks."""


def play(pair: Pair, seed: int, steps: Sequence[Step], *, about: float = 0.0) -> None:
    """Raises Difference where program and model part.

    `about` is the share of frames that are about other frames: ICMP errors, and fragments.
    """
    site = Site.opened(pair, Random(seed))
    traffic = Traffic(pair, site, about=about)
    for number, (change, frames) in enumerate(steps):
        site.step(Random(f"{seed} {number} {change}"))
        for place, frame in enumerate(frames):
            if frame:
                made, probe = traffic.frame(Random(f"{seed} {number} {place} {frame}"))
                pair.send(made, probe=probe)
        pair.compare()


def any_steps(seed: int, changes: int) -> list[Step]:
    """Steps by chance alone."""
    random = Random(seed)
    return [(random.getrandbits(32), [random.getrandbits(32) | 1 for _ in range(BURST)]) for _ in range(changes)]
