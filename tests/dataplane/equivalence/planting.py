"""Judging frames until a planted fault shows."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.dataplane.shape import Shape
from tests import profile
from tests.dataplane.equivalence.pair import Difference, compile_ahead, loaded, text_of
from tests.dataplane.equivalence.play import any_steps, play
from tests.dataplane.faults import Fault

LIMIT = 40_000
"""Frames within which a fault has to be found."""
CHANGES = 8
EVERY = 1 if profile.FUZZ else 8
"""Which of the faults are planted: each takes some seconds of compiling, so `make test` takes one of eight."""


def frames_until_found(planted: Sequence[tuple[Shape, Fault]], place: int, *, about: float = 0.0) -> int:
    """Return how many frames a fault took; meanwhile the next program is compiled. Raises AssertionError at LIMIT.

    `about` is the share of frames that are aimed at errors and fragments.
    """
    what, fault = planted[place]
    for later, following in planted[place : place + 2]:
        compile_ahead(following.plant(text_of(later)))
    with loaded(what, fault.plant(text_of(what))) as pair:
        seed = 0
        while pair.mix.frames < LIMIT:
            try:
                play(pair, seed, any_steps(seed, CHANGES), about=about)
            except Difference:
                print(f"{fault.name}: found with frame {pair.mix.frames + 1}")
                return pair.mix.frames + 1
            seed += 1
    raise AssertionError(f"{fault.name}: not found with {pair.mix.frames} frames")
