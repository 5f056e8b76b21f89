"""What two mappings of addresses do not say the same of, found without a look at thousands of equal ones."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, ip_address

import pytest

from appliance.model import Address
from appliance.model_address import differing, same_addresses

ONE, TWO, SIX = ip_address("203.0.113.1"), ip_address("203.0.113.2"), ip_address("2001:db8::1")
BOTH = {ONE: True, TWO: False, SIX: True}

# before, after, what differs
CASES: list[tuple[Mapping[Address, bool], Mapping[Address, bool], set[Address]]] = [
    ({}, {}, set()),
    (BOTH, dict(BOTH), set()),
    (BOTH, {**BOTH, TWO: True}, {TWO}),
    (BOTH, {ONE: True, TWO: False}, {SIX}),
    ({}, BOTH, {ONE, TWO, SIX}),
    (BOTH, {SIX: True, TWO: False, ONE: True}, set()),
    (BOTH, {ip_address(str(one)): up for one, up in BOTH.items()}, set()),
    ({ONE: True}, {TWO: True}, {ONE, TWO}),
]


@pytest.mark.parametrize(("before", "after", "expected"), CASES)
def test_what_differs(before: Mapping[Address, bool], after: Mapping[Address, bool], expected: set[Address]) -> None:
    assert set(differing(before, after)) == expected
    assert len(differing(before, after)) == len(expected)


def test_a_copy_is_compared_without_a_hash() -> None:
    class Unhashed(IPv4Address):
        hashed = 0

        def __hash__(self) -> int:
            Unhashed.hashed += 1
            return super().__hash__()

    before: dict[Address, bool] = {Unhashed(number): True for number in range(100)}
    first = next(iter(before))
    after = dict(before)
    after[first] = False
    Unhashed.hashed = 0
    assert same_addresses(before, after)
    assert differing(before, after) == [first]
    assert not Unhashed.hashed
