"""Slots told and learnt: the rules one by one, by the addresses of backends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dataplane import slotshare
from appliance.dataplane.desired import Desired
from appliance.dataplane.frame import Flow
from appliance.dataplane.slots import SLACK, SlotTable, ToldSlot
from appliance.dataplane.slotshare import SharedSlot, SharedSlots
from appliance.dataplane.tables import Tables
from appliance.model import Address
from tests.unit.dataplane.desires import DRAINING, IDLE, LOG, WEB, backend, desired, later, member, service, tables_at
from tests.unit.dataplane.fleet_nodes import FLEET, Node, ToldSlots, tracking

START = 100_000
NOW, OTHER, THIRD = 1, 2, 3
OLD = 1 << 16


def table(now: int = NOW, *, tracked: bool = False, was: int = OTHER, age: int = 10) -> SlotTable:
    """One slot; a tracked one has changed and was diverted so many seconds ago."""
    tables = tables_at(START, FLEET)
    made = SlotTable(tables.memory, 5, 1)
    made.fill([was if tracked else now])
    if tracked:
        made.assign([now], START - age)
        tables.memory.histories.put(5, "diverted", START - age)
    return made


@pytest.mark.parametrize(
    ("here", "told", "joining", "after"),
    [
        # An untracked slot: `was` is what it answers now, and the ages are those told.
        (table(), ToldSlot(OTHER, NOW, 7, 9), False, (True, NOW, NOW, 7, 9)),
        (table(), ToldSlot(NOW, OTHER, 7, 9), False, (True, NOW, NOW, 0, 9)),
        (table(), ToldSlot(None, None, 7, 9), False, (True, NOW, NOW, 0, 9)),
        (table(0), ToldSlot(OTHER, OTHER, 7, 9), False, (True, 0, OTHER, 0, 9)),
        (table(), ToldSlot(OTHER, NOW, 7, 9), True, (True, NOW, OTHER, 7, 9)),
        (table(), ToldSlot(None, NOW, 7, 9), True, (True, NOW, NOW, 7, 9)),
        # A tracked one keeps its `was`, and takes the later times, if they are not the same a moment later.
        (table(tracked=True), ToldSlot(THIRD, NOW, 3, 4), False, (False, NOW, OTHER, 3, 4)),
        (table(tracked=True), ToldSlot(THIRD, NOW, 20, 30), False, (False, NOW, OTHER, 10, 10)),
        (table(tracked=True), ToldSlot(OTHER, NOW, 10 - SLACK, 10 - SLACK), False, (False, NOW, OTHER, 10, 10)),
        (table(tracked=True), ToldSlot(THIRD, NOW, 20, 30), True, (False, NOW, THIRD, 10, 10)),
        # Nodes that differ in what they answer hold it.
        (table(tracked=True), ToldSlot(OTHER, OTHER, 500, 30), False, (False, NOW, OTHER, 0, 10)),
    ],
)
def test_a_slot_that_is_told(
    here: SlotTable, told: ToldSlot, joining: bool, after: tuple[bool, int, int, int, int]
) -> None:
    became, now, was, changed, diverted = after
    assert here.learn(0, told, START, joining=joining) is became
    slot = here.slot(0)
    assert (slot.tracked, slot.now, slot.was) == (True, now, was)
    assert (START - slot.changed, START - slot.diverted) == (changed, diverted)
    assert set(here.tracked) == {0}


def test_slots_of_no_service_and_those_that_are_tracked_for_ever() -> None:
    here = table()
    assert not here.learn(1, ToldSlot(OTHER, OTHER, 0, 0), START)
    here.remember_all(True, START - 99)
    assert not here.learn(0, ToldSlot(OTHER, OTHER, 0, 0), START)
    assert here.slot(0).changed == START - 99


def two(wanted: Desired) -> tuple[Node, Node]:
    nodes = Node(0), Node(1)
    for node in nodes:
        node.open(wanted)
    return nodes


def web(*numbers: int, drained: int = 0) -> Desired:
    members = [member(number, 0, DRAINING) if number == drained else member(number) for number in numbers]
    return desired(service(WEB, members), service(LOG, members))


def states(node: Node) -> list[tuple[bool, Address | None, Address | None]]:
    """What each slot of the first service says, by addresses."""
    slots, entry = node.tables.slots(WEB), node.tables.entry(WEB)
    assert slots is not None
    assert entry is not None
    who = {number - entry.destinations: address for address, number in node.tables.numbers(WEB).items()}
    every = map(slots.slot, range(slots.count))
    return [(one.tracked, who.get(one.was), who.get(one.now)) for one in every]


def test_what_one_node_changes_the_other_tracks_and_both_settle_together() -> None:
    one, other = two(web(1, 2, 3, 4))
    before = states(one)
    assert states(other) == before
    one.apply(web(1, 2, 3, 4, drained=2))
    for record in one.slots():
        other.learn(record)
    assert [tracked for tracked, _, _ in states(other)] == [tracked for tracked, _, _ in states(one)]
    assert [was for _, was, _ in states(one)] == [now for _, _, now in before]
    other.apply(web(1, 2, 3, 4, drained=2))
    assert states(other) == states(one)
    for node in (one, other) * (2 * IDLE + 2):
        node.pass_time(1)
        for record in node.slots():
            (other if node is one else one).learn(record)
    assert states(other) == states(one)
    assert not any(tracked for tracked, _, _ in states(one)), "nodes do not keep each other from settling"


def test_nodes_that_see_it_otherwise_for_long_do_not_settle() -> None:
    one, other = two(web(1, 2, 3, 4))
    one.apply(web(1, 2, 3, 4, drained=2))
    for _ in range(5 * IDLE):
        for node, peer in ((one, other), (other, one)):
            node.pass_time(1)
            for record in node.slots():
                peer.learn(record)
    kept = states(one)
    assert sum(tracked for tracked, _, _ in kept) > 50
    assert all(was != now for tracked, was, now in kept if tracked)
    assert [was for _, was, _ in kept] == [now for _, _, now in states(other)]


def test_a_joining_node_takes_over_what_older_flows_are_answered() -> None:
    one, other = two(web(1, 2, 3, 4))
    one.apply(web(1, 2, 3, 4, drained=2))
    one.clients.open_many(WEB, range(50))
    other.apply(web(1, 2, 3, 4, drained=3))
    other.pass_time(3 * IDLE)
    other.pass_time(1)
    other.pass_time(1)
    for record in [*one.slots(), *one.flows()]:
        other.learn(record, joining=True)
    told = slotshare.table(one.tables, WEB)
    assert slotshare.learn_table(other.tables, WEB, told, joining=True) > 0
    for (tracked, was, now), (tracked_there, was_there, now_there) in zip(states(one), states(other), strict=True):
        assert tracked_there or now_there == now
        assert (was if tracked else now) == (was_there if tracked_there else now_there)
    other.clients.owners = dict(one.clients.owners)
    assert other.clients.lost() == []
    assert slotshare.learn_table(other.tables, WEB, told) == 0, "once is enough"


def late_starter(age: int) -> tuple[Node, Node]:
    """One node has drained a backend `age` seconds ago; the other has begun after that, and hears of it only now.

    Flows 0 to 99 are older, and silent since; flows 100 to 199 began by the other one, which remembers none of them.
    """
    one, late = Node(0), Node(1)
    one.open(web(1, 2, 3, 4))
    one.clients.open_many(WEB, range(100))
    one.apply(web(1, 2, 3, 4, drained=2))
    one.pass_time(age)
    late.open(web(1, 2, 3, 4, drained=2))
    late.clients.open_many(WEB, range(100, 200))
    for record in one.slots():
        late.learn(record)
    return one, late


def drained_flows(node: Node) -> dict[Flow, Address]:
    return {flow: owner for flow, owner in node.clients.owners.items() if owner == backend(2)}


def test_a_late_starter_is_right_about_its_own_flows_first_and_then_about_older_ones() -> None:
    one, late = late_starter(10)
    older = drained_flows(one)
    assert len(older) > 10
    assert late.clients.lost() == [], "who began here goes on here, and is remembered from now on"
    late.pass_time(10)
    assert late.clients.lost() == []
    late.clients.owners |= older
    assert late.clients.lost() == [], "who is not remembered by then is older, and the others know better"


def test_a_late_starter_takes_over_nothing_that_settles_before() -> None:
    one, late = late_starter(IDLE - 5)
    for node in (one, late) * IDLE:
        node.pass_time(1)
        assert late.clients.lost() == []
    assert [was for _, was, _ in states(late)] == [now for _, _, now in states(late)]


@pytest.mark.parametrize("first", ["changes", "hears"])
def test_a_late_starter_that_changes_slots_itself_knows_no_older_flows(first: str) -> None:
    """It begins with a backend drained that is back already: what it answers its own flows is nobody else's answer."""
    one, late = Node(0), Node(1)
    one.open(web(1, 2, 3, 4))
    one.clients.open_many(WEB, range(100))
    for wanted in (web(1, 2, 3, 4, drained=2), web(1, 2, 3, 4)):
        one.apply(wanted)
        one.pass_time(3)
    late.apply(web(1, 2, 3, 4, drained=2))
    late.clients.open_many(WEB, range(100, 200))
    late.pass_time(4)
    if first == "changes":
        late.apply(web(1, 2, 3, 4))
    for record in one.slots():
        late.learn(record)
    if first == "hears":
        late.apply(web(1, 2, 3, 4))
    late.pass_time(3)
    assert late.clients.lost() == [], "who began here goes on here for as long again, and is remembered"
    late.pass_time(1)
    assert late.clients.lost() == []
    # What somebody tells of the same slots once more is not taken over: this node has its own part in their history.
    own = [was for _, was, _ in states(late)]
    for record in one.slots():
        assert isinstance(record, ToldSlots)
        late.learn(replace(record, groups=tuple(replace(group, was=backend(1)) for group in record.groups)))
    late.pass_time(9)
    assert [was for _, was, _ in states(late)] == own
    late.clients.owners |= one.clients.owners
    assert len(drained_flows(one)) > 10
    assert late.clients.lost() == [], "who is not remembered by then is older, and the others know better"


