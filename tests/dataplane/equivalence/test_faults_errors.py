"""The test of the test, for ICMP errors, fragments and packets that are too big: each planted fault is found."""

from __future__ import annotations

import pytest

from tests.dataplane.equivalence.pair import shape, text_of
from tests.dataplane.equivalence.planting import EVERY, frames_until_found
from tests.dataplane.faults_errors import ERROR_FAULTS
from tests.dataplane.faults_nat import NAT_PART_FAULTS

ABOUT = 0.6
"""The share of frames that are aimed at what these faults spoil."""
SHAPE = shape(resets=True, ipv6=True, narrow=True)
NAT_SHAPE = shape(resets=True, ipv6=True, nat=True)
PLANTED = [
    *((SHAPE, fault) for fault in ERROR_FAULTS),
    *((NAT_SHAPE, fault) for fault in NAT_PART_FAULTS),
][::EVERY]


def test_every_fault_fits_the_program_once() -> None:
    for what, faults in ((SHAPE, ERROR_FAULTS), (NAT_SHAPE, NAT_PART_FAULTS)):
        text = text_of(what)
        assert len({fault.plant(text) for fault in faults}) == len(faults)


@pytest.mark.root
@pytest.mark.hypothesis
@pytest.mark.parametrize("place", range(len(PLANTED)), ids=[fault.name.replace(" ", "-") for _, fault in PLANTED])
def test_fault_is_found(place: int) -> None:
    frames_until_found(PLANTED, place, about=ABOUT)
