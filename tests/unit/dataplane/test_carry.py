"""From one generation's tables to larger ones: what lives is found again, and everything is counted exactly once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from appliance.dataplane import carry, lookup
from appliance.dataplane.abi import INDEX_LIMIT, MAPS, WAYS
from appliance.dataplane.desired import Desired
from appliance.dataplane.enums import Reason
from appliance.dataplane.memory import COUNTERS, Memory
from appliance.dataplane.model.tracking import Flow as Remembered
from appliance.dataplane.shape import Shape
from appliance.dataplane.spec import MapKind
from appliance.dataplane.tables import Tables
from appliance.errors import PlanError
from tests.unit.dataplane.clients import Clients
from tests.unit.dataplane.desires import (
    DRAINING,
    IDLE,
    LOG,
    SHAPE,
    WEB,
    assert_tables,
    backend,
    desired,
    later,
    member,
    memory_at,
    pool,
    service,
)
from tests.unit.dataplane.hashes import seeded

NARROW = replace(SHAPE, wide=False, previous=True)
FLOWS = 100
ARRAYS = [layout for layout in MAPS if layout.kind is MapKind.ARRAY]
FIRST = desired(*(service(key, [member(n) for n in pool(4)]) for key in (WEB, LOG)))
SECOND = desired(*(service(key, [member(1, 1, DRAINING), *(member(n) for n in (2, 3, 4, 5))]) for key in (WEB, LOG)))
# What grows -> the new shape
GROWTH: dict[str, Shape] = {
    "nothing": NARROW,
    "sets": replace(NARROW, sets=4 * NARROW.sets),
    "slots": replace(NARROW, slots=2 * NARROW.slots),
    "destinations": replace(NARROW, destinations=4 * NARROW.destinations),
    "services": replace(NARROW, services=4 * NARROW.services),
    "width": replace(NARROW, wide=True),
    "CPUs": replace(NARROW, cpus=4),
    "everything": Shape(services=64, destinations=2_048, slots=1 << 15, sets=4_096, cpus=2, previous=True),
}


def grown(old: Memory, shape: Shape) -> tuple[Memory, set[str]]:
    """Memory of a new generation, which shares what keeps its size and meaning, as maps in the kernel do."""
    raw, changed = dict(old.raw), set()
    lookups = (old.shape.services, old.shape.direct) != (shape.services, shape.direct)
    for layout in ARRAYS:
        differs = layout.spec(shape) != layout.spec(old.shape) or (lookups and layout.name in carry.LOOKUP)
        if differs:
            changed.add(layout.name)
            raw[layout.name] = memoryview(bytearray(layout.spec(shape).value_size))
    return Memory(shape, raw), changed


def moved(old: Memory, shape: Shape) -> Memory:
    """Everything carried over."""
    new, changed = grown(old, shape)
    carry.follow(old, new, changed, carry.copy(old, new, changed))
    return new


def busy(*, another_seed: bool = False) -> tuple[Tables, Clients, Desired]:
    """Tables in the middle of a change, with flows in settled and tracked slots; a third of them remembered."""
    tables = Tables(memory_at(1_000, NARROW))
    clients = Clients(tables.memory)
    tables.apply(FIRST)
    for one in FIRST.services:
        clients.open_many(one.key, range(FLOWS))
    tables.apply(SECOND)
    later(tables, 7)
    wanted = seeded(SECOND, 9) if another_seed else SECOND
    assert clients.lost(list(clients.owners)[::2]) == []
    for one in FIRST.services:
        clients.open_many(one.key, range(FLOWS, 2 * FLOWS))
    tables.apply(wanted)
    assert sum(map(bool, tables.memory.flows)) > 30
    return tables, clients, wanted


@pytest.mark.parametrize("another_seed", [False, True], ids=["", "asking"])
@pytest.mark.parametrize("shape", GROWTH.values(), ids=GROWTH.keys())
def test_flows_are_found_in_larger_tables(shape: Shape, another_seed: bool) -> None:
    tables, clients, wanted = busy(another_seed=another_seed)
    new = moved(tables.memory, shape)
    assert_tables(new, wanted)
    assert lookup.keys(new) == lookup.keys(tables.memory)
    assert lookup.entries(new) == lookup.entries(tables.memory)
    adopted, there = Tables(new), Clients(new, clients.owners)
    assert adopted.tracked() == tables.tracked()
    assert adopted.apply(wanted).changed == {}
    assert there.lost() == []
    before = dict(there.owners)
    # What was remembered lives on there, as long as its packets come.
    for _ in range(5):
        later(adopted, 25)
        adopted.sweep(wanted.services)
        assert there.lost() == []
    assert there.owners == before


@pytest.mark.parametrize("shape", GROWTH.values(), ids=GROWTH.keys())
def test_counts_are_carried_exactly_once(shape: Shape) -> None:
    tables, clients, _ = busy()
    old = tables.memory
    number = tables.numbers(WEB)[backend(2)]
    for at, name in enumerate(COUNTERS):
        old.set_counter(number, name, 1_000 + at)
    expected = {name: old.counter(number, name) for name in COUNTERS}
    forwarded = old.counter(number, "packets")
    old.add_reason(Reason.NOT_VIP, 5)
    new, changed = grown(old, shape)
    carried = carry.copy(old, new, changed)
    # Both programs count for a moment: the old one until the swap, the new one from then on.
    ours = next(one for one, owner in clients.owners.items() if owner == backend(2) and one.vip == WEB.vip)
    assert clients.send(ours) == backend(2)
    assert Clients(new).send(ours) == backend(2)
    old.add_reason(Reason.NOT_VIP, 20)
    new.add_reason(Reason.NOT_VIP, 300)
    carry.follow(old, new, changed, carried)
    assert new.counter(number, "packets") == forwarded + 2
    assert new.reason(Reason.NOT_VIP) == 325
    assert {name: new.counter(number, name) for name in ("flows", "drops")} == {
        name: expected[name] for name in ("flows", "drops")
    }


@pytest.mark.parametrize("shape", GROWTH.values(), ids=GROWTH.keys())
def test_what_the_old_program_wrote_after_the_copy_follows(shape: Shape) -> None:
    """New entries, refreshed and confirmed ones, and the time of the last packet that went elsewhere."""
    tables, clients, wanted = busy()
    old = tables.memory
    new, changed = grown(old, shape)
    carried = carry.copy(old, new, changed)
    later(tables, 20)
    assert clients.lost() == []
    for one in FIRST.services:
        clients.open_many(one.key, range(2 * FLOWS, 3 * FLOWS))
    carry.follow(old, new, changed, carried)
    for slot in range(old.shape.slots):
        assert new.histories.get(slot, "diverted") == old.histories.get(slot, "diverted")
    there, adopted = Clients(new, clients.owners), Tables(new)
    assert there.lost() == []
    later(adopted, IDLE - 5)
    adopted.sweep(wanted.services)
    assert there.lost() == []


def way(tag: int, index: int, expiry: int = 2_000) -> int:
    """An entry of the flow table."""
    return Remembered(tag, index, False, expiry).way


def flows_of(memory: Memory, number: int) -> list[int]:
    """The ways of a set."""
    return memory.flows[number * WAYS : (number + 1) * WAYS].tolist()


# A way when it was copied, then what each program made of it (None: nothing) -> what it must be in the end
RACES = [
    (0, way(1, 1), None, way(1, 1)),
    (way(1, 1), way(1, 1, 2_050), None, way(1, 1, 2_050)),
    # The old program put another flow in the place of one that had expired.
    (way(1, 1), way(2, 2), None, way(2, 2)),
    # The new program did.
    (way(1, 1), way(2, 2), way(3, 3), way(3, 3)),
    (way(1, 1), None, way(3, 3), way(3, 3)),
    (0, way(2, 2), way(3, 3), way(3, 3)),
    (0, None, way(3, 3), way(3, 3)),
    (way(1, 1), None, None, way(1, 1)),
]


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize(("copied", "by_old", "by_new", "result"), RACES)
def test_both_programs_write_into_one_set(
    copied: int, by_old: int | None, by_new: int | None, result: int, factor: int
) -> None:
    old = Memory.plain(NARROW)
    new, changed = grown(old, replace(NARROW, sets=factor * NARROW.sets))
    old.flows[3 * WAYS + 2] = copied
    old.flows[3 * WAYS + 5] = way(9, 9)
    carried = carry.copy(old, new, changed)
    if by_old is not None:
        old.flows[3 * WAYS + 2] = by_old
    if by_new is not None:
        new.flows[(3 * factor + 1) * WAYS + 2] = by_new
    carry.follow(old, new, changed, carried)
    for share in range(factor):
        ways = flows_of(new, 3 * factor + share)
        assert ways[5] == way(9, 9)
        if by_new is None or share == 1:
            assert ways[2] == result
    assert not any(flows_of(new, 3 * factor - 1) + flows_of(new, 4 * factor))


@pytest.mark.parametrize(("before", "after"), [(True, True), (False, True), (True, False)])
def test_whose_flows_they_are_goes_with_them(before: bool, after: bool) -> None:
    """Where both programs keep it; where only the new one does, the next packet of each flow tells."""
    old = Memory.plain(replace(NARROW, fleet=before))
    for place, number in ((3 * WAYS + 2, 40), (7 * WAYS, 41)):
        old.flows[place] = way(place, 1)
        if before:
            old.owners[place] = number
    new, changed = grown(old, replace(NARROW, sets=2 * NARROW.sets, fleet=after))
    carried = carry.copy(old, new, changed)
    old.flows[8 * WAYS] = way(9, 1)
    if before:
        old.owners[8 * WAYS] = 42
    carry.follow(old, new, changed, carried)
    owned = {2 * first + share: number for first, number in ((24, 40), (56, 41), (64, 42)) for share in (0, 8)}
    found = {at // WAYS * WAYS: owner for at, owner in enumerate(new.owners.tolist()) if owner}
    assert found == (owned if before and after else {})
    assert [at // WAYS * WAYS for at, entry in enumerate(new.flows.tolist()) if entry] == sorted(owned)


def test_narrow_slots_become_wide_with_their_tracked_bit() -> None:
    old = Memory.plain(NARROW)
    words = [0, 1, 127, 0x80, 0x81, 0xFF]
    for slot, word in enumerate(words):
        old.slots[slot] = word
    new, changed = grown(old, replace(NARROW, wide=True))
    assert changed == {"vc5_slots"}
    carry.copy(old, new, changed)
    assert new.slots[: len(words)].tolist() == [0, 1, 127, 0x8000, 0x8001, 0x807F]
    assert all(word % INDEX_LIMIT == now % old.tracked for word, now in zip(new.slots, old.slots, strict=True))


@pytest.mark.parametrize("field", ["services", "destinations", "slots", "sets", "cpus"])
def test_nothing_shrinks(field: str) -> None:
    old = Memory.plain(replace(NARROW, cpus=2))
    new, changed = grown(old, replace(old.shape, **{field: getattr(old.shape, field) // 2}))
    with pytest.raises(PlanError, match=f"the {field} of a running program cannot shrink"):
        carry.copy(old, new, changed)


def test_the_old_tables_are_left_alone() -> None:
    tables, _, _ = busy()
    held = {name: bytes(view) for name, view in tables.memory.raw.items()}
    moved(tables.memory, replace(GROWTH["everything"], cpus=4))
    assert {name: bytes(view) for name, view in tables.memory.raw.items() if name != "vc5_settings"} == {
        name: content for name, content in held.items() if name != "vc5_settings"
    }


def copied_only(old: Memory, shape: Shape, leave_out: Collection[str]) -> Memory:
    """Carried over without some of the maps."""
    new, changed = grown(old, shape)
    rest = changed - set(leave_out)
    carry.follow(old, new, rest, carry.copy(old, new, rest))
    return new


@pytest.mark.parametrize("name", ["vc5_flows", "vc5_histories", "vc5_slots", "vc5_services"])
def test_a_map_that_is_forgotten_is_missed(name: str) -> None:
    """The flows of these tests depend on each of them."""
    tables, clients, _ = busy()
    left_out = carry.LOOKUP if name in carry.LOOKUP else {name}
    new = copied_only(tables.memory, GROWTH["everything"], left_out)
    there = Clients(new, dict(clients.owners))
    assert [one for one, owner in clients.owners.items() if there.send(one) != owner]
