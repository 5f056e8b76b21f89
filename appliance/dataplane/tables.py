"""From what is desired to what the tables say: numbering, Maglev, slots, lookup; level-triggered.

`Tables` works on memory that may have been written by an earlier process: it reads what is there, and only stores what
differs. Order of stores: destinations, then histories, then slots, then the lookup that makes a new service visible.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from appliance.dataplane import lookup, maglev
from appliance.dataplane.abi import NO_DESTINATION
from appliance.dataplane.desired import Desired, DesiredService, Member
from appliance.dataplane.enums import Refusal, State
from appliance.dataplane.hashing import coefficients
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import COUNTERS, Memory
from appliance.dataplane.regions import first_fit
from appliance.dataplane.shape import destination_count, slot_count
from appliance.dataplane.slots import SlotTable
from appliance.errors import PlanError
from appliance.model import Address, ServiceKey

REUSE_MARGIN = 60
"""Seconds beyond `idle` before a destination's number may mean another backend."""
FIRST_DESTINATION = 16
"""Numbers below stand for no destination at all."""


@dataclass
class Applied:
    """What one `apply` did: for each service that changed, how many slots got another answer."""

    changed: dict[ServiceKey, int] = field(default_factory=dict)


@dataclass
class _Placed:
    """A service in the tables: where it lies, and what was last written."""

    entry: Entry
    slots: SlotTable
    numbers: dict[Address, int]
    written: DesiredService | None = None


