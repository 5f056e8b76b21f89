"""The host's links, and which of them concern us: the configured ones, bonds above them, VLAN interfaces on both. Pure.

Packets arrive on the configured interfaces, where the program is; but a trunk has its addresses, neighbours and routes
on the VLAN interfaces, which lie on the interface itself or, where that is a member of a bond, on the bond.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface

from appliance.model import Interface

BOND = "bond"
"""IFLA_INFO_KIND of a bond (drivers/net/bonding)."""


@dataclass(frozen=True)
class Link:
    """A link as it is now, or `gone`. `mac` is empty where the link has none of 6 bytes; `mtu` in bytes.

    `up`: it is set up and has a carrier; `enabled`: it is set up. `kind` is the driver's word for a virtual link, empty
    for hardware. `vlan` is the id of a VLAN interface and `parent` the index of the link below it. `master` is the
    index of the bond, bridge or the like that it belongs to, `standby` that a bond keeps it in reserve.
    """

    index: int
    name: str = ""
    mac: bytes = b""
    mtu: int = 0
    up: bool = False
    gone: bool = False
    enabled: bool = False
    kind: str = ""
    vlan: int | None = None
    parent: int = 0
    master: int = 0
    standby: bool = False


def concerned(names: Sequence[str], links: Mapping[int, Link]) -> list[Link]:
    """Return the configured links in order; behind them their VLANs, then the bonds, each followed by its VLANs.

    VLANs are in the order of their ids. One VLAN inside another is left out: the program knows one tag.
    """
    by_name = {link.name: link for link in links.values()}
    by_parent: dict[int, list[Link]] = {}
    for link in sorted(links.values(), key=lambda link: (link.vlan or 0, link.index)):
        if link.vlan is not None:
            by_parent.setdefault(link.parent, []).append(link)
    configured = [by_name[name] for name in names if name in by_name]
    found = {link.index: link for link in configured}

    def add(more: Iterator[Link]) -> None:
        for link in more:
            found.setdefault(link.index, link)

    for link in configured:
        if link.vlan is None:
            add(iter(by_parent.get(link.index, ())))
    for link in configured:
        bond = links.get(_bond(link, links))
        if bond is not None:
            add(iter((bond, *by_parent.get(bond.index, ()))))
    return list(found.values())


def interface(
    link: Link, links: Mapping[int, Link], addresses: Sequence[IPv4Interface | IPv6Interface] = ()
) -> Interface:
    """Return the link as the rest of the program knows it.

    IPv4 addresses stay in the kernel's order, which puts the primary one first; IPv6 has no such order, so that they
    are sorted, lest the order depend on whether they were there at the start or came later.
    """
    four = [address for address in addresses if address.version == 4]
    six = sorted(address for address in addresses if isinstance(address, IPv6Interface))
    return Interface(
        link.name,
        link.index,
        link.mac,
        (*four, *six),
        link.mtu,
        link.up,
        vlan=link.vlan,
        parent=link.parent if link.vlan is not None else 0,
        master=_bond(link, links),
        standby=link.standby,
    )


def _bond(link: Link, links: Mapping[int, Link]) -> int:
    """Return the index of the bond that the link is a member of, else 0; a bridge is no bond."""
    master = links.get(link.master)
    return master.index if master is not None and master.kind == BOND else 0
