"""What a router is told of a VIP. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.model_address import Address
from appliance.model_bgp import Community


@dataclass(frozen=True)
class Attributes:
    """The path attributes of a route, as they go on the wire (RFC 4271 section 5).

    `as_path` is one AS_SEQUENCE of AS numbers from 1 to 4294967295, empty over iBGP. Next hops of IPv4 routes may be of
    IPv6 (RFC 8950). None: the attribute is not sent.
    """

    next_hop: Address
    as_path: tuple[int, ...] = ()
    med: int | None = None
    local_pref: int | None = None
    communities: tuple[Community, ...] = ()


Routes = Mapping[Address, Attributes]
"""What one peer is to know: a VIP (its /32 or /128) and how it is reached."""
