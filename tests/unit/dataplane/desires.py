"""Desired states for tests, in few words, and what must be true of tables that were brought to one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address

from appliance.dataplane import lookup, maglev
from appliance.dataplane.abi import NO_DESTINATION
from appliance.dataplane.desired import Desired, DesiredService, Hop, Member
from appliance.dataplane.enums import Refusal, State
from appliance.dataplane.memory import Memory
from appliance.dataplane.numbering import FIRST_DESTINATION
from appliance.dataplane.shape import Shape
from appliance.dataplane.tables import Tables
from appliance.dataplane.tunnels import leg_of
from appliance.model import Address, Protocol, ServiceKey
from tests.unit.dataplane.packets import find_service, find_vip

IDLE = 60
GRACE = 30
"""Of UDP services, seconds."""
SHAPE = Shape(services=8, destinations=512, slots=1 << 14, sets=512)
WEB = ServiceKey(IPv4Address("192.0.2.1"), 80, Protocol.TCP)
TLS = ServiceKey(IPv4Address("192.0.2.1"), 443, Protocol.TCP)
LOG = ServiceKey(IPv4Address("192.0.2.2"), 514, Protocol.UDP)
OTHER = ServiceKey(IPv4Address("198.51.100.7"), 80, Protocol.TCP)
AVAILABLE, DRAINING, DEAD = State.AVAILABLE, State.DRAINING, State.DEAD


def backend(number: int) -> IPv4Address:
    """The address of a backend."""
    return IPv4Address("10.1.0.0") + number


def hop(number: int, version: int = 0) -> Hop:
    """The way to a backend; each version has other MACs."""
    return Hop(2, bytes((2, version, 0, 0, number >> 8, number & 255, 2, 9, 9, 9, 9, version)), IPv4Address("10.1.0.0"))


def member(number: int, weight: int = 1, state: State = AVAILABLE, version: int | None = 0) -> Member:
    """A backend; without a version its MAC is not known."""
    return Member(backend(number), weight, state, None if version is None else hop(number, version))


def service(key: ServiceKey, members: Sequence[Member], *, tracking: bool = True) -> DesiredService:
    """A service."""
    grace = GRACE if key.protocol is Protocol.UDP else IDLE
    return DesiredService(key, tuple(sorted(members, key=lambda m: int(m.address))), grace, tracking=tracking)


def desired(*services: DesiredService, vips: dict[Address, bool] | None = None) -> Desired:
    """A whole desired state; the VIPs of the services are up unless said otherwise."""
    up: dict[Address, bool] = {one.key.vip: True for one in services} if vips is None else vips
    return Desired(tuple(sorted(services, key=lambda one: one.key)), up, bytes(range(16)), IDLE)


def memory_at(time: int, shape: Shape = SHAPE) -> Memory:
    """Empty memory whose coarse clock stands at `time`."""
    memory = Memory.plain(shape)
    memory.settings.put(0, "time", time)
    return memory


def tables_at(time: int = 1_000, shape: Shape = SHAPE) -> Tables:
    """Empty tables."""
    return Tables(memory_at(time, shape))


def later(tables: Tables, seconds: int) -> None:
    """Move the clock."""
    tables.memory.settings.put(0, "time", tables.memory.time + seconds)


def pool(count: int, first: int = 1) -> list[int]:
    """Numbers of backends."""
    return list(range(first, first + count))


def web(*numbers: int) -> Desired:
    """One service with these backends."""
    return desired(service(WEB, [member(number) for number in numbers]))


@lru_cache(maxsize=256)
def owners(members: tuple[tuple[Address, int], ...], count: int) -> list[Address | None]:
    """Who should own each slot."""
    return [members[owner][0] if owner >= 0 else None for owner in maglev.table(members, count)]


def assert_tables(memory: Memory, wanted: Desired) -> None:
    """The tables say what is desired, wherever the program looks."""
    entries = lookup.entries(memory)
    assert entries.keys() == {one.key for one in wanted.services}
    assert lookup.vips(memory) == wanted.vips
    for address, up in wanted.vips.items():
        assert find_vip(memory, address) is up
    assert_apart([(e.slots, e.slot_count) for e in entries.values()], 0, memory.shape.slots)
    assert_apart([(e.destinations, e.capacity) for e in entries.values()], FIRST_DESTINATION, memory.shape.destinations)
    for one in wanted.services:
        _assert_service(memory, one, entries[one.key])


def assert_apart(ranges: Sequence[tuple[int, int]], start: int, limit: int) -> None:
    """Ranges (first, count) lie inside [start, limit) and beside one another."""
    at = start
    for first, count in sorted(ranges):
        assert at <= first
        at = first + count
    assert at <= limit


def _assert_service(memory: Memory, one: DesiredService, entry: lookup.Entry) -> None:
    place = find_service(memory, one.key)
    assert place is not None
    assert (place.slots, place.slot_count) == (entry.slots, entry.slot_count)
    assert (place.destinations, place.capacity) == (entry.destinations, entry.capacity)
    assert entry.on_dead == one.on_dead
    assert memory.destinations.get(entry.destinations, "refusal") == Refusal.NO_BACKEND
    numbers = numbers_in(memory, entry)
    assert numbers.keys() == {m.address for m in one.members}
    for m in one.members:
        _assert_destination(memory, one, m, numbers[m.address])
    by_index = {number - entry.destinations: address for address, number in numbers.items()}
    assert not by_index.keys() & {NO_DESTINATION}
    words = memory.slots[entry.slots : entry.slots + entry.slot_count].tolist()
    now = [word & (memory.tracked - 1) for word in words]
    available = tuple((m.address, m.weight) for m in one.members if m.state is AVAILABLE and m.weight)
    assert [by_index.get(index) for index in now] == owners(available, entry.slot_count)
    assert available or not any(now)


def numbers_in(memory: Memory, entry: lookup.Entry) -> dict[Address, int]:
    """The numbers in use in a service's range."""
    found: dict[Address, int] = {}
    for number in range(entry.destinations, entry.destinations + entry.capacity):
        if memory.identities.get(number, "used") and not memory.identities.get(number, "freed"):
            assert memory.backend(number) not in found, "one backend has two numbers"
            found[memory.backend(number)] = number
    return found


def _assert_destination(memory: Memory, one: DesiredService, m: Member, number: int) -> None:
    identities, destinations = memory.identities, memory.destinations
    assert identities.get(number, "used") == 1
    assert memory.address(number, "vip") == one.key.vip
    assert (identities.get(number, "port"), identities.get(number, "protocol")) == (one.key.port, one.key.protocol)
    assert memory.state(number) is m.state
    refusal = {State.NONE: Refusal.NO_BACKEND, DEAD: Refusal.DEAD}.get(m.state)
    if refusal is not None:
        assert destinations.get(number, "refusal") == refusal
    elif m.hop is not None:
        assert destinations.get(number, "refusal") == Refusal.NOTHING
    if m.hop is not None:
        assert destinations.bytes_of(number, "mac_head", 12) == m.hop.macs
        assert identities.get(number, "interface") == m.hop.interface
        assert memory.address(number, "own") == (m.source or m.hop.own)
        leg = leg_of(memory, number)
        assert memory.legs.get(leg, "interface") == m.hop.interface
        assert int.from_bytes(memory.legs.bytes_of(leg, "vlan", 2), "big") == (m.hop.vlan or 0)
    else:
        resolved = destinations.bytes_of(number, "mac_head", 12) != bytes(12)
        assert resolved or destinations.get(number, "refusal") != Refusal.NOTHING
