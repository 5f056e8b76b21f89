"""How many slots a service has, where other nodes of a fleet have another number."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.dataplane import slotshare
from appliance.dataplane.desired import Desired
from appliance.dataplane.hashchange import slot_counts
from appliance.dataplane.lookup import Entry
from appliance.dataplane.shape import SLOTS_PER_BACKEND, slot_count
from appliance.dataplane.tables import Tables
from tests.unit.dataplane.clients import flow
from tests.unit.dataplane.desires import IDLE, WEB, memory_at, pool, web
from tests.unit.dataplane.hashes import BOTH, entry, pass_time, started

USUAL = slot_count(5)
SMALLER, LARGER, HUGE = 307, 409, 131071
assert USUAL == SMALLER


def present(count: int) -> Entry:
    return Entry(WEB, 0, count, 16, 12, 0)


@pytest.mark.parametrize(
    ("here", "backends", "told", "count"),
    [
        # New here: as many as the others have, though it would choose another number.
        (None, 5, None, 307),
        (None, 5, 409, 409),
        (None, 8, None, 409),
        (None, 7, 307, 307),
        # Unless those are too few.
        (None, 8, 307, 409),
        # In service here: the larger number wins.
        (307, 5, 409, 409),
        (409, 5, 307, 409),
        (307, 8, 307, 409),
        (307, 8, 509, 509),
        # What nobody would choose.
        (None, 5, 400, 307),
        (307, 5, 0, 307),
        (307, 5, 131072, 307),
        (307, 5, -409, 307),
        (None, 5, HUGE, HUGE),
    ],
)
def test_the_number_of_slots(here: int | None, backends: int, told: int | None, count: int) -> None:
    entries = {} if here is None else {WEB: present(here)}
    fleet = {} if told is None else {WEB: told}
    assert slot_counts(entries, [(WEB, backends, False)], fleet) == {WEB: count}
    assert count >= SLOTS_PER_BACKEND * backends


def test_sticky_services_of_a_vip_follow_the_one_that_the_fleet_has_enlarged() -> None:
    other = replace(WEB, port=81)
    needs = [(WEB, 5, True), (other, 5, True)]
    assert slot_counts({WEB: present(307)}, needs, {other: 409}) == {WEB: 409, other: 409}


def test_a_joining_node_takes_over_and_answers_alike() -> None:
    """The others have few slots, for they began with few backends."""
    ready, joining = Tables(memory_at(1_000, BOTH)), Tables(memory_at(1_000, BOTH))
    ready.apply(web(*pool(4)))
    wanted = web(*pool(7))
    ready.apply(wanted)
    count = slotshare.digest(ready, WEB)[0]
    assert count == SMALLER < slot_count(7)
    joining.apply(replace(wanted, fleet_slots={WEB: count}))
    assert slotshare.digest(joining, WEB) == slotshare.digest(ready, WEB)


def larger(wanted: Desired) -> Desired:
    return replace(wanted, fleet_slots={WEB: LARGER})


def test_the_larger_number_wins_by_a_hash_change_that_keeps_every_flow() -> None:
    wanted = web(*pool(5))
    tables, clients = started(wanted, 200)
    assert not tables.needs_previous(wanted.seed, {WEB: 5})
    assert tables.needs_previous(wanted.seed, {WEB: 5}, fleet={WEB: LARGER})
    assert tables.slots_wanted({WEB: 5}, {}, {WEB: LARGER}) == LARGER
    tables.apply(larger(wanted))
    assert (entry(tables).slot_count, entry(tables).previous_count) == (LARGER, SMALLER)
    assert clients.lost() == []
    for _ in range(3):
        pass_time(tables, larger(wanted), IDLE - 1)
        assert clients.lost() == []
    clients.open(flow(WEB, 900))
    assert entry(tables).previous_count == 0
    tables.apply(wanted)
    assert entry(tables).slot_count == LARGER, "it never shrinks"


def test_a_program_that_cannot_ask_the_generation_before_waits_for_one_that_can() -> None:
    tables = Tables(memory_at(1_000, replace(BOTH, previous=False)))
    wanted = web(*pool(5))
    tables.apply(wanted)
    tables.apply(larger(wanted))
    assert entry(tables).slot_count == SMALLER
