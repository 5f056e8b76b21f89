"""Happenings of the meter one by one: which are taken together, their windows and rates, and the running mean."""

from __future__ import annotations

import pytest

from appliance.control.misroutes import EARLY, GROWN, TEXTS, TOGETHER, WINDOW, Cause
from tests.unit.control.test_misroutes import IDLE, POOL, RESTART, ROUTER, Second

# Seconds between happenings of one kind -> how many are told, if connections come after each
SERIES = [([TOGETHER] * 4, 1), ([TOGETHER + 1] * 4, 5), ([TOGETHER, TOGETHER + 1, TOGETHER], 2)]


@pytest.mark.parametrize(("pauses", "told"), SERIES)
def test_one_that_goes_on_is_one_happening(pauses: list[float], told: int) -> None:
    second = Second()
    second.happened(POOL)
    for pause in pauses:
        for _ in range(round(pause)):
            second.pass_(unknown=1)
        second.happened(POOL)
    second.pass_(unknown=1)
    second.pass_more(EARLY)
    happenings = second.meter.as_json()["happenings"]
    assert len(happenings) == told
    assert sum(one["connections"] for one in happenings) == second.unknown
    assert [one["at"] for one in happenings] == sorted((one["at"] for one in happenings), reverse=True)


def test_happenings_of_two_kinds_are_two() -> None:
    second = Second()
    second.happened(RESTART, "started")
    second.pass_(unknown=3)
    second.pass_()
    second.happened(POOL, "b1 dead")
    second.pass_(unknown=4)
    second.pass_more(EARLY)
    told = {one["text"]: one["connections"] for one in second.meter.as_json()["happenings"]}
    assert told == {"started": 3, "b1 dead": 4}


# When connections come, in seconds after the last of two happenings that are taken for one
LAST = [(WINDOW, POOL), (WINDOW + 1, IDLE)]


@pytest.mark.parametrize(("seconds", "cause"), LAST)
def test_the_window_begins_with_the_last_of_several(seconds: float, cause: Cause) -> None:
    second = Second()
    second.happened(POOL)
    second.pass_(passes=TOGETHER)
    second.happened(POOL)
    for _ in range(round(seconds) - 1):
        second.pass_()
    second.pass_(unknown=2)
    assert second.counts() == {cause: 2}


def test_of_several_that_go_on_it_is_the_one_that_went_on_last() -> None:
    second = Second()
    second.happened(POOL)
    second.pass_()
    second.happened(RESTART)
    second.pass_()
    second.happened(POOL)
    second.pass_(unknown=2)
    assert second.counts() == {POOL: 2}


@pytest.mark.parametrize("counter", ["unknown", "first", "refused", "packets"])
def test_each_counter_can_tell_that_the_program_is_another(counter: str) -> None:
    second = Second()
    second.pass_(unknown=9, first=9, refused=9)
    second.pass_more(EARLY)
    setattr(second, counter, 0)
    second.pass_(unknown=1, packets=0)
    causes = [one.cause for one in second.meter.happenings]
    assert RESTART in causes


def test_a_reading_that_took_no_time_changes_nothing_but_where_counters_stand() -> None:
    second = Second()
    second.pass_(unknown=3, passes=0)
    second.pass_(unknown=1)
    assert second.counts() == {IDLE: 1}


def test_one_flow_that_found_no_room_is_told_in_the_singular() -> None:
    second = Second()
    second.pass_(refused=1)
    second.pass_(unknown=1)
    second.pass_more(EARLY)
    (one,) = second.meter.as_json()["happenings"]
    assert one["text"] == "no room for 1 flow"


def test_rates_are_by_the_second_however_long_it_is_between_two_readings() -> None:
    second = Second()
    second.happened(ROUTER)
    second.pass_(unknown=9, passes=4.0)
    second.pass_more(EARLY)
    told = second.meter.as_json()
    assert told["per_second"] == 2.25
    (one,) = told["happenings"]
    assert (one["for_s"], one["per_second"], one["peak_per_second"]) == (4.0, 2.25, 2)
    assert told["total"] == 9


def test_no_share_is_more_than_all() -> None:
    """Packets of connections that are not known are counted as they come, and flows now and then."""
    second = Second()
    second.happened(ROUTER)
    second.pass_(unknown=3000, packets=10, passes=0.5)
    second.pass_more(EARLY)
    (one,) = second.meter.as_json()["happenings"]
    assert (one["share_of_flows"], one["share_of_packets"]) == (1.0, 1.0)
    assert one["for_s"] == 1.0, "shorter than a second says nothing of a rate"
    assert one["per_second"] == 3000


