"""A daemon that takes its node out of service: in which order it acts, what it keeps, and what takes that back.

What routers and packets make of it is in tests/netns/test_bgp_leaving.py; a stop is in test_departing_stop.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from appliance.control.departure import STEPS, Departure, Stage
from appliance.control.overrides import Overrides
from appliance.dataplane.enums import Reason
from appliance.errors import ControlError, HostError, RequestError
from tests.unit.control.departing_node import (
    BUSY,
    CALM,
    DEMOTED,
    DETACHED,
    EBBED,
    FAR,
    WALL,
    WITHDRAWN,
    Made,
    Node,
    made,
)

NOT_TO_VIPS = {
    *(Reason.FORWARD, Reason.NOT_IP, Reason.NOT_VIP, Reason.TAGGED, Reason.VIP_SOURCE, Reason.MALFORMED),
    *(Reason.PROBE_ANSWER, Reason.PROBE_SENT, Reason.PROBE_REFUSED, Reason.INCOMPLETE, Reason.QINQ, Reason.UNTAGGED),
    *(Reason.NEIGHBOUR, Reason.RETURN, Reason.BLOCKED),
    *(Reason.TRACKED_HIT, Reason.TRACKED_NEW, Reason.TRACKED_OLD, Reason.TRACKED_UNKNOWN, Reason.TRACKED_FIRST),
    *(Reason.REMEMBERED, Reason.REFUSED, Reason.FRAGMENT_FOLLOWED, Reason.UNTOLD),
}
"""What is forwarded is counted by its destination; from 32 on there are remarks on packets that are counted already."""


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Made:
    return partial(made, monkeypatch)


def test_routes_go_before_the_program_and_each_stage_is_kept_before_it_is_acted_on(node: Made) -> None:
    one = node()
    assert one.numbers == [0, 0, 0]
    one.say("drain")
    assert one.departing.current == Departure("uid 0 (ann)", WALL + one.now, first=BUSY)
    one.seconds(60, BUSY)
    assert (one.stage, one.numbers, one.departing.rate()) == (DEMOTED, [1, 0, 0], BUSY)
    one.seconds(CALM + 2, EBBED)
    assert (one.stage, one.numbers, one.links.away) == (WITHDRAWN, [1, 1, 0], False)
    assert one.departing.rate() == EBBED
    one.seconds(60, EBBED)
    assert (one.stage, one.links.away) == (WITHDRAWN, False), "what still comes is forwarded"
    one.seconds(CALM + 2)
    assert (one.stage, one.numbers, one.links.away) == (DETACHED, [1, 1, 1], True)
    steps = ["keep withdrawn", "withdrawn", "keep detached", "withdrawn", "detach"]
    assert one.done == ["keep demoted", "announced", *steps]


@pytest.mark.parametrize("stage", Stage)
def test_a_daemon_goes_on_where_the_one_before_it_ended(node: Made, stage: Stage) -> None:
    before = Departure("uid 0 (bob)", 5.0, stage, BUSY, WALL + FAR * 2)
    one = node(overrides=Overrides(node=before), seen=False)
    assert (one.departing.current, one.links.away) == (before, stage is DETACHED)
    one.seconds(CALM + 2, EBBED)
    assert one.stage is (WITHDRAWN if stage is DEMOTED else stage)


def test_what_was_kept_is_how_far_it_was(node: Made) -> None:
    one = node()
    one.say("drain", deadline=FAR)
    until = WALL + one.now + FAR
    for stage in (WITHDRAWN, DETACHED):
        one.seconds(CALM + 3)
        assert one.kept is not None
        assert one.kept.node == Departure("uid 0 (ann)", WALL + 1060.0, stage, BUSY, until)
        assert one.stage is stage


def test_the_deadline_withdraws_routes_and_detaches_nothing(node: Made) -> None:
    one = node()
    one.say("drain", deadline=30)
    one.seconds(29, BUSY)
    assert one.stage is DEMOTED
    one.seconds(1, BUSY)
    assert (one.stage, one.done[-2:]) == (WITHDRAWN, ["keep withdrawn", "withdrawn"])
    one.seconds(60, BUSY)
    assert (one.stage, one.links.away) == (WITHDRAWN, False)


def test_a_deadline_that_is_said_later_counts_from_then_and_takes_no_step_back(node: Made) -> None:
    one = node()
    one.say("drain")
    one.seconds(60, BUSY)
    one.say("drain", deadline=5)
    one.seconds(4, BUSY)
    assert one.stage is DEMOTED
    one.seconds(1, BUSY)
    assert one.stage is WITHDRAWN
    answer = one.say("drain", deadline=FAR)
    assert (one.stage, answer["node"]["stage"], answer["node"]["who"]) == (WITHDRAWN, "withdrawn", "uid 0 (ann)")


def test_who_says_it_again_does_not_begin_anew(node: Made) -> None:
    one = node()
    one.say("drain")
    one.seconds(4)
    one.say("drain")
    one.seconds(4)
    assert one.stage is WITHDRAWN


@pytest.mark.parametrize("wrong", [-1, FAR * 24 + 1, True, "5", float("nan"), []])
def test_a_deadline_that_is_none_is_refused(node: Made, wrong: Any) -> None:
    one = node()
    with pytest.raises(ControlError, match="deadline: must be 0 to 86400 seconds"):
        one.say("drain", deadline=wrong)
    assert (one.departing.current, one.done) == (None, [])


def test_what_cannot_be_kept_is_not_done(node: Made) -> None:
    one = node()
    one.fails = True
    with pytest.raises(HostError):
        one.say("drain")
    assert (one.departing.current, one.done) == (None, [])
    one.fails = False
    one.say("drain")
    one.fails = True
    with pytest.raises(HostError):
        one.say("undrain")
    assert (one.stage, one.done) == (DEMOTED, ["keep demoted", "announced"])


def test_taken_back_before_anything_was_withdrawn(node: Made) -> None:
    one = node()
    one.say("drain")
    one.seconds(3)
    one.done.clear()
    one.say("undrain")
    assert (one.departing.current, one.numbers, one.links.waiting) == (None, [0, 0, 0], False)
    assert one.done == ["keep nothing", "announced"]
    with pytest.raises(RequestError, match="not drained"):
        one.say("undrain")
    # What was seen of the traffic meanwhile is none of the usual traffic, nor of the next drain.
    assert one.departing.rate() is None
    one.say("drain")
    one.seconds(CALM)
    assert one.stage is DEMOTED
    one.seconds(2)
    assert one.stage is WITHDRAWN


def test_taken_back_the_program_is_on_all_interfaces_before_routers_are_told(node: Made) -> None:
    one = node()
    one.say("drain")
    one.seconds(20)
    assert one.links.away
    one.done.clear()
    one.say("undrain")
    assert (one.links.away, one.links.waiting) == (False, True)
    one.seconds(3)
    assert (one.departing.current, one.numbers, set(one.done)) == (
        None,
        [0, 1, 0],
        {"keep nothing", "attach", "withdrawn"},
    )
    one.done.clear()
    one.links.waiting = False
    one.seconds(1)
    assert (one.numbers, one.done) == ([0, 0, 0], ["announced"])


def test_what_was_usual_is_what_came_in_the_last_seconds(node: Made) -> None:
    one = node()
    one.seconds(20, BUSY / 2)
    one.say("drain")
    assert one.departing.current is not None
    assert one.departing.current.first == BUSY / 2


@pytest.mark.parametrize("leaves", [lambda one: one.say("drain"), lambda one: one.departing.asked_to_stop()])
def test_a_daemon_that_has_just_begun_knows_what_is_usual_by_its_first_look(
    node: Made, leaves: Callable[[Node], object]
) -> None:
    one = node(leave=60.0, seen=False)
    one.seconds(3, BUSY)
    leaves(one)
    assert one.departing.current is not None
    assert one.departing.current.first == BUSY


def test_where_nothing_is_known_the_first_seconds_are_what_is_usual(node: Made) -> None:
    one = node(seen=False)
    assert one.say("drain")["node"]["packets_per_second_before"] is None
    one.seconds(1, BUSY)
    one.seconds(CALM + 1, EBBED * 2)
    assert one.departing.current == Departure("uid 0 (ann)", WALL + 1000.0, first=BUSY)
    assert one.kept == one.state.overrides
    one.seconds(CALM + 2, EBBED)
    assert one.stage is WITHDRAWN


@pytest.mark.parametrize("reason", Reason)
def test_every_packet_to_a_vip_counts_and_no_other(node: Made, reason: Reason) -> None:
    one = node()
    one.say("drain")
    one.refused[reason] += BUSY
    one.seconds(1)
    assert one.departing.rate() == (0.0 if reason in NOT_TO_VIPS else BUSY)
    one.data.generation = None
    one.seconds(1)
    assert one.departing.rate() is None, "counters of another program say nothing"


def test_the_steps_are_those_that_these_tests_assume() -> None:
    assert {STEPS[stage].calm for stage in (DEMOTED, WITHDRAWN)} == {float(CALM)}
    assert STEPS[DEMOTED].share * BUSY == EBBED
