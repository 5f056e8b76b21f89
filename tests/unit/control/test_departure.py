"""The steps by which a node goes out of service, and the meter that says how much still comes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control.departure import STEPS, UNWATCHED, Departure, Meter, Stage, restored, step

BEGUN = Departure("ann", 10.0, first=10_000.0)
DEMOTED, WITHDRAWN, DETACHED = Stage


def seconds(departure: Departure, rates: list[float | None], overdue: int = 10**9) -> list[Stage]:
    """Return the stage after each second with so many packets, from the first on; overdue in that of this number."""
    watch, found = UNWATCHED, []
    for second, rate in enumerate(rates):
        departure, watch = step(departure, watch, rate, now=1000.0 + second, overdue=second >= overdue)
        found.append(departure.stage)
    return found


# stage, packets a second before, packets in each second -> after how many of them the next stage follows; None: never
COURSES: list[tuple[Stage, float | None, list[float | None], int | None]] = [
    (DEMOTED, 10_000.0, [100.0] * 8, 5),
    (DEMOTED, 10_000.0, [101.0] * 60, None),
    (DEMOTED, 10_000.0, [101.0, 99.0, 101.0, *[99.0] * 6], 8),
    (DEMOTED, 10_000.0, [None, *[0.0] * 6], 6),
    (DEMOTED, 10_000.0, [0.0, 0.0, 0.0, None, *[0.0] * 6], 9),
    (DEMOTED, 100.0, [5.0] * 6, 5),
    (DEMOTED, 100.0, [5.5] * 60, None),
    (DEMOTED, 0.0, [0.0] * 6, 5),
    (DEMOTED, None, [10_000.0, *[100.0] * 6], 6),
    (WITHDRAWN, 10_000.0, [0.0] * 6, 5),
    (WITHDRAWN, 10_000.0, [0.5] * 60, None),
    (WITHDRAWN, 10_000.0, [0.0, 0.0, 0.0, 0.5, *[0.0] * 6], 9),
    (DETACHED, 10_000.0, [0.0] * 60, None),
]


@pytest.mark.parametrize(("stage", "first", "rates", "after"), COURSES)
def test_the_next_stage_follows_when_it_is_calm(
    stage: Stage, first: float | None, rates: list[float | None], after: int | None
) -> None:
    found = seconds(replace(BEGUN, stage=stage, first=first), rates)
    changed = next((number for number, one in enumerate(found) if one is not stage), None)
    assert changed == after
    if changed is not None:
        assert found[changed] is STEPS[stage].next


def test_one_stage_after_the_other() -> None:
    """What was calm in one stage counts for nothing in the next one."""
    assert seconds(BEGUN, [0.0] * 13) == [*[DEMOTED] * 5, *[WITHDRAWN] * 6, *[DETACHED] * 2]


def test_the_deadline_withdraws_and_no_more() -> None:
    assert seconds(BEGUN, [9_000.0] * 60, overdue=3) == [*[DEMOTED] * 3, *[WITHDRAWN] * 57]
    assert seconds(BEGUN, [None] * 10, overdue=0) == [WITHDRAWN] * 10


def test_where_nothing_was_known_the_first_rate_counts() -> None:
    found, _ = step(replace(BEGUN, first=None), UNWATCHED, 800.0, now=1.0)
    assert (found.first, found.ceiling) == (800.0, 8.0)


def test_what_is_told_of_it() -> None:
    stages = [(one.withdrawn, one.detached, one.ceiling) for one in (replace(BEGUN, stage=stage) for stage in Stage)]
    assert stages == [(False, False, 100.0), (True, False, 0.0), (True, True, None)]


@given(
    st.builds(
        Departure,
        st.text(max_size=9),
        st.floats(0, 2e9),
        st.sampled_from(Stage),
        st.none() | st.floats(0, 1e9),
        st.none() | st.floats(0, 2e9),
    )
)
def test_it_outlives_the_daemon(departure: Departure) -> None:
    assert restored(departure.snapshot()) == departure


@given(st.lists(st.none() | st.floats(0, 1e6), max_size=80), st.integers(0, 80))
def test_nobody_goes_back_and_nobody_skips_a_stage(rates: list[float | None], overdue: int) -> None:
    order = list(Stage)
    places = [order.index(one) for one in (DEMOTED, *seconds(BEGUN, rates, overdue))]
    assert all(after - before in (0, 1) for before, after in pairwise(places))
    if overdue < len(rates):
        assert places[-1] >= 1


def test_a_rate_is_that_of_the_last_seconds() -> None:
    meter = Meter(2.0)
    assert meter.rate() is None
    found = []
    for second, count in enumerate([0, 1000, 2000, 2000, 2000, 2010]):
        meter.look(float(second), count)
        found.append(meter.rate())
    assert found == [None, 1000.0, 1000.0, 500.0, 0.0, 5.0]


def test_a_counter_that_begins_anew_is_another_one() -> None:
    meter = Meter(2.0)
    meter.look(0.0, 5000)
    meter.look(1.0, 6000)
    meter.look(2.0, 10)
    assert meter.rate() is None
    meter.look(3.0, 40)
    assert meter.rate() == 30.0


def test_two_looks_at_the_same_moment_are_no_rate() -> None:
    meter = Meter(2.0)
    meter.look(1.0, 10)
    meter.look(1.0, 12)
    assert meter.rate() is None
