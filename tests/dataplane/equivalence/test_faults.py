"""The test of the test: each planted fault is found by the same frames that the program passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from appliance.dataplane.encapsulation import ALL
from appliance.dataplane.shape import Shape
from appliance.model import Mode
from tests.dataplane import faults_source
from tests.dataplane.equivalence.pair import Difference, loaded, shape, text_of
from tests.dataplane.equivalence.play import any_steps, play
from tests.dataplane.faults import FAULTS, MODE_FAULTS, NAT_FAULTS, Fault
from tests.dataplane.faults_tunnels import TUNNEL_FAULTS

LIMIT = 40_000
"""Frames within which a fault has to be found."""
CHANGES = 8
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
]


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
@pytest.mark.parametrize(("what", "fault"), PLANTED, ids=[fault.name.replace(" ", "-") for _, fault in PLANTED])
def test_fault_is_found(what: Shape, fault: Fault, record_property: Callable[[str, object], None]) -> None:
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
