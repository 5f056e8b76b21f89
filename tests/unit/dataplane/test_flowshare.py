"""Flows told and learnt: by tables of any size, with other numbers, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dataplane import flowshare
from appliance.dataplane.abi import HALF_TIME, WAYS
from appliance.dataplane.flowshare import MOST_COPIES, WHOLE, FlowLearner, Remembered
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.dataplane.model.tracking import Flow
from appliance.model import Protocol
from tests.unit.dataplane.clients import SYN, flow
from tests.unit.dataplane.desires import (
    AVAILABLE,
    DEAD,
    DRAINING,
    IDLE,
    WEB,
    backend,
    desired,
    member,
    memory_at,
    service,
)
from tests.unit.dataplane.fleet_nodes import FLEET, Node

NAME = 0x0123_4567_89AB_CDEF
SERVICE = Entry(WEB, 0, 307, 32, 12, 0)
X, Y, GONE = 1, 2, 3
NAMES = st.integers(0, (1 << 64) - 1)


@dataclass(frozen=True)
class Told:
    """What is told of the flow."""

    index: int
    left: int
    candidate: bool = False
    opened: bool = False


def memory(sets: int = 512) -> Memory:
    """An empty flow table, and three backends of which the third is dead."""
    made = memory_at(5_000, replace(FLEET, sets=sets))
    made.settings.put(0, "idle", IDLE)
    for index, state in ((X, AVAILABLE), (Y, DRAINING), (GONE, DEAD)):
        made.destinations.put(SERVICE.destinations + index, "state", state)
    return made


def learn(into: Memory, told: Told, name: int = NAME, bits: int = WHOLE) -> bool:
    learner = FlowLearner(into)
    return learner.learn(SERVICE, told.index, name, told.left, bits=bits, candidate=told.candidate, opened=told.opened)


def known(memory: Memory) -> list[Flow]:
    """Every flow of the table, as the model of the program reads it."""
    return [Flow.of(way) for way in memory.flows.tolist() if way]


def left_of(memory: Memory, one: Flow) -> int:
    return (one.expiry - memory.time) % (1 << 15)


MEETINGS = {
    "nothing is known": ([], Told(X, 40), Told(X, 40)),
    "nothing is known of a candidate": ([], Told(X, 40, candidate=True), Told(X, 40, candidate=True)),
    "what is over": ([], Told(X, 0), None),
    "longer than idle": ([], Told(X, 30_000), Told(X, IDLE)),
    "the later expiry holds": ([Told(X, 20)], Told(X, 40), Told(X, 40)),
    "in either order": ([Told(X, 40)], Told(X, 20), Told(X, 40)),
    "confirmed there": ([Told(X, 40, candidate=True)], Told(X, 20), Told(X, 40)),
    "confirmed here": ([Told(X, 20)], Told(X, 40, candidate=True), Told(X, 40)),
    "it began anew": ([Told(X, 60)], Told(Y, 60, candidate=True, opened=True), Told(Y, 60, candidate=True)),
    "a guess": ([Told(X, 20, candidate=True)], Told(Y, 60, candidate=True), Told(X, 20, candidate=True)),
    "a guess against what is sure": ([Told(X, 20)], Told(Y, 60, candidate=True), Told(X, 20)),
    "confirmed against a guess": ([Told(X, 60, candidate=True)], Told(Y, 20), Told(Y, 20)),
    "both sure: what lived last": ([Told(X, 20)], Told(Y, 60), Told(Y, 60)),
    "both sure: what lived longer ago": ([Told(X, 60)], Told(Y, 20), Told(X, 60)),
    "both sure: what seems to have lived last": ([Told(X, 50)], Told(Y, 55), Told(X, 50)),
    "a dead backend's": ([Told(GONE, 60)], Told(X, 20, candidate=True), Told(X, 20, candidate=True)),
    "of a backend that has no number": ([Told(X, 60)], Told(SERVICE.capacity, 60), Told(X, 60)),
    "of no backend": ([], Told(0, 60), None),
}


@pytest.mark.parametrize(("before", "told", "after"), MEETINGS.values(), ids=MEETINGS)
def test_what_is_told_meets_what_is_known(before: Sequence[Told], told: Told, after: Told | None) -> None:
    here = memory()
    for one in before:
        assert learn(here, one)
    result = learn(here, told)
    found = [(one.index, left_of(here, one), one.candidate) for one in known(here)]
    assert found == ([(after.index, after.left, after.candidate)] if after else [])
    assert result is (after is not None and after.index == told.index)
    owners = [owner for owner in here.owners.tolist() if owner]
    assert owners == ([SERVICE.destinations + after.index] if after else [])


@given(
    NAMES, st.sampled_from([8, 64, 512, 4096]), st.sampled_from([8, 64, 512, 4096]), st.booleans(), st.integers(1, IDLE)
)
def test_whoever_tells_a_flow_of_whatever_table_is_understood(
    name: int, there: int, here: int, candidate: bool, left: int
) -> None:
    """At once, and out of the table: then the flow is in every set where it may be looked for, and nowhere else."""
    teller, told = memory(there), Told(X, left, candidate)
    learn(teller, told, name)
    (one,) = flowshare.flows_of(teller, 0, teller.shape.owners)
    assert one == Remembered(one.name, SERVICE.destinations + X, left, candidate)
    for given_name, bits in ((name, WHOLE), (one.name, flowshare.name_bits(teller))):
        learner = memory(here)
        copies = max(1, here // there) if bits != WHOLE else 1
        assert learn(learner, told, given_name, bits) is (copies <= MOST_COPIES)
        if copies > MOST_COPIES:
            assert known(learner) == []
            continue
        assert len(known(learner)) == copies
        at = name >> 64 - flowshare.name_bits(learner)
        (found,) = [Flow.of(way) for way in learner.flows[at * WAYS : (at + 1) * WAYS].tolist() if way]
        assert (found.index, found.tag, found.candidate) == (X, name % (1 << 37), candidate)


def test_what_is_told_again_does_not_replace_what_has_just_begun() -> None:
    """It was on its way when the connection began anew."""
    here = memory()
    assert learn(here, Told(X, 58, candidate=True, opened=True))
    bits = flowshare.name_bits(here)
    assert not learn(here, Told(Y, 59), bits=bits)
    assert [one.index for one in known(here)] == [X]
    here.settings.put(0, "time", here.time + 30)
    assert learn(here, Told(Y, 59), bits=bits)
    assert [one.index for one in known(here)] == [Y]


def _same_set(number: int) -> int:
    """Names that meet in one set."""
    return NAME & ~((1 << 37) - 1) | number


def test_a_full_set_refuses_and_candidates_do_not_put_out_candidates() -> None:
    here = memory()
    for number in range(WAYS):
        assert learn(here, Told(X, 50, candidate=True), _same_set(number))
    assert not learn(here, Told(X, 50, candidate=True, opened=True), _same_set(90))
    for number in range(WAYS):
        assert learn(here, Told(Y, 50), _same_set(100 + number))
    assert {one.index for one in known(here)} == {Y}
    assert not learn(here, Told(X, 50), _same_set(200))
    here.settings.put(0, "time", here.time + 50)
    assert learn(here, Told(X, 50, candidate=True), _same_set(201)), "what has expired makes room"


def test_expiry_is_read_around_the_clock() -> None:
    """The whole of idle may be half of the clock."""
    here = memory()
    here.settings.put(0, "time", (1 << 15) * 3 - 5)
    here.settings.put(0, "idle", HALF_TIME)
    assert learn(here, Told(X, 65_535))
    assert [one.left for one in flowshare.flows_of(here, 0, here.shape.owners)] == [HALF_TIME]
    assert learn(here, Told(X, 3), NAME + 1)
    assert [one.left for one in flowshare.flows_of(here, 0, here.shape.owners, 4)] == [HALF_TIME]


@pytest.mark.parametrize("first", [0, 1])
def test_the_program_of_another_node_answers_what_was_told(first: int) -> None:
    """Flows that one node remembers go to the same backends by the other, which numbers them otherwise."""
    nodes = [Node(number) for number in range(2)]
    wanted = desired(service(WEB, [member(number) for number in range(1, 6)]))
    for node in nodes:
        node.open(wanted)
    teller, learner = nodes[first], nodes[1 - first]
    assert teller.tables.numbers(WEB) != learner.tables.numbers(WEB)
    leaving = [member(number, 0, DRAINING) for number in (1, 2, 3)]
    drained = desired(service(WEB, [*leaving, member(4), member(5)]))
    teller.clients.open_many(WEB, range(100))
    teller.apply(drained)
    for record in teller.slots():
        learner.learn(record)
    teller.clients.open_many(WEB, range(100, 300))
    assert teller.clients.lost() == []
    told = [*teller.news(), *teller.flows()]
    Random(first).shuffle(told)
    for record in told:
        learner.learn(record)
    learner.clients.owners = dict(teller.clients.owners)
    assert learner.clients.lost() == []
    learner.apply(drained)
    assert learner.clients.lost() == []
    new = flow(WEB, 999)
    assert learner.clients.send(new, SYN) in {backend(number) for number in (4, 5)}


def test_numbers_that_mean_nobody() -> None:
    here = Node(0)
    here.open(desired(service(WEB, [member(1)])))
    number = here.tables.numbers(WEB)[backend(1)]
    memory = here.tables.memory
    assert flowshare.whose(memory, number) == (WEB, backend(1))
    memory.identities.put(number, "protocol", 99)
    assert [flowshare.whose(memory, one) for one in (0, number, number + 1, memory.shape.destinations, 1 << 31)] == [
        None
    ] * 5
    assert WEB.protocol is Protocol.TCP
