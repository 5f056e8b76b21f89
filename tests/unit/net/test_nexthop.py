"""Which interface reaches a next hop."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

import pytest

from appliance.control.nexthop import interface_for
from appliance.model import Host, Interface


def interface(name: str, *addresses: str, up: bool = True) -> Interface:
    return Interface(name, len(name), bytes(6), tuple(ip_interface(address) for address in addresses), up=up)


WIDE = interface("wide", "10.1.0.1/16", "2001:db8::1/32")
NARROW = interface("narrow", "10.1.2.1/24", "10.1.2.9/24", "2001:db8:1::1/48")
TWIN = interface("narrow-twin", "10.1.2.2/24")
DOWN = interface("down", "10.1.2.3/24", up=False)
POINT = interface("point", "10.1.2.77/32")
BARE = interface("bare")


@pytest.mark.parametrize(
    ("interfaces", "address", "expected"),
    [
        ((WIDE, NARROW), "10.1.2.5", "narrow"),
        ((NARROW, WIDE), "10.1.2.5", "narrow"),
        ((WIDE, NARROW), "10.1.3.5", "wide"),
        ((WIDE, NARROW), "2001:db8:1::5", "narrow"),
        ((WIDE, NARROW), "2001:db8:2::5", "wide"),
        ((WIDE, NARROW), "10.2.0.1", None),
        ((WIDE, NARROW), "2001:db9::1", None),
        ((NARROW, TWIN), "10.1.2.5", "narrow"),
        ((TWIN, NARROW), "10.1.2.5", "narrow-twin"),
        ((DOWN, TWIN), "10.1.2.5", "narrow-twin"),
        ((DOWN, WIDE), "10.1.2.5", "down"),
        ((NARROW, POINT), "10.1.2.77", "point"),
        ((NARROW, POINT), "10.1.2.78", "narrow"),
        ((BARE,), "10.1.2.5", None),
        ((), "10.1.2.5", None),
    ],
)
def test_longest_prefix_wins_then_up_then_order(
    interfaces: tuple[Interface, ...], address: str, expected: str | None
) -> None:
    found = interface_for(Host(interfaces), ip_address(address))
    assert (found.name if found else None) == expected
