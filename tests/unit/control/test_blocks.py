"""The operators' drop list: what is refused, what ends, what survives a restart, what is warned of."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control.blocks import Block, Blocks, block_story, moment, warning
from appliance.control.state import State
from appliance.dataplane.abi import BLOCKED_LIMIT
from appliance.errors import RequestError
from appliance.model import Host, Network, Route, Vlan
from tests.unit.control.sample import ETH0, WEB, config, host, service

NOW = 1_764_000_000.0
A, B = ip_network("198.51.100.0/24"), ip_network("2001:db8:bad::/48")
CONFIGURED: tuple[Network, ...] = (ip_network("192.0.2.0/24"), B)


def block(prefix: Network = A, until: float | None = None, **more: str) -> Block:
    return Block(prefix, NOW, until, more.get("who", "uid 0 (pid 1)"), more.get("note", ""))


def test_added_and_removed() -> None:
    blocks = Blocks()
    assert blocks.networks(CONFIGURED) is CONFIGURED
    assert blocks.add(block(), CONFIGURED) is None
    assert blocks.networks(CONFIGURED) == (*CONFIGURED, A)
    assert blocks.networks(CONFIGURED) is blocks.networks(CONFIGURED)
    later = block(until=NOW + 60)
    assert blocks.add(later, CONFIGURED) == block()
    assert blocks.remove(A, CONFIGURED) == later
    assert blocks.networks(CONFIGURED) == CONFIGURED
    blocks.put_back(A, later)
    assert blocks.snapshot() == [later.as_json]
    blocks.put_back(A, None)
    assert blocks.snapshot() == []


def test_both_may_block_the_same() -> None:
    blocks = Blocks()
    blocks.add(block(B), CONFIGURED)
    assert set(blocks.networks(CONFIGURED)) == set(CONFIGURED)
    assert blocks.networks(()) == (B,)


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0"])
def test_a_whole_family_needs_force(text: str) -> None:
    blocks = Blocks()
    with pytest.raises(RequestError, match="--force"):
        blocks.add(block(ip_network(text)), ())
    assert blocks.entries == {}
    blocks.add(block(ip_network(text)), (), force=True)


def test_no_more_than_the_tables_hold() -> None:
    many: tuple[Network, ...] = tuple(IPv4Network((number << 8, 24)) for number in range(BLOCKED_LIMIT - 1))
    blocks = Blocks()
    blocks.add(block(A), many)
    with pytest.raises(RequestError, match="16,384 prefixes are"):
        blocks.add(block(ip_network("198.51.101.0/24")), many)
    assert list(blocks.entries) == [A]
    blocks.add(block(A, NOW + 9), many)


# What is to be removed -> why it cannot be
NOT_REMOVED = [
    ("192.0.2.0/24", "blocked by the configuration"),
    ("198.51.100.7/32", "is not blocked; blocked are 198.51.100.0/24"),
    ("192.0.0.0/16", "is not blocked; blocked are 192.0.2.0/24"),
    ("8.8.8.0/24", "8.8.8.0/24 is not blocked$"),
]


@pytest.mark.parametrize(("text", "says"), NOT_REMOVED)
def test_what_cannot_be_removed(text: str, says: str) -> None:
    blocks = Blocks()
    blocks.add(block(), CONFIGURED)
    with pytest.raises(RequestError, match=says):
        blocks.remove(ip_network(text), CONFIGURED)
    assert list(blocks.entries) == [A]


def test_a_block_ends_in_its_time() -> None:
    blocks = Blocks()
    blocks.add(block(until=NOW + 60), ())
    blocks.add(block(ip_network("8.8.8.0/24")), ())
    assert blocks.expire(NOW + 59) == []
    assert [gone.prefix for gone in blocks.expire(NOW + 60)] == [A]
    assert blocks.networks(()) == (ip_network("8.8.8.0/24"),)
    assert blocks.expire(NOW + 1e9) == []


def test_the_state_file_keeps_them() -> None:
    state = State(config(block=CONFIGURED))
    state.blocks.add(block(until=NOW + 60, note="rüde"), ())
    state.blocks.add(block(B), ())
    after = State(config())
    assert after.restore(json.loads(json.dumps(state.snapshot()))) == 0
    assert after.blocks.entries == state.blocks.entries
    assert State(config()).restore({}) == 0


GOOD: dict[str, Any] = block().as_json
NONSENSE: list[Any] = [
    None,
    7,
    {},
    GOOD | {"prefix": "198.51.100.7/24"},
    GOOD | {"prefix": None},
    GOOD | {"since": "then"},
    GOOD | {"until": "soon"},
    GOOD | {"until": float("nan")},
    GOOD | {"since": float("inf")},
    {name: value for name, value in GOOD.items() if name != "note"},
]


@pytest.mark.parametrize("item", NONSENSE)
def test_what_makes_no_sense_is_left_out(item: Any) -> None:
    blocks = Blocks()
    assert blocks.restore([item, GOOD]) == 1
    assert blocks.entries == {A: block()}


@given(st.recursive(st.none() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_state_file_is_survived(saved: Any) -> None:
    Blocks().restore(saved)
    Blocks().restore([{**GOOD, "until": saved, "since": 1.0}])
    Blocks().restore([{**GOOD, "prefix": saved}])


def test_who_blocks() -> None:
    blocks = Blocks()
    blocks.add(block(until=NOW, note="rude"), CONFIGURED)
    blocks.add(block(B), CONFIGURED)
    found = blocks.explained(CONFIGURED, ip_address("198.51.100.9"))
    assert found is not None
    until = "2025-11-24 16:00:00 UTC"
    assert block_story(found) == f"{A} is blocked (operator uid 0 (pid 1), until {until}): rude"
    found = blocks.explained(CONFIGURED, ip_address("2001:db8:bad::1"))
    assert found is not None
    assert block_story(found) == f"{B} is blocked (configuration)"
    assert blocks.explained(CONFIGURED, ip_address("8.8.8.8")) is None


def test_no_moment_is_too_far() -> None:
    assert moment(0) == "1970-01-01 00:00:00 UTC"
    assert moment(1e300) == "a time far away"


# Prefix -> what its warning names
COVERED: list[tuple[str, list[str]]] = [
    ("198.51.100.0/24", []),
    ("10.9.0.0/16", ["the gateway 10.9.0.1 of VLAN 7"]),
    ("10.8.0.0/16", ["the gateway 10.8.0.1"]),
    ("10.1.0.0/24", ["10.1.0.1 of eth0"]),
    ("10.1.10.1/32", ["the backend 10.1.10.1"]),
    ("10.1.10.9/32", ["the neighbour 10.1.10.9"]),
    ("203.0.113.0/24", ["the VIP 203.0.113.10"]),
    ("10.0.0.0/8", ["the gateway 10.9.0.1 of VLAN 7", "and 2 more"]),
    ("::/0", []),
]


@pytest.mark.parametrize(("text", "named"), COVERED)
def test_warnings_name_the_balancers_own_world(text: str, named: list[str]) -> None:
    vlan = Vlan(7, ip_network("10.9.0.0/16"), IPv4Address("10.9.0.1"))
    routes = (Route(ip_network("0.0.0.0/0"), IPv4Address("10.8.0.1"), ETH0.index),)
    world = Host((ETH0,), host(9).neighbours, routes)
    says = warning(ip_network(text), config(service(WEB, 1, 2), vlans=(vlan,)), world)
    assert bool(says) == bool(named)
    assert [name for name in named if name not in says] == []
