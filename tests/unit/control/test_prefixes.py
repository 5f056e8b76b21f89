"""The longest of some networks that holds an address, compared with looking at all of them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hypothesis import example, given
from hypothesis import strategies as st

from appliance.control.prefixes import Prefixes
from appliance.model import Address, Network

# Few different bits, so that networks contain one another.
NETWORKS = st.one_of(
    st.builds(
        lambda a, n: IPv4Network((a, n), strict=False), st.integers(0, 7).map(lambda a: a << 29 | a), st.integers(0, 32)
    ),
    st.builds(
        lambda a, n: IPv6Network((a, n), strict=False),
        st.integers(0, 7).map(lambda a: a << 125 | a),
        st.integers(0, 128),
    ),
)
ADDRESSES = st.one_of(
    st.integers(0, 7).map(lambda a: IPv4Address(a << 29 | a)),
    st.integers(0, 7).map(lambda a: IPv6Address(a << 125 | a)),
)


@given(st.lists(NETWORKS, max_size=12), ADDRESSES)
@example([IPv4Network("0.0.0.0/0")], IPv6Address("::"))
@example([IPv6Network("::/0"), IPv4Network("0.0.0.0/0")], IPv4Address(0))
def test_against_all(networks: list[Network], address: Address) -> None:
    holding = [(network.prefixlen, -at) for at, network in enumerate(networks) if address in network]
    expected = (max(holding)[0], -max(holding)[1]) if holding else None
    assert Prefixes((network, at) for at, network in enumerate(networks)).longest(address) == expected
