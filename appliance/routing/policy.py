"""Which routes a peer is to have, with which attributes, and why not others. Pure.

What decides, in this order: how the VIP is to be announced (control/announcing.py), the peer's filters, the families
and next hops that the session agreed on. The attributes are those of the VIP's services, else the peer's, whose own
come from its group, else from `bgp`; communities of services are added to the peer's.

A route that is a last resort has `demote_med` and `demote_communities`; over iBGP a local preference of 0. While the
whole node is drained, all routes are, and carry the community of RFC 8326 in any case. One that only this node still
announces, although the VIP is down, has `last_communities` besides.

The next hop of an IPv4 route is `next_hop_4` of the VIP or peer, else the local end of an IPv4 session, else, where the
session allows it (RFC 8950), the next hop of IPv6. That is `next_hop_6` of the VIP or peer, else the local end of an
IPv6 session. An address that only one link knows, or none (`::`), is no next hop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.model import Config
from appliance.model_address import Address
from appliance.model_bgp import GRACEFUL_SHUTDOWN, NOTHING_SAID, Announce, Peer, VipRoutes
from appliance.routing.filters import Filters
from appliance.routing.route import Attributes, Routes

DRAINED = "this node is drained"
LAST_RESORT = "a last resort"


@dataclass(frozen=True)
class Terms:
    """What one session allows. `local` is our end of it; None: not known yet."""

    local: Address | None
    ibgp: bool
    ipv4: bool = True
    """Whether it carries IPv4 routes."""
    ipv6: bool = False
    extended_next_hop: bool = False
    """Whether IPv4 routes may have a next hop of IPv6 (RFC 8950)."""


def foreseen(peer: Peer) -> Terms:
    """Return what can be said of a session that there is not yet: all that we are going to offer."""
    over_6 = peer.address.version == 6
    return Terms(peer.source_ip, peer.remote_as == peer.local_as, True, peer.multiprotocol, over_6)


class Policy:
    """What one peer is to know, over one session; to be made anew when the configuration or the terms change.

    Attributes that are equal are the same object as far as they come from one policy, so that they are cheap to group.
    """

    def __init__(
        self, config: Config, peer: Peer, terms: Terms, *, draining: bool = False, filters: Filters | None = None
    ) -> None:
        """`filters` are those of the peer, if they were made before; `draining` says that the whole node is drained."""
        self._vips = config.bgp.vips
        self._peer = peer
        self.terms = terms
        self._draining = draining
        self._filters = filters or Filters(peer.accept, peer.reject)
        self._made: dict[tuple[int, int, bool, bool], Attributes | None] = {}

    def routes(self, announced: Mapping[Address, Announce]) -> Routes:
        """Return all that the peer is to know."""
        routes: dict[Address, Attributes] = {}
        for vip, announce in announced.items():
            attributes = self.route_of(vip, announce)
            if attributes is not None:
                routes[vip] = attributes
        return routes

    def route_of(self, vip: Address, announce: Announce) -> Attributes | None:
        """Return how one VIP is to be announced; None: not at all."""
        if not self._told(announce) or not (self._filters.empty or self._filters.rejects(vip) is None):
            return None
        # To hash an address takes as long as all else here, and there are thousands.
        said = self._vips.get(vip, NOTHING_SAID) if self._vips else NOTHING_SAID
        demoted, last = self._draining or announce is not Announce.YES, announce is Announce.LAST
        key = (id(said), vip.version, demoted, last)  # `said` lives as long as the configuration, which this one holds
        if key not in self._made:
            self._made[key] = self._attributes(vip, said, demoted=demoted, last=last)
        return self._made[key]

    def why(self, vip: Address, announce: Announce, reason: str = "") -> str:
        """Return why a VIP is not announced, or as a last resort; empty where it is as usual.

        `reason` is why it is to be announced so, where that is known.
        """
        if not self._told(announce):
            return reason or ("down" if announce is Announce.DOWN else "not announced")
        rejected = self._filters.rejects(vip)
        if rejected is not None:
            return f"rejected by {rejected}"
        lack = self._lack(vip, self._vips.get(vip, NOTHING_SAID))
        if lack:
            return lack
        if announce is Announce.YES:
            return f"{LAST_RESORT}: {DRAINED}" if self._draining else ""
        return f"{LAST_RESORT}: {reason}" if reason else LAST_RESORT

    def _told(self, announce: Announce) -> bool:
        return announce is not Announce.NO and (announce is not Announce.DOWN or self._peer.demote_down)

    def _attributes(self, vip: Address, said: VipRoutes, *, demoted: bool, last: bool) -> Attributes | None:
        next_hop = self._next_hop(vip.version, said)
        if next_hop is None or self._refused(vip.version):
            return None
        peer, ibgp = self._peer, self.terms.ibgp
        med = peer.med if said.med is None else said.med
        preference = peer.local_pref if said.local_pref is None else said.local_pref
        communities = (*peer.communities, *said.communities)
        if demoted:
            med, preference = peer.demote_med or med, 0
            communities += peer.demote_communities
        if last:
            communities += peer.last_communities
        if self._draining:
            communities += (GRACEFUL_SHUTDOWN,)
        more = peer.prepend if said.prepend is None else said.prepend
        return Attributes(
            next_hop,
            # Over iBGP our own AS in the path would be a loop to the peer (RFC 4271 section 9.1.2).
            as_path=() if ibgp else (peer.local_as,) * (1 + more),
            med=med or None,
            local_pref=preference if ibgp else None,
            communities=tuple(dict.fromkeys(communities)),
        )

    def _next_hop(self, version: int, said: VipRoutes) -> Address | None:
        local = _anywhere(self.terms.local)
        six = said.next_hop_6 or self._peer.next_hop_6 or (local if local and local.version == 6 else None)
        if version == 6:
            return six
        four = said.next_hop_4 or self._peer.next_hop_4 or (local if local and local.version == 4 else None)
        return four or (six if self.terms.extended_next_hop else None)

    def _refused(self, version: int) -> bool:
        return not (self.terms.ipv4 if version == 4 else self.terms.ipv6)

    def _lack(self, vip: Address, said: VipRoutes) -> str:
        """Return why the session does not allow a route; empty if it does."""
        family = f"IPv{vip.version}"
        if self._refused(vip.version):
            if vip.version == 6 and not self._peer.multiprotocol:
                return "no IPv6 over this session: set next_hop_6"
            return f"the router takes no {family} routes over this session"
        if self._next_hop(vip.version, said) is not None:
            return ""
        if self.terms.local is None:
            return f"no {family} next hop before there is a session"
        refusal = ", for the router takes none of IPv6 (RFC 8950)" if vip.version == 4 else ""
        return f"no {family} next hop: set next_hop_{vip.version}{refusal}"


def _anywhere(address: Address | None) -> Address | None:
    """Return an address that a next hop can be; None for none, and for one of IPv6 that only its link knows."""
    if address is None or address.is_unspecified or (address.version == 6 and address.is_link_local):
        return None
    return address
