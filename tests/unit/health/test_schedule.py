"""When probes run: spread, jitter, quick confirmation, bounds. Simulated time; no clock."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.health.schedule import CONFIRM_LEAST, FIRST_WITHIN, POSTPONE, Schedule
from appliance.model import Check, CheckKind, Outcome

LETTERS = {"o": Outcome.OK, "w": Outcome.WRONG, "n": Outcome.NONE}


def check(interval: float = 2.0, rise: int = 2, fall: int = 2) -> Check:
    return Check(CheckKind.TCP, 80, interval=interval, rise=rise, fall=fall)


def middle() -> float:
    """A random number that gives no jitter."""
    return 0.5


def gaps(letters: str, **values: float) -> str:
    """Run one probe through outcomes; return the pace after each: `.` for the interval, `!` for a confirmation."""
    schedule = Schedule(middle, limit=1)
    schedule.configure({1: check(**values)}, 0.0)  # type: ignore[arg-type]
    pace = ""
    for letter in letters:
        now = schedule.next_due()
        assert now is not None
        assert schedule.start_due(now, 9) == [1]
        assert schedule.finish(1, LETTERS[letter], now)
        due = schedule.next_due()
        assert due is not None
        pace += {2.0: ".", 0.5: "!"}[round(due - now, 6)]
    return pace


@pytest.mark.parametrize(
    ("letters", "pace"),
    [
        ("oooo", "...."),
        ("nnnn", "!..."),  # the first bad outcome of a new probe is confirmed
        ("wwww", "!..."),
        ("onnn", ".!.."),  # the second agrees: settled
        ("onoo", ".!.."),  # back to what was settled
        ("onnooo", ".!.!.."),
        ("owwnnn", ".!.!.."),
        ("ownwnwnwn", ".!!!.!.!."),  # never agrees: settled after four; then every other one surprises
    ],
)
def test_surprises_are_confirmed_quickly_until_the_results_agree(letters: str, pace: str) -> None:
    assert gaps(letters) == pace


def test_confirmation_takes_as_many_as_rise_or_fall_ask_for() -> None:
    assert gaps("onnnnn", rise=1, fall=4) == ".!!!.."
    assert gaps("onnnnn", rise=4, fall=1) == ".!!!.."
    assert gaps("onnnn", rise=1, fall=1) == "....."


@pytest.mark.parametrize(("interval", "expected"), [(2.0, 0.5), (0.4, CONFIRM_LEAST), (0.1, 0.1), (60.0, 15.0)])
def test_a_confirmation_comes_after_a_quarter_of_the_interval(interval: float, expected: float) -> None:
    schedule = Schedule(middle, limit=1)
    schedule.configure({1: check(interval)}, 0.0)
    schedule.start_due(1.0, 1)
    schedule.finish(1, Outcome.NONE, 1.0)
    assert schedule.next_due() == pytest.approx(1.0 + expected)


def test_first_runs_are_spread_within_half_a_second() -> None:
    numbers = random.Random(1)
    schedule = Schedule(numbers.random, limit=10_000)
    schedule.configure({number: check(60.0) for number in range(1000)}, 100.0)
    per_slice = [len(schedule.start_due(100.0 + FIRST_WITHIN * tenth / 10, 10_000)) for tenth in range(1, 11)]
    assert sum(per_slice) == 1000
    assert max(per_slice) < 150


def test_new_probes_run_in_the_order_in_which_they_are_given() -> None:
    """So that a service has its verdicts together; what was known before keeps its place."""
    schedule = Schedule(random.Random(2).random, limit=10_000)
    schedule.configure({7: check(60.0)}, 0.0)
    assert schedule.start_due(1.0, 1) == [7]
    schedule.finish(7, Outcome.OK, 1.0)
    order = [*range(500, 0, -1), *range(1000, 1500)]
    schedule.configure(dict.fromkeys([*order[:300], 7, *order[300:]], check(60.0)), 100.0)
    schedule.start_due(100.0 - 1e-6, 1)
    started = [number for tenth in range(1, 11) for number in schedule.start_due(100.0 + tenth / 10, 10_000)]
    assert [number for number in started if number != 7] == [number for number in order if number != 7]


def test_the_interval_counts_from_the_start_and_a_slow_probe_runs_again_at_once() -> None:
    schedule = Schedule(middle, limit=2)
    schedule.configure({1: check(2.0), 2: check(2.0)}, 0.0)
    assert sorted(schedule.start_due(1.0, 2)) == [1, 2]
    schedule.finish(1, Outcome.OK, 1.3)
    assert schedule.next_due() == pytest.approx(3.0)
    schedule.start_due(3.0, 2)
    schedule.finish(2, Outcome.OK, 9.0)
    assert schedule.next_due() == pytest.approx(9.0)


@given(st.integers(0, 2**32), st.floats(0.1, 100.0))
def test_jitter_is_at_most_a_tenth(seed: int, interval: float) -> None:
    schedule = Schedule(random.Random(seed).random, limit=1)
    schedule.configure({1: check(interval)}, 0.0)
    schedule.start_due(1000.0, 1)
    schedule.finish(1, Outcome.OK, 1000.0)
    due = schedule.next_due()
    assert due is not None
    assert 0.9 * interval - 1e-9 <= due - 1000.0 <= 1.1 * interval + 1e-9


@given(st.integers(0, 2**32), st.floats(0.1, 100.0), st.floats(0.0, 1e6))
def test_on_a_grid_usual_rounds_begin_at_the_nearest_moment(seed: int, interval: float, now: float) -> None:
    free, bound = (Schedule(random.Random(seed).random, limit=1) for _ in range(2))
    grid = interval / 10
    dues = []
    for schedule, width in ((free, 0.0), (bound, grid)):
        schedule.configure({1: check(interval)}, now - 1000, grid=width)
        schedule.start_due(now, 1)
        schedule.finish(1, Outcome.OK, now)
        dues.append(schedule.next_due())
    assert dues[0] is not None
    assert dues[1] is not None
    assert abs(dues[1] - dues[0]) <= grid / 2 + 1e-6
    assert dues[1] / grid == pytest.approx(round(dues[1] / grid), abs=1e-3)


def test_a_surprise_is_confirmed_without_waiting_for_a_moment_of_the_grid() -> None:
    schedule = Schedule(middle, limit=1)
    schedule.configure({1: check(2.0)}, 0.0, grid=0.2)
    schedule.start_due(1.03, 1)
    schedule.finish(1, Outcome.NONE, 1.03)
    assert schedule.next_due() == pytest.approx(1.53)


@pytest.mark.parametrize(
    ("letters", "telling"),
    [("oooo", "!!.."), ("nnnn", "!!.."), ("ooono", "!!.!!"), ("ononon", "!!!!!!"), ("ooonnnoo", "!!.!!.!!")],
)
def test_an_outcome_tells_something_until_so_many_were_alike_as_a_verdict_takes(letters: str, telling: str) -> None:
    schedule = Schedule(middle, limit=1)
    schedule.configure({1: check()}, 0.0)
    told = ""
    for now, letter in enumerate(letters, 1):
        schedule.start_due(10.0 * now, 1)
        schedule.finish(1, LETTERS[letter], 10.0 * now)
        told += "!" if schedule.telling(1) else "."
    assert told == telling
    assert schedule.telling(2), "of a probe that is gone nothing is known"


def test_the_longest_overdue_come_first_and_never_more_than_the_limit() -> None:
    schedule = Schedule(iter(number / 100 for number in range(100)).__next__, limit=5)
    schedule.configure({number: check() for number in range(20)}, 0.0)
    assert schedule.start_due(10.0, 3) == [0, 1, 2]
    assert schedule.start_due(10.0, 3) == [3, 4]
    assert schedule.next_due() is None
    assert schedule.start_due(10.0, 3) == []
    schedule.finish(2, Outcome.OK, 10.0)
    assert schedule.start_due(10.0, 3) == [5]


def test_a_probe_that_could_not_be_sent_comes_again_soon_and_nothing_is_learnt() -> None:
    schedule = Schedule(middle, limit=1)
    schedule.configure({1: check()}, 0.0)
    schedule.start_due(1.0, 1)
    schedule.postpone(1, 1.0)
    assert schedule.next_due() == pytest.approx(1.0 + 1.5 * POSTPONE)
    assert schedule.start_due(2.0, 1) == [1]
    schedule.finish(1, Outcome.OK, 2.0)
    assert schedule.next_due() == pytest.approx(4.0)


def test_a_reload_keeps_what_stays_and_names_what_must_be_cancelled() -> None:
    schedule = Schedule(middle, limit=9)
    schedule.configure({number: check() for number in (1, 2, 3)}, 0.0)
    assert schedule.start_due(1.0, 2) == [1, 2]
    assert schedule.configure({2: check(), 4: check()}, 1.0) == {1}
    assert schedule.outstanding == 1
    assert not schedule.finish(1, Outcome.OK, 1.0)
    assert schedule.finish(2, Outcome.OK, 1.0)
    assert not schedule.finish(2, Outcome.OK, 1.0)
    schedule.postpone(1, 1.0)
    schedule.postpone(4, 1.0)
    assert schedule.outstanding == 0
    assert sorted(schedule.start_due(100.0, 9)) == [2, 4]


@given(st.integers(1, 6), st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ownpc")), max_size=60))
def test_counts_agree_whatever_happens(limit: int, events: list[tuple[int, str]]) -> None:
    """Random starts, outcomes, postponements and reloads: no probe is ever lost or run twice at once."""
    schedule = Schedule(random.Random(7).random, limit)
    configured = {number: check() for number in range(10)}
    schedule.configure(configured, 0.0)
    running: set[int] = set()
    now = 0.0
    for number, event in events:
        now += 0.3
        if event == "c":
            configured = {other: check() for other in range(10 + number) if other % 10 != number}
            gone = schedule.configure(configured, now)
            assert gone == running - configured.keys()
            running -= gone
        elif event == "p":
            schedule.postpone(number, now)
            running.discard(number)
        else:
            assert schedule.finish(number, LETTERS[event], now) == (number in running)
            running.discard(number)
        started = schedule.start_due(now, 3)
        assert not running & set(started)
        running |= set(started)
        assert schedule.outstanding == len(running) <= limit
    for number in running:
        schedule.finish(number, Outcome.OK, now)
    everything: set[int] = set()
    while started := schedule.start_due(now + 1000, 100):
        everything |= set(started)
        for number in started:
            schedule.finish(number, Outcome.OK, now + 1000)
        if everything == configured.keys():
            break
    assert everything == configured.keys()