def test_a_node_of_long_standing_takes_over_nothing() -> None:
    one, other = two(web(1, 2, 3, 4))
    for node in (one, other) * (IDLE + 1):
        node.pass_time(1)
    other.clients.open_many(WEB, range(100))
    other.apply(web(1, 2, 3, 4, drained=2))
    other.apply(web(1, 2, 3, 4, drained=3))
    one.apply(web(1, 2, 3, 4, drained=3))
    before = states(other)
    assert before != states(one)
    for record in one.slots():
        other.learn(record)
    for _ in range(IDLE - 1):
        other.pass_time(1)
    assert [was for _, was, _ in states(other)] == [was for _, was, _ in before]


def test_what_cannot_be_learnt_changes_nothing() -> None:
    one, other = two(web(1, 2, 3, 4))
    one.apply(web(1, 2, 3, 4, drained=2))
    told, count = slotshare.shared(one.tables, WEB), slotshare.digest(one.tables, WEB)[0]
    before = bytes(other.tables.memory.raw["vc5_slots"])
    assert slotshare.learn(other.tables, WEB, count + 2, told) == 0
    assert slotshare.learn(other.tables, replace(WEB, port=1), count, told) == 0
    beyond = [SharedSlots(backend(1), backend(9), (SharedSlot(count, 0, 0), SharedSlot(1 << 31, 0, 0)))]
    assert slotshare.learn(other.tables, WEB, count, beyond) == 0
    over = [SharedSlots(backend(1), backend(1), (SharedSlot(5, 2 * IDLE + 1, IDLE + 1),))]
    assert slotshare.learn(other.tables, WEB, count, over) == 0
    assert slotshare.learn_table(other.tables, WEB, slotshare.table(one.tables, WEB)[1:]) == 0
    other.apply(desired(replace(other.wanted.services[0], tracking=False), other.wanted.services[1]))
    assert slotshare.learn(other.tables, WEB, count, told) == 0
    assert bytes(other.tables.memory.raw["vc5_slots"]) == before
    absent = replace(WEB, port=1)
    assert slotshare.shared(one.tables, absent) == []
    assert slotshare.table(one.tables, absent) == ()
    assert slotshare.learn_table(one.tables, absent, ()) == 0
    assert slotshare.digest(one.tables, absent) == (0, bytes(slotshare.DIGEST))


