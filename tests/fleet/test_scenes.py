"""What happens to balancers and to backends while long flows go on, alone and at once; the scenes are in scenes_*.py.

Each scene is played with an exchange, with a bad one, with one that is cut, and with none. One of them, over a bad
network, is a part of `make test`.
"""

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
from tests.fleet.scenes_balancers import SCENES

pytestmark = list(MARKS)
ALL = (*SCENES, *ALONE, *BOTH)
NEEDING = [scenario for scenario in ALL if scenario.needs_exchange]
[SHORT] = (scenario for scenario in SCENES if scenario.name == "one dies after a backend was added and comes back")


@pytest.mark.parametrize("scenario", named([SHORT]))
def test_nothing_breaks_in_the_short_set(scenario: Scenario) -> None:
    nothing_breaks(scenario, bad=True)


@pytest.mark.appliance
@pytest.mark.parametrize("scenario", named(ALL))
def test_nothing_breaks(scenario: Scenario) -> None:
    nothing_breaks(scenario)


@pytest.mark.appliance
@pytest.mark.parametrize("scenario", named(NEEDING))
def test_nothing_breaks_on_a_bad_network(scenario: Scenario) -> None:
    nothing_breaks(scenario, bad=True)


@pytest.mark.appliance
@pytest.mark.parametrize("scenario", named(NEEDING))
def test_a_cut_costs_at_most_the_tracked_share(scenario: Scenario) -> None:
    breaks_at_most_the_tracked_share(scenario)


@pytest.mark.appliance
@pytest.mark.parametrize("scenario", named(ALL))
def test_what_breaks_without_an_exchange(scenario: Scenario) -> None:
    breaks_without_exchange(scenario)
