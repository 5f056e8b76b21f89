"""Tracked slots as nodes of a fleet tell them: by the addresses of backends, since every node has its own numbers.

Theory of operation. A flow that nothing is remembered of is answered with `was` of its slot where that is tracked, else
with `now`. Nodes that answer it alike need not know of it. So they have to agree on that answer, or to remember. Where
they learn of a change at different moments:

  whoever changes a slot    tracks it, as ever; `was` is what all others answer at that moment. In a fleet every flow of
                            a tracked slot is remembered and told, whether or not `now` and `was` are the same;
  whoever is told of it     tracks it too, with its own `now` as `was`: only then does it look into the flow table, and
                            only then are its flows remembered and told, those that belong to `was` among them;
  `was` becomes `now`       no sooner than `grace` after the last change at any node. By then every living older flow
                            has sent a packet to a node that tracked its slot, and all nodes remember it;
  un-tracking               no sooner than `idle` after the last packet that went elsewhere than `now`, at any node.

So of the times `changed` and `diverted` the later one holds. As long as another node's `now` differs, the slot counts
as changed just now: nodes that see a backend's health differently for hours keep the slots concerned tracked for so
long. That costs what tracking costs, and no flow. Every `retell` seconds a node tells again of the tracked slots by
which flows went elsewhere, and of all of them while another node's table is another one.

After `was` has become `now` at one node and not yet at another, the two answer older flows differently for some
seconds. Nothing depends on it: what is older is remembered by then, and what is new is remembered until un-tracking.

A joining node has answered nobody. It takes over `was`, and where its own view differs in slots that nobody tracks
(`learn_table`), it tracks them, with the fleet's answer as `was`.

A node that began after a change, and announced before it had heard of it, has tracked nothing and answered with `now`.
Once it is told, a flow that nobody remembers may be its own, of `now`, or an older one, of the others' `was`. Its own
are no older than its table, and than the change. So for as long again its `was` is its own, and whoever speaks is
remembered; older ones have been silent for longer than that, and have what is left of `grace`: it takes over `was`.
So it does in slots that it has changed itself before it heard of anybody, or sees otherwise: what it answers its own
flows of so short a life is nobody else's answer. This holds for what it is told of a slot first.

Services that remember every flow tell no slots: all their slots are tracked for ever, at every node.

What remains: records that were never delivered, since the exchange was cut. Once it works again, slots in which tables
differ are tracked at both nodes (`learn_table`); flows of before that nothing is remembered of stay unknown to the
other. Of a hash change (another seed, `sticky`, more slots) a node that has not made it yet learns nothing: names of
flows or numbers of slots mean something else there.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from appliance.dataplane.abi import ASK_PREVIOUS, NO_DESTINATION
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.dataplane.slots import ToldSlot
from appliance.dataplane.tables import Tables
from appliance.model import Address, ServiceKey

DIGEST = 8
"""Bytes of the digest of a table."""


class SharedSlot(NamedTuple):
    """A tracked slot: its number inside the service, and its ages in seconds (0 or more)."""

    number: int
    changed: int
    diverted: int


@dataclass(frozen=True)
class SharedSlots:
    """Tracked slots of one service with the same `was` and the same `now`; None: no backend."""

    was: Address | None
    now: Address | None
    entries: tuple[SharedSlot, ...]


def retell(idle: int, grace: int) -> int:
    """Seconds after which tracked slots are to be told again, so that others hold them in time; at least 1."""
    return max(1, min(idle // 20, grace // 4))


def shared(tables: Tables, key: ServiceKey, within: int | None = None, diverted: int = -1) -> list[SharedSlots]:
    """The tracked slots of a service, or those of them that changed in the last `within` seconds.

    Or, with `diverted`, by which a packet went elsewhere within that many.
    """
    slots, entry, memory = tables.slots(key), tables.entry(key), tables.memory
    if slots is None or entry is None or slots.since is not None:
        return []
    time, get, found = memory.time, memory.histories.get, dict[tuple[int, int], list[SharedSlot]]()
    for number in sorted(slots.tracked):
        at = slots.first + number
        now, was = memory.slots[at] & (memory.tracked - 1), get(at, "was")
        changed = max(0, time - get(at, "changed"))
        astray = max(0, time - get(at, "diverted"))
        if within is None or changed <= within or astray <= diverted:
            ages = SharedSlot(number, changed, astray)
            found.setdefault((now if was == ASK_PREVIOUS else was, now), []).append(ages)
    who = _addresses(memory, entry)
    return [SharedSlots(who.get(was), who.get(now), tuple(each)) for (was, now), each in found.items()]


def learn(
    tables: Tables, key: ServiceKey, slot_count: int, told: Iterable[SharedSlots], *, joining: bool = False
) -> int:
    """Take in the tracked slots that another node told of a service; returns how many have become tracked here.

    Nothing is learnt where the service has another number of slots here, is not here, or is not tracked.
    """
    slots, entry = tables.slots(key), tables.entry(key)
    if slots is None or entry is None or slots.count != slot_count or not tables.tracks(key):
        return 0
    memory, found = tables.memory, 0
    time, idle, places = memory.time, memory.settings.get(0, "idle"), _indexes(memory, entry)
    for group in told:
        was, now = _index(places, group.was), _index(places, group.now)
        for number, changed, diverted in group.entries:
            if number not in slots.tracked and changed > 2 * idle and diverted > idle:
                continue  # about to be un-tracked there, as it has been here
            found += slots.learn(number, ToldSlot(was, now, changed, diverted), time, joining=joining)
    return found


def table(tables: Tables, key: ServiceKey) -> tuple[Address | None, ...]:
    """The backend for new flows of each slot of a service; None: there is none."""
    slots, entry = tables.slots(key), tables.entry(key)
    if slots is None or entry is None:
        return ()
    who = _addresses(tables.memory, entry)
    return tuple(map(who.get, slots.owners()))


def learn_table(tables: Tables, key: ServiceKey, owners: Sequence[Address | None], *, joining: bool = False) -> int:
    """Track the slots of a service in which another node's whole table differs; returns how many are so anew."""
    slots, entry = tables.slots(key), tables.entry(key)
    if slots is None or entry is None or slots.count != len(owners) or not tables.tracks(key):
        return 0
    time, places, found = tables.memory.time, _indexes(tables.memory, entry), 0
    idle = tables.memory.settings.get(0, "idle")
    for number, (here, address) in enumerate(zip(slots.owners(), owners, strict=True)):
        there = _index(places, address)
        if there != here:
            was = None if number in slots.tracked else there  # what is tracked there has another, told by `shared`
            found += slots.learn(number, ToldSlot(was, there, 0, idle), time, joining=joining)
    return found


