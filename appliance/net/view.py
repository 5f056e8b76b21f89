"""What the kernel said about links, addresses and neighbours, put together message by message. No input or output.

Links and addresses of all interfaces are kept, since an interface may be renamed to a watched name; neighbours only of
the watched ones, since a host can have tens of thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Interface, IPv6Interface

from appliance.model import Address, Host, Interface


class NeighbourState(IntEnum):
    """NUD_* of linux/neighbour.h; an entry has exactly one, RESOLVED and CONFIRMED are masks of several."""

    NONE = 0
    INCOMPLETE = 0x01
    REACHABLE = 0x02
    STALE = 0x04
    DELAY = 0x08
    PROBE = 0x10
    FAILED = 0x20
    NOARP = 0x40
    PERMANENT = 0x80


_NUD = NeighbourState
RESOLVED = _NUD.REACHABLE | _NUD.STALE | _NUD.DELAY | _NUD.PROBE | _NUD.NOARP | _NUD.PERMANENT
"""The kernel would send to the MAC of such an entry."""
CONFIRMED = _NUD.REACHABLE | _NUD.NOARP | _NUD.PERMANENT
"""There is nothing to ask."""


@dataclass(frozen=True)
class Link:
    """A link as it is now, or `gone`. `mac` is empty where the link has none of 6 bytes; `mtu` in bytes."""

    index: int
    name: str = ""
    mac: bytes = b""
    mtu: int = 0
    up: bool = False
    gone: bool = False


@dataclass(frozen=True)
class OwnAddress:
    """An address of an interface, or one that is `gone` from it."""

    index: int
    address: IPv4Interface | IPv6Interface
    gone: bool = False


@dataclass(frozen=True)
class Neighbour:
    """A neighbour entry; `mac` is empty while it is not known. Gone ones have state NONE."""

    index: int
    address: Address
    mac: bytes = b""
    state: NeighbourState = NeighbourState.NONE


Message = Link | OwnAddress | Neighbour


class View:
    """The state of the watched interfaces; `names` is in the order of the configuration."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._links: dict[int, Link] = {}
        self._addresses: dict[int, list[IPv4Interface | IPv6Interface]] = {}
        self._states: dict[tuple[int, Address], NeighbourState] = {}
        self._macs: dict[tuple[int, Address], bytes] = {}
        self._interfaces: tuple[Interface, ...] = ()
        self._snapshot: Host | None = None

    def snapshot(self) -> Host:
        """Return what is known now; the same object as long as nothing in it has changed."""
        if self._snapshot is None:
            self._snapshot = Host(self._interfaces, dict(self._macs))
        return self._snapshot

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        return self._interfaces

    def state(self, index: int, address: Address) -> NeighbourState:
        """Return the state of a neighbour entry of a watched interface, NONE if there is no entry."""
        return self._states.get((index, address), NeighbourState.NONE)

    def apply(self, message: Message) -> bool:
        """Take a message in; tell whether the snapshot has changed."""
        match message:
            case Neighbour():
                changed = self._apply_neighbour(message)
            case Link():
                changed = self._apply_link(message)
            case OwnAddress():
                changed = self._apply_address(message)
        if changed:
            self._snapshot = None
        return changed

    def _apply_link(self, link: Link) -> bool:
        if link.gone:
            self._links.pop(link.index, None)
            self._addresses.pop(link.index, None)
        else:
            self._links[link.index] = link
        return self._rebuild()

    def _apply_address(self, message: OwnAddress) -> bool:
        known = self._addresses.setdefault(message.index, [])
        if message.gone and message.address in known:
            known.remove(message.address)
        elif not message.gone and message.address not in known:
            known.append(message.address)
        return self._rebuild()

    def _apply_neighbour(self, neighbour: Neighbour) -> bool:
        if all(interface.index != neighbour.index for interface in self._interfaces):
            return False
        key = (neighbour.index, neighbour.address)
        if neighbour.state is NeighbourState.NONE:
            self._states.pop(key, None)
        else:
            self._states[key] = neighbour.state
        if neighbour.state & RESOLVED and len(neighbour.mac) == 6:
            changed = self._macs.get(key) != neighbour.mac
            self._macs[key] = neighbour.mac
            return changed
        return self._macs.pop(key, None) is not None

    def _rebuild(self) -> bool:
        """Put the watched interfaces together anew, and forget the neighbours of those that went."""
        by_name = {link.name: link for link in self._links.values()}
        links = [by_name[name] for name in self._names if name in by_name]
        interfaces = tuple(
            Interface(link.name, link.index, link.mac, tuple(self._addresses.get(link.index, ())), link.mtu, link.up)
            for link in links
        )
        if interfaces == self._interfaces:
            return False
        gone = {interface.index for interface in self._interfaces} - {interface.index for interface in interfaces}
        if gone:
            self._states = {key: state for key, state in self._states.items() if key[0] not in gone}
            self._macs = {key: mac for key, mac in self._macs.items() if key[0] not in gone}
        self._interfaces = interfaces
        return True
