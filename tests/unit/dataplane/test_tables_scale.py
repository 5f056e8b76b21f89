"""A change costs what changes: nothing else is looked at, written, or computed a second time."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from appliance.dataplane import maglev, tables
from appliance.dataplane.desired import Desired, DesiredService
from appliance.dataplane.shape import Shape
from appliance.dataplane.tables import Tables
from appliance.model import Protocol, ServiceKey
from tests.unit.dataplane.desires import DEAD, assert_tables, desired, later, member, memory_at, pool, service
from tests.unit.dataplane.recorded import Store, recorded

SHAPE = Shape(services=256, destinations=4096, slots=1 << 16, sets=512)
KEYS = tuple(ServiceKey(IPv4Address("192.0.2.1") + at, 80, Protocol.TCP) for at in range(60))


def one(key: ServiceKey, *dead: int) -> DesiredService:
    """A service of five backends."""
    return service(key, [member(number, state=DEAD) if number in dead else member(number) for number in pool(5)])


def everything(*dead: int) -> Desired:
    """All services."""
    return desired(*[one(key, *dead) for key in KEYS])


def with_one(before: Desired, changed: DesiredService) -> Desired:
    """The same services, but for one; the others are the same objects."""
    return replace(before, services=tuple(changed if s.key == changed.key else s for s in before.services))


def test_a_verdict_on_one_service_stores_only_into_what_is_its_own() -> None:
    memory, log = recorded(memory_at(1_000, SHAPE))
    made, before = Tables(memory), everything()
    made.apply(before)
    log.clear()
    assert made.apply(with_one(before, one(KEYS[30], 3))).changed.keys() == {KEYS[30]}
    entry = made.entry(KEYS[30])
    assert entry is not None
    own = {
        "vc5_slots": (entry.slots, entry.slot_count, 2),
        "vc5_histories": (entry.slots, entry.slot_count, 12),
        "vc5_destinations": (entry.destinations, entry.capacity, 16),
    }
    stores = [event for event in log if isinstance(event, Store)]
    assert {store.map for store in stores} == set(own)
    for store in stores:
        first, count, size = own[store.map]
        assert first * size <= store.offset < (first + count) * size
    # Of its five destinations only that of the backend that died.
    numbers = {store.offset // 16 for store in stores if store.map == "vc5_destinations"}
    assert numbers == {made.numbers(KEYS[30])[member(3).address]}
    assert_tables(memory, with_one(before, one(KEYS[30], 3)))


def test_the_same_again_is_not_even_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[ServiceKey] = []

    def equal(self: DesiredService, other: object) -> bool:
        compared.append(self.key)
        return self is other

    made, before = Tables(memory_at(1_000, SHAPE)), everything()
    made.apply(before)
    monkeypatch.setattr(DesiredService, "__eq__", equal)
    made.apply(replace(before))
    made.apply(with_one(before, one(KEYS[7], 1)))
    assert compared == [KEYS[7]]


def test_equal_pools_are_computed_once() -> None:
    made = Tables(memory_at(1_000, SHAPE))
    for dead in ((), (2,), (2, 4)):
        computed = maglev.computed()
        made.apply(everything(*dead))
        assert maglev.computed() - computed <= 1
    assert_tables(made.memory, everything(2, 4))


def test_what_failed_halfway_is_written_whole_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made, before, after = Tables(memory_at(1_000, SHAPE)), everything(), everything(2)
    made.apply(before)
    table, calls = maglev.table, []

    def failing(members: list[tuple[object, int]], count: int) -> tuple[int, ...]:
        calls.append(count)
        if len(calls) == 20:
            raise MemoryError
        return table(members, count)  # type: ignore[arg-type]

    monkeypatch.setattr(maglev, "table", failing)
    with pytest.raises(MemoryError):
        made.apply(after)
    monkeypatch.undo()
    # Back to what was written last: the service at which it failed is half of one and half of the other.
    made.apply(before)
    assert_tables(made.memory, before)
    made.apply(after)
    assert_tables(made.memory, after)


def test_very_many_tracked_slots_are_settled_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Tables(memory_at(1_000, SHAPE))
    made.apply(everything())
    made.apply(everything(2))
    total = sum(made.tracked().values())
    monkeypatch.setattr(tables, "SWEEP", total // 4)
    later(made, 10_000)
    turns = []
    while sum(made.tracked().values()):
        turns.append(made.sweep(everything(2).services))
        assert turns[-1] > 0
    assert sum(turns) == total
    assert 4 <= len(turns) <= 5


def test_a_vip_that_goes_down_is_one_store() -> None:
    memory, log = recorded(memory_at(1_000, SHAPE))
    made, before = Tables(memory), everything()
    made.apply(before)
    log.clear()
    after = replace(before, vips={**before.vips, KEYS[9].vip: False})
    made.apply(after)
    assert [event.map for event in log if isinstance(event, Store)] == ["vc5_vips"]
    assert_tables(memory, after)
