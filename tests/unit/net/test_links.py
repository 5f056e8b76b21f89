"""Which links concern us, and what is said of VLANs and bonds.

Many kernels for virtual machines have neither 8021q nor bonding, so the messages are no recording: pyroute2's encoder
makes them, with the attributes that such links have.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

import pytest
from pyroute2.netlink.rtnl import RTM_NEWLINK
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from appliance.model import Interface
from appliance.net.links import Link, concerned, interface
from appliance.net.messages import decode
from appliance.net.wire import split

Q, AD = 0x8100, 0x88A8


def said(
    index: int,
    *attributes: tuple[str, Any],
    kind: str = "",
    data: tuple[tuple[str, Any], ...] = (),
    member_of: str = "",
    member_data: tuple[tuple[str, Any], ...] = (),
) -> Link:
    """Return what RTM_NEWLINK with these attributes is read as."""
    message = ifinfmsg()
    message["index"], message["flags"] = index, 0x41
    message["header"]["type"] = RTM_NEWLINK
    information: list[tuple[str, Any]] = [("IFLA_INFO_KIND", kind)] if kind else []
    information += [("IFLA_INFO_DATA", {"attrs": list(data)})] if data else []
    if member_of:
        information += [("IFLA_INFO_SLAVE_KIND", member_of), ("IFLA_INFO_SLAVE_DATA", {"attrs": list(member_data)})]
    message["attrs"] = [
        ("IFLA_IFNAME", f"if{index}"),
        ("IFLA_ADDRESS", f"02:00:00:00:00:{index:02x}"),
        ("IFLA_MTU", 1500),
        *attributes,
        ("IFLA_LINKINFO", {"attrs": information}),
    ]
    message.encode()
    (packet,) = split(bytes(message.data))
    link = decode(packet)
    assert isinstance(link, Link)
    assert (link.index, link.name, link.mac[5], link.mtu, link.up, link.enabled) == (
        *(index, f"if{index}", index, 1500),
        *(True, True),
    )
    return link


def vlan_data(number: int, protocol: int = Q) -> tuple[tuple[str, Any], ...]:
    return (("IFLA_VLAN_ID", number), ("IFLA_VLAN_PROTOCOL", protocol))


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        (said(2), ("", None, 0, 0)),
        (said(2, ("IFLA_MASTER", 5)), ("", None, 0, 5)),
        (said(5, kind="bond", data=(("IFLA_BOND_MODE", 4),)), ("bond", None, 0, 0)),
        (said(6, ("IFLA_LINK", 5), kind="vlan", data=vlan_data(10)), ("vlan", 10, 5, 0)),
        (said(6, ("IFLA_LINK", 5), kind="vlan", data=(("IFLA_VLAN_ID", 4094),)), ("vlan", 4094, 5, 0)),
        (said(6, ("IFLA_LINK", 5), kind="vlan", data=vlan_data(10, AD)), ("vlan", None, 0, 0)),
        (
            said(6, ("IFLA_LINK", 5), ("IFLA_LINK_NETNSID", 0), kind="vlan", data=vlan_data(10)),
            ("vlan", None, 0, 0),
        ),
        (said(6, kind="vlan"), ("vlan", None, 0, 0)),
        (said(7, ("IFLA_LINK", 2), kind="macvlan"), ("macvlan", None, 0, 0)),
        (said(8, ("IFLA_LINK", 2), kind="veth"), ("veth", None, 0, 0)),
        (said(9, kind="bridge"), ("bridge", None, 0, 0)),
    ],
)
def test_what_a_message_says_of_a_link(link: Link, expected: tuple[str, int | None, int, int]) -> None:
    assert (link.kind, link.vlan, link.parent, link.master) == expected


@pytest.mark.parametrize(
    ("kind", "data", "standby"),
    [
        ("bond", (("IFLA_BOND_SLAVE_STATE", 1),), True),
        ("bond", (("IFLA_BOND_SLAVE_STATE", 0),), False),
        ("bond", (("IFLA_BOND_SLAVE_QUEUE_ID", 1),), False),
        ("bridge", (("IFLA_BRPORT_STATE", 1),), False),
    ],
)
def test_a_bond_keeps_a_member_in_reserve(kind: str, data: tuple[tuple[str, Any], ...], standby: bool) -> None:
    assert said(2, ("IFLA_MASTER", 5), member_of=kind, member_data=data).standby is standby


def link(index: int, name: str, **more: Any) -> Link:
    return Link(index, name, bytes((2, 0, 0, 0, 0, index)), 1500, up=True, **more)


ETH0, ETH1 = link(2, "eth0"), link(3, "eth1")
MEMBER0, MEMBER1 = link(2, "eth0", master=5), link(3, "eth1", master=5)
BOND = link(5, "bond0", kind="bond")
BRIDGE = link(5, "br0", kind="bridge")
ON_ETH0 = (link(10, "eth0.20", kind="vlan", vlan=20, parent=2), link(11, "ten", kind="vlan", vlan=10, parent=2))
ON_ETH1 = (link(12, "eth1.7", kind="vlan", vlan=7, parent=3),)
ON_BOND = (link(13, "bond0.10", kind="vlan", vlan=10, parent=5),)
INNER = link(14, "eth0.20.5", kind="vlan", vlan=5, parent=10)


@pytest.mark.parametrize(
    ("names", "links", "expected"),
    [
        ("eth1 eth0 eth9", (ETH0, ETH1), "eth1 eth0"),
        ("eth0", (ETH0, ETH1, *ON_ETH0, *ON_ETH1, INNER), "eth0 ten eth0.20"),
        ("eth1 eth0", (*ON_ETH1, *ON_ETH0, ETH0, ETH1), "eth1 eth0 eth1.7 ten eth0.20"),
        ("eth0 eth1", (MEMBER0, MEMBER1, BOND, *ON_BOND), "eth0 eth1 bond0 bond0.10"),
        ("eth0", (MEMBER0, MEMBER1, BOND, *ON_BOND, *ON_ETH0), "eth0 ten eth0.20 bond0 bond0.10"),
        ("eth0", (MEMBER0, BRIDGE, *ON_BOND), "eth0"),
        ("eth0", (MEMBER0, *ON_BOND), "eth0"),
        ("bond0", (MEMBER0, MEMBER1, BOND, *ON_BOND), "bond0 bond0.10"),
        ("bond0 eth0", (MEMBER0, MEMBER1, BOND, *ON_BOND), "bond0 eth0 bond0.10"),
        ("eth0.20 eth0", (ETH0, *ON_ETH0, INNER), "eth0.20 eth0 ten"),
        ("eth0.20", (ETH0, *ON_ETH0, INNER), "eth0.20"),
        ("", (ETH0, *ON_ETH0), ""),
    ],
)
def test_concerned_are_the_configured_and_vlans_and_bonds_around_them(
    names: str, links: tuple[Link, ...], expected: str
) -> None:
    found = concerned(names.split(), {one.index: one for one in links})
    assert [one.name for one in found] == expected.split()


def test_an_interface_names_its_vlan_parent_and_bond() -> None:
    links = {one.index: one for one in (MEMBER0, BOND, *ON_BOND)}
    assert interface(MEMBER0, links) == Interface("eth0", 2, MEMBER0.mac, master=5)
    reserve = replace(MEMBER0, standby=True)
    assert interface(reserve, links) == Interface("eth0", 2, MEMBER0.mac, master=5, standby=True)
    assert interface(BOND, links) == Interface("bond0", 5, BOND.mac)
    assert interface(ON_BOND[0], links) == Interface("bond0.10", 13, ON_BOND[0].mac, vlan=10, parent=5)
    assert interface(MEMBER0, {2: MEMBER0, 5: BRIDGE}).master == 0


def test_ipv4_addresses_stay_in_order_and_ipv6_ones_are_sorted_behind() -> None:
    addresses = [ip_interface(text) for text in ("2001:db8::2/64", "10.0.0.9/24", "2001:db8::1/64", "10.0.0.1/24")]
    found = interface(ETH0, {}, addresses).addresses
    assert [str(one) for one in found] == ["10.0.0.9/24", "10.0.0.1/24", "2001:db8::1/64", "2001:db8::2/64"]