def test_only_late_changes_are_told_where_that_is_asked() -> None:
    one, _ = two(web(1, 2, 3, 4))
    one.apply(web(1, 2, 3, 4, drained=2))
    later(one.tables, 5)
    one.apply(web(1, 2, 3, 4, drained=3))

    def numbers(within: int | None) -> set[int]:
        return {slot.number for group in slotshare.shared(one.tables, WEB, within) for slot in group.entries}

    assert numbers(0) < numbers(5) == numbers(None)
    all_flows = tracking(one.wanted.services[0], remember_all=True)
    one.apply(desired(all_flows, one.wanted.services[1]))
    assert slotshare.shared(one.tables, all_flows.key) == []


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5, unique=True), st.integers(0, 1))
def test_tables_are_the_same_by_their_digest_whatever_the_numbers(numbers: list[int], number: int) -> None:
    one, other = tables_at(START, FLEET), tables_at(START, FLEET)
    one.apply(desired(service(WEB, [member(each) for each in numbers])))
    for count in range(1, len(numbers) + 1):
        other.apply(desired(service(WEB, [member(each) for each in numbers[:count]])))
    assert slotshare.digest(one, WEB) == slotshare.digest(other, WEB)
    fewer: Tables = (one, other)[number]
    fewer.apply(
        desired(service(WEB, [member(each, 0, DRAINING) if each == numbers[0] else member(each) for each in numbers]))
    )
    assert slotshare.digest(one, WEB) != slotshare.digest(other, WEB)
    assert slotshare.digest(one, WEB)[0] == slotshare.digest(other, WEB)[0]


def test_how_often_slots_are_told_again() -> None:
    assert [slotshare.retell(*times) for times in ((900, 900), (900, 30), (2, 1))] == [45, 7, 1]
