"""In what this node and the others of its fleet differ, since when, and why. Pure.

Nodes that have the same configuration, the same hash seed and the same view of health have the same tables. What they
tell of their tables is compared every second, where it has changed; why they differ is looked at when somebody asks.
Nodes that learn or leave are not compared: no router sends to them, or soon none does.

A difference is nothing to worry about while it is young: one node has seen something that the other has not yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from appliance.control.fleet_digests import differing
from appliance.fleet.difference import Cause, Difference, Opinion, Overridden, Pair, Ranges
from appliance.fleet.records import Facts, NodeState, TableDigest, TableOf, View
from appliance.model import Address, ServiceKey
from appliance.model_address import Endpoint

LASTING = 2.0
"""Seconds after which a difference is none of a moment. Nodes tell each other of a change within milliseconds; they
see a backend's failure up to a second or so apart."""
LISTED = 200
"""Differences that are told of, at most."""
COMPARED = (NodeState.READY, NodeState.DRAINING)

Said = Mapping[ServiceKey, Mapping[Address, tuple[str, ...]]]
"""What operators said of backends, in the words of the commands."""


@dataclass(frozen=True)
class Side:
    """A node with what it says of itself; `synced` is whether that is all."""

    life: int
    facts: Facts
    """As its HELLO has them."""
    tables: Mapping[ServiceKey, TableDigest] = field(default_factory=dict)
    view: View | None = None
    address: Endpoint | None = None
    """None: of this node."""
    synced: bool = True
    overrides: Said | None = None
    """None: not known."""
    slow_start: Mapping[ServiceKey, Iterable[Address]] = field(default_factory=dict)
    """The backends that gain their share; of other nodes that is not known."""


@dataclass
class _Compared:
    """The last comparison with one node: with what, and what has differed since when. None: the whole configuration."""

    mine: dict[ServiceKey, TableDigest] = field(default_factory=dict)
    theirs: dict[ServiceKey, TableDigest] = field(default_factory=dict)
    tables: dict[ServiceKey, float] = field(default_factory=dict)
    whole: float | None = None