def digest(tables: Tables, key: ServiceKey) -> tuple[int, bytes]:
    """The number of slots of a service, and DIGEST bytes: the same where the same backends have the same slots."""
    slots, entry = tables.slots(key), tables.entry(key)
    if slots is None or entry is None:
        return 0, bytes(DIGEST)
    who, owners = _addresses(tables.memory, entry), slots.owners()
    used = sorted((who[index].packed, index) for index in set(owners) if index in who)
    ranks = dict.fromkeys(owners, 0) | {index: rank for rank, (_, index) in enumerate(used, 1)}
    words = array("H", map(ranks.__getitem__, owners))
    if sys.byteorder == "big":
        words.byteswap()
    made = hashlib.blake2b(digest_size=DIGEST, person=b"vc5 slots")
    for packed, _ in used:
        made.update(bytes((len(packed),)) + packed)
    made.update(b"\0" + words.tobytes())
    return slots.count, made.digest()


def _addresses(memory: Memory, entry: Entry) -> dict[int, Address]:
    """Whom each index inside a service stands for, or stood for until a moment ago."""
    used = memory.identities.get
    indexes = range(1, entry.capacity)
    return {at: memory.backend(entry.destinations + at) for at in indexes if used(entry.destinations + at, "used")}


def _indexes(memory: Memory, entry: Entry) -> Mapping[Address, int]:
    """The index of each backend; of one that was removed, the last one it had."""
    freed = memory.identities.get
    known = _addresses(memory, entry)
    late = sorted(known, key=lambda at: freed(entry.destinations + at, "freed") == 0)
    return {known[at]: at for at in late}


def _index(places: Mapping[Address, int], address: Address | None) -> int | None:
    return NO_DESTINATION if address is None else places.get(address)
