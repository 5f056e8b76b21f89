"""What is asserted of a scenario: with an exchange that works, however badly; with one that is cut; and with none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import pytest

from tests.fleet.judge import Verdict
from tests.fleet.node import Node
from tests.fleet.performance import Performance
from tests.fleet.scenario import BAD, CUT, MENDED, Do, Scenario, one_by_one
from tests.fleet.site import Fleet
from tests.lab.patience import wait_for
from tests.lab.routers import Bird, Router, missing_daemons

MISSING = missing_daemons([Bird])
MARKS = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=MISSING or "it is there"),
]
WITH_BALANCERS = frozenset({Do.BALANCER_DIES, Do.BALANCER_STOPS, Do.BALANCER_STARTS})
EXPLAINED = 2
"""Flows at stake of each protocol that every balancer is asked about at the end."""

YOUNG = 3
"""Connections that a router may send elsewhere on a bad network before the first record of them has arrived there, and
before their backend has greeted them: these are refused, and not broken."""
SHOWN = 8
"""Broken flows that are told of one by one."""


def named(scenarios: Iterable[Scenario]) -> list[object]:
    """Return parameters with the scenarios' names."""
    return [pytest.param(scenario, id=scenario.name) for scenario in scenarios]


def nothing_breaks(scenario: Scenario, *, bad: bool = False, router: type[Router] = Bird, group: str = "") -> None:
    """Where balancers tell each other, no connection breaks whose backend lives; the network may be `bad`.

    They do so by a multicast `group`, or else each names the others.
    """
    moments = (*one_by_one(BAD), *scenario.moments) if bad else scenario.moments
    with Performance(replace(scenario, moments=moments), exchange=True, router=router, group=group) as performance:
        for moment in moments:
            performance.perform(moment)
        performance.explain(EXPLAINED)
        verdict = finished(performance)
        told = performance.fleet.exchange.passed()
    assert verdict.broken == (), verdict.text()
    assert sum(each.datagrams for each in told) > 0
    assert not bad or min(sum(each.lost for each in told), sum(each.late for each in told)) > 0
    _plausible(scenario, verdict, YOUNG if bad else 0)


def breaks_at_most_the_tracked_share(scenario: Scenario, *, cut: bool = True) -> None:
    """With the exchange `cut` from the first moment on, or as the scenario says, only flows in tracked slots break."""
    moments = (*one_by_one(CUT), *scenario.moments) if cut else scenario.moments
    with Performance(replace(scenario, moments=moments), exchange=True) as performance:
        for moment in moments:
            performance.perform(moment)
        verdict = finished(performance)
        told = performance.fleet.exchange.passed()
    assert len(verdict.broken) <= verdict.at_stake, verdict.text()
    assert sum(each.cut for each in told) > 0
    _plausible(scenario, verdict)


def breaks_without_exchange(scenario: Scenario) -> None:
    """Where balancers tell each other nothing, flows break in those scenarios that are to show what the exchange does,
    and in no others.
    """
    with Performance(scenario, exchange=False) as performance:
        for moment in scenario.moments:
            performance.perform(moment)
        verdict = finished(performance)
    assert bool(verdict.broken) is scenario.needs_exchange, verdict.text()
    _plausible(scenario, verdict)


def breaks_nothing_once_mended(scenario: Scenario) -> None:
    """Where the exchange is mended, all balancers come to agree and are well, and what breaks has broken before."""
    with Performance(scenario, exchange=True) as performance:
        for moment in scenario.moments:
            if MENDED in moment:
                before = performance.broken()
            performance.perform(moment)
            if MENDED in moment:
                wait_well(performance.fleet)
        verdict = finished(performance)
    later = [f"{name}: {flow.reason}" for name, flow in verdict.broken if name not in before]
    assert later == [], verdict.text()
    assert len(before) <= verdict.at_stake, verdict.text()
    _plausible(scenario, verdict)


def wait_well(fleet: Fleet) -> None:
    """Wait until each balancer that runs says that it has all from all others, that all agree, and that all is well."""
    running = [node for node in fleet.nodes.values() if node.runs]

    def agree(node: Node) -> bool:
        nodes = node.ask("fleet")["nodes"]
        return (
            len(nodes) == len(running)
            and {(one["state"], one["sync"], one["behind"]) for one in nodes} == {("ready", "done", 0)}
            and len({one["tables"] for one in nodes}) == len({one["configuration"] for one in nodes}) == 1
        )

    for node in running:
        wait_for(f"{node.name} to agree with all", partial(agree, node), 20)
        wait_for(f"`vc5 fleet` of {node.name}", lambda node=node: node.daemon.vc5("fleet").returncode == 0, 20)  # type: ignore[misc]


def finished(performance: Performance) -> Verdict:
    """End all flows, judge, and print what has happened."""
    verdict = performance.finish()
    print(f"{performance.scenario.name}: {verdict.text()}")
    print("\n".join(f"   {line}" for line in performance.said))
    for name, flow in verdict.broken[:SHOWN]:
        print(
            f"   {name.protocol} {flow.source}:{flow.port} of {flow.backend} {performance.story(flow)}: {flow.reason}"
        )
    return verdict


def _plausible(scenario: Scenario, verdict: Verdict, young: int = 0) -> None:
    """The scenario has put to the test what it is meant to; so many connections at most got no first word."""
    done = {step.do for moment in scenario.moments for step in moment}
    assert verdict.living > 0
    assert bool(verdict.moved) is _other_ways(scenario), verdict.text()
    assert bool(verdict.orphans) is (Do.BACKEND_DIES in done), verdict.text()
    assert verdict.refused <= young or Do.BACKEND_DIES in done, verdict.text()
    assert verdict.at_stake or not scenario.needs_exchange, verdict.text()


def _other_ways(scenario: Scenario) -> bool:
    """Whether the router finds other ways; it keeps those of a balancer whose daemon dies and comes back."""
    steps = [step for moment in scenario.moments for step in moment]
    kept = {step.who for step in steps if step.do is Do.DAEMON_DIES}
    return any(step.do in WITH_BALANCERS and step.who not in kept for step in steps)
