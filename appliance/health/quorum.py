"""What most nodes of a fleet say of a backend, where this one finds something else. Pure.

Theory of operation. Each node has one vote on each backend of each service: up, or down (dead, or answering wrongly).
Votes count of nodes that have been heard of just now, have finished learning, do not take themselves for cut off, and
check the same: those whose configuration of a service is known to be the same have a vote on all of its backends, all
others only on those that they say are down. This node votes as its own checks find, once they have found anything.

More than half of the votes that count are needed against what this node finds. So nobody is outvoted by one other node:
in a fleet of two, and in every tie, each acts on what it finds itself, as it would without a quorum. To wait for the
other one would have a backend that is dead for one of two go on to get its flows.

What this node finds is acted on at once: a backend that died is found dead by all, one a moment after the other, and
nobody gains if the first one waits. What most others say is acted on once it has stood for as long as they may need to
find out as well (`agreement.patience`), and for as long again once most do not say so any more. As soon as this node
is not outvoted because most find what it finds, it acts on that. One that was outvoted, and is again within LATELY, is
so at once, and so a way that fails now and then takes a backend out once and not each time.

A node suspects itself if most of the backends that it takes for down, of more than one group of services
(relations.py), are up for all others, at least two. It stops to once that is no more than a third.

One verdict costs a look at the votes on one backend, and a node's new view one at those on what differs from its former
one. Times are seconds of one monotonic clock, passed in as `now`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from appliance.model import Address, Health, ServiceKey

Pair = tuple[ServiceKey, Address]
HealthOf = Callable[[ServiceKey, Address], Health]

FRESH = 2.5
"""Seconds since its last word for which a node's votes count; it speaks each second."""
LATELY = 60.0
"""Seconds after a ruling within which it needs no time to stand."""
RESTORED = 10.0
"""Seconds for which a ruling of the program before stands until others are heard of."""
DOWN = frozenset({Health.DEAD, Health.WRONG})


@dataclass(frozen=True)
class Opinion:
    """What another node says of itself, and of backends."""

    node: int
    """Which one: the number of its life."""
    name: str
    down: Mapping[Pair, bool]
    """All that it takes for down: True where nothing answers, False where the answers are wrong."""
    heard: float
    """When it was last heard of."""
    ready: bool = True
    """Whether it has finished learning, and does not leave."""
    isolated: bool = False
    """Whether it takes itself for cut off."""
    checks: frozenset[ServiceKey] | None = None
    """The services whose configuration is known to be as here; None: all of them are."""

    def counts(self, now: float) -> bool:
        """Whether its votes count."""
        return self.ready and not self.isolated and now - self.heard <= FRESH

    def says(self, pair: Pair) -> Health | None:
        """Return its vote on a backend; None if it has none."""
        dead = self.down.get(pair)
        if dead is not None:
            return Health.DEAD if dead else Health.WRONG
        return Health.UP if self.checks is None or pair[0] in self.checks else None


@dataclass(frozen=True)
class Votes:
    """The votes on a backend, this node's among them."""

    up: int = 0
    dead: int = 0
    wrong: int = 0

    @property
    def of(self) -> int:
        """How many have voted."""
        return self.up + self.dead + self.wrong

    def against(self, own: Health) -> Health | None:
        """Return what more than half of them say against what this node finds; None if they do not."""
        if own in DOWN:
            return Health.UP if 2 * self.up > self.of else None
        if 2 * (self.dead + self.wrong) <= self.of:
            return None
        return Health.DEAD if 2 * self.dead > self.of else Health.WRONG

    def backs(self, own: Health) -> bool:
        """Whether more than half of them say what this node finds."""
        return 2 * (self.dead + self.wrong if own in DOWN else self.up) > self.of


@dataclass(frozen=True)
class Ruling:
    """What is to be acted on in the place of what this node finds."""

    health: Health
    votes: Votes

    @property
    def text(self) -> str:
        """The votes, for people: `2 of 3 nodes say up`."""
        votes = self.votes
        if not votes.of:
            return "as before the restart"
        said = votes.up if self.health is Health.UP else votes.dead + votes.wrong
        return f"{said} of {votes.of} nodes say {'up' if self.health is Health.UP else 'down'}"


