"""Finding room beside what is in use."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dataplane.regions import Room
from appliance.errors import NoRoom

# used ranges, size, start, limit -> where
PLACES = [
    ([], 10, 0, 10, 0),
    ([], 10, 0, 9, None),
    ([], 10, 16, 26, 16),
    ([], 10, 16, 25, None),
    ([(0, 5)], 5, 0, 10, 5),
    ([(0, 5)], 6, 0, 10, None),
    ([(5, 5)], 5, 0, 10, 0),
    ([(5, 5), (0, 2)], 3, 0, 10, 2),
    ([(5, 5), (0, 2)], 4, 0, 10, None),
    ([(2, 2), (6, 2), (12, 4)], 4, 0, 16, 8),
    # Ranges that overlap, repeat, or lie before the start.
    ([(0, 8), (2, 2), (2, 2)], 2, 0, 10, 8),
    ([(0, 20)], 4, 16, 30, 20),
    ([(0, 4)], 4, 16, 30, 16),
]


def first_fit(used: Iterable[tuple[int, int]], size: int, start: int, limit: int) -> int | None:
    """Where a range goes; None where there is no room."""
    try:
        return Room("slots", used, (), start, limit).reserve(size)
    except NoRoom:
        return None


@pytest.mark.parametrize(("used", "size", "start", "limit", "where"), PLACES)
def test_first_fit(used: list[tuple[int, int]], size: int, start: int, limit: int, where: int | None) -> None:
    assert first_fit(used, size, start, limit) == where
    assert first_fit(reversed(used), size, start, limit) == where


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=8),
    st.integers(1, 16),
    st.integers(0, 16),
    st.integers(16, 70),
)
def test_it_is_the_lowest_free_place(used: list[tuple[int, int]], size: int, start: int, limit: int) -> None:
    taken = {at for first, count in used for at in range(first, first + count)}
    free = [at for at in range(start, limit - size + 1) if not taken & set(range(at, at + size))]
    assert first_fit(used, size, start, limit) == (free[0] if free else None)


ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=6)


@given(ranges, ranges, st.lists(st.integers(1, 12), max_size=8))
def test_one_after_the_other_avoided_ranges_last(
    used: list[tuple[int, int]], avoided: list[tuple[int, int]], sizes: list[int]
) -> None:
    room = Room("slots", used, avoided, 4, 70)
    taken = {at for first, count in used for at in range(first, first + count)}
    shunned = {at for first, count in avoided for at in range(first, first + count)}
    for size in sizes:
        places = [range(at, at + size) for at in range(4, 70 - size + 1)]
        free = [place for place in places if taken.isdisjoint(place)]
        better = [place for place in free if shunned.isdisjoint(place)]
        if not free:
            with pytest.raises(NoRoom, match="slots"):
                room.reserve(size)
            continue
        place = (better or free)[0]
        assert room.reserve(size) == place.start
        taken.update(place)
