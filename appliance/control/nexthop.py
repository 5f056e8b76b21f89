"""Which interface reaches an address directly. Pure."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface

from appliance.model import Address, Host, Interface


def interface_for(host: Host, address: Address) -> Interface | None:
    """Return the interface whose own prefix contains `address`, or None.

    The longest prefix wins; of equal ones an interface that is up, then the first in the order of the configuration.
    """
    best: Interface | None = None
    best_rank = (-1, False)
    for interface in host.interfaces:
        own = _own(interface, address)
        if own is not None and (own.network.prefixlen, interface.up) > best_rank:
            best, best_rank = interface, (own.network.prefixlen, interface.up)
    return best


def _own(interface: Interface, address: Address) -> IPv4Interface | IPv6Interface | None:
    best: IPv4Interface | IPv6Interface | None = None
    for own in interface.addresses:
        if address in own.network and (best is None or own.network.prefixlen > best.network.prefixlen):
            best = own
    return best
