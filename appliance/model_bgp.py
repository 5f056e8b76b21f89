"""What routers are told, and how: peers with every inherited value resolved. Frozen, and free of IO."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from appliance.model_address import Address, Network


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

    @property
    def multiprotocol(self) -> bool:
        """Whether IPv6 routes can be announced: over a session of that family, or with a next hop of it."""
        return self.next_hop_6 is not None or self.address.version == 6


@dataclass(frozen=True)
class Bgp:
    """All peers, in the order of families and addresses."""

    peers: tuple[Peer, ...] = ()
