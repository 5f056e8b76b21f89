"""The test of the test, for ICMP errors, fragments and packets that are too big: each planted fault is found."""

from __future__ import annotations

import pytest

from tests.dataplane.equivalence.pair import Difference, loaded, shape, text_of
from tests.dataplane.equivalence.play import any_steps, play
from tests.dataplane.faults import Fault
from tests.dataplane.faults_errors import ERROR_FAULTS

LIMIT = 20_000
"""Frames within which a fault has to be found."""
CHANGES = 8
ABOUT = 0.6
"""The share of frames that are aimed at what these faults spoil."""
SHAPE = shape(resets=True, ipv6=True, narrow=True)


def test_every_fault_fits_the_program_once() -> None:
    text = text_of(SHAPE)
    assert len({fault.plant(text) for fault in ERROR_FAULTS}) == len(ERROR_FAULTS)


@pytest.mark.root
@pytest.mark.parametrize("fault", ERROR_FAULTS, ids=[fault.name.replace(" ", "-") for fault in ERROR_FAULTS])
def test_fault_is_found(fault: Fault) -> None:
    with loaded(SHAPE, fault.plant(text_of(SHAPE))) as pair:
        seed = 0
        while pair.mix.frames < LIMIT:
            try:
                play(pair, seed, any_steps(seed, CHANGES), about=ABOUT)
            except Difference:
                print(f"{fault.name}: found with frame {pair.mix.frames + 1}")
                return
            seed += 1
        pytest.fail(f"{fault.name}: not found with {pair.mix.frames} frames")
