"""What connections that are not known here are put down to, and how many they are."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.control.misroutes import (
    BLINK,
    CAUSE_TEXT,
    EARLY,
    GROWN,
    MANY,
    MANY_AT_ONCE,
    REMEMBERED,
    TEXTS,
    TOGETHER,
    WINDOW,
    Cause,
    Misroutes,
    Reading,
    cause_of,
)
from appliance.model import EventKind
from appliance.telemetry.metrics import BY_NAME
from tests.profile import EXAMPLES

ROUTER, REFUSED, RESTART, POOL, IDLE = Cause.ROUTER, Cause.REFUSED, Cause.RESTART, Cause.POOL, Cause.IDLE


class Second:
    """A meter, and counters that it reads each second."""

    def __init__(self) -> None:
        self.meter, self.now = Misroutes(), 100.0
        self.unknown = self.first = self.refused = self.packets = self.tracked = 0
        self.pass_()

    def pass_(
        self, *, unknown: int = 0, first: int = 0, refused: int = 0, packets: int = 100, passes: float = 1.0
    ) -> None:
        self.unknown, self.first, self.refused = self.unknown + unknown, self.first + first, self.refused + refused
        self.packets += packets
        self.now += passes
        reading = Reading(self.unknown, self.first, self.refused, self.packets, flows=1000, tracked=self.tracked)
        self.meter.count(reading, self.now, self.now + 1e9)

    def pass_more(self, seconds: float, *, first: int = 0) -> None:
        """So many more seconds pass; for EARLY of them nobody looks at what came before."""
        for _ in range(round(seconds)):
            self.pass_(first=first)

    def happened(self, cause: Cause, text: str = "x") -> None:
        self.meter.happened(cause, text, self.now, self.now + 1e9)

    def counts(self) -> dict[Cause, int]:
        self.pass_more(EARLY)
        return {cause: count for cause, count in self.meter.counts.items() if count}


# What happens, in seconds before connections come that are not known -> what they are put down to
HAPPENED: list[tuple[list[tuple[Cause, float]], Cause]] = [
    ([], IDLE),
    ([(ROUTER, 1.0)], ROUTER),
    ([(ROUTER, WINDOW - 2)], ROUTER),
    ([(ROUTER, WINDOW + 2)], IDLE),
    ([(ROUTER, 2 - EARLY)], ROUTER),  # what routers did is noticed later than what it does
    ([(ROUTER, -EARLY)], IDLE),
    ([(RESTART, -1.0)], IDLE),
    ([(RESTART, 10.0), (POOL, -1.0)], RESTART),
    ([(RESTART, 20.0), (ROUTER, 10.0)], ROUTER),
    ([(ROUTER, 20.0), (POOL, 10.0)], POOL),
    ([(ROUTER, 20.0), (REFUSED, 10.0)], ROUTER),  # who found no room is missed once something else happens
    ([(REFUSED, 10.0)], REFUSED),
    ([(ROUTER, 2 * WINDOW), (RESTART, 10.0)], RESTART),
]


@pytest.mark.parametrize(("happened", "cause"), HAPPENED)
def test_what_it_is_put_down_to(happened: list[tuple[Cause, float]], cause: Cause) -> None:
    second = Second()
    start = second.now
    later = [one for one in happened if one[1] < 0]
    for what, before in sorted((one for one in happened if one[1] > 0), key=lambda one: -one[1]):
        while second.now < start + 200 - before:
            second.pass_()
        second.happened(what)
    while second.now < start + 200:
        second.pass_()
    second.pass_(unknown=7)
    for what, before in later:
        while second.now < start + 201 - before:
            second.pass_()
        second.happened(what)
    assert second.counts() == {cause: 7}


def test_the_rates_of_a_happening() -> None:
    second = Second()
    second.happened(ROUTER, "10.1.0.1 down: hold timer expired")
    second.pass_(unknown=30, packets=1000)
    second.pass_(unknown=10, packets=1000)
    second.pass_(packets=9000)
    second.pass_more(EARLY)
    told = second.meter.as_json()
    assert told["total"] == 40
    assert told["happenings"] == [
        {
            "cause": "router",
            "text": "10.1.0.1 down: hold timer expired",
            "at": 1e9 + 101,
            "connections": 40,
            "for_s": 2.0,
            "per_second": 20.0,
            "peak_per_second": 30,
            "share_of_flows": 0.04,
            "share_of_packets": 0.02,
        }
    ]


def test_what_usually_comes_is_put_down_to_nothing() -> None:
    second = Second()
    for _ in range(1200):
        second.pass_(unknown=2)
    assert second.counts() == {IDLE: 2400}
    second.happened(ROUTER)
    for _ in range(50):
        second.pass_(unknown=2)
    second.pass_(unknown=500)
    counts = second.counts()
    assert 480 <= counts[ROUTER] <= 510
    assert sum(counts.values()) == 2400 + 100 + 500


def test_what_is_refused_is_a_happening() -> None:
    second = Second()
    second.pass_(refused=3)
    second.pass_(unknown=2)
    second.pass_more(EARLY)
    (one,) = second.meter.as_json()["happenings"]
    assert (one["cause"], one["text"], one["connections"]) == ("refused", "no room for 3 flows", 2)


def test_counters_that_begin_at_0_again_are_those_of_another_program() -> None:
    second = Second()
    second.pass_(unknown=9)
    second.unknown = second.refused = second.packets = 0
    second.pass_(unknown=4)
    assert second.counts() == {IDLE: 9, RESTART: 4}


def test_what_came_while_nobody_read_is_not_counted() -> None:
    second = Second()
    second.pass_(unknown=1000, passes=BLINK + 1)
    assert second.counts() == {}
    second.pass_(unknown=1)
    assert second.counts() == {IDLE: 1}


def test_many_happenings_at_once_are_one() -> None:
    second = Second()
    for number in range(100):
        second.happened(POOL, f"backend {number % 50}")
    assert len(second.meter.happenings) == 1
    assert second.meter.happenings[0].text.endswith(f"backend {TEXTS - 1}; and {100 - 2 * TEXTS} more")
    for _ in range(3 * REMEMBERED):
        second.pass_(unknown=1, passes=TOGETHER - 1)
        second.pass_(unknown=1, passes=2)
        second.happened(POOL)
    assert len(second.meter.happenings) == REMEMBERED


def test_what_nothing_came_of_is_not_told() -> None:
    second = Second()
    second.happened(ROUTER)
    second.pass_more(EARLY + 1)
    assert second.meter.as_json()["happenings"] == []


def test_connections_that_come_for_the_first_time_as_always_are_older_ones() -> None:
    second = Second()
    second.pass_more(GROWN + WINDOW, first=200)
    assert second.counts() == {}


def test_more_of_them_after_a_router_has_changed_its_ways_are_put_down_to_that() -> None:
    second = Second()
    second.pass_more(GROWN + WINDOW, first=3)
    second.pass_(first=40)
    second.pass_(first=20)
    second.happened(ROUTER, "n2 left the fleet")
    second.pass_more(3, first=3)
    assert second.counts() == {ROUTER: 40 + 20 - 2 * 3}
    (one,) = second.meter.as_json()["happenings"]
    assert (one["text"], one["connections"], one["peak_per_second"]) == ("n2 left the fleet", 54, 37)


def test_more_of_them_after_backends_changed_are_older_ones() -> None:
    second = Second()
    second.pass_more(GROWN + 1)
    second.happened(POOL)
    second.pass_(first=MANY)
    assert second.counts() == {}


def test_while_slots_become_tracked_nobody_can_tell() -> None:
    second = Second()
    second.pass_more(GROWN + 1)
    second.tracked = 5
    second.happened(ROUTER)
    second.pass_more(GROWN - 1, first=100)
    assert second.counts() == {}
    second.pass_(first=300)
    assert 180 < second.counts()[ROUTER] < 300, "beside those that go on to come"


def test_many_at_once_are_a_router_that_nobody_told_of() -> None:
    second = Second()
    second.pass_more(GROWN + 10, first=1)
    second.pass_(first=MANY)
    assert second.counts() == {}
    second.pass_(first=3 * MANY)
    at = second.now
    counts = second.counts()
    assert counts.keys() == {ROUTER}
    assert 3 * MANY - 4 <= counts[ROUTER] < 3 * MANY, "beside those that always come"
    (one,) = second.meter.as_json()["happenings"]
    assert (one["text"], one["at"], one["for_s"]) == (MANY_AT_ONCE, at + 1e9, 1.0)


@pytest.mark.parametrize(
    ("kind", "outcome", "backend", "cause"),
    [
        (EventKind.BGP, "established", False, ROUTER),
        (EventKind.BGP, "down", False, ROUTER),
        (EventKind.BGP, "malformed", False, None),
        (EventKind.BGP, "refused", False, None),
        (EventKind.DAEMON, "started", False, RESTART),
        (EventKind.DAEMON, "", False, None),
        (EventKind.RELOAD, "ok", False, POOL),
        (EventKind.RELOAD, "refused", False, None),
        (EventKind.BACKEND, "dead", True, POOL),
        (EventKind.OPERATOR, "", True, POOL),
        (EventKind.OPERATOR, "", False, None),
        (EventKind.ALARM, "begin", True, None),
    ],
)
def test_which_events_may_break_connections(kind: EventKind, outcome: str, backend: bool, cause: Cause | None) -> None:
    assert cause_of(kind, outcome, backend=backend) is cause


STEP = st.tuples(
    *(st.sampled_from([None, *Cause]), st.integers(0, 50), st.integers(0, 99), st.integers(0, 5), st.floats(0.1, 3.0))
)


@settings(max_examples=EXAMPLES)
@given(st.lists(STEP, max_size=60))
def test_each_connection_is_put_down_to_one_cause(steps: list[tuple[Cause | None, int, int, int, float]]) -> None:
    second = Second()
    for cause, unknown, first, refused, passes in steps:
        if cause is not None:
            second.happened(cause, str(unknown))
        second.tracked = first
        second.pass_(unknown=unknown, first=first, refused=refused, passes=passes)
    second.pass_more(2 * EARLY)
    assert second.unknown <= sum(second.meter.counts.values()) <= second.unknown + second.first
    assert all(count >= 0 for count in second.meter.counts.values())
    for one in second.meter.happenings:
        assert one.connections <= second.meter.counts[one.cause]
        assert one.packets <= second.packets
    json.dumps(second.meter.as_json(), allow_nan=False)


def test_every_cause_has_words_and_a_series() -> None:
    assert CAUSE_TEXT.keys() == set(Cause)
    (name,) = Misroutes().numbers()
    assert BY_NAME[name].labels == ("cause",)
