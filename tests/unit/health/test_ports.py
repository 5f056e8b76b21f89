"""Source ports: unique while outstanding, rested before they are used again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.health.ports import BLOCK, HALF_OPEN_REST, RAW_PORTS, REST, SOCKET_PORTS, PortPool, Ports

SMALL = range(1024, 1024 + 4 * BLOCK)


@pytest.mark.parametrize("ports", [SOCKET_PORTS, RAW_PORTS])
def test_ranges_are_whole_blocks(ports: range) -> None:
    assert len(ports) % BLOCK == 0
    assert not set(SOCKET_PORTS) & set(RAW_PORTS)


def test_every_port_is_handed_out_once_before_any_comes_again() -> None:
    pool = PortPool(SMALL, 0.6)
    taken = [pool.take(0.0) for _ in SMALL]
    assert set(taken) == set(SMALL)
    assert taken[0] != SMALL.start
    assert pool.take(0.0) is None


def test_a_port_rests_after_its_release() -> None:
    pool = PortPool(SMALL, 0.0)
    for _ in SMALL:
        port = pool.take(0.0)
        assert port is not None
        pool.give_back(port, 10.0)
    assert pool.take(10.0 + REST - 0.01) is None
    assert not pool.rested(10.0 + REST - 0.01)
    assert pool.rested(10.0 + REST)
    assert pool.take(10.0 + REST) == SMALL.start


def test_one_late_release_holds_only_its_own_block() -> None:
    pool = PortPool(SMALL, 0.0)
    for _ in SMALL:
        port = pool.take(0.0)
        assert port is not None
        if port != SMALL.start + BLOCK:
            pool.give_back(port, 0.0)
    pool.give_back(SMALL.start + BLOCK, 20.0)
    assert [pool.take(20.0) for _ in range(BLOCK)] == list(range(SMALL.start, SMALL.start + BLOCK))
    assert pool.take(20.0) is None
    assert pool.take(20.0 + REST) == SMALL.start + BLOCK


def test_a_port_that_comes_back_just_before_its_turn_waits_for_the_next_round() -> None:
    pool = PortPool(range(1024, 1024 + BLOCK), 0.0)
    for _ in range(BLOCK):
        port = pool.take(0.0)
        assert port is not None
        if port != 1026:
            pool.give_back(port, 0.0)
    assert [pool.take(100.0), pool.take(100.0)] == [1024, 1025]
    pool.give_back(1026, 100.0)
    assert pool.take(100.0) == 1027


def test_a_port_in_use_is_passed_over() -> None:
    pool = PortPool(SMALL, 0.0)
    kept = pool.take(0.0)
    for _ in range(len(SMALL) - 1):
        port = pool.take(0.0)
        assert port is not None
        pool.give_back(port, 0.0)
    assert pool.take(100.0) == kept + 1 if kept else False
    assert pool.outstanding == 2


def test_pools_belong_to_destinations() -> None:
    ports = Ports(lambda: 0.0)
    web, raw = ("203.0.113.1", 80, 6, False), ("203.0.113.1", 80, 6, True)
    assert ports.pool(web) is ports.pool(web)
    assert ports.pool(web).take(0.0) == SOCKET_PORTS.start
    assert ports.pool(raw).take(0.0) == RAW_PORTS.start
    other = ("203.0.113.1", 443, 6, False)
    assert ports.pool(other).take(0.0) == SOCKET_PORTS.start
    kept = ports.pool(web)
    ports.pool(other).give_back(SOCKET_PORTS.start, 1.0)
    ports.forget_idle(frozenset({raw}), 1.0 + REST)
    assert ports.pool(web) is kept  # its port is still in use
    assert ports.pool(other).take(1.0 + REST) == SOCKET_PORTS.start  # a new pool, which begins where it begins


@pytest.mark.parametrize(("half_open", "rest"), [(True, HALF_OPEN_REST), (False, REST)])
def test_half_open_probes_have_their_ports_back_sooner(half_open: bool, rest: float) -> None:
    pool = Ports(lambda: 0.0).pool(("203.0.113.1", 80, 6, half_open))
    for _ in RAW_PORTS if half_open else SOCKET_PORTS:
        port = pool.take(10.0)
        assert port is not None
        pool.give_back(port, 10.0)
    assert pool.take(10.0 + rest - 0.01) is None
    assert pool.take(10.0 + rest) is not None


@given(st.integers(0, 2**32), st.floats(0, 0.999), st.lists(st.floats(0, 2), min_size=1, max_size=200))
def test_never_shared_and_always_rested(seed: int, start: float, pauses: list[float]) -> None:
    chance = random.Random(seed)
    pool = PortPool(range(1024, 1024 + BLOCK), start)
    outstanding: set[int] = set()
    released: dict[int, float] = {}
    now = 0.0
    for pause in pauses:
        now += pause
        for _ in range(chance.randrange(200)):
            port = pool.take(now)
            if port is None:
                break
            assert port not in outstanding
            assert now - released.get(port, -REST) >= REST
            outstanding.add(port)
        for port in chance.sample(sorted(outstanding), chance.randrange(len(outstanding) + 1)):
            outstanding.discard(port)
            pool.give_back(port, now)
            released[port] = now
        assert pool.outstanding == len(outstanding)
