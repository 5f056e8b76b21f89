"""Expired flows are cleared in time, living ones never, and the work ends when there is nothing left."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dataplane import flowsweep
from appliance.dataplane.abi import EXPIRY_BITS, HALF_TIME, WAYS
from appliance.dataplane.flowsweep import LEAST, MARGIN, ROUND, FlowSweep
from appliance.dataplane.memory import Memory
from appliance.dataplane.model.tracking import Flow
from appliance.dataplane.shape import Shape
from appliance.dataplane.tables import Tables
from tests.unit.dataplane.clients import Clients, flow
from tests.unit.dataplane.desires import DRAINING, IDLE, SHAPE, WEB, desired, later, member, memory_at, service, web

CLOCK = 1 << EXPIRY_BITS
LARGE = Shape(services=2, destinations=32, slots=4, sets=4 * LEAST // WAYS)
"""A round takes four steps."""
TIMES = [1_000, CLOCK - 50, CLOCK + 10, 3 * CLOCK - 1, 2**32 - 70]
"""Coarse times, about the ends of the 15-bit clock and of the whole one."""


def way(expiry: int, *, tag: int = 7, candidate: bool = False) -> int:
    """An entry of the flow table."""
    return Flow(tag, 3, candidate, expiry % CLOCK).way


def at(time: int, shape: Shape = LARGE) -> Memory:
    """Memory whose clock stands there."""
    memory = Memory.plain(shape)
    memory.settings.put(0, "time", time)
    return memory


# Seconds from now to its expiry -> whether the entry is cleared
AGES = [
    (HALF_TIME, False),
    (900, False),
    (1, False),
    (0, False),
    (-1, False),
    (-MARGIN, False),
    (-MARGIN - 1, True),
    (-ROUND, True),
    (-HALF_TIME + 1, True),
]


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize(("ahead", "cleared"), AGES)
def test_what_is_cleared(time: int, ahead: int, cleared: bool) -> None:
    memory = at(time)
    memory.flows[5] = way(time + ahead)
    assert FlowSweep().step(memory, True) == cleared
    assert (memory.flows[5] == 0) == cleared


@given(st.integers(1, 2**32 - 1), st.integers(0, CLOCK - 1), st.booleans())
def test_no_living_entry_is_cleared(time: int, expiry: int, candidate: bool) -> None:
    """What counts as alive is what the program's model says."""
    memory = at(time, replace(LARGE, sets=2))
    entry = Flow(1, 1, candidate, expiry)
    memory.flows[0] = entry.way
    FlowSweep().step(memory, True)
    if not entry.expired(time):
        assert memory.flows[0] == entry.way
    elif (time - expiry) % CLOCK > MARGIN:
        assert memory.flows[0] == 0


@pytest.mark.parametrize("sets", [2, 512, 1 << 10, 1 << 13])
def test_a_round_sees_every_way(sets: int) -> None:
    memory = at(10_000, replace(LARGE, sets=sets))
    total = sets * WAYS
    for number in range(total):
        memory.flows[number] = way(9_000)
    sweep = FlowSweep()
    steps = -(-total // LEAST)
    assert [sweep.step(memory, True) for _ in range(steps)] == [min(LEAST, total)] * steps
    assert not any(memory.flows)


@pytest.mark.parametrize("sets", [1 << bits for bits in range(9, 24)])
def test_a_round_through_the_largest_table_is_over_before_entries_come_back(
    sets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    total, sweep, seen = sets * WAYS, FlowSweep(), [0]
    memory = at(1_000, replace(LARGE, sets=2))
    object.__setattr__(memory.shape, "sets", sets)

    def part(_: Memory, first: int, count: int) -> memoryview:
        assert first == seen[0]
        assert first % LEAST == 0 or total <= LEAST
        seen[0] = first + count
        return memory.raw["vc5_flows"].cast("Q")

    monkeypatch.setattr(Memory, "flow_part", part)
    steps = 0
    while seen[0] < total:
        sweep.step(memory, True)
        steps += 1
    assert seen[0] == total
    assert steps < HALF_TIME // 2


def test_a_quiet_round_ends_the_work_and_tracking_begins_it_again() -> None:
    memory, sweep = at(1_000), FlowSweep()
    assert sweep.step(memory, False) == 0
    memory.flows[0] = memory.flows[3 * LEAST] = way(100)
    assert sweep.step(memory, False) == 0
    sweep.step(memory, True)
    assert sweep.left == 3 * LEAST
    for left in (2, 1, 0, 0):
        sweep.step(memory, False)
        assert sweep.left == left * LEAST
    assert not any(memory.flows)
    memory.flows[LEAST] = way(100)
    assert sum(sweep.step(memory, True) for _ in range(5)) == 1


def test_the_work_goes_on_until_the_last_entry_is_gone() -> None:
    memory, sweep = at(1_000), FlowSweep()
    memory.flows[LEAST + 1] = way(1_900)
    sweep.step(memory, True)
    for _ in range(900 + MARGIN + 8):
        memory.settings.put(0, "time", memory.time + 1)
        sweep.step(memory, False)
    assert not any(memory.flows)
    for _ in range(8):
        sweep.step(memory, False)
    assert sweep.left == 0


def test_a_restarted_daemon_looks_through_what_it_finds() -> None:
    memory = memory_at(10_000)
    tables = Tables(memory)
    tables.apply(web(1, 2))
    memory.flows[9] = way(9_000)
    Tables(memory).sweep(web(1, 2).services)
    assert memory.flows[9] == 0


@pytest.mark.parametrize("candidate", [False, True])
def test_a_flow_of_long_ago_does_not_come_back_to_life(candidate: bool) -> None:
    """Remembered, un-tracked, and 16,384 s later its entry would look like a living one."""
    tables = Tables(memory_at(1_000, SHAPE))
    clients = Clients(tables.memory)
    both = web(1, 2)
    tables.apply(both)
    tables.apply(one := desired(service(WEB, [member(1, 1, DRAINING), member(2)])))
    for number in range(100):
        clients.send(flow(WEB, number), 2 if candidate else 16)
    assert sum(map(bool, tables.memory.flows)) > 30
    # Un-tracked at the very moment at which the last entries have just expired.
    for second in range(3 * IDLE):
        later(tables, 1)
        if second < IDLE and second % 9 == 0:
            clients.lost()
        tables.sweep(one.services)
    while any(tables.tracked().values()):
        later(tables, 1)
        tables.sweep(one.services)
    for _ in range(IDLE + MARGIN + 10):
        later(tables, 1)
        tables.sweep(one.services)
    assert not any(tables.memory.flows)
    later(tables, HALF_TIME)
    for number in range(100):
        assert clients.open(flow(WEB, number)) is not None
    tables.apply(both)
    assert clients.lost() == []


def test_the_margin_is_shorter_than_the_round() -> None:
    """An entry that a round leaves alone is cleared by the next one, long before it would come back."""
    assert flowsweep.MARGIN + 2 * flowsweep.ROUND < HALF_TIME
