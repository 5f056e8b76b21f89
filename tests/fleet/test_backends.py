"""Backends are added, drained and killed, alone and at once with balancers; the scenarios are in scenes_backends.py."""

from __future__ import annotations

import pytest

from tests.fleet.checks import (
    MARKS,
    breaks_at_most_the_tracked_share,
    breaks_without_exchange,
    named,
    nothing_breaks,
)
from tests.fleet.scenario import Scenario
from tests.fleet.scenes_backends import ALONE, BOTH

pytestmark = list(MARKS)
SHORT = [scenario for scenario in BOTH if scenario.name == "a backend recovers while a balancer dies"]


@pytest.mark.appliance
@pytest.mark.parametrize("scenario", named(SHORT))
def test_nothing_breaks_in_the_short_set(scenario: Scenario) -> None:
    nothing_breaks(scenario)


@pytest.mark.appliance
@pytest.mark.parametrize("scenario", named((*ALONE, *BOTH)))
def test_nothing_breaks(scenario: Scenario) -> None:
    nothing_breaks(scenario)


@pytest.mark.appliance
@pytest.mark.parametrize("scenario", named(BOTH))
def test_nothing_breaks_on_a_bad_network(scenario: Scenario) -> None:
    nothing_breaks(scenario, bad=True)


@pytest.mark.appliance
@pytest.mark.parametrize("scenario", named(BOTH))
def test_a_cut_costs_at_most_the_tracked_share(scenario: Scenario) -> None:
    breaks_at_most_the_tracked_share(scenario)


@pytest.mark.appliance
@pytest.mark.parametrize("scenario", named((*ALONE, *BOTH)))
def test_what_breaks_without_an_exchange(scenario: Scenario) -> None:
    breaks_without_exchange(scenario)
