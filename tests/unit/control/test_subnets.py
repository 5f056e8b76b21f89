"""Which interface reaches an address: held against a look at one subnet after the other."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

from hypothesis import given
from hypothesis import strategies as st

from appliance.control.subnets import Subnets
from appliance.model import Address, Host, Interface

OWN = st.builds(
    lambda last, length, six: ip_interface(f"2001:db8::{last:x}/{96 + length}" if six else f"10.0.0.{last}/{length}"),
    st.integers(0, 255),
    st.integers(0, 32),
    st.booleans(),
)
INTERFACES = st.lists(
    st.builds(
        lambda addresses, up, index: Interface("x", index, bytes(6), tuple(addresses), up=up),
        st.lists(OWN, max_size=4),
        st.booleans(),
        st.integers(1, 99),
    ),
    max_size=5,
)


def one_by_one(host: Host, address: Address) -> Interface | None:
    """The answer of a look at all subnets."""
    best: Interface | None = None
    best_rank = (-1, False)
    for interface in host.interfaces:
        for own in interface.addresses:
            rank = (own.network.prefixlen, interface.up)
            if address in own.network and rank > best_rank:
                best, best_rank = interface, rank
    return best


@given(INTERFACES, st.integers(0, 255), st.booleans())
def test_subnets_answer_as_one_by_one(interfaces: list[Interface], last: int, six: bool) -> None:
    host = Host(tuple(interfaces))
    address = ip_address(f"2001:db8::{last:x}" if six else f"10.0.0.{last}")
    assert Subnets(host).interface_for(address) is one_by_one(host, address)
