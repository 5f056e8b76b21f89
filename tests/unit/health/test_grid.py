"""The grid on which probes start: wide where they are few, and never so wide that their interval would tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.health.grid import MEETING, NARROWEST, SHARE, WIDEST, meeting, width
from appliance.health.schedule import JITTER

# How many probes, their interval in seconds -> seconds between two moments.
CASES = [
    (0, 2.0, 0.01),
    (1, 2.0, 0.1),
    (100, 2.0, 0.1),
    (200, 2.0, 0.05),
    (1_000, 2.0, 0.01),
    (10_000, 2.0, 0.01),
    (4, 1.0, 0.05),
    (2, 0.1, 0.01),
    (1_000, 10.0, 0.05),
]


@pytest.mark.parametrize(("count", "interval", "expected"), CASES)
def test_width(count: int, interval: float, expected: float) -> None:
    assert width([interval] * count) == pytest.approx(expected)


def test_the_shortest_interval_decides() -> None:
    assert width([60.0, 0.2, 60.0]) == NARROWEST


@given(st.lists(st.floats(0.1, 3600)))
def test_bounds(intervals: list[float]) -> None:
    found = width(intervals)
    assert NARROWEST <= found <= WIDEST
    assert found == NARROWEST or found <= min(intervals) / SHARE


@pytest.mark.parametrize(("moments", "expected"), [(0.1, 0.2), (0.05, 0.1), (0.011, 0.022), (NARROWEST, 0.0)])
def test_usual_rounds_meet_where_a_grid_is_wide(moments: float, expected: float) -> None:
    assert meeting(moments) == pytest.approx(expected)


def test_what_rounds_wait_for_each_other_is_within_the_jitter() -> None:
    assert MEETING / SHARE <= JITTER
