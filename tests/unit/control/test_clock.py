"""The coarse clock goes on where the tables stand, and never goes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control.clock import CoarseClock

# Where it goes on from, monotonic seconds at the start and now -> coarse seconds
TIMES = [
    (1, 0.0, 0.0, 1),
    (1, 0.0, 0.999, 1),
    (1, 0.0, 1.0, 2),
    (5_000, 100.5, 101.4, 5_000),
    (5_000, 100.5, 101.5, 5_001),
    (5_000, 100.5, 4_700.5, 9_600),
    (5_000, 100.5, 99.0, 5_000),
]


@pytest.mark.parametrize(("base", "started", "now", "time"), TIMES)
def test_times(base: int, started: float, now: float, time: int) -> None:
    assert CoarseClock(base, started).at(now) == time


@given(st.integers(1, 10**6), st.floats(0, 1e7), st.lists(st.floats(0, 1e6), max_size=9))
def test_it_never_goes_back(base: int, started: float, waits: list[float]) -> None:
    clock, now, seen = CoarseClock(base, started), started, [base]
    for wait in waits:
        now += wait
        seen.append(clock.at(now))
    assert seen == sorted(seen)
    assert abs(seen[-1] - base - (now - started)) <= 1
