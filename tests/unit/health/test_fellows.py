"""A fleet in simulated time: for how long nodes differ, that they do not flap, and what liars achieve."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.health.agreement import HEARD, confirmed, patience, untold
from appliance.health.quorum import Pair
from appliance.model import Check
from tests.unit.health.fellows import CHECK, Failure, Fellows

SLOW = replace(CHECK, interval=10.0)
SEEDS = (1, 2)
ONE = frozenset({0})
DIED = 20.3
LOOK = 1.0
"""Seconds from one look of the governor to the next."""


@pytest.mark.parametrize("check", [CHECK, SLOW, replace(CHECK, fall=3), replace(CHECK, interval=5.0, timeout=1.0)])
@pytest.mark.parametrize("silent", [True, False])
def test_nodes_find_the_same_within_the_bound(check: Check, silent: bool) -> None:
    for seed in SEEDS:
        fleet = Fellows(3, check=check, seed=seed, failures=[Failure(1, DIED, silent=silent)])
        fleet.run(60.0)
        assert [fleet.changes(node, 1) for node in range(3)] == [1, 1, 1]
        assert 0 < fleet.differed(1) <= patience((check,))
        assert patience((check,)) - HEARD <= min(untold(check), confirmed(check))


def test_who_is_told_does_not_wait_for_the_next_interval() -> None:
    longest = {True: 0.0, False: 0.0}
    for seed in SEEDS:
        for telling in longest:
            failures = [Failure(1, DIED, silent=False)]
            fleet = Fellows(3, check=SLOW, seed=seed, failures=failures, telling=telling)
            fleet.run(60.0)
            longest[telling] = max(longest[telling], fleet.differed(1))
    assert longest[True] < 1.0 < SLOW.interval / 2 < longest[False]


@pytest.mark.parametrize("nodes", [3, 5])
def test_a_quorum_costs_nothing_where_a_backend_dies_and_returns(nodes: int) -> None:
    for seed in SEEDS:
        failures = [Failure(1, DIED, 50.0)]
        with_, without = (Fellows(nodes, seed=seed, failures=failures, quorum=one) for one in (True, False))
        with_.run(80.0)
        without.run(80.0)
        for node in range(nodes):
            assert with_.out_at(node, 1) == without.out_at(node, 1)
            assert with_.changes(node, 1) == without.changes(node, 1) == 2


def test_a_way_that_fails_is_outvoted_and_does_not_flap() -> None:
    failures = [Failure(1, DIED + 20 * turn, DIED + 10 + 20 * turn, ONE) for turn in range(6)]
    fleet, without = Fellows(3, failures=failures), Fellows(3, failures=failures, quorum=False)
    fleet.run(140.0)
    without.run(140.0)
    assert [fleet.changes(node, 1) for node in range(3)] == [2, 0, 0]
    assert without.changes(0, 1) >= 10
    assert fleet.differed(1) <= patience((CHECK,)) + 2 * LOOK


def test_two_nodes_are_as_without_a_quorum() -> None:
    failures = [Failure(1, DIED, 60.0, ONE), Failure(2, 30.0), Failure(3, 35.0, 50.0, frozenset({1}))]
    fleet, without = (Fellows(2, failures=failures, quorum=one) for one in (True, False))
    fleet.run(80.0)
    without.run(80.0)
    assert fleet.acted == without.acted
    assert fleet.nodes[0].isolated == 0


def test_a_node_that_loses_most_backends_suspects_itself_and_keeps_them() -> None:
    lost = [Failure(backend, DIED, 60.0, ONE, silent=False) for backend in (1, 2, 3)]
    fleet = Fellows(3, failures=lost)
    fleet.run(40.0)
    assert fleet.nodes[0].governor.alone
    assert all(fleet.counts_as_up(0, backend) for backend in (1, 2, 3, 4))
    assert not any(fleet.nodes[node].governor.isolated for node in (1, 2))
    fleet.run(80.0)
    assert not fleet.nodes[0].governor.isolated
    assert all(fleet.changes(0, backend) == 2 for backend in (1, 2, 3))


def test_who_hears_of_nobody_any_more_acts_alone_again() -> None:
    fleet = Fellows(3, failures=[Failure(1, DIED, nodes=ONE)])
    fleet.run(50.0)
    assert fleet.counts_as_up(0, 1)
    fleet.cut = ONE
    fleet.run(70.0)
    assert not fleet.counts_as_up(0, 1)
    fleet.cut = frozenset()
    fleet.run(90.0)
    assert fleet.counts_as_up(0, 1)


def storm(node: int, now: float, pairs: list[Pair]) -> dict[Pair, bool] | None:
    """Node 2 says something else of all backends whenever it speaks."""
    if node != 2:
        return None
    return {pair: True for index, pair in enumerate(pairs) if (index + round(now * 50)) % 2}


@pytest.mark.parametrize("flapping", [False, True])
def test_a_liar_has_no_node_check_more_than_twice_as_often(flapping: bool) -> None:
    failures = [Failure(1, DIED + turn, DIED + 0.5 + turn, silent=False) for turn in range(60)] if flapping else []
    honest, lied_to = Fellows(3, 6, failures=failures), Fellows(3, 6, failures=failures)
    lied_to.lies = lambda node, now: storm(node, now, lied_to.pairs)
    for moment in range(10, 800):
        lied_to.at(moment / 10, lambda: lied_to.tell(lied_to.nodes[2]))
    honest.run(80.0)
    lied_to.run(80.0)
    assert honest.nodes[0].probes < lied_to.nodes[0].probes <= 2 * honest.nodes[0].probes
    if not flapping:
        assert all(lied_to.changes(node, backend) == 0 for node in range(3) for backend in range(1, 7))
