"""Room in the tables: which number a backend gets and keeps, where ranges lie, and what does not fit."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from appliance.dataplane.desired import Desired
from appliance.dataplane.numbering import REUSE_MARGIN
from appliance.dataplane.shape import Shape, destination_count, slot_count
from appliance.errors import PlanError
from appliance.model import Protocol, ServiceKey
from tests.unit.dataplane.desires import (
    DEAD,
    IDLE,
    OTHER,
    SHAPE,
    TLS,
    WEB,
    assert_tables,
    backend,
    desired,
    later,
    member,
    pool,
    service,
    tables_at,
    web,
)
from tests.unit.dataplane.packets import Flow, Packets
from tests.unit.dataplane.recorded import image


def test_a_weight_is_not_a_new_number() -> None:
    tables = tables_at()
    tables.apply(desired(service(WEB, [member(1), member(2)])))
    numbers = tables.numbers(WEB)
    tables.apply(desired(service(WEB, [member(1, 5), member(2, 1, DEAD)])))
    assert tables.numbers(WEB) == numbers


def test_a_backend_that_returns_soon_gets_its_number_back() -> None:
    tables = tables_at()
    tables.apply(web(1, 2, 3))
    number = tables.numbers(WEB)[backend(2)]
    tables.apply(web(1, 3))
    assert tables.memory.state(number) is DEAD
    assert tables.memory.identities.get(number, "freed") == 1_000
    tables.apply(web(1, 3, 4))
    assert tables.numbers(WEB)[backend(4)] != number
    tables.apply(web(1, 2, 3, 4))
    assert tables.numbers(WEB)[backend(2)] == number
    assert_tables(tables.memory, web(1, 2, 3, 4))


@pytest.mark.parametrize(("seconds", "reused"), [(IDLE + REUSE_MARGIN, False), (IDLE + REUSE_MARGIN + 1, True)])
def test_a_number_is_reused_only_when_flows_have_forgotten_it(seconds: int, reused: bool) -> None:
    tables = tables_at()
    tables.apply(web(1, 2, 3))
    number = tables.numbers(WEB)[backend(1)]
    tables.memory.set_counter(number, "packets", 7)
    tables.apply(web(2, 3))
    later(tables, seconds)
    tables.apply(web(2, 3, 4))
    assert (tables.numbers(WEB)[backend(4)] == number) is reused
    assert tables.memory.counter(number, "packets") == (0 if reused else 7)
    assert tables.memory.identities.get(number, "freed") == (0 if reused else 1_000)
    entry = tables.entry(WEB)
    assert entry is not None
    counted = tables.memory.counts(entry.destinations, entry.capacity)
    assert sum(packets for packets, *_ in counted) == 7, "what a service has counted never becomes less"


def test_returning_and_new_backends_do_not_take_each_others_numbers() -> None:
    """All numbers but one in use, the last one free again: the backend that had it comes back with others."""
    tables = tables_at()
    tables.apply(web(*pool(7, first=10), 99))
    tables.apply(web(*pool(14, first=10), 99))
    tables.apply(web(*pool(14, first=10)))
    number = next(n for n in range(16, 64) if tables.memory.backend(n) == backend(99))
    later(tables, IDLE + REUSE_MARGIN + 1)
    wanted = web(1, *pool(14, first=10), 99)
    tables.apply(wanted)
    assert_tables(tables.memory, wanted)
    entry = tables.entry(WEB)
    assert entry is not None
    assert tables.numbers(WEB)[backend(99)] - entry.destinations == number - 16


def test_growing_moves_the_range_and_keeps_indexes_and_counters() -> None:
    tables = tables_at()
    tables.apply(desired(service(WEB, [member(n) for n in pool(7)]), service(OTHER, [member(1)])))
    before, numbers = tables.entry(WEB), tables.numbers(WEB)
    assert before is not None
    for number in numbers.values():
        tables.memory.counters[tables.memory.counter_place(0, number, "packets")] = number
    wanted = desired(service(WEB, [member(n) for n in pool(30)]), service(OTHER, [member(1)]))
    tables.apply(wanted)
    assert_tables(tables.memory, wanted)
    after, moved = tables.entry(WEB), tables.numbers(WEB)
    assert after is not None
    assert (after.slots, after.slot_count) == (before.slots, before.slot_count)
    assert after.capacity > 30 >= before.capacity
    for address, number in numbers.items():
        assert moved[address] - after.destinations == number - before.destinations
        assert tables.memory.counter(moved[address], "packets") == number


@pytest.mark.parametrize("wide", [True, False])
def test_growing_has_room_for_all_whoever_rests(wide: bool) -> None:
    """Every number is in use or at rest, and as many backends join as fit in whatever way."""
    shape = replace(SHAPE, wide=wide)
    for first in (1, 2, 4, 7, 11):
        for joining in range(1, 60, 3):
            tables = tables_at(shape=shape)
            tables.apply(web(*pool(first)))
            entry = tables.entry(WEB)
            assert entry is not None
            tables.apply(web(*pool(entry.capacity - 1, 100)))
            tables.apply(web(*pool(joining, 200)))
            assert_tables(tables.memory, web(*pool(joining, 200)))


def test_narrow_slots_name_127_backends_at_most() -> None:
    tables = tables_at(shape=replace(SHAPE, wide=False))
    tables.apply(web(*pool(60)))
    wanted = web(*pool(127))
    tables.apply(wanted)
    assert_tables(tables.memory, wanted)


def test_growing_keeps_who_rests() -> None:
    """Numbers whose backends left lately keep their indexes through a move, dead."""
    tables = tables_at()
    tables.apply(web(*pool(10)))
    entry = tables.entry(WEB)
    assert entry is not None
    index = tables.numbers(WEB)[backend(10)] - entry.destinations
    tables.apply(web(*pool(9)))
    tables.apply(web(*pool(9), *pool(20, first=50)))
    moved = tables.entry(WEB)
    assert moved is not None
    number = moved.destinations + index
    assert tables.memory.backend(number) == backend(10)
    assert tables.memory.state(number) is DEAD
    tables.apply(web(*pool(10), *pool(20, first=50)))
    assert tables.numbers(WEB)[backend(10)] == number


def test_removing_a_service_leaves_its_numbers_at_rest() -> None:
    tables = tables_at()
    tables.apply(desired(service(WEB, [member(1), member(2)])))
    first = tables.entry(WEB)
    tables.apply(desired(service(OTHER, [member(3)])))
    second = tables.entry(OTHER)
    assert first is not None
    assert second is not None
    assert second.slots == first.slots
    assert second.destinations == first.destinations + first.capacity
    assert all(tables.memory.state(first.destinations + index) is DEAD for index in (1, 2))
    later(tables, IDLE + REUSE_MARGIN + 1)
    tables.apply(desired(service(OTHER, [member(3)]), service(TLS, [member(4)])))
    third = tables.entry(TLS)
    assert third is not None
    assert third.destinations == first.destinations


def test_a_service_that_comes_back_knows_nothing_of_its_former_flows() -> None:
    """It may have fewer numbers now, and an entry of before that has not expired names a stranger behind them."""
    tables = tables_at()
    packets = Packets(tables.memory)
    stranger = service(OTHER, [member(number) for number in pool(60, first=100)])
    for numbers in ([1, 2], pool(30), [1, *pool(30, first=31)]):
        tables.apply(desired(*web(*numbers).services, stranger))
        later(tables, IDLE + REUSE_MARGIN + 1)
    flows = [Flow(WEB, IPv4Address("203.0.113.1"), port) for port in range(40_000, 40_200)]
    for flow in flows:
        packets.send(flow, syn=True)
    assert packets.flows
    for known in ([], [1, 2], [1, 2, 3]):
        tables.apply(desired(*(web(*known).services if known else ()), stranger))
    entry = tables.entry(WEB)
    assert entry is not None
    for flow in flows:
        sent = packets.send(flow)
        assert sent is not None
        assert sent.number < entry.destinations + entry.capacity


def test_resting_numbers_are_used_before_a_change_is_refused() -> None:
    tables = tables_at(shape=Shape(services=8, destinations=32, slots=1 << 14, sets=2))
    tables.apply(web(1))
    wanted = desired(service(OTHER, [member(2)]))
    tables.apply(wanted)
    assert_tables(tables.memory, wanted)


def many(count: int, backends: int = 1) -> Desired:
    """So many services."""
    keys = [ServiceKey(IPv4Address("192.0.2.1"), 1000 + number, Protocol.TCP) for number in range(count)]
    return desired(*[service(key, [member(n) for n in pool(backends)]) for key in keys])


WIDE = Shape(services=128, destinations=2048, slots=1 << 15, sets=2)
FULL = (
    "service 192.0.2.1:80/tcp has numbers for 2047 backends, and 1 too few are free: those of removed backends are "
    "kept for 120 s; add fewer, or wait"
)
# What is running, what is then desired -> what the refusal says
TOO_MUCH = [
    (SHAPE, web(1), many(5), "5 services do not fit a lookup table of 8 positions"),
    (
        SHAPE,
        web(1),
        desired(vips={IPv4Address(f"192.0.2.{n}"): True for n in range(5)}),
        "5 VIPs do not fit a lookup table of 8 positions",
    ),
    (WIDE, many(8, 6), many(60, 13), f"no room for {slot_count(13)} more slots among 32768"),
    (
        WIDE,
        web(1),
        desired(service(OTHER, [member(n) for n in pool(700)])),
        f"no room for {slot_count(700)} more slots among 32768",
    ),
    (SHAPE, web(1), web(*pool(600)), f"no room for {destination_count(600)} more destinations among 512"),
    (
        replace(WIDE, wide=False),
        web(1),
        web(*pool(130)),
        "192.0.2.1:80/tcp has too many backends for slots of one byte",
    ),
    # The first of them would fit.
    (SHAPE, many(4), many(4, 100), f"no room for {destination_count(100)} more destinations among 512"),
    (WIDE, web(1), web(*pool(2048)), "a service holds at most 2047 backends, not 2048"),
    (replace(WIDE, slots=1 << 18, destinations=8192), web(*pool(2047)), web(*pool(2046), 3000), FULL),
]


@pytest.mark.parametrize(("shape", "running", "wanted", "message"), TOO_MUCH)
def test_what_does_not_fit_changes_nothing(shape: Shape, running: Desired, wanted: Desired, message: str) -> None:
    tables = tables_at(shape=shape)
    tables.apply(running)
    held = image(tables.memory)
    with pytest.raises(PlanError, match=re.escape(message)):
        tables.apply(replace(wanted, pass_unknown_port=True))
    assert image(tables.memory) == held
    assert_tables(tables.memory, running)
    later(tables, 1)
    tables.apply(web(1))
    assert_tables(tables.memory, web(1))


def test_services_can_be_replaced_where_there_is_room_for_one_set_only() -> None:
    tables = tables_at(shape=Shape(services=8, destinations=80, slots=4 * 1021, sets=2))
    old, new = many(4), desired(*[service(replace(one.key, port=9), one.members) for one in many(1).services])
    tables.apply(old)
    tables.apply(new)
    assert_tables(tables.memory, new)
