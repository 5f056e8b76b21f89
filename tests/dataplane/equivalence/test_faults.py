"""The test of the test: each planted fault is found by the same frames that the program passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from appliance.dataplane.encapsulation import ALL
from appliance.dataplane.shape import Shape
from appliance.model import Mode
from tests.dataplane import faults_source
from tests.dataplane.equivalence.pair import shape, text_of
from tests.dataplane.equivalence.planting import EVERY, frames_until_found
from tests.dataplane.faults import FAULTS, MODE_FAULTS, NAT_FAULTS, Fault
from tests.dataplane.faults_tunnels import TUNNEL_FAULTS

SHAPE = shape(resets=True)
MODES = shape(resets=True, mode=Mode.VLAN, ipv6=True, mixed=True)
SOURCE_SHAPE = shape(resets=False, ipv6=True, ddos=True)
TUNNELS = shape(resets=False, ipv6=True, tunnels=ALL)
NAT_SHAPE = shape(resets=True, ipv6=True, nat=True)
PLANTED = [
    *((SHAPE, fault) for fault in FAULTS),
    *((MODES, fault) for fault in MODE_FAULTS),
    *((SOURCE_SHAPE, fault) for fault in faults_source.FAULTS),
    *((TUNNELS, fault) for fault in TUNNEL_FAULTS),
    *((NAT_SHAPE, fault) for fault in NAT_FAULTS),
][::EVERY]


@pytest.mark.parametrize(
    ("what", "faults"),
    [(SHAPE, FAULTS), (MODES, MODE_FAULTS), (TUNNELS, TUNNEL_FAULTS)],
    ids=["plain", "modes", "tunnels"],
)
def test_every_fault_fits_the_program_once(what: Shape, faults: Sequence[Fault]) -> None:
    text = text_of(what)
    assert len({fault.plant(text) for fault in faults}) == len(faults) >= 20


@pytest.mark.parametrize(
    ("what", "faults"), [(SOURCE_SHAPE, faults_source.FAULTS), (NAT_SHAPE, NAT_FAULTS)], ids=["sources", "nat"]
)
def test_every_fault_of_a_feature_fits_once(what: Shape, faults: Sequence[Fault]) -> None:
    text = text_of(what)
    assert len({fault.plant(text) for fault in faults}) == len(faults)


@pytest.mark.root
@pytest.mark.hypothesis
@pytest.mark.parametrize("place", range(len(PLANTED)), ids=[fault.name.replace(" ", "-") for _, fault in PLANTED])
def test_fault_is_found(place: int, record_property: Callable[[str, object], None]) -> None:
    record_property("frames", frames_until_found(PLANTED, place))
