"""A loaded program beside its model, for tests of single frames."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dataplane.equivalence.pair import Pair, loaded, shape


@pytest.fixture(scope="module")
def loaded_pair() -> Iterator[Pair]:
    with loaded(shape(resets=True)) as pair:
        yield pair


@pytest.fixture
def pair(loaded_pair: Pair) -> Pair:
    """The pair with empty tables, at time 1000."""
    loaded_pair.clear()
    loaded_pair.at(1000)
    return loaded_pair
