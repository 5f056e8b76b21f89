"""From configuration and host to the way to a backend, in every mode and family; or to what is missing."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import NamedTuple

import pytest

from appliance.control.trouble import Lack
from appliance.control.ways import Ways
from appliance.dataplane.desired import Hop
from appliance.model import Backend, Config, Host, Interface, Mode, Protocol, Service, ServiceKey
from tests.unit.control.networks import (
    BOND,
    BONDED,
    LAN,
    MULTI,
    NICS,
    ON_TRUNK,
    SIMPLE,
    TAGGED,
    TRUNK,
    config,
    down,
    host,
    interface,
    mac,
    reserve,
    route,
    vlan,
    without,
)


class To(NamedTuple):
    """The expected hop: egress, the interface with own address and MAC, own address, tag, MTU, next hop."""

    egress: int
    holder: int
    own: str
    tag: int | None = None
    mtu: int = 1500
    next: str = ""


NET, DOWN = Lack.NO_NETWORK, Lack.INTERFACE_DOWN
ADDRESS, ROUTE, UNKNOWN = Lack.NO_ADDRESS, Lack.NO_ROUTE, Lack.UNRESOLVED

LANS = host([LAN], ["2 10.1.10.1", "2 2001:db8:1::1", "2 10.1.0.1"])
TWO = host([interface("eth0", 2, "10.1.0.5/16"), interface("eth1", 3, "10.1.10.5/24")], ["2 10.1.10.1", "3 10.1.10.1"])
TWINS = host(
    [interface("eth0", 2, "10.1.10.5/24", up=False), interface("eth1", 3, "10.1.10.6/24")],
    ["2 10.1.10.1", "3 10.1.10.1"],
)
PORTS = host(NICS, ["2 10.1.10.1", "3 10.1.20.1", "4 2001:db8:30::1", "2 2001:db8:10::1"])
TRUNKS = host(ON_TRUNK, ["10 10.1.10.1", "20 10.1.20.1", "10 2001:db8:10::1"])
BONDS = host(BOND, ["10 10.1.10.1", "20 10.1.20.1", "10 2001:db8:10::1", "5 10.1.99.1"])
PLAIN_BOND = host(
    [interface("eth0", 2, master=5), interface("eth1", 3, master=5), interface("bond0", 5, "10.1.10.5/24", mtu=9000)],
    ["5 10.1.10.1"],
)
MIXED = host(
    [*ON_TRUNK, interface("eth1", 3, "10.1.99.5/24", "10.1.20.77/24", "10.1.30.77/24")],
    ["10 10.1.10.1", "20 10.1.20.1", "3 10.1.99.1", "3 10.1.30.1", "3 10.1.20.1"],
)
PUSHING = replace(TAGGED, interfaces=("eth0", "eth1"))
TWO_TRUNKS = host(
    [
        interface("eth0", 2),
        interface("eth1", 3),
        interface("eth0.10", 10, vlan=10, parent=2),
        interface("eth1.10", 11, "10.1.10.6/24", vlan=10, parent=3),
    ],
    ["10 10.1.10.1", "11 10.1.10.1"],
)
BOTH = replace(TAGGED, interfaces=("eth0", "eth1"))
ALONE = host([interface("eth0.10", 10, "10.1.10.5/24", vlan=10, parent=2)], ["10 10.1.10.1"])
WIDE = config(Mode.VLAN, "eth0 eth1", vlan(10, "10.0.0.0/8"), vlan(20, "10.1.20.0/24"))

ON_LINK: dict[str, tuple[Config, Host, str, To | Lack]] = {
    # simple
    "simple": (SIMPLE, LANS, "10.1.10.1", To(2, 2, "10.1.0.5")),
    "simple, IPv6": (SIMPLE, LANS, "2001:db8:1::1", To(2, 2, "2001:db8:1::5")),
    "simple, a large MTU": (SIMPLE, host([replace(LAN, mtu=9000)], ["2 10.1.10.1"]), "10.1.10.1",
                            To(2, 2, "10.1.0.5", None, 9000)),
    "simple, MAC not known": (SIMPLE, host([LAN]), "10.1.10.1", UNKNOWN),
    "simple, MAC known elsewhere": (SIMPLE, host([LAN], ["3 10.1.10.1"]), "10.1.10.1", UNKNOWN),
    "simple, IPv6, MAC not known": (SIMPLE, host([LAN]), "2001:db8:1::1", UNKNOWN),
    "simple, another network": (SIMPLE, LANS, "10.2.0.1", NET),
    "simple, another IPv6 network": (SIMPLE, LANS, "2001:db8:2::1", NET),
    "simple, link-local is no network of backends": (SIMPLE, host([LAN], ["2 fe80::1"]), "fe80::1", NET),
    "simple, no address": (SIMPLE, host([TRUNK], ["2 10.1.10.1"]), "10.1.10.1", NET),
    "simple, interface gone": (SIMPLE, without(LANS, "eth0"), "10.1.10.1", NET),
    "simple, interface down": (SIMPLE, down(LANS, "eth0"), "10.1.10.1", DOWN),
    "simple, the longer prefix": (config(Mode.SIMPLE, "eth0 eth1"), TWO, "10.1.10.1", To(3, 3, "10.1.10.5")),
    "simple, the one that is up": (config(Mode.SIMPLE, "eth0 eth1"), TWINS, "10.1.10.1", To(3, 3, "10.1.10.6")),
    "simple, not on a VLAN interface": (SIMPLE, TRUNKS, "10.1.10.1", NET),
    "simple, on the VLAN interface that is configured": (
        config(Mode.SIMPLE, "eth0.10"), ALONE, "10.1.10.1", To(10, 10, "10.1.10.5")),
    "simple, the bond's address": (
        config(Mode.SIMPLE, "eth0 eth1"), PLAIN_BOND, "10.1.10.1", To(2, 5, "10.1.10.5", None, 9000)),
    "simple, the bond's first member down": (
        config(Mode.SIMPLE, "eth0 eth1"), down(PLAIN_BOND, "eth0"), "10.1.10.1", To(3, 5, "10.1.10.5", None, 9000)),
    "simple, all members down": (
        config(Mode.SIMPLE, "eth0 eth1"), down(PLAIN_BOND, "eth0", "eth1"), "10.1.10.1", DOWN),
    "simple, a bond itself": (
        config(Mode.SIMPLE, "bond0"), PLAIN_BOND, "10.1.10.1", To(5, 5, "10.1.10.5", None, 9000)),
    "simple, no interfaces named": (config(Mode.SIMPLE, ""), LANS, "10.1.10.1", To(2, 2, "10.1.0.5")),
    "simple, `vlans` mean nothing": (replace(TAGGED, mode=Mode.SIMPLE), TRUNKS, "10.1.10.1", NET),
    # multi-nic
    "multi-nic, first": (MULTI, PORTS, "10.1.10.1", To(2, 2, "10.1.10.5")),
    "multi-nic, second": (MULTI, PORTS, "10.1.20.1", To(3, 3, "10.1.20.5", None, 9000)),
    "multi-nic, IPv6 on the third": (MULTI, PORTS, "2001:db8:30::1", To(4, 4, "2001:db8:30::5")),
    "multi-nic, one gone": (MULTI, without(PORTS, "eth1"), "10.1.20.1", NET),
    "multi-nic, another gone": (MULTI, without(PORTS, "eth1"), "10.1.10.1", To(2, 2, "10.1.10.5")),
    "multi-nic, one down": (MULTI, down(PORTS, "eth1"), "10.1.20.1", DOWN),
    "multi-nic, ids are no tags": (
        replace(MULTI, vlans=(vlan(7, "10.1.20.0/24"),)), PORTS, "10.1.20.1", To(3, 3, "10.1.20.5", None, 9000)),
    # vlan
    "vlan": (TAGGED, TRUNKS, "10.1.10.1", To(2, 10, "10.1.10.5", 10)),
    "vlan, another, with its own MTU": (TAGGED, TRUNKS, "10.1.20.1", To(2, 20, "10.1.20.5", 20, 1400)),
    "vlan, IPv6": (TAGGED, TRUNKS, "2001:db8:10::1", To(2, 10, "2001:db8:10::5", 10)),
    "vlan, MAC not known": (TAGGED, host(ON_TRUNK), "10.1.10.1", UNKNOWN),
    "vlan, MAC known without the tag": (TAGGED, host(ON_TRUNK, ["2 10.1.10.1"]), "10.1.10.1", UNKNOWN),
    "vlan, in none": (TAGGED, TRUNKS, "10.1.40.1", NET),
    "vlan, on a VLAN interface that `vlans` does not have": (
        config(Mode.VLAN, "eth0", vlan(20, "10.1.20.0/24")), TRUNKS, "10.1.10.1", NET),
    "vlan, no VLAN interface": (TAGGED, TRUNKS, "10.1.30.1", ADDRESS),
    "vlan, no VLAN interface, an untagged one has the network": (
        PUSHING, MIXED, "10.1.30.1", To(3, 3, "10.1.30.77", 30)),
    "vlan, the VLAN interface before the untagged one": (PUSHING, MIXED, "10.1.20.1", To(2, 20, "10.1.20.5", 20, 1400)),
    "vlan, untagged": (PUSHING, MIXED, "10.1.99.1", To(3, 3, "10.1.99.5")),
    "vlan, untagged, the longer prefix": (WIDE, MIXED, "10.1.99.1", To(3, 3, "10.1.99.5")),
    "vlan, the longer VLAN": (WIDE, MIXED, "10.1.20.1", To(2, 20, "10.1.20.5", 20, 1400)),
    "vlan, the shorter VLAN": (WIDE, MIXED, "10.1.10.1", To(2, 10, "10.1.10.5", 10)),
    "vlan, VLAN interface without an address": (
        TAGGED, host([TRUNK, interface("eth0.10", 10, vlan=10, parent=2)]), "10.1.10.1", ADDRESS),
    "vlan, VLAN interface with an address of the other family": (
        TAGGED, host([TRUNK, interface("eth0.10", 10, "2001:db8:10::5/64", vlan=10, parent=2)]), "10.1.10.1", ADDRESS),
    "vlan, link-local is no own address": (
        TAGGED, host([TRUNK, interface("eth0.10", 10, "fe80::5/64", vlan=10, parent=2)]), "2001:db8:10::1", ADDRESS),
    "vlan, VLAN interface with another prefix": (
        TAGGED,
        host([TRUNK, interface("eth0.10", 10, "10.1.10.5/32", "10.9.0.1/24", vlan=10, parent=2)], ["10 10.1.10.1"]),
        "10.1.10.1",
        To(2, 10, "10.1.10.5", 10)),
    "vlan, VLAN interface gone": (TAGGED, without(TRUNKS, "eth0.10"), "10.1.10.1", ADDRESS),
    "vlan, VLAN interface down": (TAGGED, down(TRUNKS, "eth0.10"), "10.1.10.1", DOWN),
    "vlan, trunk down": (TAGGED, down(TRUNKS, "eth0"), "10.1.10.1", DOWN),
    "vlan, on a VLAN interface that is itself configured, the kernel tags": (
        replace(TAGGED, interfaces=("eth0", "eth0.10")), TRUNKS, "10.1.10.1", To(10, 10, "10.1.10.5")),
    "vlan, on top of nobody knows what": (
        TAGGED, host([TRUNK, interface("eth9.10", 10, "10.1.10.5/24", vlan=10)], ["10 10.1.10.1"]),
        "10.1.10.1", ADDRESS),
    "vlan, not on top of ours": (
        TAGGED, host([TRUNK, interface("eth9.10", 10, "10.1.10.5/24", vlan=10, parent=9)], ["10 10.1.10.1"]),
        "10.1.10.1", ADDRESS),
    "vlan, two trunks, the one with the network": (BOTH, TWO_TRUNKS, "10.1.10.1", To(3, 11, "10.1.10.6", 10)),
    "vlan, the bond's VLAN": (BONDED, BONDS, "10.1.10.1", To(2, 10, "10.1.10.5", 10)),
    "vlan, the bond's VLAN, IPv6": (BONDED, BONDS, "2001:db8:10::1", To(2, 10, "2001:db8:10::5", 10)),
    "vlan, the bond's VLAN, MTU": (BONDED, BONDS, "10.1.20.1", To(2, 20, "10.1.20.5", 20, 1400)),
    "vlan, the bond's first member down": (BONDED, down(BONDS, "eth0"), "10.1.10.1", To(3, 10, "10.1.10.5", 10)),
    "vlan, the bond's first member in reserve": (
        BONDED, reserve(BONDS, "eth0"), "10.1.10.1", To(3, 10, "10.1.10.5", 10)),
    "vlan, the bond's second member in reserve": (
        BONDED, reserve(BONDS, "eth1"), "10.1.10.1", To(2, 10, "10.1.10.5", 10)),
    "vlan, the bond's other member in reserve and the first down": (
        BONDED, reserve(down(BONDS, "eth0"), "eth1"), "10.1.10.1", To(3, 10, "10.1.10.5", 10)),
    "vlan, the bond's first member gone": (BONDED, without(BONDS, "eth0"), "10.1.10.1", To(3, 10, "10.1.10.5", 10)),
    "vlan, the bond is not among the interfaces": (
        BONDED, without(BONDS, "bond0"), "10.1.10.1", To(2, 10, "10.1.10.5", 10)),
    "vlan, all members down": (BONDED, down(BONDS, "eth0", "eth1"), "10.1.10.1", DOWN),
    "vlan, untagged on the bond": (BONDED, BONDS, "10.1.99.1", To(2, 5, "10.1.99.5")),
}  # fmt: skip

GATEWAYS = (
    vlan(20, "10.1.20.0/24", "10.1.20.1"),
    vlan(10, "10.1.10.0/24", "10.1.10.1"),
    vlan(5, "10.1.5.0/24"),
    vlan(10, "2001:db8:10::/64", "2001:db8:10::1"),
)
GATED = config(Mode.VLAN, "eth0", *GATEWAYS)
SIX = config(Mode.VLAN, "eth0", vlan(10, "2001:db8:10::/64", "2001:db8:10::1"))
ROUTES = (
    route("0.0.0.0/0", "10.1.0.1", 2),
    route("10.9.0.0/16", "10.1.0.2", 2, 20),
    route("10.9.0.0/16", "10.1.0.3", 2, 10),
    route("10.9.9.0/24", "10.1.0.4", 9),
    route("10.9.8.0/24", "", 2),
    route("::/0", "fe80::1", 2),
    route("10.9.7.0/24", "fe80::1", 2),
)
ROUTED = host([LAN], ["2 10.1.0.1", "2 10.1.0.3", "2 10.1.0.4", "2 10.9.8.1", "2 fe80::1"], ROUTES)
DEFAULT = host(ON_TRUNK, ["20 10.1.20.1"], [route("0.0.0.0/0", "10.1.20.1", 20)])
TWO_DEFAULTS = (route("0.0.0.0/0", "10.1.10.1", 2), route("0.0.0.0/0", "10.1.20.1", 3, 9))
NIC_ROUTES = host(NICS, ["3 10.1.20.1"], [route("0.0.0.0/0", "10.1.20.1", 3)])

REMOTE: dict[str, tuple[Config, Host, str, To | Lack]] = {
    "on the link all the same": (GATED, TRUNKS, "10.1.10.1", To(2, 10, "10.1.10.5", 10)),
    "the lowest id with a gateway": (GATED, TRUNKS, "10.9.0.1", To(2, 10, "10.1.10.5", 10, next="10.1.10.1")),
    "the gateway of the family": (GATED, TRUNKS, "2001:db8:9::1", To(2, 10, "2001:db8:10::5", 10,
                                                                    next="2001:db8:10::1")),
    "no gateway of the family, no route": (SIX, TRUNKS, "10.9.0.1", ROUTE),
    "no gateway of the family, a route": (SIX, DEFAULT, "10.9.0.1", To(2, 20, "10.1.20.5", 20, 1400, "10.1.20.1")),
    "the gateway's MAC is not known": (GATED, host(ON_TRUNK, ["20 10.1.20.1"]), "10.9.0.1", UNKNOWN),
    "the gateway's VLAN is gone": (GATED, without(TRUNKS, "eth0.10"), "10.9.0.1", ADDRESS),
    "the gateway's VLAN is down": (GATED, down(TRUNKS, "eth0.10"), "10.9.0.1", DOWN),
    "a gateway before the routes": (
        GATED, replace(TRUNKS, routes=DEFAULT.routes), "10.9.0.1",
        To(2, 10, "10.1.10.5", 10, next="10.1.10.1")),
    "multi-nic, a gateway": (
        replace(MULTI, vlans=GATEWAYS), PORTS, "10.9.0.1", To(2, 2, "10.1.10.5", next="10.1.10.1")),
    "multi-nic, a gateway that no interface reaches": (
        replace(MULTI, vlans=(vlan(1, "10.7.0.0/24", "10.7.0.1"),)), PORTS, "10.9.0.1", NET),
    "multi-nic, a route": (MULTI, NIC_ROUTES, "10.9.0.1", To(3, 3, "10.1.20.5", None, 9000, "10.1.20.1")),
    "simple, the default route": (SIMPLE, ROUTED, "198.51.100.1", To(2, 2, "10.1.0.5", next="10.1.0.1")),
    "simple, the longer prefix, then the metric": (SIMPLE, ROUTED, "10.9.0.1", To(2, 2, "10.1.0.5", next="10.1.0.3")),
    "simple, a route through another interface does not count": (
        SIMPLE, ROUTED, "10.9.9.1", To(2, 2, "10.1.0.5", next="10.1.0.3")),
    "simple, a route without a gateway": (SIMPLE, ROUTED, "10.9.8.1", To(2, 2, "10.1.0.5")),
    "simple, a link-local gateway": (SIMPLE, ROUTED, "2001:db8:9::1", To(2, 2, "2001:db8:1::5", next="fe80::1")),
    "simple, a gateway of the other family": (SIMPLE, ROUTED, "10.9.7.1", To(2, 2, "10.1.0.5", next="fe80::1")),
    "simple, no route": (SIMPLE, LANS, "10.9.0.1", ROUTE),
    "simple, no own address of the family": (
        SIMPLE, host([interface("eth0", 2, "10.1.0.5/16", "fe80::5/64")], ["2 fe80::1"], ROUTES), "2001:db8:9::1",
        ADDRESS),
    "simple, a route through a VLAN interface does not count": (
        SIMPLE, DEFAULT, "10.9.0.1", ROUTE),
    "simple, the route's interface is down": (SIMPLE, down(ROUTED, "eth0"), "10.9.0.1", DOWN),
    "simple, interface gone": (SIMPLE, without(ROUTED, "eth0"), "10.9.0.1", ROUTE),
    "multi-nic, the route that is up before the metric": (
        MULTI, down(replace(NIC_ROUTES, routes=TWO_DEFAULTS), "eth0"), "10.9.0.1",
        To(3, 3, "10.1.20.5", None, 9000, "10.1.20.1")),
}  # fmt: skip


def check(configured: Config, found: Host, backend: str, expected: To | Lack, *, remote: bool) -> None:
    address = ip_address(backend)
    way = Ways(configured, found).to(address, remote=remote)
    hop = way.hop(found.neighbours)
    if isinstance(expected, Lack):
        assert hop is None
        trouble = way.trouble or way.unresolved()
        assert trouble is not None
        assert trouble.lack is expected
        assert (way.neighbour is not None) is (expected is UNKNOWN)
        return
    following = ip_address(expected.next or backend)
    source = next((one.mac for one in found.interfaces if one.index == expected.holder), b"")
    own = ip_address(expected.own)
    assert hop == Hop(expected.egress, mac(following) + source, own, expected.tag, expected.mtu)
    assert (way.trouble, way.neighbour) == (None, (expected.holder, following))
    assert way.via == (following if expected.next else None)


@pytest.mark.parametrize(("configured", "found", "backend", "expected"), ON_LINK.values(), ids=ON_LINK)
def test_on_the_link(configured: Config, found: Host, backend: str, expected: To | Lack) -> None:
    check(configured, found, backend, expected, remote=False)


@pytest.mark.parametrize(("configured", "found", "backend", "expected"), REMOTE.values(), ids=REMOTE)
def test_remote(configured: Config, found: Host, backend: str, expected: To | Lack) -> None:
    check(configured, found, backend, expected, remote=True)


@pytest.mark.parametrize("configured", [SIMPLE, MULTI, GATED])
def test_only_tunnels_lead_beyond_the_link(configured: Config) -> None:
    check(configured, replace(PORTS, routes=ROUTES), "198.51.100.1", NET, remote=False)


# Configuration, host, backend, remote -> words that the reason must have: the entry and the mode, and what to do.
TEXTS: list[tuple[Config, Host, str, bool, tuple[str, ...]]] = [
    (SIMPLE, LANS, "10.2.0.1", False, ("10.2.0.1", "mode simple", "only tunnels")),
    (MULTI, PORTS, "10.2.0.1", False, ("10.2.0.1", "mode multi-nic")),
    (TAGGED, TRUNKS, "10.2.0.1", False, ("10.2.0.1", "`vlans`", "mode vlan")),
    (TAGGED, TRUNKS, "10.1.30.1", False, ("VLAN 30", "10.1.30.0/24", "on top of eth0", "mode vlan")),
    (TAGGED, down(TRUNKS, "eth0.10"), "10.1.10.1", False, ("eth0.10", "down", "mode vlan")),
    (TAGGED, down(TRUNKS, "eth0"), "10.1.10.1", False, ("interface eth0 is down", "mode vlan")),
    (SIX, TRUNKS, "10.9.0.1", True, ("10.9.0.1", "gateway", "route", "mode vlan")),
    (SIMPLE, host([LAN]), "10.1.10.1", False, ("10.1.10.1", "eth0", "MAC")),
]


@pytest.mark.parametrize(("configured", "found", "backend", "remote", "words"), TEXTS)
def test_reasons_name_entry_and_mode(
    configured: Config, found: Host, backend: str, remote: bool, words: tuple[str, ...]
) -> None:
    way = Ways(configured, found).to(ip_address(backend), remote=remote)
    trouble = way.trouble or way.unresolved()
    assert trouble is not None
    assert [word for word in words if word not in trouble.text] == []


# Interfaces, backend, family -> where probes come from
SOURCES: list[tuple[tuple[Interface, ...], str, int, str | None]] = [
    ((LAN,), "10.1.10.1", 6, "2001:db8:1::5"),
    ((LAN,), "2001:db8:1::1", 4, "10.1.0.5"),
    (NICS, "10.1.20.1", 6, "2001:db8:10::5"),
    (NICS, "2001:db8:30::1", 4, "10.1.10.5"),
    (NICS, "2001:db8:10::1", 4, "10.1.10.5"),
    (NICS, "10.1.99.1", 6, "2001:db8:10::5"),
    ((NICS[0], interface("eth1", 3, "10.1.40.5/24", "2001:db8:40::5/64")), "10.1.40.1", 6, "2001:db8:40::5"),
    (NICS[1:2], "10.1.20.1", 6, None),
    ((interface("eth1", 3, "10.1.20.5/24", "fe80::5/64"),), "10.1.20.1", 6, None),
    ((interface("eth1", 3, "10.1.20.5/24", "2001:db8:ff::10/128", "2001:db8::7/64"),), "10.1.20.1", 6, "2001:db8::7"),
]
VIP6 = Service(ServiceKey(ip_address("2001:db8:ff::10"), 80, Protocol.TCP), (Backend(ip_address("10.1.20.1")),), ())


@pytest.mark.parametrize(("interfaces", "backend", "version", "expected"), SOURCES)
def test_probes_of_the_other_family(
    interfaces: tuple[Interface, ...], backend: str, version: int, expected: str | None
) -> None:
    ways = Ways(replace(MULTI, interfaces=("eth0", "eth1", "eth2"), services=(VIP6,)), host(interfaces))
    found = ways.source(ways.to(ip_address(backend)), version)
    assert (None if found is None else str(found)) == expected


def test_a_vip_is_no_own_address() -> None:
    vip = Service(ServiceKey(ip_address("10.1.0.100"), 80, Protocol.TCP), (), ())
    lan = replace(LAN, addresses=(ip_interface("10.1.0.100/16"), *LAN.addresses))
    way = Ways(replace(SIMPLE, services=(vip,)), host([lan])).to(ip_address("10.1.10.1"))
    assert way.own == ip_address("10.1.0.5")


def test_ways_serve_as_long_as_interfaces_and_routes_are_the_same() -> None:
    ways = Ways(SIMPLE, ROUTED)
    assert ways.serve(SIMPLE, replace(ROUTED, neighbours={}))
    assert not ways.serve(replace(SIMPLE), ROUTED)
    assert not ways.serve(SIMPLE, replace(ROUTED, routes=()))
    assert not ways.serve(SIMPLE, down(ROUTED, "eth0"))


def test_every_address_is_looked_up_once() -> None:
    ways = Ways(SIMPLE, LANS)
    first = ways.to(ip_address("10.1.10.1"))
    assert ways.to(ip_address("10.1.10.1")) is first
