"""The test of the test: each planted fault is found by the same frames that the program passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.dataplane.shape import Shape
from tests.dataplane.equivalence.pair import Difference, loaded, shape, text_of
from tests.dataplane.equivalence.play import any_steps, play
from tests.dataplane.faults import FAULTS, NAT_FAULTS, Fault

LIMIT = 40_000
"""Frames within which a fault has to be found."""
CHANGES = 8
SHAPE = shape(resets=True)


def test_every_fault_fits_the_program_once() -> None:
    text = text_of(SHAPE)
    assert len({fault.plant(text) for fault in FAULTS}) == len(FAULTS) >= 20


@pytest.mark.root
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name.replace(" ", "-") for fault in FAULTS])
def test_fault_is_found(fault: Fault, record_property: Callable[[str, object], None]) -> None:
    _find(fault, SHAPE, record_property)


def _find(fault: Fault, what: Shape, record_property: Callable[[str, object], None]) -> None:
    with loaded(what, fault.plant(text_of(what))) as pair:
        seed = 0
        while pair.mix.frames < LIMIT:
            try:
                play(pair, seed, any_steps(seed, CHANGES))
            except Difference:
                print(f"{fault.name}: found with frame {pair.mix.frames + 1}")
                record_property("frames", pair.mix.frames + 1)
                return
            seed += 1
        pytest.fail(f"{fault.name}: not found with {pair.mix.frames} frames")


NAT_SHAPE = shape(resets=True, ipv6=True, nat=True)


def test_every_fault_of_nat_fits_the_program_once() -> None:
    text = text_of(NAT_SHAPE)
    assert len({fault.plant(text) for fault in NAT_FAULTS}) == len(NAT_FAULTS)


@pytest.mark.root
@pytest.mark.parametrize("fault", NAT_FAULTS, ids=[fault.name.replace(" ", "-") for fault in NAT_FAULTS])
def test_fault_of_nat_is_found(fault: Fault, record_property: Callable[[str, object], None]) -> None:
    _find(fault, NAT_SHAPE, record_property)
