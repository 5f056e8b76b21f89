"""What the governor hears of verdicts, also of those that are what the tables said before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.control.judging import Judging
from appliance.health.governor import Governor
from appliance.health.judge import Transition
from appliance.model import Health
from tests.unit.control.sample import WEB, address, service

PAIR = WEB, address(1)
UNKNOWN, UP, DEAD, WRONG = Health.UNKNOWN, Health.UP, Health.DEAD, Health.WRONG


class Listener:
    """As much of a daemon as verdicts concern."""

    def __init__(self, assumed: Health) -> None:
        self.events: list[str] = []
        self.planned = self.saved = 0
        self.waiting = False
        one = service(WEB, 1, 2, 3, 4, max_removal=0.25)
        self.instance = SimpleNamespace(
            assumed={PAIR: assumed} if assumed is not UNKNOWN else {},
            current=SimpleNamespace(places={WEB: 0}, ordered=(one,)),
            state=SimpleNamespace(leaving={}),
            governor=Governor(),
            health=SimpleNamespace(observe=lambda result, now: result),
            openings=SimpleNamespace(waits=lambda service, verdict, now: self.waiting and service is one),
            verdict=None,
        )
        self.recorder = SimpleNamespace(probe=lambda result: None)
        self.measuring = SimpleNamespace(probed=lambda result: None)

    def plan_soon(self, service: Any, *, unsaved: bool) -> None:
        self.planned += 1

    def save_soon(self) -> None:
        self.saved += 1

    def record(self, kind: Any, message: str, **more: Any) -> None:
        self.events.append(message.partition(":")[0])


# assumed, the judge's verdict before and after -> what is told, whether it is still kept
TABLE: list[tuple[Health, Health, Health, list[str], bool]] = [
    (UP, UNKNOWN, UP, [], False),
    (DEAD, UNKNOWN, UP, ["dead -> up"], False),
    (UNKNOWN, DEAD, UP, ["dead -> up"], False),
    (UP, UNKNOWN, DEAD, ["kept in service although dead", "up -> dead"], True),
    (DEAD, UNKNOWN, DEAD, [], True),
    (WRONG, UNKNOWN, WRONG, [], True),
]


@pytest.mark.parametrize(("assumed", "before", "after", "told", "kept"), TABLE)
def test_what_was_kept_and_is_judged_anew(
    assumed: Health, before: Health, after: Health, told: list[str], kept: bool
) -> None:
    daemon = Listener(assumed)
    governor = daemon.instance.governor
    governor.held.add(PAIR)
    governor.removed = {WEB: {address(2): 1e12}}  # the allowance is used up
    Judging(cast(Any, daemon)).probed(cast(Any, Transition(WEB, address(1), before, after, "why", 0.0)))
    assert daemon.planned == 1
    assert daemon.events == told
    assert (PAIR in governor.held) == kept
    assert daemon.instance.assumed == {}


def test_a_service_that_waits_for_more_verdicts_is_not_planned_yet() -> None:
    daemon = Listener(UNKNOWN)
    daemon.waiting = True
    Judging(cast(Any, daemon)).probed(cast(Any, Transition(WEB, address(1), UNKNOWN, UP, "", 0.0)))
    assert (daemon.planned, daemon.saved) == (0, 1)
    assert daemon.events == ["unknown -> up"]


@pytest.mark.parametrize("after", [UP, WRONG])
def test_one_that_answers_is_not_stranded(after: Health) -> None:
    daemon = Listener(after)
    governor = daemon.instance.governor
    governor.stranded.add(PAIR)
    Judging(cast(Any, daemon)).probed(cast(Any, Transition(WEB, address(1), UNKNOWN, after, "", 0.0)))
    assert not governor.stranded
