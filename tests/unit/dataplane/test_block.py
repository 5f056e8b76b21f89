"""Which bits and which keys of the trie blocked prefixes set."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dataplane import block
from appliance.dataplane.abi import BLOCKED_LIMIT, SOURCE_FACTOR, SOURCES
from appliance.dataplane.desired import Desired
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import Shape
from appliance.dataplane.tables import Tables
from appliance.errors import PlanError
from appliance.model import Address, Network

SHAPE = Shape(services=256, destinations=64, slots=1024, sets=4, blocks=True)

NETWORKS4 = st.builds(
    lambda value, length: IPv4Network((value, length), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)
)
NETWORKS6 = st.builds(
    lambda value, length: IPv6Network((value, length), strict=False), st.integers(0, 2**128 - 1), st.integers(12, 128)
)


def suspected(words: list[int], source: Address) -> bool:
    """What the program reads of the bits."""
    if isinstance(source, IPv4Address):
        place = int(source) >> 12
    else:
        place = SOURCES + (((int(source) >> 96) * SOURCE_FACTOR & 0xFFFFFFFF) >> 12)
    return bool(words[place >> 6] >> (place & 63) & 1)


@given(NETWORKS4 | NETWORKS6)
def test_every_address_of_a_prefix_is_suspected(prefix: Network) -> None:
    words, random = block.suspects([prefix]), Random(1)
    last = prefix.num_addresses - 1
    for at in (0, last, *(random.randint(0, last) for _ in range(8))):
        assert suspected(words, prefix[at])
    assert block.prefix_of(block.key(prefix)) == prefix


# Prefix -> how many bits it sets
BITS = [
    ("198.51.100.7/32", 1),
    ("198.51.96.0/20", 1),
    ("198.51.96.0/19", 2),
    ("198.50.0.0/15", 32),
    ("198.48.0.0/14", 64),
    ("198.0.0.0/8", 4096),
    ("0.0.0.0/0", SOURCES),
    ("2001:db8::/48", 1),
    ("2001:db8::/32", 1),
    ("2001:db8::/31", 2),
    ("2001:db8::/30", 4),
    ("2000::/12", SOURCES),
    ("::/0", SOURCES),
]


@pytest.mark.parametrize(("text", "bits"), BITS)
def test_how_many_bits(text: str, bits: int) -> None:
    assert sum(word.bit_count() for word in block.suspects([ip_network(text)])) == bits


def test_the_other_family_is_not_suspected() -> None:
    assert not suspected(block.suspects([ip_network("0.0.0.0/0")]), IPv6Address("::1"))
    assert not suspected(block.suspects([ip_network("::/0")]), IPv4Address("1.2.3.4"))


NEAR = st.sampled_from([ip_network(text) for text, _ in BITS] + [ip_network("198.51.100.8/32")])
"""Prefixes that share bits."""


@given(st.lists(st.lists(NEAR | NETWORKS4 | NETWORKS6, max_size=5), min_size=1, max_size=6))
def test_tables_hold_what_was_desired_last(steps: list[list[Network]]) -> None:
    memory = Memory.plain(SHAPE)
    tables = Tables(memory)
    for step in steps:
        tables.apply(Desired(blocked=tuple(step)))
        assert set(memory.blocked) == {block.key(prefix) for prefix in step}
        assert memory.suspects.tolist() == block.suspects(step)


def test_tables_that_were_adopted_are_brought_up_to_date() -> None:
    memory = Memory.plain(SHAPE)
    Tables(memory).apply(Desired(blocked=(ip_network("198.51.100.0/24"), ip_network("10.0.0.0/8"))))
    Tables(memory).apply(Desired(blocked=(ip_network("10.0.0.0/8"),)))
    assert {block.prefix_of(key) for key in memory.blocked} == {ip_network("10.0.0.0/8")}
    Tables(memory).apply(Desired())
    assert list(memory.blocked) == []
    assert not any(memory.suspects)


def test_an_equal_list_is_not_written_again() -> None:
    memory = Memory.plain(SHAPE)
    tables, blocked = Tables(memory), (ip_network("198.51.100.0/24"),)
    tables.apply(Desired(blocked=blocked))
    memory.blocked.discard(block.key(blocked[0]))
    tables.apply(Desired(blocked=blocked, idle=5))
    assert list(memory.blocked) == []


def test_too_many_are_refused_with_nothing_changed() -> None:
    memory = Memory.plain(SHAPE)
    many = tuple(IPv4Network((number << 8, 24)) for number in range(BLOCKED_LIMIT + 1))
    with pytest.raises(PlanError, match="16,385 prefixes are to be blocked, and at most 16,384 can be"):
        Tables(memory).apply(Desired(blocked=many, idle=7))
    assert list(memory.blocked) == []
    assert memory.settings.get(0, "idle") == 0
    Tables(memory).apply(Desired(blocked=many[1:]))
    assert len(list(memory.blocked)) == BLOCKED_LIMIT


def test_the_longest_prefix_is_the_one() -> None:
    prefixes: list[Network] = [ip_network(text) for text in ("10.0.0.0/8", "10.1.0.0/16", "::/0")]
    assert block.blocking(prefixes, IPv4Address("10.1.2.3")) == ip_network("10.1.0.0/16")
    assert block.blocking(prefixes, IPv4Address("10.2.2.3")) == ip_network("10.0.0.0/8")
    assert block.blocking(prefixes, IPv4Address("11.2.2.3")) is None
