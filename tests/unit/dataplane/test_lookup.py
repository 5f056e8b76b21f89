"""The lookup tables: written beside the copy in force, switched by one store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dataplane import lookup
from appliance.dataplane.enums import DeadPolicy
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import Shape
from appliance.model import Address, Protocol, ServiceKey
from tests.unit.dataplane.packets import find_service, find_vip
from tests.unit.dataplane.recorded import Fence, Store, image, put, recorded, restored

SHAPE = Shape(services=16, destinations=32, slots=16, sets=2, direct=False)
SHAPES = (SHAPE, replace(SHAPE, services=128, direct=True))
"""With displacements and without, for eight services."""
VIP = IPv4Address("192.0.2.1")
OTHER = IPv4Address("192.0.2.2")

addresses = st.integers(0, 40).map(lambda number: IPv4Address("192.0.2.0") + number)
keys = st.builds(ServiceKey, addresses, st.sampled_from([53, 80, 443]), st.sampled_from(Protocol))
services = st.sets(keys, max_size=8).map(lambda found: [entry(key, number) for number, key in enumerate(sorted(found))])
vips = st.dictionaries(addresses, st.booleans(), max_size=8)


def entry(key: ServiceKey, number: int = 0) -> Entry:
    """A service's place, unlike any other's."""
    return Entry(key, 1021 * number, 1021, 16 + 16 * number, 16, int(DeadPolicy.RESELECT))


def assert_found(memory: Memory, wanted: list[Entry], up: Mapping[Address, bool]) -> None:
    """Exactly these services and VIPs are there, for the control plane and for the program."""
    assert lookup.entries(memory) == {one.key: one for one in wanted}
    assert lookup.vips(memory) == up
    for one in wanted:
        place = find_service(memory, one.key)
        assert place is not None
        assert (place.slots, place.slot_count) == (one.slots, one.slot_count)
        assert (place.destinations, place.capacity) == (one.destinations, one.capacity)
    for address, is_up in up.items():
        assert find_vip(memory, address) is is_up


both = pytest.mark.parametrize("shape", SHAPES, ids=["displaced", "direct"])


@both
def test_empty_memory_holds_nothing(shape: Shape) -> None:
    memory = Memory.plain(shape)
    assert_found(memory, [], {})
    assert find_service(memory, ServiceKey(VIP, 80, Protocol.TCP)) is None
    assert find_vip(memory, VIP) is None


@both
@given(before=services, up_before=vips, after=services, up=vips, key=keys, address=addresses)
def test_what_is_written_is_found(
    shape: Shape, before: list[Entry], up_before: dict[Address, bool], after: list[Entry], up: dict[Address, bool],
    key: ServiceKey, address: IPv4Address,
) -> None:  # fmt: skip
    memory = Memory.plain(shape)
    lookup.write(memory, before, up_before)
    lookup.write(memory, after, up)
    assert_found(memory, after, up)
    assert (find_service(memory, key) is not None) == (key in {one.key for one in after})
    assert find_vip(memory, address) is up.get(address)


@both
@given(before=services, up_before=vips, after=services, up=vips)
def test_at_every_store_one_whole_copy_is_in_force(
    shape: Shape, before: list[Entry], up_before: dict[Address, bool], after: list[Entry], up: dict[Address, bool]
) -> None:
    memory = Memory.plain(shape)
    lookup.write(memory, before, up_before)
    seen = restored(memory, image(memory))
    writer, log = recorded(memory)
    lookup.write(writer, after, up)
    switched = False
    for at, event in enumerate(log):
        if isinstance(event, Store):
            put(seen, event)
            if event.map == "vc5_lookup":
                assert log[at - 1] == log[at + 1] == Fence()
                switched = True
            elif at % 23 == 0 and [one.key for one in before] != [one.key for one in after]:
                assert_found(seen, *((after, up) if switched else (before, up_before)))
    assert_found(seen, after, up)


@both
@given(wanted=services, up=vips)
def test_writing_the_same_again_stores_nothing(shape: Shape, wanted: list[Entry], up: dict[Address, bool]) -> None:
    memory, log = recorded(Memory.plain(shape))
    lookup.write(memory, wanted, up)
    log.clear()
    lookup.write(memory, wanted[::-1], up)
    assert log == []


def test_what_may_change_while_packets_read_it_is_stored_in_place() -> None:
    memory, log = recorded(Memory.plain(SHAPE))
    one = entry(ServiceKey(VIP, 80, Protocol.TCP))
    other = entry(ServiceKey(OTHER, 80, Protocol.TCP), 1)
    lookup.write(memory, [one, other], {VIP: True, OTHER: True})
    log.clear()
    reset = Entry(one.key, one.slots, one.slot_count, one.destinations, one.capacity, int(DeadPolicy.RESET))
    lookup.write(memory, [reset, other], {VIP: True, OTHER: False})
    assert len(log) == 2
    assert_found(memory, [reset, other], {VIP: True, OTHER: False})


def test_the_key_is_what_the_program_compares() -> None:
    key = ServiceKey(IPv4Address("192.0.2.1"), 443, Protocol.TCP)
    frame = bytes((192, 0, 2, 1)) + bytes((6, 0)) + (443).to_bytes(2, "big")
    assert lookup.key_word(key) == int.from_bytes(frame, "little")
