"""Which interface reaches an address directly, and which of its own addresses is in the same subnet. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import overload

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


@overload
def own_address(interface: Interface, address: IPv4Address) -> IPv4Address: ...
@overload
def own_address(interface: Interface, address: IPv6Address) -> IPv6Address: ...
def own_address(interface: Interface, address: Address) -> Address:
    """Return the interface's own address in the longest of its prefixes that contains `address`.

    Of several in one prefix the first, which is the one that the kernel calls primary. Raises ValueError if no prefix
    contains `address`.
    """
    own = _own(interface, address)
    if own is None:
        raise ValueError(f"{address} is in no subnet of {interface.name}")
    return own.ip


def _own(interface: Interface, address: Address) -> IPv4Interface | IPv6Interface | None:
    best: IPv4Interface | IPv6Interface | None = None
    for own in interface.addresses:
        if address in own.network and (best is None or own.network.prefixlen > best.network.prefixlen):
            best = own
    return best
