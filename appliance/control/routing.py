"""The daemon's voice to routers: from VIPs that are up to routes that each peer has.

Level-triggered: what is to be announced is made anew where something has changed, or where time alone changes it, and
each session sends what differs. A change of a VIP is on its way to all peers in the turn of the loop that found it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from appliance.control.announcing import Announcement, Announcements, Announcing, Standing, learned_at
from appliance.control.bfd import PathsWatched
from appliance.control.capturing import Capturing
from appliance.control.misroutes import Cause
from appliance.control.plan import Plan
from appliance.control.routers import last_error, peer_status
from appliance.control.sessions import Sessions
from appliance.control.socket import Request
from appliance.errors import ControlError
from appliance.model import Address, Config, EventKind, Severity
from appliance.model_address import differing
from appliance.routing.bgp.agreement import Local
from appliance.routing.bgp.capability import Family
from appliance.routing.bgp.notification import shutdown_data
from appliance.routing.bgp.session import News, Session
from appliance.routing.policy import Policy, Terms, foreseen
from appliance.routing.route import Attributes, Routes
from appliance.routing.speaker import Speaker
from appliance.routing.status import PeerStatus, RoutingStatus
from appliance.telemetry.routing import bgp_details, routing_numbers

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

NO_ROUTER_ID = (
    "bgp: no session can be opened without a router id; set `router_id` (or `address`) at the top of the configuration"
)
NOTHING = Announcements({})
STOPPED = "the load balancer was stopped"


class Routing:
    """All sessions of a daemon, and what they say."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.speaker: Speaker | None = None
        self.bfd: PathsWatched | None = None
        self.announced = NOTHING
        self._announcing: Announcing | None = None
        self._config: Config | None = None
        self._vips: Mapping[Address, bool] = {}
        self._isolated = self._drained = self._withdrawn = False
        self.last: Collection[Address] | None = None
        """The VIPs that no other node announces; None: of others nothing is known."""
        self._last: Collection[Address] | None = None
        self.learned_at = -math.inf
        self._policies: dict[Address, Policy] = {}
        self._trouble = ""
        self._second = 0.0
        self._said: dict[Address, str] = {}
        self._malformed: dict[Address, int] = {}
        self.sessions = Sessions(daemon)
        self.capturing = Capturing(lambda: self.speaker.sessions if self.speaker else ())
        daemon.measuring.sources.append(self.numbers)

    # ---- what is wanted

    def begin(self) -> None:
        """Open sessions: everything that can be announced is known by now."""
        self.speaker = Speaker(self._routes, self._told, self.capturing.take)
        instance = self._daemon.instance
        self.learned_at = learned_at(instance.state.config, self._daemon.started, resumed=instance.adopted)
        self._config, self._announcing = instance.state.config, Announcing(instance.state.config)
        current = instance.current
        self._vips = current.desired.vips if current else {}
        self._look_around()
        self._announce(time.monotonic())
        self.bfd = PathsWatched(self._daemon, self.speaker)
        wanted = {one.peer.address: one for one in self._wanted(instance.state.config)}
        self.sessions.resume(self.speaker, wanted, self.announced.by_vip)
        self._config = None
        self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Follow the configuration, and announce what is due; cheap where nothing is."""
        if self.speaker is None:
            return
        instance = self._daemon.instance
        config = instance.state.config
        if config is not self._config:
            self._follow(config, now)
        elif self._look_around():
            self._daemon.measuring.misrouting.happened(Cause.ROUTER, "routes of this node were announced otherwise")
            self._announce(now)
            self._daemon.saving.early(now)
        elif self.announced.until is not None and now >= self.announced.until:
            self._announce(now)
        if now < self._second:
            return
        self._second = now + 1
        self.malformed()
        assert self.bfd is not None
        self.bfd.follow(one.local.peer for one in self.speaker.sessions.values())
        self.sessions.look(self.speaker, self.announced.by_vip)

    def _look_around(self) -> bool:
        """Note how the node stands; returns whether that has changed."""
        departing = self._daemon.departing
        before = self._isolated, self._drained, self._withdrawn, self._last
        if (departing.current is not None) != self._drained:
            self._policies.clear()
        self._isolated, self._drained = self._daemon.instance.governor.isolated, departing.current is not None
        self._withdrawn, self._last = departing.withdrawn, self.last
        return before != (self._isolated, self._drained, self._withdrawn, self._last)

    @property
    def learning(self) -> bool:
        """Whether nothing is announced yet, because the daemon does not know enough."""
        return time.monotonic() < self.learned_at

    @property
    def heard(self) -> bool:
        """Whether any router listens."""
        return self.speaker is not None and any(one.agreement is not None for one in self.speaker.sessions.values())

    def learned(self, now: float) -> None:
        """Announce: there is nothing left to learn."""
        self.learned_at = min(self.learned_at, now)
        if self.speaker is not None:
            self._announce(now)

    def planned(self, plan: Plan) -> None:
        """Tell routers what a plan has changed of VIPs, at once."""
        vips = plan.desired.vips
        if self.speaker is None or vips is self._vips or self._config is not self._daemon.instance.state.config:
            return
        before, self._vips = self._vips, vips
        isolated = self._daemon.instance.governor.isolated
        if isolated != self._isolated:
            # What brings a dead VIP back into the tables is what routers are to hear of it.
            self._isolated = isolated
            self._announce(time.monotonic())
        elif changed := differing(before, vips):
            self._announce(time.monotonic(), changed)
        else:
            return
        # A daemon that follows a sudden end should not announce again what this one has withdrawn.
        self._daemon.saving.early(time.monotonic())

    def hand_over(self) -> None:
        """Leave all sessions to the program that is about to take the place of this one."""
        if self.speaker is not None:
            self.sessions.hand_over(self.speaker)

    async def close(self, *, forever: bool) -> None:
        """End: with a word where the daemon stops, without one where another goes on."""
        if self.speaker is None or self.bfd is None:
            return
        if forever:
            await self.speaker.close(STOPPED, shutdown_data(STOPPED))
        else:
            self.sessions.leave(self.speaker)
            self.speaker.abandon()
        await self.bfd.stop(forever=forever)

    def _follow(self, config: Config, now: float) -> None:
        assert self.speaker is not None
        self._config, self._announcing = config, Announcing(config)
        self._look_around()
        wanted = self._wanted(config)
        self.trouble(NO_ROUTER_ID if len(wanted) < len(config.bgp.peers) else "")
        self._policies.clear()
        self.speaker.follow(wanted, listen=config.listen)
        if self.speaker.listen_trouble:
            self.trouble(f"bgp: {self.speaker.listen_trouble}")
        current = self._daemon.instance.current
        self._vips = current.desired.vips if current else {}
        self._announce(now)

    def _wanted(self, config: Config) -> list[Local]:
        adopted = self._daemon.instance.adopted
        own = [(peer, peer.router_id or config.router_id) for peer in config.bgp.peers]
        return [Local(peer, one, restarting=adopted, preserved=adopted) for peer, one in own if one is not None]

    def troubles(self) -> tuple[str, ...]:
        """Return what is wrong, for a status."""
        return (self._trouble, self.bfd.client.trouble if self.bfd else "")

    def trouble(self, words: str) -> None:
        """Raise an alarm for what keeps sessions from being, once."""
        if words and words != self._trouble:
            self._daemon.record(EventKind.ALARM, words)
        self._trouble = words

    # ---- what is announced

    def standing(self, now: float) -> Standing:
        """Return what the daemon knows of itself."""
        alone = self._daemon.instance.governor.alone
        return Standing(now, self.learned_at, self._isolated, alone, self._withdrawn, self._last)

    def _announce(self, now: float, vips: Iterable[Address] | None = None) -> None:
        """Tell all peers of some VIPs, or of all."""
        assert self._announcing is not None
        assert self.speaker is not None
        since, standing = self._daemon.instance.vips_since, self.standing(now)
        if vips is None:
            self.announced = self._announcing.all(self._vips, since, standing)
            self.sessions.note(self.speaker, self.announced.by_vip)
            self.speaker.want()
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
            found = self._policies[peer.address] = Policy(self._config, peer, terms, draining=self._drained)
        return found

    # ---- what happened

    def _told(self, session: Session, news: News) -> None:
        peer, ending = session.local.peer, news.ending
        lasted = news.lasted
        if ending is None and self.speaker is not None:
            self.sessions.keep(self.speaker, session)
        elif lasted is not None:
            self.sessions.release(peer.address)
        self._policies.pop(peer.address, None)
        if ending and lasted is None and self._said.get(peer.address) == ending.text:
            return  # it was said when it was tried first; `vc5 bgp` tells how often it was
        self._said[peer.address] = ending.text if ending else ""
        error = last_error(time.time(), ending) if ending else None
        status = self._peer(session, routes=False)
        agreement = session.agreement
        fields: dict[str, Any] = {"peer": peer.address, "details": bgp_details(status, error, lasted)}
        if ending is None and agreement is not None:
            text = f"established with AS {agreement.remote_as}, router id {agreement.router_id}"
            fields |= {"outcome": "established", "before": "down", "severity": Severity.NOTICE}
        elif lasted is not None:
            text = f"down: {ending.text if ending else ''}"
            fields |= {"outcome": "down", "before": "established", "severity": Severity.ERROR}
        else:
            text = f"no session: {ending.text if ending else ''}"
            fields |= {"outcome": "refused", "before": "down", "severity": Severity.WARNING}
        if ending is not None:
            fields["reason"] = ending.text
            self._daemon.recorder.flush_soon()
        self._daemon.record(EventKind.BGP, text, **fields)

    def malformed(self) -> None:
        """Tell of UPDATEs that were treated as withdrawals: each peer's first, and then when there are more."""
        assert self.speaker is not None
        for address, session in self.speaker.sessions.items():
            if session.treated_as_withdraw != self._malformed.get(address, 0):
                self._malformed[address] = session.treated_as_withdraw
                text = f"{session.treated_as_withdraw} malformed UPDATEs so far; the last one: {session.malformed}"
                self._daemon.record(EventKind.BGP, text, peer=address, outcome="malformed", reason=session.malformed)

    # ---- how it stands

    def status(self, *, routes: bool = False, only: Address | None = None) -> RoutingStatus:
        """Return how it stands with all peers, or with one; with all VIPs where `routes` are wanted."""
        now, config = time.monotonic(), self._daemon.instance.state.config
        sessions = self.speaker.sessions if self.speaker else {}
        return RoutingStatus(
            str(config.router_id or ""),
            tuple(self._peer(one, routes=routes) for address, one in sessions.items() if only in (None, address)),
            round(self.standing(now).learning, 3),
            bool(self.speaker and self.speaker.listening),
            self._daemon.departing.told(),
        )

    def _peer(self, session: Session, *, routes: bool) -> PeerStatus:
        bfd = self.bfd.status(session.local.peer.address) if self.bfd else None
        return peer_status(session, self.policy(session), self.announced, time.monotonic(), bfd, routes=routes)

    def numbers(self) -> dict[str, Any]:
        """Return what is counted, by the names of telemetry/metrics.py."""
        return routing_numbers(self.status())

    async def answer(self, request: Request) -> dict[str, Any]:
        """Answer `vc5 bgp`. Raises ControlError for a peer that there is not."""
        wanted = request.arguments.get("peer")
        only = None
        if wanted is not None:
            try:
                only = ip_address(str(wanted))
            except ValueError:
                raise ControlError(f"{wanted!r} is no address of a peer") from None
            if self.speaker is None or only not in self.speaker.sessions:
                raise ControlError(f"{only}: no peer of the running configuration; `vc5 bgp` lists them")
        routes = only is not None or bool(request.arguments.get("routes"))
        return self.status(routes=routes, only=only).as_json(routes=routes)


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
