"""The exchange is cut and mended while backends and balancers change; the scenarios are in scenes_exchange.py."""

from __future__ import annotations

import pytest

from tests.fleet.checks import (
    MARKS,
    breaks_at_most_the_tracked_share,
    breaks_nothing_once_mended,
    named,
    nothing_breaks,
)
from tests.fleet.scenario import Scenario
from tests.fleet.scenes_exchange import HEARD_LATER, MENDED_IN_TIME, TOO_LATE

pytestmark = [*MARKS, pytest.mark.appliance]


@pytest.mark.parametrize("scenario", named(MENDED_IN_TIME))
def test_what_was_missed_is_told_later(scenario: Scenario) -> None:
    nothing_breaks(scenario)


@pytest.mark.parametrize("scenario", named(HEARD_LATER))
def test_a_balancer_that_hears_of_all_later_breaks_nothing_any_more(scenario: Scenario) -> None:
    breaks_nothing_once_mended(scenario)


@pytest.mark.parametrize("scenario", named(TOO_LATE))
def test_what_was_told_nobody_costs_at_most_the_tracked_share(scenario: Scenario) -> None:
    breaks_at_most_the_tracked_share(scenario, cut=False)
