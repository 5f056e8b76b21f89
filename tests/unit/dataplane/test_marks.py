"""Sets of numbers in octets behave as sets do."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dataplane.marks import Marks

COUNT = 300
NUMBERS = st.integers(0, COUNT - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("add", "discard")), NUMBERS),
        st.tuples(st.sampled_from(("update", "difference_update")), st.lists(NUMBERS)),
        st.tuples(st.sampled_from(("fill", "clear")), st.none()),
    )
)


@given(st.lists(NUMBERS), STEPS)
def test_the_same_as_a_set(first: list[int], steps: list[tuple[str, object]]) -> None:
    marks, plain = Marks(COUNT, first), set(first)
    for name, value in steps:
        if name == "fill":
            marks.fill()
            plain = set(range(COUNT))
        elif name == "clear":
            marks.clear()
            plain.clear()
        else:
            getattr(marks, name)(value)
            getattr(plain, name)(value)
        assert list(marks) == sorted(plain)
        assert (len(marks), bool(marks)) == (len(plain), bool(plain))
        assert all((number in marks) == (number in plain) for number in (-1, 0, 7, COUNT - 1, COUNT, COUNT + 1))


@pytest.mark.parametrize("numbers", [(0, 1, 2), (297, 298, 299), (5, 6, 8, 9), tuple(range(40, 90)), range(COUNT)])
def test_neighbours_are_found(numbers: Sequence[int]) -> None:
    assert list(Marks(COUNT, numbers)) == list(numbers)
    assert list(Marks(100 * COUNT, numbers)) == list(numbers)


def test_what_may_be_in() -> None:
    marks = Marks(3, (0, 2))
    assert 1 not in marks
    with pytest.raises(IndexError):
        marks.add(3)
    with pytest.raises(IndexError):
        Marks(0).add(0)
    assert set(marks) == {0, 2}


def test_they_are_small() -> None:
    def octets(marks: Marks) -> int:
        return sys.getsizeof(marks) + sys.getsizeof(marks._which)

    marks = Marks(65537)
    assert octets(marks) < 200
    marks.fill()
    assert octets(marks) < 65537 + 200
    marks.difference_update(range(65537))
    assert octets(marks) < 200
