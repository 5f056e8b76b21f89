"""What follows where nodes of a fleet think differently of backends: checks that come at once, and events. Pure.

When another node begins to say of a backend what this one does not find, this one checks it at once (schedule.py bounds
how often). Nodes that do not count, since they are silent, learn, or take themselves for cut off, are not listened to.
A node that says something else each moment has each backend checked once in AGAIN, and no more than MOST at a time:
what is left out has its turn at the next interval, as without a fleet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from appliance.health.governor import News
from appliance.health.quorum import DOWN, HealthOf, Opinion, Pair, Ruling, differing
from appliance.model import Address, Health, ServiceKey

AGAIN = 1.0
"""Seconds after which a backend may be checked at once again; the schedule takes an interval, if that is longer."""
MOST = 4096
"""Backends that are checked at once because of one look at what others say."""
SINGLY = 8
"""Rulings that begin or end at once, and are told one by one; more of them are told in sum."""


@dataclass
class Disagreement:
    """What other nodes said last, and which backends were checked at once lately."""

    _opinions: dict[int, Opinion] = field(default_factory=dict)
    """Of those that counted."""
    _asked: dict[Pair, float] = field(default_factory=dict)

    def hear(self, opinions: Iterable[Opinion], health: HealthOf, now: float) -> list[Pair]:
        """Take what all others say now; return what is to be checked at once. `health` are this node's verdicts."""
        before, self._opinions = self._opinions, {one.node: one for one in opinions if one.counts(now)}
        self._asked = {pair: at for pair, at in self._asked.items() if now - at < AGAIN}
        found: list[Pair] = []
        for node, one in self._opinions.items():
            former = before.get(node)
            if former is not None and former.down is one.down:
                continue
            for pair in differing(former.down, one.down) if former is not None else one.down:
                own, said = health(*pair), one.says(pair)
                if own is Health.UNKNOWN or said is None or (own in DOWN) == (said in DOWN) or pair in self._asked:
                    continue
                if len(found) == MOST:
                    return found
                self._asked[pair] = now
                found.append(pair)
        return found


@dataclass(frozen=True)
class Told:
    """An event about rulings: its text, `begin` or `end`, and of which backend, where it is about a single one."""

    text: str
    outcome: str
    service: ServiceKey | None = None
    backend: Address | None = None


def told(news: Sequence[News], health: HealthOf) -> list[Told]:
    """Return what is to be told of rulings that began or ended; of many at once, in sum."""
    begun = [one for one in news if one.ruling is not None and (one.former is None or _turned(one.former, one.ruling))]
    ended = [one for one in news if one.ruling is None]
    found: list[Told] = []
    for some, single, outcome in ((begun, _begun, "begin"), (ended, _ended, "end")):
        if len(some) <= SINGLY:
            found += [single(one, health) for one in some]
            continue
        services = len({one.pair[0] for one in some})
        what = "most nodes say otherwise of" if outcome == "begin" else "what this node finds is acted on again, of"
        found.append(Told(f"{what} {len(some)} backends in {services} services", outcome))
    return found


def _turned(former: Ruling, ruling: Ruling) -> bool:
    """Whether what is acted on is another thing for people, and not only dead in the place of wrong."""
    return (ruling.health in DOWN) != (former.health in DOWN)


def _begun(one: News, health: HealthOf) -> Told:
    assert one.ruling is not None
    if one.ruling.health is Health.UP:
        text = f"kept in service although {health(*one.pair)} here: {one.ruling.text}"
    else:
        text = f"taken out although {health(*one.pair)} here: {one.ruling.text}"
    return Told(text, "begin", *one.pair)


def _ended(one: News, health: HealthOf) -> Told:
    assert one.former is not None
    what = "not kept in service by other nodes" if one.former.health is Health.UP else "not taken out by other nodes"
    return Told(f"{what} any more, {health(*one.pair)} here", "end", *one.pair)
