"""The way to every backend, in every mode and family: interface, tag, MAC addresses, own address; or why there is none.

On the link:

  simple, multi-nic   by the interface whose own prefix holds the backend, untagged;
  vlan                by the VLAN of the configuration whose prefix holds it, tagged; or by an interface whose own
                      prefix holds it, untagged. The longer prefix decides; of equal ones the VLAN counts.

In a VLAN, the balancer's own address and MAC are those of the VLAN interface with its id; where there is none, those of
an interface whose own prefix holds the backend. Backends of tunnels may also be remote: by the gateway of the VLAN with
the lowest id that has one of the backend's family, else by the host's routes.

Frames leave by a configured interface: what a bond or a VLAN interface holds, by the first one below it that is up, and
rather not by one that the bond keeps in reserve: the switch would send the answers there, where the bond drops them.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from appliance.control.outlets import outlets
from appliance.control.prefixes import Prefixes
from appliance.control.trouble import Lack, Trouble, down, of_interfaces, of_mtu
from appliance.dataplane.desired import Hop, Member, Outlet
from appliance.dataplane.enums import State as Receives
from appliance.model import (
    Address,
    Backend,
    Config,
    Forward,
    Host,
    Interface,
    Mode,
    Network,
    Route,
    Service,
    ServiceKey,
    Vlan,
)


@dataclass(frozen=True)
class Way:
    """How a backend is reached, whatever its MAC address. Without a neighbour, `trouble` says why there is no way."""

    trouble: Trouble | None = None
    neighbour: tuple[int, Address] | None = None
    """Interface index and address of the next hop: the backend itself, or the gateway that leads to it."""
    holder: Interface | None = None
    """The interface that has the own address: the configured one, its bond, or a VLAN interface on top of either."""
    egress: Interface | None = None
    """The configured interface that frames leave by."""
    own: Address | None = None
    tag: int | None = None
    via: Address | None = None
    """The gateway that leads to a remote backend."""

    @property
    def mtu(self) -> int:
        """Bytes that an IP packet may have on the link, 0 if there is none."""
        return self.holder.mtu if self.holder else 0

    def hop(self, neighbours: Mapping[tuple[int, Address], bytes]) -> Hop | None:
        """The way with its MAC addresses; None while the neighbour is not resolved."""
        mac = neighbours.get(self.neighbour) if self.neighbour else None
        if mac is None or self.holder is None or self.egress is None or self.own is None:
            return None
        return Hop(self.egress.index, mac + self.holder.mac, self.own, self.tag, self.holder.mtu)

    def unresolved(self) -> Trouble | None:
        """What is missing where there is a way, and yet no hop."""
        if self.neighbour is None or self.holder is None:
            return None
        address, name = str(self.neighbour[1]), self.holder.name
        return Trouble(Lack.UNRESOLVED, address, f"the MAC address of {address} on {name} is not known")


class Ways:
    """The ways of one configuration through one set of interfaces and routes. Every address is looked up once."""

    def __init__(self, config: Config, host: Host) -> None:
        self.config = config
        self.host = host
        self._found: dict[tuple[Address, bool], Way] = {}
        self._sources: dict[tuple[int, int], Address | None] = {}
        self._hops: dict[int, tuple[bytes | None, Hop | None]] = {}
        self._members: dict[tuple[Address, int, Receives, int, Address | None, int | None], Member] = {}
        masters = {interface.master for interface in host.interfaces}
        self._configured = [
            interface
            for interface in host.interfaces
            if interface.name in config.interfaces
            or (not config.interfaces and interface.vlan is None and interface.index not in masters)
        ]
        below = {interface.index for interface in self._configured}
        above = {interface.master for interface in self._configured} - below - {0}
        self._untagged = self._configured + [i for i in host.interfaces if i.index in above]
        below |= above
        self._tagged: dict[int, list[Interface]] = {}
        for interface in host.interfaces:
            if interface.vlan is not None and interface.parent in below and interface.index not in below:
                self._tagged.setdefault(interface.vlan, []).append(interface)
        self._by_index = {interface.index: interface for interface in self._holders()}
        self._vips = frozenset(service.key.vip for service in config.services)

    def serve(self, config: Config, host: Host) -> bool:
        """Whether these are the ways of that configuration on that host, MAC addresses aside."""
        same = (self.host.interfaces, self.host.routes) == (host.interfaces, host.routes)
        return self.config is config and same

    def to(self, backend: Address, *, remote: bool = False) -> Way:
        """The way to a backend; with `remote` it may lead through a gateway."""
        way = self._found.get((backend, remote))
        if way is None:
            way = self._found[backend, remote] = self._on_link(backend) or self._beyond(backend, remote)
        return way

    def of(self, service: Service, backend: Address) -> Way:
        """The way of a service's packets; only tunnels lead beyond the link."""
        return self.to(backend, remote=service.tunnel is not None)

    def hop(self, way: Way, neighbours: Mapping[tuple[int, Address], bytes]) -> Hop | None:
        """The hop of one of these ways: the same object as long as it stays the same."""
        mac = neighbours.get(way.neighbour) if way.neighbour else None
        known = self._hops.get(id(way))
        if known is not None and known[0] == mac:
            return known[1]
        if known is not None:
            self._members.clear()  # no member may be found by the identity of a hop that is gone
        hop = way.hop(neighbours)
        self._hops[id(way)] = mac, hop
        return hop

    def member(self, backend: Backend, weight: int, gets: Receives, hop: Hop | None, source: Address | None) -> Member:
        """A member of a service; `hop` is one of these ways.

        Services with the same backends share their members: there are a few, and not thousands, to keep and to compare.
        """
        # The identity of a hop is its name here: it lives as long as the members that have it.
        name = (backend.address, weight, gets, id(hop), source, backend.port)
        found = self._members.get(name)
        if found is None:
            found = self._members[name] = Member(backend.address, weight, gets, hop, source, backend.port)
        return found

    @cached_property
    def sharers(self) -> Mapping[Address, tuple[ServiceKey, ...]]:
        """The services of the configuration that share a VIP."""
        found: dict[Address, list[ServiceKey]] = {}
        for service in self.config.services:
            found.setdefault(service.key.vip, []).append(service.key)
        return {vip: tuple(keys) for vip, keys in found.items()}

    def neighbours_of(self, services: Iterable[Service]) -> frozenset[tuple[int, Address]]:
        """The next hops that these services need to have resolved."""
        found = {self.of(service, backend.address).neighbour for service in services for backend in service.backends}
        return frozenset(neighbour for neighbour in found if neighbour is not None) | self._gateways

    @cached_property
    def neighbours(self) -> frozenset[tuple[int, Address]]:
        """The next hops of the configuration."""
        return self.neighbours_of(self.config.services)

    @cached_property
    def outlets(self) -> Mapping[int, Outlet]:
        """How answers of backends behind NAT leave; none where there are no such backends."""
        return outlets(self.config, self.host) if self._translates else {}

    @cached_property
    def _translates(self) -> bool:
        return any(service.forward is Forward.NAT for service in self.config.services)

    @cached_property
    def _gateways(self) -> frozenset[tuple[int, Address]]:
        """Who the answers of backends behind NAT may have to go through."""
        routes = self.host.routes if self._translates else ()
        return frozenset((route.interface, route.gateway) for route in routes if route.gateway is not None)

    @cached_property
    def users(self) -> Mapping[tuple[int, Address], tuple[ServiceKey, ...]]:
        """Which services of the configuration use a next hop."""
        found: dict[tuple[int, Address], dict[ServiceKey, None]] = {}
        for service in self.config.services:
            for backend in service.backends:
                neighbour = self.of(service, backend.address).neighbour
                if neighbour is not None:
                    found.setdefault(neighbour, {})[service.key] = None
        return {neighbour: tuple(keys) for neighbour, keys in found.items()}

    @cached_property
    def troubles(self) -> frozenset[Trouble]:
        """All that is missing for the configuration."""
        found = of_interfaces(self.config, self.host)
        for service in self.config.services:
            for backend in service.backends:
                found += self.troubles_of(service, backend.address)
        return frozenset(found)

    def troubles_of(self, service: Service, backend: Address) -> list[Trouble]:
        """What is missing for a service's packets and probes to a backend."""
        way, mode, version = self.of(service, backend), self.config.mode, service.key.vip.version
        found = [] if way.trouble is None else [way.trouble]
        if service.tunnel is not None and (narrow := of_mtu(service, backend, way.mtu, mode)):
            found.append(narrow)
        if backend.version != version and self.source(way, version) is None:
            text = f"{service.key}: no interface has an IPv{version} address to send probes from (mode {mode})"
            found.append(Trouble(Lack.NO_ADDRESS, str(service.key), text))
        return found

    def source(self, way: Way, version: int) -> Address | None:
        """The balancer's first address of a family (4 or 6): on the way's own interface, else on any."""
        first = way.holder.index if way.holder else 0
        if (first, version) not in self._sources:
            holders = sorted(self._holders(), key=lambda interface: interface.index != first)
            found = (address for holder in holders for address in self._addresses(holder, version))
            self._sources[first, version] = next(found, None)
        return self._sources[first, version]

    def _holders(self) -> list[Interface]:
        return self._untagged + [interface for group in self._tagged.values() for interface in group]

    def _addresses(self, interface: Interface, version: int) -> Iterator[Address]:
        """Own addresses that may be the source of packets which others answer to from afar."""
        for own in interface.addresses:
            if own.version == version and own.ip not in self._vips and not (version == 6 and own.ip.is_link_local):
                yield own.ip

    @cached_property
    def _own(self) -> Prefixes[tuple[Interface, Address]]:
        """Networks of the untagged interfaces; of equal ones that of an interface that is up, then the first."""
        entries: list[tuple[Network, tuple[Interface, Address]]] = []
        for interface in sorted(self._untagged, key=lambda one: not self._usable(one)):
            usable = set(self._addresses(interface, 4)) | set(self._addresses(interface, 6))
            entries += [(own.network, (interface, own.ip)) for own in interface.addresses if own.ip in usable]
        return Prefixes(entries)

    @cached_property
    def _vlans(self) -> Prefixes[Vlan]:
        if self.config.mode is not Mode.VLAN:
            return Prefixes(())
        return Prefixes((vlan.prefix, vlan) for vlan in sorted(self.config.vlans, key=lambda one: one.id))

    @cached_property
    def _routes(self) -> Prefixes[Route]:
        """Routes that the mode can follow; of equal ones through an interface that is up, then by metric."""
        reached = [route for route in self.host.routes if self._reaches(self._by_index.get(route.interface))]
        reached.sort(key=lambda one: (not self._usable(self._by_index[one.interface]), one.metric))
        return Prefixes((route.prefix, route) for route in reached)

    def _reaches(self, interface: Interface | None) -> bool:
        return interface is not None and (self.config.mode is Mode.VLAN or interface in self._untagged)

    def _on_link(self, address: Address) -> Way | None:
        own, vlan = self._own.longest(address), self._vlans.longest(address)
        if vlan is not None and (own is None or vlan[0] >= own[0]):
            return self._in_vlan(vlan[1], address)
        if own is not None:
            return self._through(own[1][0], own[1][1], address)
        return None

    def _in_vlan(self, vlan: Vlan, address: Address) -> Way:
        version = address.version
        candidates = self._tagged.get(vlan.id, [])
        if candidates:
            holds = [
                interface for interface in candidates if any(address in own.network for own in interface.addresses)
            ]
            ordered = sorted(holds or candidates, key=lambda one: not self._usable(one))
            return self._from(ordered[0], address, version, vlan.id)
        own = self._own.longest(address)
        if own is not None:
            holder, source = own[1]
            return self._through(holder, source, address, None if holder.vlan == vlan.id else vlan.id)
        names = " or ".join(interface.name for interface in self._untagged) or "any of `interfaces`"
        text = (
            f"VLAN {vlan.id}, {vlan.prefix}: the balancer has no address there (mode {self.config.mode}); make a VLAN "
            f"interface with this id on top of {names}, and give it one"
        )
        return Way(trouble=Trouble(Lack.NO_ADDRESS, f"VLAN {vlan.id} IPv{version}", text))

    def _from(self, holder: Interface, address: Address, version: int, tag: int | None) -> Way:
        """Through an interface, with its own address next to `address`, else its first one of a family."""
        nearest = (-1, next(self._addresses(holder, version), None))
        for own in holder.addresses:
            near = own.version == version == address.version and address in own.network
            if near and own.ip in set(self._addresses(holder, version)) and own.network.prefixlen > nearest[0]:
                nearest = (own.network.prefixlen, own.ip)
        if nearest[1] is None:
            text = f"interface {holder.name} has no IPv{version} address to send from (mode {self.config.mode})"
            return Way(trouble=Trouble(Lack.NO_ADDRESS, f"{holder.name} IPv{version}", text), holder=holder)
        return self._through(holder, nearest[1], address, tag)

    def _through(self, holder: Interface, own: Address, address: Address, tag: int | None = None) -> Way:
        egress = self._egress(holder)
        if not holder.up or not egress.up:
            name = egress.name if holder.up else holder.name
            return Way(trouble=down(name, self.config.mode), holder=holder)
        return Way(None, (holder.index, address), holder, egress, own, tag)

    def _egress(self, holder: Interface) -> Interface:
        """The configured interface that a holder's frames leave by: the first below it that carries, else the first."""
        below = holder.index if holder in self._untagged else holder.parent
        found = [interface for interface in self._configured if below in (interface.index, interface.master)]
        return min(found, key=lambda interface: (not interface.up, interface.standby))

    def _usable(self, holder: Interface) -> bool:
        return holder.up and self._egress(holder).up

    def _beyond(self, backend: Address, remote: bool) -> Way:
        """The way to a backend that is not on the link."""
        mode, version = self.config.mode, backend.version
        if not remote:
            where = "in none of `vlans`, and in no network of an interface" if mode is Mode.VLAN else "in no network"
            where += "" if mode is Mode.VLAN else " of an interface without a VLAN"
            text = f"backend {backend} is {where} (mode {mode}); only tunnels reach remote backends"
            return Way(trouble=Trouble(Lack.NO_NETWORK, str(backend), text))
        gateways = [vlan for vlan in self.config.vlans if vlan.gateway and vlan.gateway.version == version]
        vlan = min(gateways, key=lambda one: one.id, default=None)
        if vlan is not None and vlan.gateway is not None:
            found = self._in_vlan(vlan, vlan.gateway) if mode is Mode.VLAN else self._on_link(vlan.gateway)
            if found is None:
                text = f"gateway {vlan.gateway} of VLAN {vlan.id} is in no network of an interface (mode {mode})"
                found = Way(trouble=Trouble(Lack.NO_NETWORK, f"gateway {vlan.gateway}", text))
            return replace(found, via=vlan.gateway)
        route = self._routes.longest(backend)
        if route is None:
            text = f"backend {backend} of a tunnel: no gateway in `vlans`, and no route through the interfaces"
            return Way(trouble=Trouble(Lack.NO_ROUTE, str(backend), f"{text}, leads there (mode {mode})"))
        holder, gateway = self._by_index[route[1].interface], route[1].gateway
        tag = None if holder in self._untagged else holder.vlan
        return replace(self._from(holder, gateway or backend, version, tag), via=gateway)