def usually(rate: int, passes: float = 1.0) -> Second:
    """A meter that has seen so many connections a second for long, with nothing happening."""
    second = Second()
    for _ in range(round(1500 / passes)):
        second.pass_(unknown=round(rate * passes), passes=passes)
    second.pass_more(EARLY)
    return second


@pytest.mark.parametrize("passes", [0.5, 1.0, 2.0])
def test_the_mean_is_by_the_second(passes: float) -> None:
    second = usually(4, passes)
    before = second.counts()[IDLE]
    second.happened(RESTART)
    for _ in range(round(40 / passes)):
        second.pass_(unknown=round(4 * passes), passes=passes)
    after = second.counts()
    assert after[IDLE] - before >= 135, "what usually comes goes on"
    assert after.get(RESTART, 0) <= 25


def test_what_usually_comes_and_does_not_is_not_saved_up() -> None:
    second = usually(2)
    before = second.counts()[IDLE]
    second.happened(RESTART)
    for _ in range(30):
        second.pass_()
    second.pass_(unknown=100)
    after = second.counts()
    assert after[IDLE] - before <= 5
    assert after[RESTART] >= 95


def test_nor_is_it_from_one_happening_to_the_next() -> None:
    second = usually(10)
    second.happened(RESTART)
    for _ in range(30):
        second.pass_()
    for _ in range(round(WINDOW)):
        second.pass_(unknown=10)
    before = second.counts()
    second.now += 0.5
    second.happened(RESTART)
    second.pass_(unknown=100)
    assert second.counts()[RESTART] - before.get(RESTART, 0) >= 83, (
        "what comes in a second is usual, and not twice that"
    )


def test_twice_as_many_as_usual_are_half_of_them_put_down_to_what_happened() -> None:
    second = usually(4)
    second.happened(RESTART)
    for _ in range(50):
        second.pass_(unknown=8)
    assert 190 <= second.counts()[RESTART] <= 260


def test_a_fifth_text_is_counted() -> None:
    second = Second()
    for number in range(TEXTS + 1):
        second.happened(POOL, f"b{number}")
    assert second.meter.happenings[0].text == "b0; b1; b2; b3; and 1 more"


def test_less_than_one_a_second_is_put_down_to_nothing_once_in_a_while() -> None:
    second = Second()
    for number in range(3000):
        second.pass_(unknown=int(number % 4 == 0))
    before = second.counts()[IDLE]
    second.happened(RESTART)
    for number in range(40):
        second.pass_(unknown=int(number % 4 == 0))
    after = second.counts()
    assert after[IDLE] - before >= 4, "of ten"


def steady(passes: float = 1.0) -> Second:
    """A meter where slots have long been tracked, and two connections a second come for the first time."""
    second = Second()
    for _ in range(round((GROWN + 30) / passes)):
        second.pass_(first=round(2 * passes), passes=passes)
    return second


@pytest.mark.parametrize("cause", [ROUTER, RESTART])
def test_more_that_come_for_the_first_time_are_put_down_to_routers_or_this_node(cause: Cause) -> None:
    """Backends that change a moment later are not the reason: those connections are older ones."""
    second = steady()
    second.happened(cause)
    second.pass_()
    second.happened(POOL)
    second.pass_(first=8)
    second.pass_more(EARLY - 1)
    second.pass_()
    told = second.meter.as_json()
    assert told["per_second"] == 6.0
    assert second.counts() == {cause: 6}


@pytest.mark.parametrize("passes", [0.5, 1.0, 2.0])
def test_what_comes_for_the_first_time_is_held_against_a_mean_by_the_second(passes: float) -> None:
    second = steady(passes)
    second.pass_more(EARLY, first=2)
    second.happened(ROUTER)
    second.pass_(first=round(2 * passes), passes=passes)
    assert second.counts() == {}


def test_what_is_noticed_late_is_told_from_the_first_connection_on() -> None:
    second = Second()
    second.pass_(unknown=3)
    second.pass_()
    second.pass_()
    second.happened(ROUTER)
    second.pass_(unknown=3)
    second.pass_more(EARLY)
    (one,) = second.meter.as_json()["happenings"]
    assert (one["connections"], one["for_s"]) == (6, 3.0)


def test_everything_that_has_waited_long_enough_is_looked_at() -> None:
    second = Second()
    for _ in range(10):
        second.pass_(unknown=1, passes=0.1)
    second.pass_(passes=EARLY)
    assert sum(second.meter.counts.values()) == second.meter.as_json()["total"] == 10
