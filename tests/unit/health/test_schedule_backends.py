"""Probes of one backend: never too many at once, in order, in nobody's way; and those that follow a leader."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.settings import default_of
from appliance.health.schedule import CONFIRM_LEAST, FRESH, Schedule
from appliance.model import Check, CheckKind, Outcome

CHECK = Check(CheckKind.HTTP, 80, interval=2.0, timeout=2.0, rise=5, fall=2)
OK, WRONG, NONE = Outcome.OK, Outcome.WRONG, Outcome.NONE


def schedule_of(backends: dict[int, int], each: int, leaders: dict[int, int] | None = None) -> Schedule:
    """A schedule in which probes become due in the order of their numbers, within half a second."""
    made = Schedule(lambda: 0.5, limit=1000)
    made.configure(dict.fromkeys(backends, CHECK), 0.0, backends=backends, leaders=leaders, each=each)
    return made


@pytest.mark.parametrize(
    ("backends", "each", "started"),
    [
        ({1: 7, 2: 7, 3: 7}, 0, [1, 2, 3]),
        ({1: 7, 2: 7, 3: 7}, 2, [1, 2]),
        ({1: 7, 2: 7, 3: 8, 4: 7, 5: 8}, 1, [1, 3]),
        ({1: 0, 2: 0, 3: 0}, 1, [1, 2, 3]),  # of no backend that counts
    ],
)
def test_no_backend_has_more_probes_than_it_may(backends: dict[int, int], each: int, started: list[int]) -> None:
    assert schedule_of(backends, each).start_due(10.0, 99) == started


def test_who_waits_keeps_the_order_and_others_overtake() -> None:
    schedule = schedule_of({1: 7, 2: 7, 3: 7, 4: 8, 5: 7}, each=1)
    assert schedule.start_due(10.0, 99) == [1, 4]
    assert schedule.next_due() is None
    schedule.finish(4, OK, 10.0)
    assert schedule.start_due(10.0, 99) == []
    schedule.finish(1, OK, 10.0)
    assert schedule.next_due() == 10.0  # not earlier: nobody was late who had to wait
    assert schedule.start_due(10.0, 99) == [2]
    assert schedule.start_due(13.0, 99) == [4]  # 1 is due again, behind 3 and 5
    for number in (2, 3, 5):
        schedule.finish(number, OK, 13.0)
        assert len(schedule.start_due(13.0, 99)) == 1
    assert schedule.finish(1, OK, 13.0)


def test_what_could_not_be_sent_gives_its_place_away() -> None:
    schedule = schedule_of({1: 7, 2: 7}, each=1)
    assert schedule.start_due(10.0, 99) == [1]
    schedule.postpone(1, 10.0)
    assert schedule.start_due(10.0, 99) == [2]


def test_a_reload_that_allows_fewer_or_more() -> None:
    schedule = schedule_of(dict.fromkeys(range(10), 7), each=4)
    checks, backends = dict.fromkeys(range(10), CHECK), dict.fromkeys(range(10), 7)
    assert schedule.start_due(10.0, 99) == [0, 1, 2, 3]
    schedule.configure(checks, 10.0, backends=backends, each=2)
    for number in (0, 1):
        schedule.finish(number, OK, 10.0)
        assert schedule.start_due(10.0, 99) == []
    schedule.finish(2, OK, 10.0)
    assert schedule.start_due(10.0, 99) == [4]
    assert schedule.configure({4: CHECK, 9: CHECK}, 10.0, backends=backends, each=2) == {3}
    assert schedule.start_due(10.0, 99) == [9]
    schedule.configure(checks, 10.0, backends=backends, each=0)
    assert len(schedule.start_due(20.0, 99)) == 8


EVENTS = st.lists(st.tuples(st.integers(0, 11), st.sampled_from("owpc")), max_size=80)


@given(st.integers(0, 3), st.integers(1, 8), EVENTS)
def test_counts_agree_whatever_happens(each: int, limit: int, events: list[tuple[int, str]]) -> None:
    """Random starts, outcomes, postponements and reloads: none is lost, none runs twice, no backend has too many."""
    schedule = Schedule(random.Random(5).random, limit)
    backends = {number: number % 3 for number in range(12)}
    leaders = {number: number % 3 for number in range(3, 12) if number % 3}
    numbers = set(range(12))

    def configure(now: float) -> frozenset[int]:
        following = {number: leader for number, leader in leaders.items() if {number, leader} <= numbers}
        checks = dict.fromkeys(sorted(numbers), CHECK)
        return schedule.configure(checks, now, backends=backends, leaders=following, each=each)

    configure(0.0)
    running: set[int] = set()
    now = 0.0
    for number, event in events:
        now += 0.3
        if event == "c":
            numbers ^= {number}
            running -= configure(now)
        elif event == "p":
            schedule.postpone(number, now)
            running.discard(number)
        else:
            assert schedule.finish(number, OK if event == "o" else WRONG, now) == (number in running)
            running.discard(number)
        started = schedule.start_due(now, 3)
        assert not running & set(started)
        running |= set(started)
        assert schedule.outstanding == len(running) <= limit
        for backend in (1, 2):
            assert not each or sum(backends[one] == backend for one in running) <= each
    for number in running:
        schedule.finish(number, OK, now)
    seen: set[int] = set()
    for _ in range(200):
        now += 1
        for number in schedule.start_due(now, 100):
            seen.add(number)
            schedule.finish(number, OK, now)
    assert seen == numbers


def found_dead(each: int, count: int = 1000) -> float:
    """How many seconds after a backend fell silent the last of its `count` checks has two bad results."""
    schedule = Schedule(random.Random(1).random, 8192)
    numbers = range(1, count + 1)
    schedule.configure(dict.fromkeys(numbers, CHECK), 0.0, backends=dict.fromkeys(numbers, 1), each=each)
    silent, now = 10.0, 0.0
    under_way: list[tuple[float, int, Outcome]] = []
    bad = dict.fromkeys(numbers, 0)
    while min(bad.values()) < 2:
        due = schedule.next_due()
        now = min(moment for moment in (due, under_way[0][0] if under_way else None) if moment is not None)
        while under_way and under_way[0][0] <= now:
            _, number, outcome = heapq.heappop(under_way)
            schedule.finish(number, outcome, now)
            bad[number] += outcome is NONE
        for number in schedule.start_due(now, count):
            outcome, lasts = (NONE, CHECK.timeout) if now >= silent else (OK, 0.005)
            heapq.heappush(under_way, (now + lasts, number, outcome))
    return now - silent


def test_the_default_costs_a_server_of_a_thousand_services_about_one_interval() -> None:
    """Each of its checks has to time out twice: that takes 6 s by itself, and 10 s with 512 at once."""
    alone = found_dead(0)
    assert found_dead(default_of("max_probes")) - alone < 1.15 * CHECK.interval
    assert found_dead(512) - alone > 1.5 * CHECK.interval


# ---- leaders


def run(schedule: Schedule, number: int, outcome: Outcome, now: float) -> int:
    """Start everything that is due, finish one probe; return on whom it leant."""
    schedule.start_due(now, 99)
    leader = schedule.leans(number, now)
    assert schedule.finish(number, outcome, now, leaning=bool(leader))
    return leader


@pytest.mark.parametrize(
    ("history", "now", "leans"),
    [
        ((), 1.0, False),  # the leader has not answered yet
        (((OK, 1.0),), 1.0, True),
        (((OK, 1.0),), 1.0 + FRESH * 2.0, True),
        (((OK, 1.0),), 1.1 + FRESH * 2.0, False),  # stale
        (((WRONG, 1.0),), 1.0, False),
        (((NONE, 1.0),), 1.0, False),
        (((OK, 1.0), (WRONG, 3.5)), 3.6, False),
        (((OK, 1.0), (NONE, 3.5), (OK, 6.0)), 6.1, True),
    ],
)
def test_good_and_fresh_news_is_shared(history: tuple[tuple[Outcome, float], ...], now: float, leans: bool) -> None:
    schedule = schedule_of({1: 7, 2: 7}, 0, {2: 1})
    for outcome, at in history:
        run(schedule, 1, outcome, at)
    assert schedule.leans(2, now) == (1 if leans else 0)
    assert schedule.leans(1, now) == schedule.leans(99, now) == 0


def test_what_rests_on_another_answer_is_no_ground_for_others() -> None:
    """A follower that becomes the leader by a reload has to ask first; nobody leans on it before."""
    schedule = schedule_of({1: 7, 2: 7, 3: 7}, 0, {2: 1, 3: 1})
    run(schedule, 1, OK, 1.0)
    assert run(schedule, 2, OK, 1.0) == 1
    checks = {2: CHECK, 3: CHECK}
    schedule.configure(checks, 1.5, backends={2: 7, 3: 7}, leaders={3: 2})
    assert schedule.leans(3, 1.5) == 0
    assert run(schedule, 2, OK, 4.0) == 0
    assert schedule.leans(3, 4.0) == 2


def test_bad_news_makes_followers_look_for_themselves_soon() -> None:
    schedule = schedule_of({1: 7, 2: 7, 3: 7}, 0, {2: 1, 3: 1})
    assert schedule.start_due(1.0, 1) == [1]
    schedule.finish(1, OK, 1.0)
    assert schedule.start_due(2.5, 99) == [2, 3]
    for number in (2, 3):
        assert schedule.leans(number, 2.5) == 1
        schedule.finish(number, OK, 2.5, leaning=True)
    assert schedule.start_due(3.0, 99) == [1]
    schedule.finish(1, NONE, 3.0)
    quick = max(CONFIRM_LEAST, CHECK.interval / 4)
    assert set(schedule.start_due(3.0 + quick, 99)) == {1, 2, 3}
    for number in (2, 3):
        assert schedule.leans(number, 3.0 + quick) == 0
        schedule.finish(number, OK, 3.0 + quick)
    assert schedule.start_due(4.6, 99) == []  # what was planned before is void
    assert schedule.start_due(3.0 + quick + CHECK.interval, 99) == [2, 3]
