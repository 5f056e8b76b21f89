"""Which interface or route leads to an address, for many addresses at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from appliance.model import Address, Host, Interface, Route

Found = TypeVar("Found")


class Subnets:
    """The subnets of one snapshot's interfaces, ready for many questions."""

    def __init__(self, host: Host) -> None:
        best: dict[tuple[int, int], dict[int, Interface]] = {}
        for interface in host.interfaces:
            for own in interface.addresses:
                length = own.network.prefixlen
                known = best.setdefault((own.version, length), {})
                network = int(own) >> own.max_prefixlen - length
                if network not in known or (interface.up and not known[network].up):
                    known[network] = interface
        self._tables = {
            version: [(length, best[version, length]) for length in _longest_first(best, version)] for version in (4, 6)
        }

    def interface_for(self, address: Address) -> Interface | None:
        """Return what `nexthop.interface_for` returns for the same snapshot."""
        return _find(self._tables[address.version], address)


class Routing:
    """The routes of one snapshot, ready for many questions: one look-up per prefix length that occurs."""

    def __init__(self, host: Host) -> None:
        up = {interface.index for interface in host.interfaces if interface.up}
        best: dict[tuple[int, int], dict[int, tuple[tuple[bool, int], Route]]] = {}
        for route in host.routes:
            prefix = route.prefix
            known = best.setdefault((prefix.version, prefix.prefixlen), {})
            network = int(prefix.network_address) >> prefix.max_prefixlen - prefix.prefixlen
            rank = (route.interface in up, -route.metric)
            if network not in known or rank > known[network][0]:
                known[network] = (rank, route)
        self._tables = {
            version: [
                (length, {network: route for network, (_, route) in best[version, length].items()})
                for length in _longest_first(best, version)
            ]
            for version in (4, 6)
        }

    def route_for(self, address: Address) -> Route | None:
        """Return the route that packets to `address` take, or None where there is none.

        The longest prefix wins, as in the kernel. Of several with that prefix: one through an interface that is up,
        since what is sent to another is lost; then the lowest metric; then the first in `host.routes`. Its `gateway` is
        None where the address is on the link, and is itself the next hop. Only the main table counts: `ip rule` is not
        asked.
        """
        return _find(self._tables[address.version], address)


def route_for(host: Host, address: Address) -> Route | None:
    """Return the route that packets to `address` take; for more than one address, make a `Routing`."""
    return Routing(host).route_for(address)


def _longest_first(lengths: Iterable[tuple[int, int]], version: int) -> list[int]:
    """Return the prefix lengths of a family."""
    return sorted((length for family, length in lengths if family == version), reverse=True)


def _find(tables: Iterable[tuple[int, Mapping[int, Found]]], address: Address) -> Found | None:
    """Look an address up by the leading bits of each length."""
    number = int(address)
    for length, known in tables:
        found = known.get(number >> address.max_prefixlen - length)
        if found is not None:
            return found
    return None
