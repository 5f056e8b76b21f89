"""Which route leads to an address that is in none of the balancer's subnets. Pure."""

from __future__ import annotations

from appliance.model import Address, Host, Route


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
                for length in sorted((length for family, length in best if family == version), reverse=True)
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
        number = int(address)
        for length, routes in self._tables[address.version]:
            route = routes.get(number >> address.max_prefixlen - length)
            if route is not None:
                return route
        return None


def route_for(host: Host, address: Address) -> Route | None:
    """Return the route that packets to `address` take; for more than one address, make a `Routing`."""
    return Routing(host).route_for(address)
