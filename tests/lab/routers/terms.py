"""What a router is told, and what it tells: the same words for all of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network


def prefix_of(text: str | Address | Prefix) -> Prefix:
    """Return a prefix; an address alone is one of its own."""
    return ip_network(str(text))


class Restarting(Enum):
    """What the router does of RFC 4724."""

    OFF = "off"
    HELPER = "helper"
    """It keeps the routes of a neighbour that restarts."""
    FULL = "full"
    """It says as well that it may restart itself."""


@dataclass(frozen=True)
class Neighbour:
    """A neighbour, as the router is configured for it."""

    address: str
    remote_as: int
    families: tuple[int, ...] = ()
    """Of the routes, 4 and 6; empty: that of the address."""
    password: str = ""
    passive: bool = False
    """It waits for the neighbour to connect."""
    hold_time: int = 9
    """Seconds; keepalives are sent every third of it."""
    connect_retry: int = 1
    """Seconds."""
    multihop: int = 0
    """Hops that the session may take; 0: the neighbour is on a network of the router."""
    ttl_security: int = 0
    """Hops from which packets are taken (RFC 5082); 0: packets of any TTL."""
    bfd: float = 0.0
    """Seconds between packets of BFD; 0: none."""
    bfd_multiplier: int = 3
    bfd_graceful: bool = False
    """A failure of BFD with a neighbour whose forwarding is independent of its control (C bit) begins a graceful
    restart."""
    restarting: Restarting = Restarting.HELPER
    restart_time: int = 120
    """Seconds, for FULL: how long the neighbour is asked to wait for the router."""
    ipv4_over_ipv6: bool = False
    """IPv4 routes may have next hops of IPv6 (RFC 8950)."""

    @property
    def version(self) -> int:
        """The family of the session."""
        return ip_address(self.address).version

    @property
    def carried(self) -> tuple[int, ...]:
        """The families of the routes."""
        return self.families or (self.version,)


@dataclass(frozen=True)
class Announced:
    """A route that the router announces itself, to all neighbours of the family."""

    prefix: str
    med: int | None = None
    local_pref: int | None = None
    communities: tuple[str, ...] = ()
    """"65000:1", and large ones "65000:1:2"."""
    prepended: int = 0
    """How often its own AS stands in the path besides the time that eBGP puts it there."""

    @property
    def version(self) -> int:
        return prefix_of(self.prefix).version

    @property
    def plain(self) -> tuple[str, ...]:
        """The communities of RFC 1997."""
        return tuple(each for each in self.communities if each.count(":") == 1)

    @property
    def large(self) -> tuple[str, ...]:
        """Those of RFC 8092."""
        return tuple(each for each in self.communities if each.count(":") == 2)


@dataclass(frozen=True)
class Setup:
    """The whole configuration of a router."""

    local_as: int
    router_id: str
    neighbours: tuple[Neighbour, ...]
    announced: tuple[Announced, ...] = ()
    passes_on: bool = False
    """Whether what one neighbour has told is told to the others (BIRD alone), and not used for forwarding here."""
    multipath: int = 1
    """Up to how many equal routes are used at once, whatever the AS at their end."""


@dataclass(frozen=True)
class Session:
    """What the router knows of a neighbour."""

    state: str
    """As in RFC 4271, in small letters: idle, connect, active, opensent, openconfirm, established."""
    since: float = 0.0
    """When it was established, in seconds since the epoch; the same as long as the session lasts. 0: it is not."""
    remote_id: str = ""
    capabilities: frozenset[str] = frozenset()
    """What the neighbour is capable of, in the words of CAPABILITIES; empty without a session."""
    hold_time: int = 0
    """Negotiated, seconds."""
    ups: int = 0
    """How many times the session was established since the router was first started."""
    updates: int = 0
    """How many updates it has heard in this session: messages, or routes, as the router counts."""
    last_error: str = ""
    """Why it is not established, or was not, in the router's own words; empty where it never failed."""

    @property
    def established(self) -> bool:
        return self.state == "established"

    @property
    def uptime(self) -> float:
        """Seconds since it was established."""
        return time.time() - self.since


CAPABILITIES = (
    *("ipv4", "ipv6", "four-octet-as", "route-refresh", "enhanced-route-refresh", "extended-next-hop"),
    *("graceful-restart", "forwarding-kept", "notification-kept"),
)
"""Of a neighbour. The last two: F bits of RFC 4724, and the N bit of RFC 8538, where the router tells."""


@dataclass(frozen=True)
class Learned:
    """One route in the router's table."""

    neighbour: str
    next_hop: str
    as_path: tuple[int, ...] = ()
    med: int | None = None
    local_pref: int | None = None
    communities: frozenset[str] = frozenset()
    """"65000:1", as numbers, the well-known ones too."""
    large_communities: frozenset[str] = frozenset()
    best: bool = False
    """The router uses it."""
    stale: bool = False
    """Kept by graceful restart, and not heard again yet."""


@dataclass(frozen=True)
class Change:
    """One change of a route. `via`: the new next hops, sorted; none: the route is gone."""

    at: float = field(compare=False)
    """CLOCK_MONOTONIC, seconds."""
    prefix: Prefix
    via: tuple[str, ...] = ()
