"""Which VIPs this node keeps announcing as a last resort, from what the others say: feeds last_announcer.py. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from appliance.control import last_announcer
from appliance.control.fleet_others import Other
from appliance.control.last_announcer import Place, places
from appliance.fleet.records import Announced, Announces, How
from appliance.model import Address, Config, LastAnnouncer
from appliance.model_bgp import Announce

ANNOUNCED = {
    How.YES: Announce.YES,
    How.DEMOTE: Announce.DEMOTE,
    How.LAST: Announce.LAST,
    How.NO: Announce.NO,
}
UNUSUAL = frozenset({Announce.LAST, Announce.DOWN, Announce.NO})
TOLD = 0.05
"""Seconds after which a decision is told in any case, so that whoever has taken in a later HELLO knows of it."""


@dataclass
class Last:
    """The VIPs with `last_announcer: keep`, and how this node stands with those that are down here."""

    keeps: frozenset[Address] = frozenset()
    _places: dict[Address, Place] = field(default_factory=dict)

    def configured(self, config: Config) -> None:
        """Go on with another configuration."""
        keep = LastAnnouncer.KEEP
        self.keeps = frozenset(one.key.vip for one in config.services if one.last_announcer is keep)

    @property
    def kept(self) -> frozenset[Address]:
        """The VIPs whose route is to stay if they are down; those that are up are among them, for when they go down."""
        return self.keeps - {vip for vip, place in self._places.items() if not place.keep}

    def look(self, me: int, announced: Mapping[Address, Announce], others: Iterable[Other], now: float) -> Announces:
        """Decide anew; returns what is to be told of it before routers hear."""
        down = [vip for vip in self.keeps if announced.get(vip) in UNUSUAL]
        before = self._places
        known = [
            last_announcer.Other(
                one.member.life,
                one.member.whole_at,
                one.member.knows_since,
                {vip: ANNOUNCED[how] for vip, how in one.announces.items()},
            )
            for one in others
        ]
        self._places = places(me, down, before, known, now + TOLD)
        return Announces(
            tuple(
                Announced(vip, How.LAST if place.keep else How.NO)
                for vip, place in self._places.items()
                if vip not in before or before[vip].keep != place.keep
            )
        )
