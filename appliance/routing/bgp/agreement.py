"""What two speakers agree on by their OPENs (RFC 4271 4.2 and 6.2, RFC 5492). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from appliance.model_bgp import Peer
from appliance.routing.bgp.capability import Capabilities, Family, GracefulRestart
from appliance.routing.bgp.message import Open
from appliance.routing.bgp.notification import Code, OpenError, Refusal

EXTENDED = frozenset({(Family.IPV4, Family.IPV6)})


@dataclass(frozen=True)
class Local:
    """Our side of a session: the peer as configured, and what this daemon is."""

    peer: Peer
    router_id: IPv4Address
    restarting: bool = False
    """Whether this daemon goes on where a former one ended, so that the peer should keep what it has (RFC 4724)."""
    preserved: bool = True
    """Whether packets were forwarded all the while."""


@dataclass(frozen=True)
class Agreement:
    """What holds for a session. `hold_time` is seconds, 0 for none."""

    remote_as: int
    router_id: IPv4Address
    hold_time: int
    ibgp: bool
    families: frozenset[Family]
    four_octet: bool
    extended_next_hop: bool
    """Whether IPv4 routes may have an IPv6 next hop."""
    received: Capabilities

    @property
    def graceful_restart(self) -> GracefulRestart | None:
        """What the peer does when we restart; None: it forgets us at once."""
        return self.received.graceful_restart


def offer(local: Local) -> Open:
    """Return the OPEN with which we begin."""
    peer = local.peer
    families = frozenset({Family.IPV4, Family.IPV6} if peer.multiprotocol else {Family.IPV4})
    graceful = None
    if peer.graceful_restart:
        kept = tuple((family, local.preserved) for family in Family if family in families)
        graceful = GracefulRestart(local.restarting, peer.restart_time, notifications=False, families=kept)
    return Open(
        peer.local_as,
        peer.hold_time,
        local.router_id,
        Capabilities(
            families=families,
            as_number=peer.local_as,
            route_refresh=True,
            enhanced_refresh=True,
            graceful_restart=graceful,
            extended_next_hop=EXTENDED if peer.multiprotocol else frozenset(),
        ),
    )


def agree(local: Local, received: Open) -> Agreement:
    """Return what holds from now on; raises Refusal for what we cannot agree to."""
    peer, offered = local.peer, offer(local).capabilities
    remote_as = received.as_number
    ibgp = remote_as == peer.local_as
    if peer.remote_as is not None and remote_as != peer.remote_as:
        why = f"it says that it is AS {remote_as}, and remote_as is {peer.remote_as}; one of both is wrong"
        raise Refusal(Code.OPEN, OpenError.BAD_PEER_AS, remote_as.to_bytes(4, "big"), why)
    if received.router_id == local.router_id and (ibgp or received.capabilities.as_number is None):
        # Over eBGP two speakers may have the same (RFC 6286).
        why = f"its router id is {received.router_id}, which is ours as well; give one of both another (router_id)"
        raise Refusal(Code.OPEN, OpenError.BAD_IDENTIFIER, received.router_id.packed, why)
    theirs = received.capabilities.families or frozenset({Family.IPV4})
    return Agreement(
        remote_as=remote_as,
        router_id=received.router_id,
        hold_time=min(peer.hold_time, received.hold_time),
        ibgp=ibgp,
        families=offered.families & theirs,
        four_octet=received.capabilities.as_number is not None,
        extended_next_hop=bool(EXTENDED & offered.extended_next_hop & received.capabilities.extended_next_hop),
        received=received.capabilities,
    )
