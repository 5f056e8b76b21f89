"""One balancer after the other becomes the program that is installed, while slots are tracked and flows go on."""

from __future__ import annotations

from functools import partial

import pytest

from tests.fleet.checks import EXPLAINED, MARKS, finished, wait_well
from tests.fleet.configuration import SERVICES
from tests.fleet.node import Node
from tests.fleet.performance import Performance
from tests.fleet.scenario import Scenario, at_once, dies, one_by_one, reexecuted
from tests.fleet.scenes_balancers import CHANGED
from tests.fleet.site import NODES, Fleet, own
from tests.lab.addresses import VIP
from tests.lab.patience import wait_for

pytestmark = [*MARKS, pytest.mark.appliance]

SCENE = Scenario(
    "each is re-executed after a backend was added, and then one dies",
    (*CHANGED, *one_by_one(*(reexecuted(name) for name in NODES), dies("n2"))),
    needs_exchange=True,
)


def test_each_is_re_executed_and_neither_flows_nor_the_router_nor_tables_notice() -> None:
    with Performance(SCENE, exchange=True) as performance:
        fleet = performance.fleet
        for moment in CHANGED:
            performance.perform(moment)
        assert tracked(fleet) > 0
        for name, node in fleet.nodes.items():
            lives, pid = lives_of(fleet), node.daemon.pid
            routes, sessions = fleet.router.changes(VIP), sessions_of(fleet)
            performance.perform(at_once(reexecuted(name)))
            assert node.daemon.pid == pid
            wait_for("all to know the same three", partial(all_know_all, fleet), 20)
            now = lives_of(fleet)
            assert {one for one in NODES if now[one] != lives[one]} == {name}, "it lives anew, and nobody else"
            wait_well(fleet)
            assert tracked(fleet) > 0
            assert all(answers(one) == answers(node) for one in fleet.nodes.values())
            assert fleet.router.changes(VIP) == routes, "at no moment had the router fewer ways, or other ones"
            assert sessions_of(fleet) == sessions, "nor has it lost a session"
        performance.perform(at_once(dies("n2")))
        performance.explain(EXPLAINED)
        verdict = finished(performance)
    assert verdict.broken == (), verdict.text()
    assert verdict.moved > 0
    assert verdict.at_stake > 0


def lives_of(fleet: Fleet) -> dict[str, str]:
    """The present life of each balancer, as it says itself."""
    return {
        name: next(one["life"] for one in node.ask("fleet")["nodes"] if one["own"])
        for name, node in fleet.nodes.items()
    }


def sessions_of(fleet: Fleet) -> dict[str, float]:
    """Since when the router has had its session with each balancer."""
    return {name: fleet.router.neighbour(str(own(name))).since for name in NODES}


def all_know_all(fleet: Fleet) -> bool:
    """Whether every balancer knows the present lives of all, and no other ones."""
    lives = set(lives_of(fleet).values())
    return all({one["life"] for one in node.ask("fleet")["nodes"]} == lives for node in fleet.nodes.values())


def tracked(fleet: Fleet) -> int:
    """How many slots every balancer tracks; all of them as many."""

    def counts() -> set[int]:
        return {one["tracked_slots"] for node in fleet.nodes.values() for one in node.ask("fleet")["nodes"]}

    wait_for("all to say the same of tracked slots", lambda: len(counts()) == 1, 20)
    return counts().pop()


def answers(node: Node) -> list[object]:
    """What a balancer answers new flows, and older ones that it does not remember, slot by slot."""
    with node.slots() as slots:
        return [slots.answers(service) for service in SERVICES.values()]
