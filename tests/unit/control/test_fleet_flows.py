"""Flows that others tell of before this node knows their backend: nodes get a new configuration one after the other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.control.fleet_flows import AT_ONCE, EARLY, EARLY_FLOWS, FlowsLearnt
from appliance.dataplane.tables import Tables
from appliance.fleet.records import OPENED, Flow, Flows
from tests.unit.dataplane.desires import IDLE, WEB, backend, desired, member, memory_at, service
from tests.unit.dataplane.fleet_nodes import FLEET

TOLD = Flows(WEB, backend(2), (Flow(0x0123_4567_89AB_CDEF, IDLE, OPENED), Flow(0x1123_4567_89AB_CDEF, 5)))


def known(tables: Tables) -> list[int]:
    """The seconds that each remembered flow has left."""
    memory = tables.memory
    return sorted((way - memory.time) % (1 << 15) for way in memory.flows.tolist() if way)


@pytest.fixture
def tables() -> Tables:
    """Of a node that has one backend."""
    made = Tables(memory_at(5000, FLEET))
    made.apply(desired(service(WEB, [member(1)])))
    return made


def test_they_wait_for_their_backend_and_grow_older_meanwhile(tables: Tables) -> None:
    learnt = FlowsLearnt()
    learnt.learn(tables, TOLD, 100.0)
    learnt.again(tables, 101.0)
    assert (known(tables), learnt.learnt, learnt.passed) == ([], 0, 0)
    tables.apply(desired(service(WEB, [member(1), member(2)])))
    learnt.again(tables, 103.5)
    assert known(tables) == [5 - 4, IDLE - 4]
    assert (learnt.learnt, learnt.passed) == (2, 0)
    learnt.again(tables, 104.0)
    assert learnt.learnt == 2, "each once"


def test_not_for_ever(tables: Tables) -> None:
    learnt = FlowsLearnt()
    learnt.learn(tables, TOLD, 100.0)
    learnt.again(tables, 100.0 + EARLY - 1)
    assert learnt.passed == 0
    learnt.again(tables, 100.0 + EARLY + 1)
    assert learnt.passed == 2
    tables.apply(desired(service(WEB, [member(1), member(2)])))
    learnt.again(tables, 100.0 + EARLY + 2)
    assert known(tables) == []


def test_nor_as_many_as_may_come(tables: Tables) -> None:
    learnt = FlowsLearnt()
    for _ in range(EARLY_FLOWS):
        learnt.learn(tables, TOLD, 100.0)
    assert learnt.passed == EARLY_FLOWS * 2 - EARLY_FLOWS
    tables.apply(desired(service(WEB, [member(1), member(2)])))
    learnt.again(tables, 100.0)
    assert learnt.learnt == AT_ONCE, "the loop has other things to do, too"
    for _ in range(EARLY_FLOWS // AT_ONCE):
        learnt.again(tables, 100.0)
    assert learnt.learnt == EARLY_FLOWS
    unknown, before = replace(TOLD, backend=backend(3)), learnt.passed
    learnt.learn(tables, unknown, 101.0)
    assert learnt.passed == before, "there is room again"
