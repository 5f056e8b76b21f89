"""Connections that really break as a balancer dies, and what the others' meters say of them."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.control.misroutes import GROWN
from tests.fleet.checks import MARKS
from tests.fleet.configuration import TCP
from tests.fleet.node import Node
from tests.fleet.performance import Performance
from tests.fleet.scenario import Scenario, added, dies
from tests.fleet.site import ends_of
from tests.lab.impairment import Impairment

pytestmark = [*MARKS, pytest.mark.appliance]

IDLE = 20
"""Seconds: what is tracked for longer is counted, and nothing is un-tracked before twice as long."""
MORE = 240
"""TCP connections beside those of every scenario."""
LONGEST = 300
"""Octets: HELLOs pass, and the records of a change do not, so nobody is missed and nothing is learnt."""
TWICE = 10
"""Of so many connections one may count twice: two of its packets that two processors have at once are both unknown."""
LEAST = 10
"""So many connections have to break for their number to say anything."""


def long_tracked(node: Node) -> bool:
    """Whether tracked slots have been so for longer than `idle`, and nobody knows their former owners any more."""
    with node.slots() as slots:
        table, time = slots.table(TCP), slots.tables.memory.time
        found = [table.slot(number) for number in table.tracked]
    return bool(found) and all(time - one.changed > IDLE + 1 and one.was == one.now for one in found)


def meter(node: Node) -> dict[str, Any]:
    """What a balancer's status says of connections that it should know and does not."""
    found: dict[str, Any] = node.ask("status")["misroutes"]
    return found


def test_what_a_dead_balancer_takes_along_is_counted_and_put_down_to_routers() -> None:
    """Its words did not reach the others. The network's MTU is smaller than its ends know: the long ones are lost."""
    scenario = Scenario("misroutes", (), needs_exchange=False, idle=IDLE, udp_grace=4)
    with Performance(scenario, exchange=True) as performance:
        fleet, flows = performance.fleet, performance.flows["tcp"]
        assert not flows.more(MORE).broken
        fleet.exchange.impair(Impairment(longest=LONGEST))
        performance.exchange_works = False
        performance.do(added("b6"))
        performance.wait_noticed()
        for node in fleet.nodes.values():
            performance.wait(f"{node.name} to have tracked slots for long", lambda node=node: long_tracked(node), 60)  # type: ignore[misc]
            assert meter(node)["total"] == 0
        assert not flows.status().broken
        ends = ends_of(flows.status().flows, "tcp")
        unknown = {(name, flow.number) for name, flow, _ in performance.unknown() if flow.protocol == "tcp"}

        performance.do(dies("n2"))
        performance.wait_noticed()
        performance._talk()
        ways = fleet.ways(ends.values())
        broken = {flow.number for flow in flows.status().broken}
        assert broken == {number for number, end in ends.items() if (ways[end], number) in unknown}
        assert len(broken) > LEAST
        # Nothing but what broke comes unknown here, for all in tracked slots had begun before these changed hands.
        for node in [node for node in fleet.nodes.values() if node.runs]:
            lost = sum(ways[ends[number]] == node.name for number in broken)
            about = f"{node.name} to count some {lost}"
            performance.wait(about, lambda node=node, lost=lost: meter(node)["total"] >= lost, 15)  # type: ignore[misc]
            told = meter(node)
            assert lost <= told["total"] <= lost + lost // TWICE + 1, told
            assert told["causes"] == dict.fromkeys(told["causes"], 0) | {"router": told["total"]}
            [happening] = told["happenings"]
            assert (happening["cause"], happening["connections"]) == ("router", told["total"])
            assert "left the fleet" in happening["text"]
            assert node.ask("metrics")["numbers"]["misroutes_total"] == told["causes"]
        performance.finish()


def changed_before(node: Node, seconds: float) -> bool:
    """Whether there are tracked slots, and all changed longer ago than so."""
    with node.slots() as slots:
        table, time = slots.table(TCP), slots.tables.memory.time
        found = [table.slot(number).changed for number in table.tracked]
    return bool(found) and all(time - changed > seconds for changed in found)


def test_in_slots_that_changed_lately_at_most_as_many_broke_as_are_counted() -> None:
    """Of the flows that a router sends elsewhere, those that are older than the change are answered rightly."""
    with Performance(Scenario("misroutes", (), needs_exchange=False), exchange=True) as performance:
        fleet, flows = performance.fleet, performance.flows["tcp"]
        fleet.exchange.impair(Impairment(longest=LONGEST))
        performance.exchange_works = False
        performance.do(added("b6"))
        performance.wait_noticed()
        for node in fleet.nodes.values():
            performance.wait(f"{node.name} to be able to tell", lambda node=node: changed_before(node, GROWN + 2), 60)  # type: ignore[misc]
        assert not flows.more(MORE).broken
        ends = ends_of(flows.status().flows, "tcp")
        before = fleet.ways(ends.values())
        with fleet.nodes["n1"].slots() as slots:
            tracked = {number for number, end in ends.items() if slots.place(TCP, end.source, end.port).tracked}

        performance.do(dies("n2"))
        performance.wait_noticed()
        performance._talk()
        ways = fleet.ways(ends.values())
        broken = {flow.number for flow in flows.status().broken}
        assert len(broken) > LEAST
        assert broken <= tracked
        for node in [node for node in fleet.nodes.values() if node.runs]:
            lost = sum(ways[ends[number]] == node.name for number in broken)
            moved = sum(before[ends[number]] != ways[ends[number]] == node.name for number in tracked)
            about = f"{node.name} to count {lost} at least"
            performance.wait(about, lambda node=node, lost=lost: meter(node)["total"] >= lost, 15)  # type: ignore[misc]
            told = meter(node)
            assert lost <= told["total"] <= moved + moved // TWICE + 1, (told, moved)
            assert told["causes"] == dict.fromkeys(told["causes"], 0) | {"router": told["total"]}
            assert "left the fleet" in told["happenings"][0]["text"]
        performance.finish()
