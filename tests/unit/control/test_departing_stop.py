"""A stop that waits for the traffic to ebb (`leave`): how long it waits, and that nobody remembers it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from appliance.control.departure import Departure, Stage
from appliance.control.overrides import Overrides
from tests.unit.control.departing_node import (
    BUSY,
    CALM,
    DEMOTED,
    DETACHED,
    EBBED,
    WALL,
    WITHDRAWN,
    Made,
    made,
)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Made:
    return partial(made, monkeypatch)


def test_a_stop_goes_the_same_way_and_ends_when_nothing_comes(node: Made) -> None:
    one = node(leave=60.0)
    one.departing.asked_to_stop()
    assert one.done == ["stopping", "more time", "announced"]
    told = one.departing.told()
    assert told is not None
    assert (told.who, told.first, told.until) == ("a stop (leave)", BUSY, WALL + one.now + 60.0)
    assert one.departing.left() == 60.0
    one.done.clear()
    one.seconds(5, BUSY)
    assert (one.done, one.departing.left()) == (["more time"] * 5, 55.0)
    one.seconds(CALM + 2, EBBED)
    assert (one.stage, "withdrawn" in one.done, "remove" in one.done) == (WITHDRAWN, True, False)
    one.seconds(CALM + 3)
    assert "remove" in one.done, "it does not wait until its time is over"
    assert not {"detach", "attach", *(f"keep {stage}" for stage in Stage)} & set(one.done), "nobody remembers a stop"
    assert one.state.overrides.node is None


def test_however_often_it_is_looked_at_systemd_is_asked_once_in_a_second(node: Made) -> None:
    one = node(leave=60.0)
    one.departing.asked_to_stop()
    one.done.clear()
    for _ in range(20):
        one.now += 0.25
        one.departing.look(one.now)
    assert one.done == ["more time"] * 5


def test_a_stop_ends_when_its_time_is_over(node: Made) -> None:
    one = node(leave=10.0)
    one.departing.asked_to_stop()
    one.seconds(9, BUSY)
    assert "remove" not in one.done
    one.seconds(1, BUSY)
    assert (one.done[-1], one.stage) == ("remove", DEMOTED)


def test_the_second_stop_does_not_wait(node: Made) -> None:
    one = node(leave=60.0)
    one.departing.asked_to_stop()
    one.departing.asked_to_stop()
    assert one.done[-1] == "remove"


NOBODY_TO_WAIT_FOR: dict[str, dict[str, Any]] = {
    "it is not asked to": {"leave": 0.0},
    "no router is told": {"leave": 60.0, "routers": ()},
    "nothing has come any more": {"leave": 60.0, "overrides": Overrides(node=Departure("bob", 5.0, DETACHED))},
}


@pytest.mark.parametrize("given", NOBODY_TO_WAIT_FOR.values(), ids=NOBODY_TO_WAIT_FOR)
def test_a_stop_does_not_wait_for_nothing(node: Made, given: dict[str, Any]) -> None:
    one = node(**given, seen=False)
    one.departing.asked_to_stop()
    assert (one.done, one.departing.left()) == (["remove"], None)


def test_a_stop_before_routers_are_spoken_to_does_not_wait(node: Made) -> None:
    one = node(leave=60.0)
    one.routing.speaker = None
    one.departing.asked_to_stop()
    assert one.done == ["remove"]


def test_a_stop_of_a_drained_node_goes_on_from_there_by_its_own_time(node: Made) -> None:
    one = node(leave=60.0)
    one.say("drain", deadline=10)
    one.departing.asked_to_stop()
    one.seconds(30, BUSY)
    assert (one.stage, one.done.count("remove")) == (DEMOTED, 0)
    found = one.departing.current
    assert found is not None
    assert (found.who, found.first) == ("uid 0 (ann)", BUSY)
    assert one.state.overrides.node is not None
    assert one.state.overrides.node.until is not None, "after the stop, what the operator said is in force again"
    one.seconds(CALM + 2, EBBED)
    assert one.stage is WITHDRAWN
    one.seconds(CALM + 3)
    assert "remove" in one.done
    assert one.state.overrides.node.stage is DEMOTED
