"""Tracked slots and digests of tables, between this node and the fleet. slotshare.py has the theory.

What has changed is told at once, a slice of the loop's time after the other. Later, from time to time, those slots are
told again by which flows went elsewhere; and as long as another node's table is another one, all that are tracked.
Where it stays so, the other is asked for its whole table, and the slots in which the two differ are tracked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import ceil

from appliance.control.fleet_told import Told
from appliance.dataplane import slotshare
from appliance.dataplane.slotshare import SharedSlot, SharedSlots
from appliance.dataplane.tables import Tables
from appliance.fleet.records import OLDEST, Record, Slot, Slots, TableDigest, TableOf
from appliance.model import Address, ServiceKey

FRESH = 5
"""Seconds of the coarse clock within which a slot has just changed; a busy daemon tells of it a little later."""


def slots_of(tables: Tables, key: ServiceKey, within: int | None = None, diverted: int = -1) -> Iterator[Slots]:
    """Yield the tracked slots of a service, or those that changed `within` so many seconds, or were `diverted` then."""
    table = tables.slots(key)
    if table is None:
        return
    for group in slotshare.shared(tables, key, within, diverted):
        entries = tuple(
            Slot(number, min(OLDEST, changed), min(OLDEST, diverted)) for number, changed, diverted in group.entries
        )
        yield Slots(key, table.count, group.was, group.now, entries)


def learn_slots(tables: Tables, record: Slots, *, joining: bool) -> int:
    """Take in tracked slots; returns how many have become tracked here."""
    group = SharedSlots(record.was, record.now, tuple(SharedSlot(*entry) for entry in record.entries))
    return slotshare.learn(tables, record.service, record.slot_count, [group], joining=joining)


def table_of(tables: Tables, key: ServiceKey) -> TableOf | None:
    """Return a whole table as it is told; None where there is no such service."""
    if tables.slots(key) is None:
        return None
    owners = slotshare.table(tables, key)
    backends: list[Address] = [one for one in dict.fromkeys(owners) if one is not None]
    places: dict[Address | None, int] = {address: at for at, address in enumerate(backends, 1)}
    places[None] = 0
    return TableOf(key, tuple(backends), tuple(places[one] for one in owners))


def learn_table(tables: Tables, table: TableOf, *, joining: bool) -> int:
    """Track the slots in which another node's table is another one; returns how many are so anew."""
    owners = [table.backends[at - 1] if at else None for at in table.owners]
    return slotshare.learn_table(tables, table.service, owners, joining=joining)


@dataclass
class SlotsTold:
    """Which services have to be told of, and when those with tracked slots are told of again."""

    digest: Callable[[ServiceKey], bytes]
    """Of a service's configuration."""
    told: Told
    _changed: dict[ServiceKey, tuple[int | None, int]] = field(default_factory=dict)
    """The services to tell of; how recently slots must have changed (None: it does not matter), or were diverted."""
    _again: dict[ServiceKey, float] = field(default_factory=dict)
    slots: int = 0
    """How many tracked slots were told."""

    @property
    def waiting(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._changed)

    def changed(self, services: Iterable[ServiceKey]) -> None:
        """Have these told of."""
        for key in services:
            self._changed.setdefault(key, (FRESH, -1))

    def due(
        self,
        tables: Tables,
        period: Callable[[ServiceKey], float],
        differs: Callable[[TableDigest], bool],
        now: float,
    ) -> None:
        """Have those told of again whose slots are tracked and whose time has come; `period` in seconds.

        `differs` says whether another node's table is another one.
        """
        tracked = {key for key, count in tables.tracked().items() if count}
        for key in self._again.keys() - tracked:
            del self._again[key]
        for key in tracked:
            if now >= self._again.setdefault(key, now + period(key)):
                self._again[key] = now + period(key)
                own = self.told.tables.get(key)
                lately = (FRESH, ceil(period(key)) + FRESH)
                self._changed[key] = (None, -1) if own is None or differs(own) else lately

    def records(self, tables: Tables) -> Iterator[list[Record]]:
        """Yield what there is to tell of one service after the other, and forget each when it has been yielded."""
        while self._changed:
            key = next(iter(self._changed))
            found: list[Record] = list(slots_of(tables, key, *self._changed.pop(key)))
            self.slots += sum(len(one.entries) for one in found if isinstance(one, Slots))
            count, digest = slotshare.digest(tables, key)
            found += self.told.changed_tables([TableDigest(key, count, digest, self.digest(key))])
            yield found
