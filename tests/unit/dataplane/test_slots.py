"""The control half of settled slots, store by store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dataplane.abi import NO_DESTINATION
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import Shape
from appliance.dataplane.slots import Slot, SlotTable
from tests.unit.dataplane.recorded import Fence, Store, image, recorded

SHAPE = Shape(services=2, destinations=32, slots=16, sets=2, wide=True)
NARROW = replace(SHAPE, wide=False)
IDLE = 900
FIRST, COUNT = 3, 5


Make = Callable[[], SlotTable]


def table_in(memory: Memory) -> SlotTable:
    """Five slots in the middle of the table, clock at 1,000."""
    memory.settings.put(0, "time", 1_000)
    return SlotTable(memory, FIRST, COUNT)


@pytest.fixture(params=[SHAPE, NARROW], ids=["wide", "narrow"])
def table(request: pytest.FixtureRequest) -> Make:
    """Slots of two bytes and of one."""
    return lambda: table_in(Memory.plain(request.param))


def words(slots: SlotTable) -> list[int]:
    """The raw words of all slots of the memory."""
    return slots.memory.slots.tolist()


def test_the_first_owners_are_written_untracked(table: Make) -> None:
    slots = table()
    assert slots.assign([1, 2, 3, 1, 2], 1_000) == COUNT
    assert words(slots) == [0, 0, 0, 1, 2, 3, 1, 2, *[0] * 8]
    assert slots.owners() == [1, 2, 3, 1, 2]
    assert not slots.tracked
    assert slots.slot(1) == Slot(tracked=False, now=2, was=2, changed=0, diverted=0)


def test_a_change_is_tracked_with_its_history(table: Make) -> None:
    slots = table()
    slots.assign([1, 2, 3, 1, 2], 1_000)
    assert slots.assign([1, 4, 3, 1, NO_DESTINATION], 1_010) == 2
    assert set(slots.tracked) == {1, 4}
    assert slots.slot(1) == Slot(tracked=True, now=4, was=2, changed=1_010, diverted=0)
    assert slots.slot(4) == Slot(tracked=True, now=NO_DESTINATION, was=2, changed=1_010, diverted=0)
    tracked = slots.memory.tracked
    assert words(slots)[FIRST : FIRST + COUNT] == [1, tracked | 4, 3, 1, tracked | NO_DESTINATION]


def test_a_second_change_keeps_the_first_owner(table: Make) -> None:
    slots = table()
    slots.assign([1] * COUNT, 1_000)
    slots.assign([2] * COUNT, 1_010)
    slots.assign([3] * COUNT, 1_020)
    assert slots.slot(0) == Slot(tracked=True, now=3, was=1, changed=1_020, diverted=0)
    slots.assign([1] * COUNT, 1_030)
    assert slots.slot(0) == Slot(tracked=True, now=1, was=1, changed=1_030, diverted=0)


def test_equal_owners_store_nothing() -> None:
    memory, log = recorded(Memory.plain(SHAPE))
    slots = table_in(memory)
    slots.assign([1] * COUNT, 1_000)
    slots.assign([2, 1, 1, 1, 1], 1_010)
    log.clear()
    assert slots.assign([2, 1, 1, 1, 1], 1_020) == 0
    assert [event for event in log if isinstance(event, Store)] == []


def test_without_memory_slots_change_at_once(table: Make) -> None:
    slots = table()
    slots.assign([1] * COUNT, 1_000, remember=False)
    slots.assign([2] * COUNT, 1_010)
    assert slots.assign([3] * COUNT, 1_020, remember=False) == COUNT
    assert words(slots)[FIRST : FIRST + COUNT] == [3] * COUNT
    assert not slots.tracked


def test_a_slot_that_lost_its_only_backend_is_still_tracked_when_it_gets_one(table: Make) -> None:
    slots = table()
    slots.assign([1] * COUNT, 1_000)
    slots.assign([NO_DESTINATION] * COUNT, 1_010)
    slots.assign([2] * COUNT, 1_020)
    assert slots.slot(0) == Slot(tracked=True, now=2, was=1, changed=1_020, diverted=0)


# The age of the last change, seconds since the last diverted packet (None: never) -> (tracked, was)
SWEEPS = [
    (IDLE, None, True, 1),
    (IDLE + 1, None, True, 2),
    (2 * IDLE, None, True, 2),
    (2 * IDLE + 1, None, False, 2),
    (2 * IDLE + 1, IDLE, True, 2),
    (2 * IDLE + 1, IDLE + 1, False, 2),
    (5 * IDLE, 0, True, 2),
]


@pytest.mark.parametrize(("age", "diverted", "tracked", "was"), SWEEPS)
def test_sweep(table: Make, age: int, diverted: int | None, tracked: bool, was: int) -> None:
    slots = table()
    slots.assign([1] * COUNT, 10_000)
    slots.assign([2, 1, 1, 1, 1], 10_000)
    time = 10_000 + age
    if diverted is not None:
        slots.memory.histories.put(FIRST, "diverted", time - diverted)
    assert slots.sweep(time, IDLE, IDLE) == (not tracked)
    seen = slots.slot(0)
    assert (seen.tracked, seen.now, seen.was) == (tracked, 2, was)
    assert set(slots.tracked) == ({0} if tracked else set())


@pytest.mark.parametrize(("age", "was"), [(30, 1), (31, 2)])
def test_the_grace_takes_the_place_of_idle_for_was(table: Make, age: int, was: int) -> None:
    slots = table()
    slots.assign([1] * COUNT, 10_000)
    slots.assign([2] * COUNT, 10_000)
    assert slots.sweep(10_000 + age, IDLE, 30) == 0
    assert slots.slot(0).was == was


def test_adopting_finds_what_another_process_tracked(table: Make) -> None:
    slots = table()
    slots.assign([1] * COUNT, 1_000)
    slots.assign([2, 1, 2, 1, 1], 1_010)
    other = SlotTable(slots.memory, FIRST, COUNT)
    assert not other.tracked
    other.adopt()
    assert set(other.tracked) == set(slots.tracked) == {0, 2}
    assert [other.slot(number) for number in range(COUNT)] == [slots.slot(number) for number in range(COUNT)]


def test_clear_leaves_the_neighbours_alone(table: Make) -> None:
    slots = table()
    before, after = SlotTable(slots.memory, 0, FIRST), SlotTable(slots.memory, FIRST + COUNT, 4)
    before.assign([7] * FIRST, 1)
    after.assign([8] * 4, 1)
    slots.assign([1] * COUNT, 1)
    slots.assign([2] * COUNT, 2)
    slots.clear()
    assert words(slots) == [7] * FIRST + [0] * COUNT + [8] * 4 + [0] * 4
    assert not slots.tracked


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[int, list[int]]]:
    """A few seconds later, these owners; several times."""
    owner = st.integers(0, 3)
    return draw(st.lists(st.tuples(st.integers(0, 2 * IDLE), st.lists(owner, min_size=COUNT, max_size=COUNT))))


@pytest.mark.parametrize("shape", [SHAPE, NARROW])
@given(history=changes())
def test_what_is_stored_and_in_which_order(shape: Shape, history: list[tuple[int, list[int]]]) -> None:
    """A tracked word is stored only when its history is complete, and behind a fence; un-tracking is one store."""
    memory, log = recorded(Memory.plain(shape))
    slots, time = table_in(memory), 10_000
    for seconds, owners in history:
        time += seconds
        slots.sweep(time, IDLE, IDLE)
        before = [slots.slot(number) for number in range(COUNT)]
        log.clear()
        changed = slots.assign(owners, time)
        fence = log.index(Fence())
        assert all(event.map == "vc5_histories" for event in log[:fence] if isinstance(event, Store))
        assert all(isinstance(event, Store) and event.map == "vc5_slots" for event in log[fence + 1 :])
        assert changed == len(log) - fence - 1 == sum(old.now != new for old, new in zip(before, owners, strict=True))
        for number, old in enumerate(before):
            new = slots.slot(number)
            assert new.now == owners[number]
            if new.now == old.now:
                assert new == old
            elif old.tracked or old.now != NO_DESTINATION:
                assert (new.tracked, new.was, new.changed) == (True, old.was, time)
            else:
                assert not new.tracked
        assert set(slots.tracked) == {number for number in range(COUNT) if slots.slot(number).tracked}


@pytest.mark.parametrize("shape", [SHAPE, NARROW])
@given(history=changes())
def test_a_restart_between_any_two_changes_makes_no_difference(
    shape: Shape, history: list[tuple[int, list[int]]]
) -> None:
    one, other, time = table_in(Memory.plain(shape)), table_in(Memory.plain(shape)), 10_000
    for seconds, owners in history:
        time += seconds
        other = SlotTable(other.memory, FIRST, COUNT)
        other.adopt()
        assert one.sweep(time, IDLE, IDLE) == other.sweep(time, IDLE, IDLE)
        assert one.assign(owners, time) == other.assign(owners, time)
        assert image(one.memory) == image(other.memory)
