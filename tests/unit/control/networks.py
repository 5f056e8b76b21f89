"""Hosts and configurations of every mode, in few words, for tests of ways and plans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from appliance.model import Address, Config, Host, Interface, Mode, Route, Vlan


def interface(name: str, index: int, *addresses: str, **more: Any) -> Interface:
    """An interface whose MAC address ends with its index."""
    return Interface(name, index, bytes((2, 0, 0, 0, 0, index)), tuple(map(ip_interface, addresses)), **more)


def mac(address: Address | str) -> bytes:
    """The MAC address of a neighbour."""
    return b"\x06\x00" + ip_address(str(address)).packed[-4:]


def vlan(number: int, prefix: str, gateway: str = "") -> Vlan:
    """A VLAN of the configuration."""
    return Vlan(number, ip_network(prefix), ip_address(gateway) if gateway else None)


def route(prefix: str, via: str, index: int, metric: int = 0) -> Route:
    """A route; `via` may be empty."""
    return Route(ip_network(prefix), ip_address(via) if via else None, index, metric)


def host(interfaces: Iterable[Interface], neighbours: Iterable[str] = (), routes: Iterable[Route] = ()) -> Host:
    """A host; each neighbour is written as `INDEX ADDRESS`."""
    pairs = [(int(index), ip_address(address)) for index, _, address in (text.partition(" ") for text in neighbours)]
    return Host(tuple(interfaces), {pair: mac(pair[1]) for pair in pairs}, tuple(routes))


def config(mode: Mode, names: str, *vlans: Vlan, **more: Any) -> Config:
    """A configuration of some interfaces."""
    return Config(tuple(names.split()), mode, vlans=vlans, **more)


def without(found: Host, name: str) -> Host:
    """The host after an interface has gone."""
    return replace(found, interfaces=tuple(one for one in found.interfaces if one.name != name))


def down(found: Host, *names: str) -> Host:
    """The host with some interfaces down."""
    return replace(
        found, interfaces=tuple(replace(one, up=one.up and one.name not in names) for one in found.interfaces)
    )


def reserve(found: Host, *names: str) -> Host:
    """The host with some members of a bond in reserve."""
    return replace(found, interfaces=tuple(replace(one, standby=one.name in names) for one in found.interfaces))


LAN = interface("eth0", 2, "10.1.0.5/16", "2001:db8:1::5/64", "fe80::5/64")
"""The only interface of mode simple."""
SIMPLE = config(Mode.SIMPLE, "eth0")

NICS = (
    interface("eth0", 2, "10.1.10.5/24", "2001:db8:10::5/64", mtu=1500),
    interface("eth1", 3, "10.1.20.5/24", mtu=9000),
    interface("eth2", 4, "2001:db8:30::5/64"),
)
MULTI = config(Mode.MULTI_NIC, "eth0 eth1 eth2")

TRUNK = interface("eth0", 2)
ON_TRUNK = (
    TRUNK,
    interface("eth0.10", 10, "10.1.10.5/24", "2001:db8:10::5/64", vlan=10, parent=2),
    interface("eth0.20", 20, "10.1.20.5/24", vlan=20, parent=2, mtu=1400),
)
BOND = (
    interface("eth0", 2, master=5),
    interface("eth1", 3, master=5),
    interface("bond0.10", 10, "10.1.10.5/24", "2001:db8:10::5/64", vlan=10, parent=5),
    interface("bond0.20", 20, "10.1.20.5/24", vlan=20, parent=5, mtu=1400),
    interface("bond0", 5, "10.1.99.5/24"),
)
VLANS = (
    vlan(10, "10.1.10.0/24"),
    vlan(10, "2001:db8:10::/64"),
    vlan(20, "10.1.20.0/24"),
    vlan(30, "10.1.30.0/24"),
)
TAGGED = config(Mode.VLAN, "eth0", *VLANS)
BONDED = config(Mode.VLAN, "eth0 eth1", *VLANS)
