"""The test of the test, for what the program tells the fleet: each planted fault is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.dataplane.equivalence.pair import Difference, loaded, shape, text_of
from tests.dataplane.equivalence.planting import EVERY, frames_until_found
from tests.dataplane.faults import Fault
from tests.dataplane.faults_fleet import FLEET_FAULTS, ROOM_FAULTS
from tests.dataplane.test_packets_fleet import fill_ring

SHAPE = shape(resets=True, fleet=True)
PLANTED = [(SHAPE, fault) for fault in FLEET_FAULTS][::EVERY]
FULL = ROOM_FAULTS[::EVERY]


def test_every_fault_fits_the_program_once() -> None:
    text, faults = text_of(SHAPE), (*FLEET_FAULTS, *ROOM_FAULTS)
    assert len({fault.plant(text) for fault in faults}) == len(faults)


@pytest.mark.root
@pytest.mark.hypothesis
@pytest.mark.parametrize("place", range(len(PLANTED)), ids=[fault.name.replace(" ", "-") for _, fault in PLANTED])
def test_fault_is_found(place: int, record_property: Callable[[str, object], None]) -> None:
    record_property("frames", frames_until_found(PLANTED, place))


@pytest.mark.root
@pytest.mark.parametrize("fault", FULL, ids=[fault.name.replace(" ", "-") for fault in FULL])
def test_fault_of_a_full_ring_is_found(fault: Fault) -> None:
    with loaded(SHAPE, fault.plant(text_of(SHAPE))) as pair, pytest.raises(Difference):
        fill_ring(pair)
