"""What a program must be able to hold: rounded up, never smaller than before, never larger than a map can be."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dataplane.abi import INDEX_LIMIT, MAPS, WAYS
from appliance.dataplane.shape import (
    DIRECT_LIMIT,
    PRIMES,
    SLOTS_PER_BACKEND,
    Shape,
    check,
    destination_count,
    power_of_two,
    shape_for,
    slot_count,
)
from appliance.dataplane.spec import MAX_MAP_BYTES, MapKind
from appliance.errors import PlanError
from appliance.model import Backend, Config, OnDead, Protocol, Service, ServiceKey

CAPACITIES = ("cpus", "services", "destinations", "slots", "sets")


def service(number: int, backends: int, on_dead: OnDead = OnDead.RESELECT) -> Service:
    """A service with so many backends."""
    key = ServiceKey(IPv4Address("192.0.2.0") + number, 80, Protocol.TCP)
    pool = tuple(Backend(IPv4Address("10.1.0.0") + at) for at in range(backends))
    return Service(key, pool, (), on_dead=on_dead)


def config(*pools: int, max_flows: int = 1 << 20) -> Config:
    """Services with so many backends each."""
    return Config(services=tuple(service(number, pool) for number, pool in enumerate(pools)), max_flows=max_flows)


@pytest.mark.parametrize(
    ("number", "least", "result"),
    [(0, 1, 1), (1, 1, 1), (2, 1, 2), (3, 1, 4), (4, 1, 4), (5, 1, 8), (5, 16, 16), (1025, 16, 2048)],
)
def test_power_of_two(number: int, least: int, result: int) -> None:
    assert power_of_two(number, least) == result


@given(st.integers(0, INDEX_LIMIT - 1))
def test_slots_have_room_for_every_share(backends: int) -> None:
    count = slot_count(backends)
    assert count in PRIMES
    assert count >= SLOTS_PER_BACKEND * max(1, backends)
    assert count >= min(SLOTS_PER_BACKEND * (backends * 5 // 4), PRIMES[-1])
    assert slot_count(max(0, backends - 1)) <= count


@given(st.integers(0, INDEX_LIMIT - 1))
def test_destinations_have_room_for_those_that_drain(backends: int) -> None:
    count = destination_count(backends)
    assert count <= INDEX_LIMIT
    assert count > backends + max(4, backends // 2) or count == INDEX_LIMIT


@pytest.mark.parametrize("backends", [INDEX_LIMIT, INDEX_LIMIT + 1, 5000])
def test_too_many_backends_are_refused(backends: int) -> None:
    for function in (slot_count, destination_count):
        with pytest.raises(PlanError, match=f"a service holds at most 2047 backends, not {backends}"):
            function(backends)


@given(st.lists(st.integers(0, 200), max_size=20), st.integers(1, 200), st.integers(1, 1 << 24))
def test_capacities_are_powers_of_two_with_headroom(pools: list[int], cpus: int, flows: int) -> None:
    shape = shape_for(config(*pools, max_flows=flows), cpus)
    for name in CAPACITIES:
        value = getattr(shape, name)
        assert value & (value - 1) == 0, name
    assert shape.cpus >= cpus
    assert shape.service_limit >= len(pools)
    assert shape.slots >= sum(slot_count(pool) for pool in pools)
    assert shape.destinations > sum(destination_count(pool) for pool in pools) * 3 // 2
    assert shape.sets >= 512
    assert shape.sets * WAYS >= flows - flows % WAYS


def test_equal_needs_give_an_equal_shape() -> None:
    """So a change of the configuration within the headroom compiles nothing."""
    assert shape_for(config(4, 4, 4), 2) == shape_for(config(5, 3), 2) == shape_for(config(), 2)


def test_services_that_drain_count_too() -> None:
    pools = [100] * 20
    both = shape_for(config(*pools, *pools), 2)
    draining = tuple(service(number + 50, 100) for number in range(20))
    assert shape_for(config(*pools), 2, extra=draining) == both != shape_for(config(*pools), 2)


@pytest.mark.parametrize(("policy", "resets"), [(OnDead.RESELECT, False), (OnDead.DROP, False), (OnDead.RESET, True)])
def test_resets_are_rendered_only_where_wanted(policy: OnDead, resets: bool) -> None:
    wanted = Config(services=(service(1, 1), service(2, 1, policy)))
    assert shape_for(wanted, 1).resets is resets


@pytest.mark.parametrize("narrow", [False, True])
def test_mtus_are_looked_at_only_where_they_differ(narrow: bool) -> None:
    assert shape_for(config(1), 1, narrow=narrow).narrow is narrow


shapes = st.builds(
    Shape,
    cpus=st.integers(0, 8).map(lambda bits: 1 << bits),
    services=st.integers(8, 16).map(lambda bits: 1 << bits),
    destinations=st.integers(12, 23).map(lambda bits: 1 << bits),
    slots=st.integers(17, 26).map(lambda bits: 1 << bits),
    sets=st.integers(9, 23).map(lambda bits: 1 << bits),
    resets=st.booleans(),
    direct=st.booleans(),
    wide=st.booleans(),
)


@given(shapes, shapes)
def test_capacities_never_shrink(wanted: Shape, running: Shape) -> None:
    grown = wanted.grown(running)
    for name in CAPACITIES:
        assert getattr(grown, name) == max(getattr(wanted, name), getattr(running, name))
    assert (grown.mode, grown.resets) == (wanted.mode, wanted.resets)
    assert grown.wide == (wanted.wide or running.wide)
    assert grown.direct == (wanted.direct and running.direct)
    assert grown.service_limit >= min(wanted.service_limit, running.service_limit)
    assert grown.grown(running) == grown == grown.grown(wanted)


# Services -> whether a lookup needs no displacements
@pytest.mark.parametrize(("count", "direct"), [(0, True), (1, True), (DIRECT_LIMIT, True), (DIRECT_LIMIT + 1, False)])
def test_few_services_are_looked_up_directly(count: int, direct: bool) -> None:
    shape = shape_for(config(*[1] * count), 1)
    assert shape.direct is direct
    assert shape.service_limit >= count
    assert shape.doubled().service_limit <= DIRECT_LIMIT or not direct


@pytest.mark.parametrize(("backends", "wide"), [(1, False), (80, False), (127, True), (1023, True)])
def test_slots_are_bytes_where_they_can_be(backends: int, wide: bool) -> None:
    assert shape_for(config(1, backends), 1).wide is wide


def test_nothing_runs_yet() -> None:
    assert Shape().grown(None) == Shape()


@given(shapes)
def test_no_table_is_larger_than_a_map_can_be(shape: Shape) -> None:
    sizes = [layout.element_size * layout.elements(shape) for layout in MAPS if layout.kind is MapKind.ARRAY]
    if max(sizes) > MAX_MAP_BYTES:
        with pytest.raises(PlanError, match="MiB a map can hold: use fewer"):
            check(shape)
    else:
        check(shape)


# What is too large -> what the message says of it
TOO_LARGE = [
    (Shape(slots=1 << 26), "the table of histories would need 768 MiB, more than the 512 MiB a map can hold"),
    (Shape(cpus=8, destinations=1 << 21), "the table of counters would need 576 MiB"),
    (Shape(sets=1 << 24), "the table of flows would need 1024 MiB"),
    (Shape(services=1 << 17), "at most 32768 services fit the lookup table"),
]


@pytest.mark.parametrize(("shape", "message"), TOO_LARGE)
def test_what_is_too_large_is_named(shape: Shape, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        check(shape)


def test_a_configuration_that_is_too_large_is_refused() -> None:
    with pytest.raises(PlanError, match="the table of flows would need"):
        shape_for(config(1, max_flows=1 << 27), 2)
    with pytest.raises(PlanError, match="a service holds at most 2047 backends, not 2048"):
        shape_for(config(2048), 2)


def test_the_largest_service_fits() -> None:
    shape = shape_for(config(*[1024] * 8), 4)
    assert shape.wide
    assert shape.slots > 8 * slot_count(1024)
    assert shape.destinations > 8 * destination_count(1024)


def test_headroom_gives_way_where_many_processors_count() -> None:
    wanted = config(*[16] * 4096)
    assert shape_for(wanted, 4).destinations == 1 << 18
    assert shape_for(wanted, 64).destinations == 1 << 17
    with pytest.raises(PlanError, match="the table of counters would need 516 MiB for 128 possible CPUs"):
        shape_for(wanted, 128)
