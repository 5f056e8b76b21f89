"""The daemon's voice to routers: from VIPs that are up to routes that each peer has.

Level-triggered: what is to be announced is made anew where something has changed, or where time alone changes it, and
each session sends what differs. A change of a VIP is on its way to all peers in the turn of the loop that found it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from appliance.control.announcing import Announcement, Announcements, Announcing, Standing, learned_at
from appliance.control.plan import Plan
from appliance.model import Address, Config, EventKind, Severity
from appliance.routing.bgp.agreement import Local
from appliance.routing.bgp.capability import Family
from appliance.routing.bgp.session import News, Session
from appliance.routing.policy import Policy, Terms, foreseen
from appliance.routing.route import Attributes, Routes
from appliance.routing.speaker import Speaker
from appliance.routing.status import SessionState

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

NO_ROUTER_ID = (
    "bgp: no session can be opened without a router id; set `router_id` (or `address`) at the top of the configuration"
)
NOTHING = Announcements({})
SHOWN = 64
"""Bytes of a refused message that an event shows."""


class Routing:
    """All sessions of a daemon, and what they say."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.speaker: Speaker | None = None
        self.announced = NOTHING
        self._announcing: Announcing | None = None
        self._config: Config | None = None
        self._vips: Mapping[Address, bool] = {}
        self._isolated = False
        self._learned_at = -math.inf
        self._policies: dict[Address, Policy] = {}
        self._trouble = ""
        self._said: dict[Address, str] = {}

    # ---- what is wanted

    def begin(self) -> None:
        """Open sessions: everything that can be announced is known by now."""
        self.speaker = Speaker(self._routes, self._told)
        instance = self._daemon.instance
        self._learned_at = learned_at(instance.state.config, self._daemon.started, resumed=instance.adopted)
        self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Follow the configuration, and announce what is due; cheap where nothing is."""
        if self.speaker is None:
            return
        instance = self._daemon.instance
        config, isolated = instance.state.config, instance.governor.isolated
        if config is not self._config:
            self._follow(config, now)
        elif isolated != self._isolated or (self.announced.until is not None and now >= self.announced.until):
            self._isolated = isolated
            self._announce(now)

    def planned(self, plan: Plan) -> None:
        """Tell routers what a plan has changed of VIPs, at once."""
        vips = plan.desired.vips
        if self.speaker is None or vips is self._vips or self._config is not self._daemon.instance.state.config:
            return
        before, self._vips = self._vips, vips
        changed = [vip for vip, up in vips.items() if before.get(vip) != up]
        changed += [vip for vip in before if vip not in vips]
        if changed:
            self._announce(time.monotonic(), changed)

    async def close(self, *, forever: bool) -> None:
        """End: with a word where the daemon stops, without one where another goes on."""
        if self.speaker is None:
            return
        if forever:
            await self.speaker.close("the load balancer was stopped")
        else:
            self.speaker.abandon()

    def _follow(self, config: Config, now: float) -> None:
        assert self.speaker is not None
        self._config, self._announcing = config, Announcing(config)
        self._isolated = self._daemon.instance.governor.isolated
        adopted = self._daemon.instance.adopted
        router_id = config.router_id
        own = [(peer, peer.router_id or router_id) for peer in config.bgp.peers]
        wanted = [Local(peer, one, restarting=adopted, preserved=adopted) for peer, one in own if one is not None]
        self.trouble(NO_ROUTER_ID if len(wanted) < len(config.bgp.peers) else "")
        self._policies.clear()
        self.speaker.follow(wanted, listen=config.listen)
        if self.speaker.listen_trouble:
            self.trouble(f"bgp: {self.speaker.listen_trouble}")
        current = self._daemon.instance.current
        self._vips = current.desired.vips if current else {}
        self._announce(now)

    def trouble(self, words: str) -> None:
        """Raise an alarm for what keeps sessions from being, once."""
        if words and words != self._trouble:
            self._daemon.record(EventKind.ALARM, words)
        self._trouble = words

    # ---- what is announced

    def standing(self, now: float) -> Standing:
        """Return what the daemon knows of itself."""
        return Standing(now, self._learned_at, self._isolated)

    def _announce(self, now: float, vips: Iterable[Address] | None = None) -> None:
        """Tell all peers of some VIPs, or of all."""
        assert self._announcing is not None
        assert self.speaker is not None
        since, standing = self._daemon.instance.vips_since, self.standing(now)
        if vips is None:
            self.announced = self._announcing.all(self._vips, since, standing)
            for session in self.speaker.sessions.values():
                self.speaker.want(session)
            return
        changed: dict[Address, Announcement | None] = {}
        for vip in vips:
            up = self._vips.get(vip)
            changed[vip] = None
            if up is not None:
                changed[vip] = self._announcing.of(vip, up=up, since=since.get(vip, now), standing=standing)
        self.announced = self.announced.changed(changed, now)
        for session in self.speaker.sessions.values():
            if session.outbox is not None:
                self.speaker.change(session, self._changes(session, changed))

    def _changes(
        self, session: Session, changed: Mapping[Address, Announcement | None]
    ) -> dict[Address, Attributes | None]:
        policy = self.policy(session)
        return {vip: policy.route_of(vip, one.how) if one else None for vip, one in changed.items()}

    def _routes(self, session: Session) -> Routes:
        return self.policy(session).routes(self.announced.how)

    def policy(self, session: Session) -> Policy:
        """Return what decides about a peer's routes, by what its session agreed on."""
        assert self._config is not None
        peer = session.local.peer
        found = self._policies.get(peer.address)
        terms = terms_of(session)
        if found is None or found.terms != terms:
            found = self._policies[peer.address] = Policy(self._config, peer, terms)
        return found

    # ---- what happened

    def _told(self, session: Session, news: News) -> None:
        peer, ending = session.local.peer, news.ending
        self._policies.pop(peer.address, None)
        if news.before is not SessionState.ESTABLISHED and ending and self._said.get(peer.address) == ending.text:
            return  # it was said when it was tried first; `vc5 bgp` tells how often it was
        self._said[peer.address] = ending.text if ending else ""
        details: dict[str, Any] = {"peer": str(peer.address), "local_as": peer.local_as}
        if ending is None:
            agreement = session.agreement
            assert agreement is not None
            details |= {"remote_as": agreement.remote_as, "router_id": str(agreement.router_id)}
            text = f"peer {peer.address} established, AS {agreement.remote_as}, hold time {agreement.hold_time} s"
            self._daemon.record(
                EventKind.BGP, text, outcome="up", before="down", severity=Severity.NOTICE, details=details
            )
            return
        details |= {"direction": str(ending.direction), "code": ending.code, "subcode": ending.subcode}
        if ending.data:
            details["hex"] = ending.data[:SHOWN].hex()
        was = news.before is SessionState.ESTABLISHED
        text = f"peer {peer.address} {'down' if was else 'not established'}: {ending.text}"
        self._daemon.record(
            EventKind.BGP,
            text,
            outcome="down" if was else "failed",
            before="up" if was else "down",
            reason=ending.text,
            severity=Severity.ERROR if was else Severity.INFORMATIONAL,
            details=details,
        )


def terms_of(session: Session) -> Terms:
    """Return what a session allows; before there is one, what we are going to offer."""
    agreement, connection = session.agreement, session.serving
    if agreement is None or connection is None:
        return foreseen(session.local.peer)
    families = agreement.families
    return Terms(
        connection.local_address,
        agreement.ibgp,
        Family.IPV4 in families,
        Family.IPV6 in families,
        agreement.extended_next_hop,
    )
