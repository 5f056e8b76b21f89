"""Nodes with different numbers of slots: all take over the largest, and nothing breaks meanwhile."""

from __future__ import annotations

from functools import partial

import pytest

from appliance.dataplane.shape import slot_count
from tests.fleet.checks import MARKS
from tests.fleet.configuration import SERVICES
from tests.fleet.node import Node
from tests.fleet.performance import Performance
from tests.fleet.scenario import QUIET, Scenario, added, dies, starts
from tests.fleet.site import BACKENDS
from tests.lab.addresses import FIRST_BACKEND

pytestmark = [*MARKS, pytest.mark.appliance]

GROWN = 9
"""Backends: more than what a service that began with five has slots for."""
SOME_SILENCE = 1800
"""Seconds of `idle`: with less than an hour, performances have no connection that is silent."""
TAKEN_OVER = "has as many slots as the other nodes now"
PATIENCE = 60.0
"""Seconds: a program that can ask the slots of before is compiled first."""


def slots(node: Node) -> dict[str, int]:
    """How many slots each service has, as a balancer says."""
    return {one["service"]: one["slots"] for one in node.ask("status")["services"]}


def everywhere(number: int) -> dict[str, int]:
    """So many slots for each service."""
    return {str(key): number for key in SERVICES.values()}


def has(node: Node, number: int) -> bool:
    """Whether all services of a balancer have so many slots."""
    return slots(node) == everywhere(number)


def grow(performance: Performance) -> None:
    """Have the first balancer need more slots, and wait until all others have them as well."""
    few, many = slot_count(BACKENDS - 1), slot_count(GROWN)
    assert few < many
    nodes = [node for node in performance.fleet.nodes.values() if node.runs]
    # Slots that are tracked when their number changes are asked by way of the slots of before.
    performance.perform((added("b6"),))
    assert all(has(node, few) for node in nodes), "there is room for six"
    # Further ones that get no new flows, in the configuration of one node alone: the tables stay the same.
    pool = performance.fleet.pool
    for number in range(GROWN):
        pool = pool.having(FIRST_BACKEND + number, int(number < BACKENDS))
    nodes[0].configure(pool)
    for node in nodes:
        performance.wait(f"{node.name} to have {many} slots", partial(has, node, many), PATIENCE)
    assert [TAKEN_OVER in node.daemon.errors for node in nodes] == [False, *[True] * (len(nodes) - 1)]
    performance.perform((QUIET,))
    assert not [flow for flows in performance.flows.values() for flow in flows.status().broken]


def test_a_larger_number_that_appears_on_one_node_is_taken_over_by_all() -> None:
    """Connections that are silent all the while, among others."""
    with Performance(Scenario("more slots", (), needs_exchange=True), exchange=True) as performance:
        grow(performance)
        performance.perform((dies("n2"),))
        performance.explain(2)
        verdict = performance.finish()
    assert min(verdict.moved, verdict.at_stake) > 0
    assert verdict.broken == (), verdict.text()


def test_nodes_that_start_later_begin_with_the_number_of_the_fleet() -> None:
    """By their own configuration they would have fewer. No connection is silent: see "Limits" in the README."""
    scenario = Scenario(
        "slots of the fleet", (), needs_exchange=True, absent=("n3",), idle=SOME_SILENCE, udp_grace=SOME_SILENCE
    )
    with Performance(scenario, exchange=True) as performance:
        grow(performance)
        late, many = performance.fleet.nodes["n3"], slot_count(GROWN)
        performance.perform((starts("n3"),))
        assert has(late, many)
        assert TAKEN_OVER not in late.daemon.errors, "it has had no other number"
        performance.perform((dies("n1"),))
        performance.perform((starts("n1"),))
        assert all(has(node, many) for node in performance.fleet.nodes.values())
        verdict = performance.finish()
    assert min(verdict.moved, verdict.at_stake) > 0
    assert verdict.broken == (), verdict.text()