class Tables:
    """All services in one generation of the program's memory."""

    def __init__(self, memory: Memory) -> None:
        """Adopt whatever the memory holds."""
        self.memory = memory
        self._placed: dict[ServiceKey, _Placed] = {}
        self._up = lookup.vips(memory)
        self._idle = memory.settings.get(0, "idle")
        for key, entry in lookup.entries(memory).items():
            slots = SlotTable(memory, entry.slots, entry.slot_count)
            slots.adopt()
            self._placed[key] = _Placed(entry, slots, self._numbers(entry))

    def _numbers(self, entry: Entry) -> dict[Address, int]:
        identities, found = self.memory.identities, {}
        for number in range(entry.destinations + 1, entry.destinations + entry.capacity):
            if identities.get(number, "vip") and not identities.get(number, "freed"):
                found[self.memory.backend(number)] = number
        return found

    def apply(self, desired: Desired) -> Applied:
        """Make the tables say what is desired. Raises PlanError, with nothing changed, where it does not fit."""
        time = self.memory.time
        applied = Applied()
        wanted = {service.key: service for service in desired.services}
        self._check_room(desired)
        self._write_settings(desired)
        gone = [key for key in self._placed if key not in wanted]
        if gone:
            kept = [placed.entry for key, placed in self._placed.items() if key in wanted]
            lookup.write(self.memory, kept, {entry.key.vip: self._up.get(entry.key.vip, False) for entry in kept})
            for key in gone:
                self._release(self._placed.pop(key), time)
        for service in desired.services:
            placed = self._placed.get(service.key)
            if placed is not None and placed.written == service:
                continue
            changed = self._write_service(service, placed, time)
            if changed:
                applied.changed[service.key] = changed
        self._up = dict(desired.vips)
        lookup.write(self.memory, [placed.entry for placed in self._placed.values()], self._up)
        return applied

    def _check_room(self, desired: Desired) -> None:
        shape = self.memory.shape
        if 2 * len(desired.services) > shape.services:
            raise PlanError(f"{len(desired.services)} services do not fit a lookup table of {shape.services} positions")
        slots = [(p.entry.slots, p.entry.slot_count) for p in self._placed.values()]
        numbers = [(p.entry.destinations, p.entry.capacity) for p in self._placed.values()]
        for service in desired.services:
            placed = self._placed.get(service.key)
            backends = len(service.members)
            if placed is None:
                self._reserve(slots, slot_count(backends), 0, shape.slots, "slots")
            if placed is None or self._lacks_numbers(placed, service):
                self._reserve(
                    numbers, destination_count(backends), FIRST_DESTINATION, shape.destinations, "destinations"
                )

    @staticmethod
    def _reserve(used: list[tuple[int, int]], size: int, start: int, limit: int, what: str) -> int:
        at = first_fit(used, size, start, limit)
        if at is None:
            raise PlanError(f"no room for {size} more {what} among {limit}")
        used.append((at, size))
        return at

    def _write_settings(self, desired: Desired) -> None:
        settings = self.memory.settings
        for at, value in enumerate(coefficients(desired.seed)):
            settings.put(0, "coefficient", value, at)
        settings.put(0, "idle", desired.idle)
        settings.put(0, "pass_unknown_port", int(desired.pass_unknown_port))
        self._idle = desired.idle
        if desired.probe is not None:
            settings.put_bytes(0, "probe_mac", desired.probe.macs)
            settings.put(0, "probe_address", _network(desired.probe.address))
            settings.put(0, "probe_interface", desired.probe.interface)

    def _write_service(self, service: DesiredService, placed: _Placed | None, time: int) -> int:
        if placed is None:
            placed = self._place(service)
        elif self._lacks_numbers(placed, service):
            self._move_destinations(placed, service, time)
        placed.entry = replace(placed.entry, on_dead=int(service.on_dead))
        for member in service.members:
            self._write_destination(placed, service.key, member, time)
        self.memory.fence()
        available = [m for m in service.members if m.state is State.AVAILABLE and m.weight > 0]
        owners = maglev.table([(m.address, m.weight) for m in available], placed.entry.slot_count)
        index = [placed.numbers[m.address] - placed.entry.destinations for m in available] + [NO_DESTINATION]
        changed = placed.slots.assign([index[owner] for owner in owners], time, remember=service.tracking)
        wanted = {member.address for member in service.members}
        for address in placed.numbers.keys() - wanted:
            self._free(placed.numbers.pop(address), time)
        placed.written = service
        return changed

    def _place(self, service: DesiredService) -> _Placed:
        """Give a new service its slots and numbers; nothing finds them before the lookup is written."""
        slots = [(p.entry.slots, p.entry.slot_count) for p in self._placed.values()]
        numbers = [(p.entry.destinations, p.entry.capacity) for p in self._placed.values()]
        count, capacity = slot_count(len(service.members)), destination_count(len(service.members))
        first = self._reserve(slots, count, 0, self.memory.shape.slots, "slots")
        base = self._reserve(numbers, capacity, FIRST_DESTINATION, self.memory.shape.destinations, "destinations")
        table = SlotTable(self.memory, first, count)
        table.clear()
        self._clear_numbers(base, capacity)
        placed = _Placed(Entry(service.key, first, count, base, capacity, int(service.on_dead)), table, {})
        self._placed[service.key] = placed
        return placed

    def _clear_numbers(self, base: int, capacity: int) -> None:
        for number in range(base, base + capacity):
            self.memory.destinations.clear(number)
            self.memory.identities.clear(number)
            for name in COUNTERS:
                self.memory.set_counter(number, name, 0)
        self.memory.destinations.put(base, "refusal", Refusal.NO_BACKEND)

    def _reusable(self, number: int) -> bool:
        identities = self.memory.identities
        if not identities.get(number, "vip"):
            return True
        freed = identities.get(number, "freed")
        return bool(freed) and self.memory.time - freed > self._idle + REUSE_MARGIN

    def _lacks_numbers(self, placed: _Placed, service: DesiredService) -> bool:
        new = sum(1 for member in service.members if self._number_of(placed, member.address) is None)
        base, capacity = placed.entry.destinations, placed.entry.capacity
        free = sum(1 for number in range(base + 1, base + capacity) if self._reusable(number))
        return new > free

    def _number_of(self, placed: _Placed, address: Address) -> int | None:
        """The number that an address has, or had so recently that flows may still refer to it."""
        if address in placed.numbers:
            return placed.numbers[address]
        base, capacity = placed.entry.destinations, placed.entry.capacity
        for number in range(base + 1, base + capacity):
            identities = self.memory.identities
            if identities.get(number, "vip") and self.memory.backend(number) == address:
                return number
        return None

    def _move_destinations(self, placed: _Placed, service: DesiredService, time: int) -> None:
        """A larger range of numbers for a service; indexes inside it, and so slots and flows, stay as they are."""
        old = placed.entry
        used = [(p.entry.destinations, p.entry.capacity) for p in self._placed.values()]
        known = len(placed.numbers.keys() | {member.address for member in service.members})
        capacity = max(destination_count(known), min(2 * old.capacity, 1024))
        base = self._reserve(used, capacity, FIRST_DESTINATION, self.memory.shape.destinations, "destinations")
        self._clear_numbers(base, capacity)
        for elements in (self.memory.destinations, self.memory.identities):
            elements.copy(old.destinations, base, old.capacity)
        for name in COUNTERS:
            for index in range(old.capacity):
                self.memory.set_counter(base + index, name, self.memory.counter(old.destinations + index, name))
        placed.entry = replace(old, destinations=base, capacity=capacity)
        placed.numbers = {address: number - old.destinations + base for address, number in placed.numbers.items()}
        self.memory.fence()
        lookup.write(self.memory, [p.entry for p in self._placed.values()], self._current_up())
        for number in range(old.destinations, old.destinations + old.capacity):
            self.memory.identities.put(number, "vip", 0)

    def _current_up(self) -> dict[Address, bool]:
        return {key.vip: self._up.get(key.vip, False) for key in self._placed}

    def _write_destination(self, placed: _Placed, key: ServiceKey, member: Member, time: int) -> None:
        number = self._number_of(placed, member.address)
        if number is None:
            base, capacity = placed.entry.destinations, placed.entry.capacity
            number = next(n for n in range(base + 1, base + capacity) if self._reusable(n))
            self.memory.destinations.clear(number)
            self.memory.identities.clear(number)
            for name in COUNTERS:
                self.memory.set_counter(number, name, 0)
        placed.numbers[member.address] = number
        destinations, identities = self.memory.destinations, self.memory.identities
        if member.hop is not None:
            identities.put(number, "own", _network(member.hop.own))
            identities.put(number, "interface", member.hop.interface)
            head, tail = member.hop.macs[:8], member.hop.macs[8:]
            destinations.put(number, "mac_tail", int.from_bytes(tail, sys.byteorder))
            destinations.put(number, "mac_head", int.from_bytes(head, sys.byteorder))
        identities.put_bytes(number, "backend", member.address.packed.rjust(16, b"\0"))
        identities.put(number, "port", key.port)
        identities.put(number, "protocol", int(key.protocol))
        identities.put(number, "freed", 0)
        identities.put(number, "vip", _network(key.vip))
        destinations.put(number, "state", member.state)
        destinations.put(number, "refusal", _refusal(member, bool(destinations.get(number, "mac_head"))))

    def _free(self, number: int, time: int) -> None:
        """The number's backend is gone: dead to flows that remember it, not reused before they are forgotten."""
        self.memory.destinations.put(number, "state", State.DEAD)
        self.memory.destinations.put(number, "refusal", Refusal.DEAD)
        self.memory.identities.put(number, "freed", max(1, time))

    def _release(self, placed: _Placed, time: int) -> None:
        for number in placed.numbers.values():
            self._free(number, time)
        placed.slots.tracked.clear()

    def sweep(self, services: Sequence[DesiredService]) -> int:
        """Settle slots whose time has come; returns how many."""
        time = self.memory.time
        settled = 0
        for service in services:
            placed = self._placed.get(service.key)
            if placed is not None and placed.slots.tracked:
                settled += placed.slots.sweep(time, self._idle, min(service.grace, self._idle))
        return settled

    def tracked(self) -> dict[ServiceKey, int]:
        """How many slots of each service are tracked."""
        return {key: len(placed.slots.tracked) for key, placed in self._placed.items()}

    def slots(self, key: ServiceKey) -> SlotTable | None:
        """The slots of a service, None if it is not in the tables."""
        placed = self._placed.get(key)
        return placed.slots if placed else None

    def entry(self, key: ServiceKey) -> Entry | None:
        """Where a service lies, None if it is not in the tables."""
        placed = self._placed.get(key)
        return placed.entry if placed else None

    def numbers(self, key: ServiceKey) -> dict[Address, int]:
        """The destination numbers of a service's backends."""
        placed = self._placed.get(key)
        return dict(placed.numbers) if placed else {}


def _network(address: Address) -> int:
    """An IPv4 address as a field in network order reads in this host's order."""
    return int.from_bytes(IPv4Address(int(address)).packed, sys.byteorder)


def _refusal(member: Member, resolved: bool) -> Refusal:
    if member.state is State.NONE:
        return Refusal.NO_BACKEND
    if member.state is State.DEAD:
        return Refusal.DEAD
    return Refusal.NOTHING if resolved else Refusal.UNRESOLVED
