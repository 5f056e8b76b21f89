"""What the kernel said about links, addresses, neighbours and routes, put together message by message. Pure.

Links and addresses of all interfaces are kept, since an interface may be renamed to a watched name; neighbours and
routes only of those that concern us (see `links.concerned`), since a host can have tens of thousands.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Interface, IPv6Interface

from appliance.model import Address, Host, Interface
from appliance.net.links import Link, concerned, interface
from appliance.net.routes import NexthopNews, RouteNews, RouteTable


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


Message = Link | OwnAddress | Neighbour | RouteNews | NexthopNews


class View:
    """The state of the interfaces that concern us; `names` are the configured ones in the order of the configuration.

    What follows from links and addresses is worked out when it is asked for, not with every message: a trunk may have
    four thousand VLAN interfaces.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._links: dict[int, Link] = {}
        self._addresses: dict[int, list[IPv4Interface | IPv6Interface]] = {}
        self._states: dict[tuple[int, Address], NeighbourState] = {}
        self._macs: dict[tuple[int, Address], bytes] = {}
        self._interfaces: tuple[Interface, ...] = ()
        self._indices: frozenset[int] = frozenset()
        self._unsettled = False
        self._snapshot: Host | None = None
        self.routes = RouteTable()
        self.lacking = False
        """Whether an interface came to be watched whose neighbours and routes may be missing here."""

    def snapshot(self) -> Host:
        """Return what is known now; the same object as long as nothing in it has changed."""
        self._settle()
        routes = self.routes.routes()
        if self._snapshot is None or (self._snapshot.routes is not routes and self._snapshot.routes != routes):
            self._snapshot = Host(self._interfaces, dict(self._macs), routes)
        return self._snapshot

    @property
    def indices(self) -> frozenset[int]:
        """The indices of the interfaces that concern us."""
        self._settle()
        return self._indices

    def state(self, index: int, address: Address) -> NeighbourState:
        """Return the state of a neighbour entry of such an interface, NONE if there is no entry."""
        return self._states.get((index, address), NeighbourState.NONE)

    def forget_routes(self) -> None:
        """Start anew with the routes, which all come now."""
        self.routes = RouteTable(self.indices)

    def apply(self, message: Message) -> None:
        """Take a message in."""
        match message:
            case Neighbour():
                self._apply_neighbour(message)
            case RouteNews():
                self._settle()
                self.routes.take(message)
            case NexthopNews():
                self.routes.touch(message)
            case Link():
                self._apply_link(message)
            case OwnAddress():
                self._apply_address(message)

    def _apply_link(self, link: Link) -> None:
        before = self._links.get(link.index)
        if link == before:
            return
        self._unsettled = True
        if link.gone:
            self._links.pop(link.index, None)
            self._addresses.pop(link.index, None)
            self._leave({link.index})
            return
        self._links[link.index] = link
        if link.index in self._indices and before is not None:
            # With the link go and come IPv4 routes, in silence (fib_disable_ip, fib_sync_up in net/ipv4).
            changed = (before.up, before.enabled) != (link.up, link.enabled)
            self.routes.stale = self.routes.stale or changed

    def _apply_address(self, message: OwnAddress) -> None:
        known = self._addresses.setdefault(message.index, [])
        if message.gone and message.address in known:
            known.remove(message.address)
            # With it go the IPv4 routes that prefer it as their source, in silence (fib_sync_down_addr).
            self.routes.stale = self.routes.stale or message.address.version == 4
        elif not message.gone and message.address not in known:
            known.append(message.address)
        else:
            return
        self._unsettled = True

    def _apply_neighbour(self, neighbour: Neighbour) -> None:
        if neighbour.index not in self.indices:
            return
        key = (neighbour.index, neighbour.address)
        if neighbour.state is NeighbourState.NONE:
            self._states.pop(key, None)
        else:
            self._states[key] = neighbour.state
        if neighbour.state & RESOLVED and len(neighbour.mac) == 6:
            if self._macs.get(key) != neighbour.mac:
                self._macs[key] = neighbour.mac
                self._snapshot = None
        elif self._macs.pop(key, None) is not None:
            self._snapshot = None

    def _settle(self) -> None:
        """Put the interfaces together anew, and forget neighbours and routes of those that went."""
        if not self._unsettled:
            return
        self._unsettled = False
        links = concerned(self._names, self._links)
        interfaces = tuple(interface(link, self._links, self._addresses.get(link.index, ())) for link in links)
        if interfaces == self._interfaces:
            return
        indices = frozenset(interface.index for interface in interfaces)
        self._leave(self._indices - indices)
        self.lacking = self.lacking or not indices <= self._indices
        self._interfaces, self._indices, self._snapshot = interfaces, indices, None
        self.routes.watch(indices)

    def _leave(self, gone: Set[int]) -> None:
        """Let interfaces go, with their neighbours and routes; should one come back, all is asked for anew."""
        if not gone & self._indices:
            return
        self._interfaces = tuple(interface for interface in self._interfaces if interface.index not in gone)
        self._indices -= gone
        self._states = {key: state for key, state in self._states.items() if key[0] not in gone}
        self._macs = {key: mac for key, mac in self._macs.items() if key[0] not in gone}
        self._snapshot = None
        self.routes.watch(self._indices)