@dataclass
class Quorum:
    """The votes, and what follows from them. Without other nodes it does nothing, and costs nothing."""

    rulings: dict[Pair, Ruling] = field(default_factory=dict)
    """What is in force."""
    suspects: bool = False
    """Whether this node is alone in its opinion."""
    _opinions: dict[int, Opinion] = field(default_factory=dict)
    _voters: dict[int, Opinion] = field(default_factory=dict)
    """Those whose votes count."""
    _mine: set[Pair] = field(default_factory=set)
    """What this node takes for down, as far as it has been looked at."""
    _alone: set[Pair] = field(default_factory=set)
    """Those of them that at least two others vote on, and all say up."""
    _opposed: dict[Pair, float] = field(default_factory=dict)
    """Since when most say otherwise, where there is no ruling yet."""
    _fading: dict[Pair, float] = field(default_factory=dict)
    """Since when most do not say so any more, where there is a ruling."""
    _lately: dict[Pair, float] = field(default_factory=dict)
    """Until when rulings that are over need no time to stand."""
    _changed: set[Pair] = field(default_factory=set)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to look at."""
        return not (self._opinions or self.rulings or self._voters)

    def hear(
        self, opinions: Iterable[Opinion], down: Callable[[], Iterable[Pair]], health: HealthOf, now: float
    ) -> None:
        """Take what all others say now; `down` yields what this node takes for down, and is asked when others come."""
        before, self._opinions = self._opinions, {one.node: one for one in opinions}
        if self._opinions and not before:
            self._mine = set(down())
        touched: set[Pair] = set()
        for node, one in self._opinions.items():
            former = before.get(node)
            if former is not None and former.down is not one.down:
                touched |= differing(former.down, one.down)
        self._elect(touched, now)
        for pair in touched:
            self._weigh(pair, health, now)

    def found(self, pair: Pair, health: HealthOf, now: float) -> None:
        """Take note that this node finds something else than it did."""
        if not self.idle:
            self._weigh(pair, health, now)

    def step(
        self,
        stands: Callable[[ServiceKey], float],
        groups: Callable[[], Mapping[ServiceKey, int]],
        health: HealthOf,
        now: float,
    ) -> None:
        """Let time pass; once a second. `stands` returns for how long votes must stand on a service's backends."""
        touched: set[Pair] = set()
        self._elect(touched, now)
        for pair in touched:
            self._weigh(pair, health, now)
        for pair in [pair for pair, since in self._opposed.items() if now - since >= stands(pair[0])]:
            self._rule(pair, health, now)
        for pair in [pair for pair, since in self._fading.items() if now - since >= stands(pair[0])]:
            self._end(pair, now)
        self._lately = {pair: until for pair, until in self._lately.items() if until > now}
        self._suspect(groups)

    def changes(self) -> set[Pair]:
        """Return the backends on which rulings began, ended or became others since this was last asked."""
        found, self._changed = self._changed, set()
        return found

    def votes(self, pair: Pair, own: Health) -> Votes:
        """Return the votes on a backend of which this node finds `own`."""
        said = [own, *(one.says(pair) for one in self._voters.values())]
        return Votes(said.count(Health.UP), said.count(Health.DEAD), said.count(Health.WRONG))

    def keep(self, configured: Collection[Pair]) -> None:
        """Forget what is not configured any more."""
        for table in (self.rulings, self._opposed, self._fading, self._lately):
            for pair in [pair for pair in table if pair not in configured]:
                del table[pair]
        self._mine.intersection_update(configured)
        self._alone.intersection_update(configured)

    def restore(self, rulings: Mapping[Pair, Health], now: float) -> None:
        """Go on with what was in force; if nobody says so again, it ends."""
        for pair, health in rulings.items():
            self.rulings[pair] = Ruling(health, Votes())
            self._fading[pair] = now + RESTORED
            self._lately[pair] = now + LATELY

    def _elect(self, touched: set[Pair], now: float) -> None:
        """Find whose votes count; where others than before do, every backend that anybody takes for down is touched."""
        voters = {node: one for node, one in self._opinions.items() if one.counts(now)}
        if {node: one.checks for node, one in voters.items()} != {
            node: one.checks for node, one in self._voters.items()
        }:
            for one in (*self._voters.values(), *voters.values()):
                touched.update(one.down)
            touched |= self._mine | self.rulings.keys()
        self._voters = voters

    def _weigh(self, pair: Pair, health: HealthOf, now: float) -> None:
        """Look at the votes on one backend."""
        own = health(*pair)
        self._alone.discard(pair)
        if own in DOWN:
            self._mine.add(pair)
        else:
            self._mine.discard(pair)
        if own is Health.UNKNOWN:
            self._opposed.pop(pair, None)
            self._end(pair, now)
            return
        votes = self.votes(pair, own)
        if own in DOWN and votes.up >= 2 and votes.up == votes.of - 1:
            self._alone.add(pair)
        against, ruling = votes.against(own), self.rulings.get(pair)
        if against is not None:
            if ruling is not None or self._lately.get(pair, now) > now:
                self._rule(pair, health, now)
            else:
                self._opposed.setdefault(pair, now)
            return
        self._opposed.pop(pair, None)
        if ruling is None:
            return
        if (votes.backs(own) and votes.of > 1) or (ruling.health is Health.UP) == (own is Health.UP):
            self._end(pair, now)
        else:
            self._fading.setdefault(pair, now)

    def _rule(self, pair: Pair, health: HealthOf, now: float) -> None:
        self._opposed.pop(pair, None)
        self._fading.pop(pair, None)
        own = health(*pair)
        votes = self.votes(pair, own)
        against = votes.against(own)
        if against is None:
            return
        before, self.rulings[pair] = self.rulings.get(pair), Ruling(against, votes)
        if before is None or before.health is not against:
            self._changed.add(pair)

    def _end(self, pair: Pair, now: float) -> None:
        self._fading.pop(pair, None)
        if self.rulings.pop(pair, None) is not None:
            self._lately[pair] = now + LATELY
            self._changed.add(pair)

    def _suspect(self, groups: Callable[[], Mapping[ServiceKey, int]]) -> None:
        alone = self._alone & self.rulings.keys()
        if self.suspects:
            self.suspects = 3 * len(alone) > len(self._mine) and _several(alone, groups)
        elif 2 * len(alone) > len(self._mine):
            self.suspects = _several(alone, groups)


def differing(one: Mapping[Pair, bool], other: Mapping[Pair, bool]) -> set[Pair]:
    """Return the backends of which two views say different things."""
    return {pair for pair, _ in one.items() ^ other.items()}


def _several(pairs: Collection[Pair], groups: Callable[[], Mapping[ServiceKey, int]]) -> bool:
    """Whether these are of more than one group of services."""
    keys = {key for key, _ in pairs}
    if len(keys) < 2:
        return False
    known = groups()
    return len({known.get(key) for key in keys}) > 1