class Differences:
    """All differences between this node and the others. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._by_life: dict[int, _Compared] = {}
        self._mine: Side | None = None
        self._others: dict[int, Side] = {}

    def look(self, mine: Side, others: Iterable[Side], now: float) -> None:
        """Compare. To be called every second; what has not changed since costs next to nothing."""
        self._mine = mine
        self._others = {one.life: one for one in others if _comparable(mine) and _comparable(one)}
        self._by_life = {life: self._by_life.get(life, _Compared()) for life in self._others}
        for life, other in self._others.items():
            known = self._by_life[life]
            if _whole(mine, other):
                known.whole = now if known.whole is None else known.whole
            else:
                known.whole = None
            if known.mine != mine.tables or known.theirs != other.tables:
                known.mine, known.theirs = dict(mine.tables), dict(other.tables)
                known.tables = {key: known.tables.get(key, now) for key in _differing(mine.tables, other.tables)}

    def lasting(self, now: float) -> int:
        """Return how many differences have lasted for longer than a moment."""
        return sum(now - since > LASTING for known in self._by_life.values() for since in _moments(known))

    def told(
        self, now: float, wall: float, service: ServiceKey | None = None, most: int = LISTED
    ) -> tuple[tuple[Difference, ...], int]:
        """Return the differences, those that last first, and how many there are beside these.

        With `service`, only those that concern it. `wall` is `now` by the wall clock.
        """
        found = [
            (not now - since > LASTING, key is not None, key, life, since)
            for life, known in self._by_life.items()
            for key, since in _items(known)
            if service is None or key in (None, service)
        ]
        found.sort(key=lambda one: (one[0], one[1], _order(one[2]), self._others[one[3]].facts.name, one[3]))
        listed = tuple(self._told(key, life, since, now, wall) for _, _, key, life, since in found[:most])
        return listed, len(found) - len(listed)

    def _told(self, key: ServiceKey | None, life: int, since: float, now: float, wall: float) -> Difference:
        mine, other = self._mine, self._others[life]
        assert mine is not None
        assert other.address is not None
        found = Difference(
            node=other.facts.name,
            address=other.address,
            since=round(wall - (now - since), 3),
            lasting=now - since > LASTING,
            causes=(),
            service=key,
        )
        return replace(found, causes=_whole(mine, other)) if key is None else explain(mine, other, found)


def explain(mine: Side, other: Side, found: Difference) -> Difference:
    """Return a difference in the table of one service with the reasons for it."""
    key = found.service
    assert key is not None
    here, there = mine.tables.get(key), other.tables.get(key)
    causes = [Cause.HASH_SEED] if Cause.HASH_SEED in _whole(mine, other) else []
    if here is None or there is None:
        causes.append(Cause.CONFIGURATION)
        counts = (here.slot_count if here else None, there.slot_count if there else None)
        return replace(found, causes=tuple(causes), slots_here=counts[0], slots_there=counts[1])
    health = opinions(_down(mine.view, key), _down(other.view, key))
    overrides = overridden(mine.overrides, other.overrides, key)
    slow = tuple(sorted(mine.slow_start.get(key, ()), key=_number))
    causes += [Cause.SLOTS] * (here.slot_count != there.slot_count)
    causes += [Cause.CONFIGURATION] * (here.configuration != there.configuration)
    causes += [Cause.HEALTH] * bool(health)
    causes += [Cause.OVERRIDES] * bool(overrides)
    causes += [Cause.SLOW_START] * bool(slow)
    return replace(
        found,
        causes=tuple(causes) or (Cause.UNKNOWN if found.lasting else Cause.ON_ITS_WAY,),
        slots_here=here.slot_count,
        slots_there=there.slot_count,
        health=health,
        overrides=overrides,
        slow_start=slow,
    )


def opinions(here: Mapping[Address, bool], there: Mapping[Address, bool]) -> tuple[Opinion, ...]:
    """Return the backends that only one of two nodes takes for down; the values say whether it takes them for dead."""
    mine = {one: Opinion(one, here=True, dead=dead) for one, dead in here.items() if one not in there}
    theirs = {one: Opinion(one, here=False, dead=dead) for one, dead in there.items() if one not in here}
    return tuple(found for _, found in sorted((mine | theirs).items(), key=lambda item: _number(item[0])))


def overridden(here: Said | None, there: Said | None, key: ServiceKey) -> tuple[Overridden, ...]:
    """Return the backends of which operators have not said the same at both nodes, as far as that is known."""
    mine = None if here is None else here.get(key, {})
    theirs = None if there is None else there.get(key, {})
    some = sorted({**(mine or {}), **(theirs or {})}, key=_number)
    found = [
        Overridden(one, None if mine is None else mine.get(one, ()), None if theirs is None else theirs.get(one, ()))
        for one in some
    ]
    return tuple(one for one in found if one.here != one.there)


def ranges(node: str, address: Endpoint, mine: TableOf | None, theirs: TableOf | None, *, answered: bool) -> Ranges:
    """Return where two whole tables differ, slot by slot; neighbouring slots with the same owners are one range.

    `answered` is whether the other node has told its table, or that it has none; `theirs` is None then.
    """
    counts = (None if mine is None else len(mine.owners), None if theirs is None else len(theirs.owners))
    if mine is None or theirs is None or counts[0] != counts[1]:
        return Ranges(node, address, *counts, answered=answered)
    runs: dict[tuple[Address | None, Address | None], list[tuple[int, int]]] = {}
    owners = (None, *mine.backends), (None, *theirs.backends)
    for slot, (one, other) in enumerate(zip(mine.owners, theirs.owners, strict=True)):
        here, there = owners[0][one], owners[1][other]
        if here == there:
            continue
        listed = runs.setdefault((here, there), [])
        if listed and listed[-1][1] == slot - 1:
            listed[-1] = (listed[-1][0], slot)
        else:
            listed.append((slot, slot))
    pairs = [Pair(here, there, tuple(listed)) for (here, there), listed in runs.items()]
    pairs.sort(key=lambda pair: (-pair.slots, pair.ranges))
    return Ranges(node, address, *counts, pairs=tuple(pairs), answered=answered)


def _comparable(side: Side) -> bool:
    return side.synced and side.facts.state in COMPARED


def _whole(mine: Side, other: Side) -> tuple[Cause, ...]:
    """Return in what the configurations differ as a whole; other versions have digests of other things."""
    seed, file = differing(mine.facts, other.facts)
    return (Cause.HASH_SEED,) * seed + (Cause.CONFIGURATION,) * file


def _differing(mine: Mapping[ServiceKey, TableDigest], theirs: Mapping[ServiceKey, TableDigest]) -> list[ServiceKey]:
    found = [key for key, one in mine.items() if theirs.get(key) != one]
    return found + [key for key in theirs if key not in mine]


def _moments(known: _Compared) -> Iterable[float]:
    return (since for _, since in _items(known))


def _items(known: _Compared) -> Iterable[tuple[ServiceKey | None, float]]:
    if known.whole is not None:
        yield None, known.whole
    yield from known.tables.items()


def _order(key: ServiceKey | None) -> tuple[int, int, int, int]:
    return (0, 0, 0, 0) if key is None else (key.vip.version, int(key.vip), key.port, int(key.protocol))


def _number(address: Address) -> tuple[int, int]:
    return address.version, int(address)


def _down(view: View | None, key: ServiceKey) -> Mapping[Address, bool]:
    found: dict[Address, bool] = {}
    for service in view.services if view else ():
        if service.service == key:
            found |= {one.backend: one.dead for one in service.down}
    return found
