"""Which route leads to an address."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control.nexthop import interface_for
from appliance.control.routing import Subnets, route_for
from appliance.model import Host, Interface, Route

UP, OTHER, DOWN = (
    Interface("up", 1, bytes(6)),
    Interface("other", 2, bytes(6)),
    Interface("down", 3, bytes(6), up=False),
)


def route(prefix: str, gateway: str | None = None, interface: int = 1, metric: int = 0) -> Route:
    return Route(ip_network(prefix), ip_address(gateway) if gateway else None, interface, metric)


EVERYWHERE = route("0.0.0.0/0", "192.0.2.1", metric=100)
EVERYWHERE_6 = route("::/0", "fe80::1", interface=2, metric=1024)
LINK = route("192.0.2.0/24")
WIDE = route("10.0.0.0/8", "192.0.2.2")
NARROW = route("10.1.0.0/16", "192.0.2.3", interface=2, metric=50)
NARROW_WORSE = route("10.1.0.0/16", "192.0.2.4", metric=60)
NARROW_DOWN = route("10.1.0.0/16", "192.0.2.5", interface=3)
HOST = route("10.1.2.3/32", "192.0.2.6", interface=3)
VIA_6 = route("10.2.0.0/16", "2001:db8::1")


@pytest.mark.parametrize(
    ("routes", "address", "expected"),
    [
        ((), "10.1.2.3", None),
        ((WIDE, LINK), "198.51.100.1", None),
        ((EVERYWHERE, EVERYWHERE_6), "198.51.100.1", EVERYWHERE),
        ((EVERYWHERE, EVERYWHERE_6), "2001:db8::1", EVERYWHERE_6),
        ((EVERYWHERE,), "2001:db8::1", None),
        ((EVERYWHERE, LINK), "192.0.2.9", LINK),
        ((EVERYWHERE, WIDE, NARROW), "10.1.2.3", NARROW),
        ((NARROW, WIDE, EVERYWHERE), "10.1.2.3", NARROW),
        ((EVERYWHERE, WIDE, NARROW), "10.2.0.0", WIDE),
        ((NARROW_WORSE, NARROW), "10.1.2.3", NARROW),
        ((NARROW_DOWN, NARROW_WORSE), "10.1.2.3", NARROW_WORSE),
        ((NARROW_DOWN, WIDE), "10.1.2.3", NARROW_DOWN),
        ((HOST, NARROW), "10.1.2.3", HOST),
        ((HOST, NARROW), "10.1.2.4", NARROW),
        ((VIA_6, WIDE), "10.2.0.1", VIA_6),
        ((NARROW, route("10.1.0.0/16", "192.0.2.7", metric=50)), "10.1.2.3", NARROW),
    ],
)
def test_longest_prefix_then_up_then_metric_then_order(
    routes: tuple[Route, ...], address: str, expected: Route | None
) -> None:
    assert route_for(Host((UP, OTHER, DOWN), routes=routes), ip_address(address)) == expected


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


@given(INTERFACES, st.integers(0, 255), st.booleans())
def test_subnets_answer_as_one_by_one(interfaces: list[Interface], last: int, six: bool) -> None:
    host = Host(tuple(interfaces))
    address = ip_address(f"2001:db8::{last:x}" if six else f"10.0.0.{last}")
    assert Subnets(host).interface_for(address) is interface_for(host, address)
