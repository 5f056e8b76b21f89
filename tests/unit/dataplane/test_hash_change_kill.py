"""The daemon killed at every store of a change of the hash: no established flow moves, and the next daemon goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from appliance.dataplane import lookup
from appliance.dataplane.desired import Desired, DesiredService
from appliance.dataplane.hashing import coefficients
from appliance.dataplane.memory import Memory
from appliance.dataplane.tables import Tables
from tests.profile import FUZZ
from tests.unit.dataplane.clients import Clients, flow
from tests.unit.dataplane.desires import (
    DEAD,
    DRAINING,
    IDLE,
    TLS,
    WEB,
    desired,
    later,
    member,
    pool,
    service,
)
from tests.unit.dataplane.hashes import pass_time, seeded, started
from tests.unit.dataplane.recorded import Store, image, put, recorded, restored

STRIDE = 97 if FUZZ else 499
"""Of many stores that are all alike, one in so many is looked at closely."""


def play(before: Desired, after: Desired, change: Callable[[Tables, Desired], object]) -> None:
    """Kill the daemon behind every store of a change; clients go on, and so does the next daemon."""
    tables, clients = started(before)
    memory = tables.memory
    # Some flows are remembered from a change before.
    lessened = replace(before, services=tuple(_without_first(one) for one in before.services))
    tables.apply(lessened)
    clients.lost()
    for one in before.services:
        clients.open_many(one.key, range(100, 140))
    tables.apply(before)
    pass_time(tables, before, 3)
    assert clients.lost() == []
    start = image(memory)
    written, log = recorded(restored(memory, start))
    writer = Tables(written)
    writer.apply(before)
    log.clear()
    change(writer, after)
    stores = [event for event in log if isinstance(event, Store)]
    assert len(stores) > 500
    kinds: dict[tuple[str, int], list[int]] = {}
    for at, store in enumerate(stores):
        kinds.setdefault((store.map, len(store.content)), []).append(at)
    close = {at for places in kinds.values() for at in (*places[:2], *places[::STRIDE], *places[-1:])}
    seen = restored(memory, start)
    for at, store in enumerate(stores):
        put(seen, store)
        if at in close:
            _assert_goes_on(restored(seen, image(seen)), clients, before, after, change)


def _without_first(one: DesiredService) -> DesiredService:
    first, *others = one.members
    return replace(one, members=(replace(first, state=DRAINING), *others))


def _assert_goes_on(
    memory: Memory, clients: Clients, before: Desired, after: Desired, change: Callable[[Tables, Desired], object]
) -> None:
    held = image(memory)
    now = Clients(memory, dict(clients.owners))
    assert now.lost() == []
    for one in before.services:
        for number in range(200, 210):
            # In the moment in which a backend dies, its slots are still its own.
            assert now.open(flow(one.key, number)) is not None or DEAD in now.states(one.key).values()
    # A new daemon goes on where the dead one stopped, or takes the change back before it was made.
    memory = restored(memory, held)
    later(tables := Tables(memory), 1)
    change(tables, after)
    now = Clients(memory, dict(clients.owners))
    assert now.lost() == []
    end = image(memory)
    tables.apply(after)
    Tables(memory).apply(after)
    assert image(memory) == end
    if lookup.keys(restored(memory, held)).current == coefficients(before.seed):
        memory = restored(memory, held)
        Tables(memory).apply(before)
        assert Clients(memory, dict(clients.owners)).lost() == []


def apply_change(tables: Tables, after: Desired) -> None:
    tables.apply(after)


TWO = desired(service(WEB, [member(n) for n in pool(3)]), service(TLS, [member(n) for n in pool(3)]))
# What changes -> what is desired after it
CHANGES = {
    "the seed": seeded(TWO, 9),
    "the seed, while a backend dies": seeded(
        desired(service(WEB, [member(1), member(2), member(3, 1, DEAD)]), TWO.services[1]), 9
    ),
    "one grows within its numbers": desired(service(WEB, [member(n) for n in pool(8)]), TWO.services[1]),
    "both grow and their numbers move": desired(*(service(k, [member(n) for n in pool(20)]) for k in (WEB, TLS))),
    "one becomes sticky": desired(replace(TWO.services[0], sticky=True), TWO.services[1]),
    "both become sticky, and one of them grows": desired(
        replace(TWO.services[0], sticky=True),
        replace(service(TLS, [member(n) for n in pool(8)]), sticky=True),
    ),
    "one becomes sticky, and the seed": seeded(desired(replace(TWO.services[0], sticky=True), TWO.services[1]), 9),
    "one remembers all flows": desired(replace(TWO.services[0], remember_all=True), TWO.services[1]),
    "one remembers all flows, and a backend drains": desired(
        replace(service(WEB, [member(1), member(2, 1, DRAINING), member(3)]), remember_all=True), TWO.services[1]
    ),
    "one remembers all flows, and the seed": seeded(
        desired(replace(TWO.services[0], remember_all=True), TWO.services[1]), 9
    ),
    "the seed, and the numbers move": seeded(
        desired(*(service(k, [member(n) for n in pool(20)]) for k in (WEB, TLS))), 9
    ),
}


@pytest.mark.parametrize("after", CHANGES.values(), ids=CHANGES.keys())
def test_a_kill_at_any_store_of_a_hash_change(after: Desired) -> None:
    play(TWO, after, apply_change)


def test_a_kill_at_any_store_when_the_generation_before_is_dropped() -> None:
    """Settling was, and taking the previous slots out of the lookup."""
    tables, clients = started(TWO)
    after = seeded(TWO, 9)
    tables.apply(after)
    for _ in range(3):
        assert clients.lost() == []
        pass_time(tables, after, IDLE // 3)
    assert clients.lost() == []
    later(tables, 1)
    start = image(tables.memory)
    written, log = recorded(restored(tables.memory, start))
    writer = Tables(written)
    writer.apply(after)
    log.clear()
    writer.sweep(after.services)
    stores = [event for event in log if isinstance(event, Store)]
    assert lookup.keys(written).previous == coefficients(after.seed)
    seen = restored(tables.memory, start)
    for at, store in enumerate(stores):
        put(seen, store)
        if at % STRIDE == 0 or at > len(stores) - 8:
            found = restored(seen, image(seen))
            assert Clients(found, dict(clients.owners)).lost() == []
            next_one = Tables(found)
            next_one.apply(after)
            next_one.sweep(after.services)
            assert not any(one.previous_count for one in lookup.entries(found).values())
            assert Clients(found, dict(clients.owners)).lost() == []
