"""How many requests a user may make."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.control.allowance import USERS, Allowance, Rate

RATE = Rate(per_second=10.0, burst=5)


def test_a_burst_and_then_the_rate() -> None:
    allowance = Allowance(RATE)
    assert [allowance.take(0, 100.0) for _ in range(5)] == [0.0] * 5
    assert round(allowance.take(0, 100.0), 6) == 0.1
    assert round(allowance.take(0, 100.0), 6) == 0.1, "who was refused has taken nothing"
    assert allowance.take(1, 100.0) == 0.0, "another user has a bucket of its own"
    assert allowance.take(0, 100.1) == 0.0
    assert allowance.take(0, 100.1) > 0.0
    assert [allowance.take(0, 200.0) for _ in range(6)][4:] != [0.0, 0.0], "silence fills it, and not beyond"


@given(st.lists(st.floats(0, 2.0), min_size=1, max_size=200))
def test_never_more_than_the_burst_and_what_filled_since(pauses: list[float]) -> None:
    allowance, now, taken = Allowance(RATE), 1000.0, []
    for pause in pauses:
        now += pause
        if allowance.take(0, now) == 0.0:
            taken.append(now)
    for first, begin in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= RATE.burst + RATE.per_second * (taken[last] - begin) + 1e-6


def test_users_are_forgotten_when_there_is_nothing_to_remember() -> None:
    allowance = Allowance(RATE)
    for user in range(10 * USERS):
        assert allowance.take(user, 100.0 + user) == 0.0
    assert len(allowance._full_at) <= USERS
