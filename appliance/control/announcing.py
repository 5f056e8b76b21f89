"""How each VIP is to be announced to routers, why not as usual, and when time alone changes that. Pure.

A VIP is announced that is up, and was for `hold_down`, once the first `learn` seconds of a daemon are over. One that is
down is withdrawn at once; one that the configuration does not want announced never is. A daemon that goes on with the
sessions of the one before it has nothing to learn: `learned_at`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from appliance.config.kinds import duration_text
from appliance.model import Address, Config, LastAnnouncer
from appliance.model_bgp import NOTHING_SAID
from appliance.model_bgp import Announce as Announce

ISOLATED = (
    "most backends of unrelated services stopped to answer at once, so this node seems to be cut off from them; "
    "see to its links and switches; the tables stay as they were"
)
ALONE = (
    "most backends of unrelated services that do not answer here are up for all other nodes of the fleet, so this node "
    "seems to be cut off from them; see to its links and switches; backends that most nodes call up stay in service"
)

FLEET_LEARN = 10.0
"""Seconds for which a node without `learn` waits for others to tell what they know; alone, it waits in vain."""
DISABLED = "disabled in the configuration"
REMOVED = "not in the configuration any more"
WITHDRAWN = "this node is drained, and its routes are withdrawn"
LAST = "down, and no other node announces it (last_announcer)"
CONFIGURED = {Announce.NO: "`announce: no` in the configuration", Announce.DEMOTE: "`announce: demote`"}


@dataclass(frozen=True)
class Announcement:
    """How, and why not as usual."""

    how: Announce
    reason: str = ""
    left: float | None = None
    """In how many seconds time alone makes another one of it, above 0; None: never."""


@dataclass(frozen=True)
class Standing:
    """What the daemon knows of itself at one moment, in monotonic seconds."""

    now: float
    learned_at: float = -math.inf
    """When nothing is left to learn."""
    isolated: bool = False
    """Whether this node seems to be cut off."""
    alone: bool = False
    """Whether it seems so because no other node of the fleet finds what it finds."""
    withdrawn: bool = False
    """Whether it is drained so far that routers are to have none of its routes."""
    last: Collection[Address] | None = None
    """The VIPs that no other node announces; None: of others nothing is known, so that it may be any."""

    @property
    def learning(self) -> float:
        """How many seconds of `learn` are left."""
        return max(0.0, self.learned_at - self.now)


def learned_at(config: Config, started: float, *, resumed: bool) -> float:
    """Return when a daemon that was `started` then has learned, at the latest.

    With a fleet that is as soon as the others have told what they know. `resumed`: it goes on with sessions of another
    daemon, and has nothing to learn.
    """
    usual = FLEET_LEARN if config.fleet is not None else 0.0
    return started if resumed else started + (usual if config.learn is None else config.learn)


def disabled(config: Config) -> frozenset[Address]:
    """The VIPs that the configuration's mark keeps from being announced, whatever their health."""
    return frozenset(service.key.vip for service in config.services if not service.vip_enabled)


def withheld(config: Config) -> Mapping[Address, str]:
    """The VIPs that the configuration keeps from being announced, by the mark or by `announce: no`, and why."""
    no = {vip: CONFIGURED[Announce.NO] for vip, said in config.bgp.vips.items() if said.announce is Announce.NO}
    return no | dict.fromkeys(disabled(config), DISABLED)


def announcement(
    config: Config,
    *,
    up: bool,
    for_seconds: float,
    isolated: bool,
    alone: bool = False,
    withheld: str = "",
    wanted: Announce = Announce.YES,
    learning: float = 0.0,
    last: bool = False,
) -> Announcement:
    """Return how a VIP is to be announced that has been up (or down) for so long.

    `withheld` is why the configuration does not want it announced, `wanted` how it is to be otherwise; `learning` is
    for how many seconds nothing is to be. `last`: while it is down its route is to be kept, for no other node announces
    it.
    """
    if withheld:
        return Announcement(Announce.NO, withheld)
    if learning > 0:
        return Announcement(Announce.NO, f"learning, {math.ceil(learning)} s left", learning)
    # Of a node that is cut off, and then is not to announce anything, a VIP that is down is no last resort either.
    down = Announce.LAST if last else Announce.NO if isolated and not config.demote else Announce.DOWN
    if not up:
        return Announcement(down, LAST if last else "down")
    if for_seconds < config.hold_down:
        reason = f"up for less than {duration_text(config.hold_down)} (hold_down)"
        return Announcement(down, reason, config.hold_down - for_seconds)
    if isolated:
        return Announcement(Announce.DEMOTE if config.demote else Announce.NO, ALONE if alone else ISOLATED)
    return Announcement(wanted, CONFIGURED.get(wanted, ""))


@dataclass(frozen=True)
class Announcements:
    """Of all VIPs; `until` is the moment at which time alone changes one of them, None for never."""

    by_vip: Mapping[Address, Announcement]
    until: float | None = None

    def changed(self, some: Mapping[Address, Announcement | None], now: float) -> Announcements:
        """Return these with some of them anew, at `now`; None: that VIP is gone."""
        found = dict(self.by_vip)
        until = [] if self.until is None else [self.until]
        for vip, one in some.items():
            if one is None:
                found.pop(vip, None)
            else:
                found[vip] = one
                until += [] if one.left is None else [now + one.left]
        return Announcements(found, min(until, default=None))

    @cached_property
    def how(self) -> dict[Address, Announce]:
        """How each is to be announced, for the policies of peers."""
        return {vip: one.how for vip, one in self.by_vip.items()}


class Announcing:
    """What follows from one configuration for its VIPs; made anew by every reload."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._withheld = withheld(config)
        self._vips = frozenset(service.key.vip for service in config.services)
        keep = LastAnnouncer.KEEP
        self._kept = frozenset(service.key.vip for service in config.services if service.last_announcer is keep)

    def of(self, vip: Address, *, up: bool, since: float, standing: Standing) -> Announcement:
        """Return how a VIP is to be announced that has been up (or down) `since` then."""
        withheld = self._withheld.get(vip, "") if vip in self._vips else REMOVED
        return announcement(
            self._config,
            up=up,
            for_seconds=standing.now - since,
            isolated=standing.isolated,
            alone=standing.alone,
            withheld=withheld or (WITHDRAWN if standing.withdrawn else ""),
            wanted=self._config.bgp.vips.get(vip, NOTHING_SAID).announce,
            learning=standing.learning,
            last=bool(self._kept) and vip in self._kept and (standing.last is None or vip in standing.last),
        )

    def all(self, up: Mapping[Address, bool], since: Mapping[Address, float], standing: Standing) -> Announcements:
        """Return how all of them are; one of which `since` knows nothing changed just now."""
        now = standing.now
        found = {vip: self.of(vip, up=is_up, since=since.get(vip, now), standing=standing) for vip, is_up in up.items()}
        left = min((one.left for one in found.values() if one.left is not None), default=None)
        return Announcements(found, None if left is None else now + left)
