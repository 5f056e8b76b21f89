"""The private addresses of (VIP, backend) pairs: the prober, the program and its model must mean the same."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from appliance.dataplane.desired import PROBER6
from appliance.dataplane.model.exits import probe_address
from appliance.net.namespace import LAST_NAT_INDEX, NEXT_HOP6, PEER_ADDRESS6, PROBE_NETWORK6, nat_address


@pytest.mark.parametrize(
    ("index", "version", "address"),
    [
        (1, 4, "10.0.0.1"),
        (256, 4, "10.0.1.0"),
        (LAST_NAT_INDEX, 4, "10.255.240.0"),
        (1, 6, "fd76:6335::1"),
        (LAST_NAT_INDEX, 6, "fd76:6335::ff:f000"),
    ],
)
def test_nat_address(index: int, version: int, address: str) -> None:
    assert nat_address(index, version) == ip_address(address) == probe_address(index, version)


@pytest.mark.parametrize("index", [-1, 0, LAST_NAT_INDEX + 1, 1 << 24])
def test_nat_address_outside(index: int) -> None:
    with pytest.raises(ValueError, match=f"probe address {index} is not between 1 and 16773120"):
        nat_address(index)


def test_the_prober_has_the_address_that_the_program_sends_answers_to() -> None:
    assert PEER_ADDRESS6 == PROBER6
    assert PEER_ADDRESS6 not in PROBE_NETWORK6
    assert NEXT_HOP6 not in PROBE_NETWORK6
