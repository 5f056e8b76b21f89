"""Typed views of the tables' memory agree with the layouts, and store no more than they must."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dataplane.abi import COUNTER, DESTINATION, HISTORY, IDENTITY, SERVICE, SETTINGS, VIP
from appliance.dataplane.enums import Reason, State
from appliance.dataplane.hashing import mapped
from appliance.dataplane.memory import COUNTERS, Elements, Memory
from appliance.dataplane.shape import Shape
from appliance.dataplane.structs import SIZES, Struct
from tests.unit.dataplane.recorded import recorded

SHAPE = Shape(cpus=2, services=4, destinations=32, slots=16, sets=2)
STRUCTS = (SETTINGS, SERVICE, VIP, HISTORY, DESTINATION, IDENTITY, COUNTER)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.name)
def test_every_field_lies_where_the_layout_says(struct: Struct) -> None:
    for field in struct.fields:
        for item in range(field.count):
            raw = memoryview(bytearray(3 * struct.size))
            elements = Elements(raw, struct)
            size = SIZES[field.type]
            value = int.from_bytes(bytes(range(1, size + 1)), "big")
            elements.put(1, field.name, value, item)
            start = struct.size + struct.offsets[field.name] + item * size
            assert raw[start : start + size] == value.to_bytes(size, sys.byteorder)
            assert sum(byte != 0 for byte in raw) == size
            assert elements.get(1, field.name, item) == value
            assert elements.get(0, field.name, item) == elements.get(2, field.name, item) == 0


@given(st.lists(st.tuples(*[st.integers(0, (1 << 64) - 1)] * 4), min_size=1, max_size=4), st.integers(1, 20))
def test_counts_are_the_counters(rows: list[tuple[int, ...]], first: int) -> None:
    memory = Memory.plain(SHAPE)
    for at, row in enumerate(rows):
        for cpu in range(SHAPE.cpus + 1):
            for name, count in zip(COUNTERS, row, strict=True):
                memory.counters[memory.counter_place(cpu, first + at, name)] = count >> cpu
    told = memory.counts(first - 1, len(rows) + 2)
    assert told == [
        tuple(memory.counter(number, name) for name in COUNTERS) for number in range(first - 1, first + len(rows) + 1)
    ]
    assert memory.packets(first - 1, len(rows) + 2) == sum(row[0] for row in told) % (1 << 64)
    assert memory.packets(first, 1) == memory.counter(first, "packets")


def test_bytes_copy_clear_and_column() -> None:
    elements = Elements(memoryview(bytearray(5 * IDENTITY.size)), IDENTITY)
    for number in range(3):
        elements.put(number, "vip", 10 + number)
        elements.put_bytes(number, "backend", bytes([number]) * 16)
    elements.copy(1, 3, 2)
    elements.clear(1)
    assert elements.column("vip") == [10, 0, 12, 11, 12]
    assert elements.bytes_of(3, "backend", 16) == bytes([1]) * 16
    assert elements.bytes_of(1, "backend", 20) == bytes(20)


def test_equal_values_are_not_stored_again() -> None:
    memory, log = recorded(Memory.plain(SHAPE))
    memory.identities.put(3, "vip", 7)
    memory.identities.put_bytes(3, "backend", bytes(range(16)))
    memory.set_counter(3, "packets", 5)
    assert len(log) == 3
    memory.identities.put(3, "vip", 7)
    memory.identities.put_bytes(3, "backend", bytes(range(16)))
    memory.set_counter(3, "packets", 5)
    assert len(log) == 3


def test_state_and_backend() -> None:
    memory = Memory.plain(SHAPE)
    memory.destinations.put(20, "state", State.DRAINING)
    memory.identities.put_bytes(20, "backend", mapped(IPv4Address("10.1.2.3")))
    assert memory.state(20) is State.DRAINING
    assert memory.backend(20) == IPv4Address("10.1.2.3")
    memory.settings.put(0, "time", 77)
    assert memory.time == 77


counts = st.integers(0, (1 << 64) - 1)


@given(counts, counts, counts, st.sampled_from(COUNTERS))
def test_counters_are_sums_that_can_be_set(first: int, second: int, value: int, name: str) -> None:
    """The rows of the CPUs belong to the program; setting a sum touches none of them."""
    memory = Memory.plain(SHAPE)
    at, other = (memory.counter_place(row, 20, name) for row in (0, 1))
    memory.counters[at], memory.counters[other] = first, second
    assert memory.counter(20, name) == (first + second) % 2**64
    memory.set_counter(20, name, value)
    assert memory.counter(20, name) == value
    assert (memory.counters[at], memory.counters[other]) == (first, second)
    memory.counters[at] = (first + 1) % 2**64
    assert memory.counter(20, name) == (value + 1) % 2**64
    assert all(memory.counter(number, name) == 0 for number in (19, 21) for name in COUNTERS)


def test_reasons_are_sums() -> None:
    memory = Memory.plain(SHAPE)
    memory.reasons[int(Reason.TTL)], memory.reasons[512 + int(Reason.TTL)] = 3, 4
    memory.add_reason(Reason.TTL, 5)
    memory.add_reason(Reason.TTL, 6)
    assert memory.reason(Reason.TTL) == 18
    assert memory.reason(Reason.DEAD) == 0
