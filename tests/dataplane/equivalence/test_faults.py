"""The test of the test: each planted fault is found by the same frames that the program passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.dataplane.encapsulation import ALL
from appliance.dataplane.shape import Shape
from tests.dataplane.equivalence.pair import Difference, loaded, shape, text_of
from tests.dataplane.equivalence.play import any_steps, play
from tests.dataplane.faults import FAULTS, Fault
from tests.dataplane.faults_tunnels import TUNNEL_FAULTS

LIMIT = 40_000
"""Frames within which a fault has to be found."""
CHANGES = 8
SHAPE = shape(resets=True)
TUNNELS = shape(resets=False, ipv6=True, tunnels=ALL)


def test_every_fault_fits_the_program_once() -> None:
    text = text_of(SHAPE)
    assert len({fault.plant(text) for fault in FAULTS}) == len(FAULTS) >= 20


@pytest.mark.root
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name.replace(" ", "-") for fault in FAULTS])
def test_fault_is_found(fault: Fault, record_property: Callable[[str, object], None]) -> None:
    _find(SHAPE, fault, record_property)


def test_every_tunnel_fault_fits_the_program_once() -> None:
    text = text_of(TUNNELS)
    assert len({fault.plant(text) for fault in TUNNEL_FAULTS}) == len(TUNNEL_FAULTS) >= 20


@pytest.mark.root
@pytest.mark.parametrize("fault", TUNNEL_FAULTS, ids=[fault.name.replace(" ", "-") for fault in TUNNEL_FAULTS])
def test_fault_of_tunnels_is_found(fault: Fault, record_property: Callable[[str, object], None]) -> None:
    _find(TUNNELS, fault, record_property)


def _find(what: Shape, fault: Fault, record_property: Callable[[str, object], None]) -> None:
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
