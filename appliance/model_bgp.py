"""What routers are told, and how: peers with every inherited value resolved. Frozen, and free of IO."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from appliance.model_address import Address, Network

LARGEST_MED = 2**32 - 1
"""The last choice among routes of one neighbouring AS (RFC 4271 section 9.1.2.2)."""
MAX_PREPEND = 16


@dataclass(frozen=True, order=True)
class Community:
    """A community: two halves of 16 bits (RFC 1997), or a large one of three parts of 32 bits (RFC 8092)."""

    parts: tuple[int, ...]

    @property
    def large(self) -> bool:
        """Whether it is one of RFC 8092."""
        return len(self.parts) == 3

    def __str__(self) -> str:
        return ":".join(str(part) for part in self.parts)


GRACEFUL_SHUTDOWN = Community((0xFFFF, 0))
"""Asks routers to prefer any other route (RFC 8326)."""


class Announce(StrEnum):
    """What routers are to be told of a VIP."""

    YES = "yes"
    DEMOTE = "demote"
    """As a last resort."""
    LAST = "last"
    """It is down, and this node is the last that announces it: as a last resort with a mark of its own."""
    DOWN = "down"
    """It is down, or not up for long enough: nothing, or as a last resort where the peer's `on_vip_down` says so."""
    NO = "no"

    @property
    def usual(self) -> Announce:
        """What is told where no peer's settings say otherwise."""
        return Announce.NO if self is Announce.DOWN else self


@dataclass(frozen=True)
class VipRoutes:
    """What the services of a VIP say of its routes, ahead of every peer's values; None: nothing.

    `communities` come in addition to the peer's.
    """

    announce: Announce = Announce.YES
    """YES, DEMOTE or NO."""
    med: int | None = None
    local_pref: int | None = None
    communities: tuple[Community, ...] = ()
    prepend: int | None = None
    next_hop_4: ipaddress.IPv4Address | None = None
    next_hop_6: ipaddress.IPv6Address | None = None


NOTHING_SAID = VipRoutes()


@dataclass(frozen=True)
class Bfd:
    """Bidirectional forwarding detection with a peer (RFC 5880): seconds between packets, and how many may be lost."""

    interval: float = 0.3
    multiplier: int = 3


@dataclass(frozen=True)
class Peer:
    """One router. AS numbers are 1..4294967294; times are whole seconds."""

    address: Address
    local_as: int
    remote_as: int | None = None
    """None: whatever the peer says; equal to `local_as` is iBGP, everything else eBGP."""
    group: str = ""
    """The name of the group that its values come from, empty for none."""
    hold_time: int = 10
    local_pref: int = 100
    """Sent over iBGP only."""
    med: int = 0
    """0: not sent."""
    prepend: int = 0
    """How many times more than once `local_as` stands in the AS path, over eBGP: 0..16."""
    source_ip: Address | None = None
    """The local end of the session, of the peer's family; None: as the route to the peer says."""
    next_hop_4: ipaddress.IPv4Address | None = None
    """What routes to IPv4 VIPs point at; None: the local end of the session."""
    next_hop_6: ipaddress.IPv6Address | None = None
    """The same for IPv6 VIPs."""
    communities: tuple[Community, ...] = ()
    accept: tuple[Network, ...] = ()
    """VIPs in one of these are announced even if `reject` has them; ahead of it, and in the order of the file."""
    reject: tuple[Network, ...] = ()
    """VIPs in one of these, and in none of `accept`, are not announced."""
    password: str = field(default="", repr=False)
    """The key of TCP-MD5 (RFC 2385); empty for none."""
    bfd: Bfd | None = None
    multihop: int = 0
    """How many hops away the peer may be; 0: on a network of this host, or iBGP."""
    ttl_security: bool = False
    """Whether only packets from within these hops are taken (RFC 5082)."""
    passive: bool = False
    """Whether the peer is to connect."""
    demote_med: int = LARGEST_MED
    """The MED of routes that are a last resort; 0: as usual."""
    demote_communities: tuple[Community, ...] = (GRACEFUL_SHUTDOWN,)
    """What such routes have besides."""
    last_communities: tuple[Community, ...] = ()
    """What routes have besides to VIPs that are down and that no other node announces (`last_announcer: keep`)."""
    demote_down: bool = False
    """Whether a VIP that is down is announced as a last resort, and not withdrawn."""
    graceful_restart: bool = True
    """Whether the peer is asked to keep routes while the daemon restarts (RFC 4724)."""
    restart_time: int = 120
    """For how many seconds, 1..4095."""
    router_id: ipaddress.IPv4Address | None = None
    """What we call ourselves to this peer; None: as to all others."""
    vips_next_hop_6: bool = False
    """Whether a service names a next hop of IPv6 for its VIPs."""

    @property
    def multiprotocol(self) -> bool:
        """Whether IPv6 routes can be announced: over a session of that family, or with a next hop of it."""
        return self.next_hop_6 is not None or self.address.version == 6 or self.vips_next_hop_6


@dataclass(frozen=True)
class Bgp:
    """All peers, in the order of families and addresses, and the VIPs of whose routes services say something."""

    peers: tuple[Peer, ...] = ()
    vips: Mapping[Address, VipRoutes] = field(default_factory=dict)
