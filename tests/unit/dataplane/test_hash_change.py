"""A change of the hash: another seed, or a service that outgrows its slots. No established flow moves through it.

Real frames go through the model of the program, on tables that the real control half writes: flows from before the
change, some of them remembered, speak through deaths, returns, drains, new backends and restarts until nothing asks the
generation before any more.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.dataplane import lookup
from appliance.dataplane.hashing import coefficients
from appliance.dataplane.memory import Memory
from appliance.dataplane.model.tracking import Tracking
from appliance.dataplane.shape import SLOTS_PER_BACKEND, slot_count
from appliance.dataplane.slots import SlotTable
from appliance.dataplane.tables import Tables
from appliance.errors import PlanError
from appliance.model import Address, Protocol, ServiceKey
from tests.unit.dataplane.clients import Clients, flow
from tests.unit.dataplane.desires import (
    AVAILABLE,
    DEAD,
    DRAINING,
    IDLE,
    LOG,
    SHAPE,
    TLS,
    WEB,
    assert_apart,
    backend,
    desired,
    member,
    memory_at,
    pool,
    service,
    web,
)
from tests.unit.dataplane.hashes import BOTH, entry, pass_time, seeded, started
from tests.unit.dataplane.recorded import image


def test_a_new_seed_moves_no_flow_and_ends_untracked() -> None:
    wanted = desired(*web(1, 2, 3, 4).services, service(LOG, [member(1), member(2), member(3)]))
    tables, clients = started(wanted)
    before = {one: entry(tables, one.key) for one in wanted.services}
    changed = seeded(wanted, 9)
    assert set(tables.apply(changed).changed) == {WEB, LOG}
    keys = lookup.keys(tables.memory)
    assert (keys.current, keys.previous) == (coefficients(changed.seed), coefficients(wanted.seed))
    for one, place in before.items():
        now = entry(tables, one.key)
        assert (now.previous_slots, now.previous_count) == (place.slots, place.slot_count)
        assert tables.tracked()[one.key] == now.slot_count
    moved = 0
    for second in range(2 * IDLE + 2):
        # Half of the TCP flows are silent for as long as they may be.
        spoken = [one for at, one in enumerate(clients.owners) if one.protocol is Protocol.UDP or at % 2 == 0]
        if second % 10 == 9:
            assert clients.lost(spoken) == []
        if second == IDLE - 1:
            assert clients.lost() == []
        if second == 12:
            moved = sum(clients.open(flow(WEB, number)) != owner for number, owner in enumerate(_web_owners(clients)))
        pass_time(tables, changed, 1)
    assert moved > 10
    assert lookup.keys(tables.memory).previous == coefficients(changed.seed)
    assert not any(entry(tables, one.key).previous_count for one in wanted.services)
    assert clients.lost() == []
    # Flows that go elsewhere than new ones keep their slots tracked; when they have gone, nothing is.
    pass_time(tables, changed, 3 * IDLE)
    assert tables.tracked() == {WEB: 0, LOG: 0}


def _web_owners(clients: Clients) -> list[Address]:
    """The owners of the flows of one service, by their numbers; a copy."""
    return [clients.owners[flow(WEB, number)] for number in range(60)]


def test_new_flows_go_where_the_new_hash_says_and_never_to_the_draining() -> None:
    members = [member(1), member(2, 1, DRAINING), member(3), member(4, 1, DEAD)]
    tables, clients = started(web(1, 2, 3, 4))
    wanted = seeded(desired(service(WEB, members)), 9)
    tables.apply(wanted)
    states = clients.states(WEB)
    for number in range(200, 300):
        owner = clients.open(flow(WEB, number))
        assert owner is not None
        assert states[owner] is AVAILABLE
    assert clients.lost() == []


def test_a_service_without_tracking_changes_at_once() -> None:
    wanted = desired(*web(1, 2, 3).services, service(LOG, [member(1), member(2)], tracking=False))
    tables, clients = started(wanted)
    place = entry(tables, LOG)
    tables.apply(seeded(wanted, 9))
    assert entry(tables, LOG) == place
    assert tables.tracked()[LOG] == 0
    assert clients.lost(list(clients.speaks(Protocol.TCP))) == []
    assert len(clients.lost(list(clients.speaks(Protocol.UDP)))) > 10


def test_a_second_seed_in_the_window_is_refused_and_nothing_changes() -> None:
    wanted = web(1, 2, 3)
    tables, clients = started(wanted)
    tables.apply(seeded(wanted, 9))
    pass_time(tables, seeded(wanted, 9), IDLE - 1)
    held = image(tables.memory)
    for number, other in ((10, wanted), (0, web(1, 2)), (11, desired())):
        with pytest.raises(PlanError, match=rf"hash of {WEB} changed .* wait {2 * IDLE} s"):
            tables.apply(seeded(other, number))
        with pytest.raises(PlanError):
            Tables(tables.memory).apply(seeded(other, number))
        assert image(tables.memory) == held
    assert clients.lost() == []
    pass_time(tables, seeded(wanted, 9), 2)
    tables.apply(seeded(wanted, 10))
    assert clients.lost() == []


def test_a_program_that_cannot_ask_refuses_a_new_seed_and_nothing_changes() -> None:
    tables = Tables(memory_at(1_000, SHAPE))
    tables.apply(web(1, 2))
    held = image(tables.memory)
    assert tables.needs_previous(bytes([9]) * 16, {WEB: 2})
    assert not tables.needs_previous(web(1, 2).seed, {WEB: 2})
    with pytest.raises(PlanError, match="cannot ask the one before"):
        tables.apply(seeded(web(1, 2), 9))
    assert image(tables.memory) == held


def test_the_first_seed_of_all_is_no_change() -> None:
    tables = Tables(memory_at(1_000, SHAPE))
    assert not tables.needs_previous(bytes([9]) * 16, {WEB: 2})
    tables.apply(seeded(web(1, 2), 9))
    keys = lookup.keys(tables.memory)
    assert keys.current == keys.previous == coefficients(bytes([9]) * 16)


@pytest.mark.parametrize("count", [8, 10, 20, 60])
def test_a_service_that_outgrows_its_slots_moves_no_flow(count: int) -> None:
    """Whether or not its range of numbers has to move as well."""
    before, after = web(*pool(3)), web(*pool(count))
    tables, clients = started(before, 200)
    place, capacity = entry(tables), entry(tables).capacity
    assert tables.needs_previous(before.seed, {WEB: count})
    tables.apply(after)
    now = entry(tables)
    assert now.slot_count == slot_count(count) >= SLOTS_PER_BACKEND * count
    assert (now.previous_slots, now.previous_count) == (place.slots, place.slot_count)
    assert (now.capacity > capacity) == (count > 11)
    for second in range(IDLE + 2):
        if second % 25 == 24:
            assert clients.lost() == []
        pass_time(tables, after, 1)
    assert entry(tables).previous_count == 0
    assert clients.lost() == []
    owners = {clients.open(flow(WEB, number)) for number in range(1_000, 1_000 + 20 * count)}
    assert len(owners) == count


def test_growth_waits_for_a_program_that_can_ask() -> None:
    tables = Tables(memory_at(1_000, SHAPE))
    tables.apply(web(*pool(3)))
    few = entry(tables).slot_count
    tables.apply(web(*pool(8)))
    assert entry(tables).slot_count == few
    wide = Tables(Memory(replace(SHAPE, previous=True), tables.memory.raw))
    clients = Clients(wide.memory)
    clients.open_many(WEB, range(100))
    wide.apply(web(*pool(8)))
    assert entry(wide).slot_count == slot_count(8)
    assert clients.lost() == []


def test_growth_waits_for_its_turn() -> None:
    """There is one hash of before: while a seed change asks it, nothing may grow."""
    few, many = service(TLS, [member(n) for n in pool(3)]), service(TLS, [member(n) for n in pool(9)])
    first = desired(*web(1, 2).services, few)
    tables, clients = started(first)
    tables.apply(seeded(first, 9))
    second = seeded(desired(*web(1, 2).services, many), 9)
    pass_time(tables, first, 5)
    count = entry(tables, TLS).slot_count
    tables.apply(second)
    assert entry(tables, TLS).slot_count == count
    for _ in range(4):
        pass_time(tables, second, IDLE // 4)
        assert clients.lost() == []
    pass_time(tables, second, 10)
    assert entry(tables, TLS).previous_count == 0
    tables.apply(second)
    assert entry(tables, TLS).slot_count == slot_count(9)
    assert entry(tables, TLS).previous_count == count
    assert clients.lost() == []


def test_two_services_may_grow_at_once() -> None:
    tables, clients = started(desired(*web(*pool(3)).services, service(TLS, [member(1)])))
    after = desired(*web(*pool(8)).services, service(TLS, [member(n) for n in pool(8)]))
    tables.apply(after)
    assert all(entry(tables, key).previous_count for key in (WEB, TLS))
    pass_time(tables, after, IDLE - 1)
    assert clients.lost() == []


def test_the_region_of_before_is_given_away_only_when_nobody_asks_it() -> None:
    room = replace(BOTH, slots=4 * slot_count(3))
    tables = Tables(memory_at(1_000, room))
    clients = Clients(tables.memory)
    wanted = web(1, 2, 3)
    tables.apply(wanted)
    clients.open_many(WEB, range(60))
    changed = seeded(wanted, 9)
    tables.apply(changed)
    others = [service(ServiceKey(WEB.vip, 1_000 + n, Protocol.TCP), [member(n) for n in pool(3)]) for n in range(3)]
    two = replace(changed, services=(*changed.services, *others[:2]))
    tables.apply(two)
    assert entry(tables).previous_count
    three = replace(two, services=(*two.services, others[2]))
    held = image(tables.memory)
    with pytest.raises(PlanError, match="no room"):
        tables.apply(three)
    assert image(tables.memory) == held
    assert clients.lost() == []
    for _ in range(IDLE + 1):
        pass_time(tables, two, 1)
    tables.apply(three)
    places = [(e.slots, e.slot_count) for e in lookup.entries(tables.memory).values()]
    assert_apart(places, 0, room.slots)
    for other in others:
        assert clients.open(flow(other.key, 1)) in {backend(number) for number in pool(3)}


def test_a_service_that_goes_in_the_window_does_not_hold_up_the_others() -> None:
    wanted = web(1, 2)
    tables, _ = started(wanted)
    tables.apply(seeded(wanted, 9))
    other = seeded(desired(service(TLS, [member(n) for n in pool(3)])), 9)
    tables.apply(other)
    pass_time(tables, other, 1)
    grown = seeded(desired(service(TLS, [member(n) for n in pool(9)])), 9)
    tables.apply(grown)
    assert entry(tables, TLS).slot_count == slot_count(9)


class TodaysSlots(Tracking):
    """Asks the slots of today in the place of those of before."""

    def _previous(self, entry: lookup.Entry, ip: object, transport: object) -> int:
        slot, _ = self.slot(entry, ip, transport)  # type: ignore[arg-type]
        return self._memory.slots[slot] % self._memory.tracked


class Forgetful(Tracking):
    """Asks the slots of before, but not what was remembered then."""

    def _flows(self, first: int) -> list[object]:  # type: ignore[override]
        return []


@pytest.mark.parametrize("tracking", [TodaysSlots, Forgetful])
def test_simpler_ways_of_asking_lose_flows(tracking: type[Tracking]) -> None:
    """What the tests above find where the program asks wrongly."""
    tables, clients = started(web(1, 2, 3, 4), 300)
    tables.apply(desired(service(WEB, [member(1), member(2), member(3, 1, DRAINING), member(4, 1, DRAINING)])))
    clients.open_many(WEB, range(300, 600))
    assert clients.lost() == []
    tables.apply(seeded(web(1, 2, 3, 4), 9))
    clients.model._tracking = tracking(tables.memory, clients.model.counts.count)
    assert len(clients.lost()) > 10


def test_settling_at_once_loses_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control half that does not wait for the flows of before."""
    tables, clients = started(web(1, 2, 3, 4), 300)
    changed = seeded(web(1, 2, 3, 4), 9)
    tables.apply(changed)
    monkeypatch.setattr(SlotTable, "sweep", lambda table, time, idle, grace: _sweep(table, time, 0, 0))
    pass_time(tables, changed, 2)
    assert len(clients.lost()) > 100


_sweep = SlotTable.sweep
