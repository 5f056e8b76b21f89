"""From what is desired to what the tables say: numbering, Maglev, slots, lookup; level-triggered.

`Tables` works on memory that may have been written by an earlier process: it reads what is there, and only stores what
differs. Order of stores: destinations, then histories, then slots, then the lookup that makes a new service visible.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from appliance.dataplane import lookup, maglev
from appliance.dataplane.abi import INDEX_LIMIT, NARROW_TRACKED, NO_DESTINATION
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
    """A service in the tables: where it lies, the numbers of its backends, and what was last written."""

    entry: Entry
    slots: SlotTable
    numbers: dict[Address, int]
    written: DesiredService | None = None


@dataclass(frozen=True)
class _Plan:
    """Where a service will lie, and the index of each member inside it; made before anything is stored."""

    entry: Entry
    indexes: dict[Address, int]


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
        plans = self._plan(desired)
        time = self.memory.time
        applied = Applied()
        self._write_settings(desired)
        self._remove(self._placed.keys() - {service.key for service in desired.services}, time)
        self._move(plans, time)
        for service in desired.services:
            plan = plans.get(service.key)
            if plan is not None:
                changed = self._write_service(service, plan, time)
                if changed:
                    applied.changed[service.key] = changed
        self._up = dict(desired.vips)
        self._write_lookup()
        return applied

    def _plan(self, desired: Desired) -> dict[ServiceKey, _Plan]:
        """Find room for every service that differs from what was last written."""
        shape, idle = self.memory.shape, desired.idle
        for what, count in (("services", len(desired.services)), ("VIPs", len(desired.vips))):
            if count > shape.service_limit:
                raise PlanError(f"{count} {what} do not fit a lookup table of {shape.services} positions")
        wanted = {service.key for service in desired.services}
        kept = [placed.entry for key, placed in self._placed.items() if key in wanted]
        slots = [(entry.slots, entry.slot_count) for entry in kept]
        numbers = [(entry.destinations, entry.capacity) for entry in kept]
        resting = self._resting(wanted, idle)
        plans = {}
        for service in desired.services:
            placed = self._placed.get(service.key)
            if placed is None:
                backends, on_dead = len(service.members), int(service.on_dead)
                count, capacity = slot_count(backends), destination_count(backends)
                first = _reserve(slots, [], count, 0, shape.slots, "slots")
                base = _reserve(numbers, resting, capacity, FIRST_DESTINATION, shape.destinations, "destinations")
                entry = Entry(service.key, first, count, base, capacity, on_dead)
                indexes = {member.address: index for index, member in enumerate(service.members, 1)}
            elif placed.written != service:
                entry, indexes = self._numbering(placed.entry, service, idle)
                if entry.capacity != placed.entry.capacity:
                    size, limit = entry.capacity, shape.destinations
                    base = _reserve(numbers, resting, size, FIRST_DESTINATION, limit, "destinations")
                    entry = replace(entry, destinations=base)
            else:
                continue
            if not shape.wide and entry.capacity > NARROW_TRACKED:
                raise PlanError(f"{service.key} has too many backends for slots of one byte")
            plans[service.key] = _Plan(entry, indexes)
        return plans

    def _resting(self, wanted: Collection[ServiceKey], idle: int) -> list[tuple[int, int]]:
        """Numbers that stood for a backend so recently that they are better left alone, as ranges."""
        gone = [placed.entry for key, placed in self._placed.items() if key not in wanted]
        used = zip(self.memory.identities.column("vip"), self.memory.identities.column("freed"), strict=True)
        freed = [(number, 1) for number, (vip, freed) in enumerate(used) if vip and self._rests(freed, idle)]
        return [(entry.destinations, entry.capacity) for entry in gone] + freed

    def _rests(self, freed: int, idle: int) -> bool:
        return bool(freed) and self.memory.time - freed <= idle + REUSE_MARGIN

    def _numbering(self, entry: Entry, service: DesiredService, idle: int) -> tuple[Entry, dict[Address, int]]:
        """The index of each member: the one that it has, or had and flows may still refer to, else a free one.

        Where they are too few, the service needs a larger range of numbers, and the entry has another capacity.
        """
        identities, had, free = self.memory.identities, {}, []
        for index in range(1, entry.capacity):
            number = entry.destinations + index
            freed = identities.get(number, "freed")
            if identities.get(number, "vip"):
                had[self.memory.backend(number)] = index
                if not freed or self._rests(freed, idle):
                    continue
            free.append(index)
        indexes = {member.address: had[member.address] for member in service.members if member.address in had}
        known = set(indexes.values())
        free = [index for index in free if index not in known]
        new = [member.address for member in service.members if member.address not in had]
        if len(new) > len(free):
            capacity = min(INDEX_LIMIT, max(destination_count(len(service.members)), 2 * entry.capacity))
            free.extend(range(entry.capacity, capacity))
            entry = replace(entry, capacity=capacity)
        if len(new) > len(free):
            raise PlanError(
                f"service {service.key} has numbers for {INDEX_LIMIT - 1} backends, and {len(new) - len(free)} too few "
                f"are free: those of removed backends are kept for {idle + REUSE_MARGIN} s; add fewer, or wait"
            )
        indexes.update(zip(new, free, strict=False))
        return entry, indexes

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

    def _write_lookup(self) -> None:
        lookup.write(self.memory, [placed.entry for placed in self._placed.values()], self._up)

    def _remove(self, gone: Collection[ServiceKey], time: int) -> None:
        """Take services out of the lookup, and only then what they had."""
        removed = [self._placed.pop(key) for key in gone]
        if removed:
            self._write_lookup()
        for placed in removed:
            for number in placed.numbers.values():
                self._free(number, time)

    def _move(self, plans: Mapping[ServiceKey, _Plan], time: int) -> None:
        """Larger ranges of numbers for services; indexes inside them, and so slots and flows, stay as they are."""
        left: list[Entry] = []
        for key, plan in plans.items():
            placed = self._placed.get(key)
            if placed is None or placed.entry.capacity == plan.entry.capacity:
                continue
            old, base = placed.entry, plan.entry.destinations
            self._clear_numbers(base, plan.entry.capacity)
            for elements in (self.memory.destinations, self.memory.identities):
                elements.copy(old.destinations, base, old.capacity)
            for name in COUNTERS:
                for index in range(old.capacity):
                    self.memory.set_counter(base + index, name, self.memory.counter(old.destinations + index, name))
            placed.entry = plan.entry
            placed.numbers = {address: number - old.destinations + base for address, number in placed.numbers.items()}
            left.append(old)
        if left:
            self._write_lookup()
        identities = self.memory.identities
        for old in left:
            for number in range(old.destinations, old.destinations + old.capacity):
                if identities.get(number, "vip") and not identities.get(number, "freed"):
                    identities.put(number, "freed", max(1, time))

    def _write_service(self, service: DesiredService, plan: _Plan, time: int) -> int:
        placed = self._placed.get(service.key) or self._place(plan.entry)
        placed.entry = replace(plan.entry, on_dead=int(service.on_dead))
        numbers = {address: plan.entry.destinations + index for address, index in plan.indexes.items()}
        for member in service.members:
            self._write_destination(numbers[member.address], service.key, member)
        self.memory.fence()
        available = [m for m in service.members if m.state is State.AVAILABLE and m.weight > 0]
        owners = maglev.table([(m.address, m.weight) for m in available], plan.entry.slot_count)
        index = [plan.indexes[m.address] for m in available] + [NO_DESTINATION]
        changed = placed.slots.assign([index[owner] for owner in owners], time, remember=service.tracking)
        for address in placed.numbers.keys() - numbers.keys():
            self._free(placed.numbers[address], time)
        placed.numbers = numbers
        placed.written = service
        return changed

    def _place(self, entry: Entry) -> _Placed:
        """Make room for a new service; nothing finds it before the lookup is written."""
        slots = SlotTable(self.memory, entry.slots, entry.slot_count)
        slots.clear()
        self._clear_numbers(entry.destinations, entry.capacity)
        placed = self._placed[entry.key] = _Placed(entry, slots, {})
        return placed

    def _clear_numbers(self, base: int, capacity: int) -> None:
        for number in range(base, base + capacity):
            self._clear(number)
        self.memory.destinations.put(base, "refusal", Refusal.NO_BACKEND)

    def _clear(self, number: int) -> None:
        self.memory.destinations.clear(number)
        self.memory.identities.clear(number)
        for name in COUNTERS:
            self.memory.set_counter(number, name, 0)

    def _write_destination(self, number: int, key: ServiceKey, member: Member) -> None:
        destinations, identities = self.memory.destinations, self.memory.identities
        if not identities.get(number, "vip") or self.memory.backend(number) != member.address:
            self._clear(number)
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
        refusal = _refusal(member, bool(destinations.get(number, "mac_head")))
        if refusal is Refusal.NOTHING and destinations.get(number, "refusal"):
            self.memory.fence()
        destinations.put(number, "refusal", refusal)

    def _free(self, number: int, time: int) -> None:
        """The number's backend is gone: dead to flows that remember it, not reused before they are forgotten."""
        self.memory.destinations.put(number, "state", State.DEAD)
        self.memory.destinations.put(number, "refusal", Refusal.DEAD)
        self.memory.identities.put(number, "freed", max(1, time))

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


def _reserve(
    used: list[tuple[int, int]], avoided: Sequence[tuple[int, int]], size: int, start: int, limit: int, what: str
) -> int:
    """Find room and add it to `used`; avoided ranges are taken only where nothing else is left."""
    at = first_fit((*used, *avoided), size, start, limit)
    if at is None:
        at = first_fit(used, size, start, limit)
    if at is None:
        raise PlanError(f"no room for {size} more {what} among {limit}")
    used.append((at, size))
    return at


def _network(address: Address) -> int:
    """An IPv4 address as a field in network order reads in this host's order."""
    return int.from_bytes(IPv4Address(int(address)).packed, sys.byteorder)


def _refusal(member: Member, resolved: bool) -> Refusal:
    if member.state is State.NONE:
        return Refusal.NO_BACKEND
    if member.state is State.DEAD:
        return Refusal.DEAD
    return Refusal.NOTHING if resolved else Refusal.UNRESOLVED
