"""Which route leads to an address that is in none of the balancer's subnets. Pure."""

from __future__ import annotations

from appliance.model import Address, Host, Route


def route_for(host: Host, address: Address) -> Route | None:
    """Return the route that packets to `address` take, or None where there is none.

    The longest prefix wins, as in the kernel. Of several with that prefix: one through an interface that is up, since
    what is sent to another is lost; then the lowest metric; then the first in `host.routes`. Its `gateway` is None
    where the address is on the link, and is itself next hop then. Only the main table counts: `ip rule` is not asked.
    """
    up = {interface.index for interface in host.interfaces if interface.up}
    best: Route | None = None
    best_rank: tuple[int, bool, int] | None = None
    for route in host.routes:
        if route.prefix.version != address.version or address not in route.prefix:
            continue
        rank = (route.prefix.prefixlen, route.interface in up, -route.metric)
        if best_rank is None or rank > best_rank:
            best, best_rank = route, rank
    return best
