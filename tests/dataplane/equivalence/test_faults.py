"""The test of the test: each planted fault is found by the same frames that the program passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from appliance.dataplane.shape import Shape
from appliance.model import Mode
from tests.dataplane import faults_source
from tests.dataplane.equivalence.pair import shape, text_of
from tests.dataplane.equivalence.planting import frames_until_found
from tests.dataplane.faults import FAULTS, MODE_FAULTS, Fault

SHAPE = shape(resets=True)
MODES = shape(resets=True, mode=Mode.VLAN, ipv6=True, mixed=True)
SOURCE_SHAPE = shape(resets=False, ipv6=True, ddos=True)
PLANTED = [
    *((SHAPE, fault) for fault in FAULTS),
    *((MODES, fault) for fault in MODE_FAULTS),
    *((SOURCE_SHAPE, fault) for fault in faults_source.FAULTS),
]


@pytest.mark.parametrize(("what", "faults"), [(SHAPE, FAULTS), (MODES, MODE_FAULTS)], ids=["plain", "modes"])
def test_every_fault_fits_the_program_once(what: Shape, faults: Sequence[Fault]) -> None:
    text = text_of(what)
    assert len({fault.plant(text) for fault in faults}) == len(faults) >= 20


def test_every_fault_of_sources_fits_once() -> None:
    text = text_of(SOURCE_SHAPE)
    assert len({fault.plant(text) for fault in faults_source.FAULTS}) == len(faults_source.FAULTS)


@pytest.mark.root
@pytest.mark.parametrize("place", range(len(PLANTED)), ids=[fault.name.replace(" ", "-") for _, fault in PLANTED])
def test_fault_is_found(place: int, record_property: Callable[[str, object], None]) -> None:
    record_property("frames", frames_until_found(PLANTED, place))
