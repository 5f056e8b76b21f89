"""What is asserted of a scenario: with an exchange that works, however badly; with one that is cut; and with none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from tests.fleet.judge import Verdict
from tests.fleet.performance import Performance
from tests.fleet.scenario import BAD, CUT, Do, Scenario, one_by_one
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

SHOWN = 8
"""Broken flows that are told of one by one."""


def named(scenarios: Iterable[Scenario]) -> list[object]:
    """Return parameters with the scenarios' names."""
    return [pytest.param(scenario, id=scenario.name) for scenario in scenarios]


def nothing_breaks(scenario: Scenario, *, bad: bool = False, router: type[Router] = Bird) -> None:
    """Where balancers tell each other, no connection breaks whose backend lives; the network may be `bad`."""
    moments = (*one_by_one(BAD), *scenario.moments) if bad else scenario.moments
    with Performance(replace(scenario, moments=moments), exchange=True, router=router) as performance:
        for moment in moments:
            performance.perform(moment)
        performance.explain(EXPLAINED)
        verdict = _finish(performance)
        told = performance.fleet.exchange.passed()
    assert verdict.broken == (), verdict.text()
    assert sum(each.datagrams for each in told) > 0
    assert not bad or min(sum(each.lost for each in told), sum(each.late for each in told)) > 0
    _plausible(scenario, verdict)


def breaks_at_most_the_tracked_share(scenario: Scenario, *, cut: bool = True) -> None:
    """With the exchange `cut` from the first moment on, or as the scenario says, only flows in tracked slots break."""
    moments = (*one_by_one(CUT), *scenario.moments) if cut else scenario.moments
    with Performance(replace(scenario, moments=moments), exchange=True) as performance:
        for moment in moments:
            performance.perform(moment)
        verdict = _finish(performance)
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
        verdict = _finish(performance)
    assert bool(verdict.broken) is scenario.needs_exchange, verdict.text()
    _plausible(scenario, verdict)


def _finish(performance: Performance) -> Verdict:
    verdict = performance.finish()
    print(f"{performance.scenario.name}: {verdict.text()}")
    print("\n".join(f"   {line}" for line in performance.said))
    for name, flow in verdict.broken[:SHOWN]:
        print(
            f"   {name.protocol} {flow.source}:{flow.port} of {flow.backend} {performance.story(flow)}: {flow.reason}"
        )
    return verdict


def _plausible(scenario: Scenario, verdict: Verdict) -> None:
    """The scenario has put to the test what it is meant to."""
    done = {step.do for moment in scenario.moments for step in moment}
    assert verdict.living > 0
    assert bool(verdict.moved) is bool(done & WITH_BALANCERS), verdict.text()
    assert bool(verdict.orphans) is (Do.BACKEND_DIES in done), verdict.text()
    assert verdict.refused == 0 or Do.BACKEND_DIES in done, verdict.text()
    assert verdict.at_stake or not scenario.needs_exchange, verdict.text()
