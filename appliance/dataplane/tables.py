"""From what is desired to what the tables say: numbering, Maglev, slots, lookup; level-triggered.

`Tables` works on memory that may have been written by an earlier process: it reads what is there, and only stores what
differs. Order of stores: destinations, then histories, then slots, then the lookup that makes a new service visible.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from appliance.dataplane import block, destinations, lookup, maglev
from appliance.dataplane.abi import INDEX_LIMIT, NARROW_TRACKED, NO_DESTINATION
from appliance.dataplane.desired import Desired, DesiredService
from appliance.dataplane.enums import State
from appliance.dataplane.flowsweep import FlowSweep
from appliance.dataplane.hashing import coefficients
from appliance.dataplane.legs import Legs
from appliance.dataplane.lookup import Entry, Keys
from appliance.dataplane.memory import Memory
from appliance.dataplane.returns import Returns
from appliance.dataplane.rooms import Rooms, rooms
from appliance.dataplane.shape import SLOTS_PER_BACKEND, destination_count, slot_count
from appliance.dataplane.slots import SlotTable
from appliance.errors import NoRoom, PlanError
from appliance.model import Address, ServiceKey

SWEEP = 1 << 14
"""Tracked slots after which a sweep goes on with the next call: about ten milliseconds."""
REUSE_MARGIN = 60
"""Seconds beyond `idle` before a destination's number may mean another backend."""


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
        self.numbered = 0
        """How often a backend has got a number, or another one."""
        self._visible: tuple[list[Entry], dict[Address, bool], Keys] | None = None
        self._applied: Desired | None = None
        """What the last `apply` has brought the tables to; None where it failed, and all must be looked at."""
        self._swept = 0
        """The service with which the next sweep begins."""
        self._legs = Legs(memory)
        self._rerouted = False
        """Whether a destination has got another way out since legs were last given away."""
        self._blocked = block.BlockTable(memory)
        self._returns = Returns(memory)
        self._flows = FlowSweep(left=memory.shape.sets * 8)
        for key, entry in lookup.entries(memory).items():
            slots = SlotTable(memory, entry.slots, entry.slot_count)
            slots.adopt()
            self._placed[key] = _Placed(entry, slots, self._numbers(entry))

    def _numbers(self, entry: Entry) -> dict[Address, int]:
        identities, found = self.memory.identities, {}
        for number in range(entry.destinations + 1, entry.destinations + entry.capacity):
            if identities.get(number, "used") and not identities.get(number, "freed"):
                found[self.memory.backend(number)] = number
        return found

    def apply(self, desired: Desired) -> Applied:
        """Make the tables say what is desired. Raises PlanError, with nothing changed, where it does not fit."""
        keys = self._new_keys(desired)
        differing = self._differing(desired, keys)
        same = differing is not None
        if differing is None:
            differing = [one for one in desired.services if self._differs(one, keys)]
        plans = self._plan(desired, differing, keys)
        block.check(self.memory, desired.blocked)
        self._returns.check(desired.services, plans.keys())
        time = self.memory.time
        applied = Applied()
        former, self._applied = self._applied, None
        self._write_settings(desired)
        self._blocked.write(desired.blocked)
        if self._returns.write_outlets(desired.outlets, self._legs):
            self._rerouted = True
        if not same:
            self._remove(self._placed.keys() - {service.key for service in desired.services}, time)
        self._move(plans, time)
        for service in differing:
            changed = self._write_service(service, plans[service.key], time)
            if changed:
                applied.changed[service.key] = changed
        if self._rerouted:
            self._legs.keep(set(self.memory.destinations.column("leg")) | self._returns.outlets)
            self._rerouted = False
        if not same or former is None or former.vips != desired.vips:
            self._up = {key.vip: False for key in self._placed} | dict(desired.vips)
        self._write_lookup(keys)
        self._applied = desired
        return applied

    def _differing(self, desired: Desired, keys: Keys) -> list[DesiredService] | None:
        """The services that are not those of the last `apply`, compared by identity; None where all must be looked at.

        So one verdict among thousands of services costs no look at the others.
        """
        before = self._applied
        if before is None or len(before.services) != len(desired.services) or self.memory.shape.previous:
            return None
        if keys.current != lookup.keys(self.memory).current:
            return None
        pairs = [pair for pair in zip(desired.services, before.services, strict=True) if pair[0] is not pair[1]]
        if any(new.key != old.key for new, old in pairs):
            return None
        return [new for new, old in pairs if self._placed[new.key].written != new]

    def _differs(self, service: DesiredService, keys: Keys) -> bool:
        placed = self._placed.get(service.key)
        return placed is None or placed.written != service or self._rehashes(placed, service, keys)

    def _new_keys(self, desired: Desired) -> Keys:
        """The coefficients of the desired seed, beside those that flows of before may need.

        Raises PlanError where flows of before the last hash change would be lost by another one.
        """
        present, new = lookup.keys(self.memory), coefficients(desired.seed)
        if new == present.current:
            return present
        asking = [key for key, placed in self._placed.items() if placed.entry.previous_count]
        if asking:
            raise PlanError(
                f"the hash of {asking[0]} changed less than `idle` ago, and another change now would break connections "
                f"of before; wait {2 * self._idle} s after the last change of hash_seed"
            )
        return Keys(new, present.current if any(present.current) else new)

    def outgrown(self, key: ServiceKey, backends: int) -> bool:
        """Whether a service in the tables has too few slots for so many backends."""
        placed = self._placed.get(key)
        return placed is not None and placed.entry.slot_count < SLOTS_PER_BACKEND * backends

    def needs_previous(self, seed: bytes, sizes: Mapping[ServiceKey, int]) -> bool:
        """Whether services of these sizes, under this seed, need a program that can ask the generation before."""
        if any(placed.entry.previous_count for placed in self._placed.values()):
            return True
        if self._placed and lookup.keys(self.memory).current != coefficients(seed):
            return True
        return any(self.outgrown(key, size) for key, size in sizes.items())

    def _rehashes(self, placed: _Placed, service: DesiredService, keys: Keys) -> bool:
        """Whether a service's slots must begin anew: another seed, or too few of them for its backends."""
        if keys.current != lookup.keys(self.memory).current:
            return service.tracking
        # More slots are no hurry: they wait for a program that can ask the generation before, and for their turn, since
        # there is only one hash of before.
        if not self.memory.shape.previous or placed.entry.previous_count or keys.previous != keys.current:
            return False
        return self.outgrown(service.key, len(service.members))

    def _plan(self, desired: Desired, differing: Sequence[DesiredService], keys: Keys) -> dict[ServiceKey, _Plan]:
        """Find room for every service that differs from what was last written."""
        shape, idle = self.memory.shape, desired.idle
        for what, count in (("services", len(desired.services)), ("VIPs", len(desired.vips))):
            if count > shape.service_limit:
                raise NoRoom(f"{count} {what} do not fit a lookup table of {shape.services} positions")
        room: Rooms | None = None
        plans = {}
        for service in differing:
            placed = self._placed.get(service.key)
            if placed is not None and not self._rehashes(placed, service, keys):
                known = {member.address: placed.numbers.get(member.address) for member in service.members}
                if None not in known.values():
                    base = placed.entry.destinations
                    plans[service.key] = _Plan(placed.entry, {who: at - base for who, at in known.items() if at})
                    continue
            if room is None:
                wanted = {service.key for service in desired.services}
                room = rooms(self.memory, self._placed, wanted, differing, lambda freed: self._rests(freed, idle))
            if placed is None:
                backends, on_dead = len(service.members), int(service.on_dead)
                count, capacity = slot_count(backends), destination_count(backends)
                first, base = room.slots.reserve(count), room.numbers.reserve(capacity)
                entry = Entry(service.key, first, count, base, capacity, on_dead)
                indexes = {member.address: index for index, member in enumerate(service.members, 1)}
            else:
                entry, indexes = self._numbering(placed.entry, service, idle)
                if entry.capacity != placed.entry.capacity:
                    entry = replace(entry, destinations=room.numbers.reserve(entry.capacity))
            if placed is not None and self._rehashes(placed, service, keys):
                if not shape.previous:
                    raise NoRoom(f"the hash of {service.key} changes, and the program cannot ask the one before")
                count = slot_count(len(service.members))
                slots_before, count_before = entry.slots, entry.slot_count
                entry = replace(entry, slots=room.slots.reserve(count), slot_count=count)
                entry = replace(entry, previous_slots=slots_before, previous_count=count_before)
            if not shape.wide and entry.capacity > NARROW_TRACKED:
                raise NoRoom(f"{service.key} has too many backends for slots of one byte")
            plans[service.key] = _Plan(entry, indexes)
        return plans

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
            if identities.get(number, "used"):
                had[self.memory.backend(number)] = index
                if not freed or self._rests(freed, idle):
                    continue
            free.append(index)
        indexes = {member.address: had[member.address] for member in service.members if member.address in had}
        known = set(indexes.values())
        free = [index for index in free if index not in known]
        new = [member.address for member in service.members if member.address not in had]
        if len(new) > len(free):
            needed = entry.capacity - 1 - len(free) + len(new)
            limit = INDEX_LIMIT if self.memory.shape.wide or needed >= NARROW_TRACKED else NARROW_TRACKED
            room = destination_count(max(len(service.members), min(needed, INDEX_LIMIT - 1)))
            capacity = min(limit, max(room, 2 * entry.capacity))
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
        settings.put(0, "idle", desired.idle)
        settings.put(0, "pass_unknown_port", int(desired.pass_unknown_port))
        self._idle = desired.idle
        if desired.probe is not None:
            settings.put_bytes(0, "probe_mac", desired.probe.macs)
            settings.put(0, "probe_address", destinations.network_word(desired.probe.address))
            settings.put_bytes(0, "probe_address6", desired.probe.address6.packed)
            settings.put(0, "probe_interface", desired.probe.interface)

    def _write_lookup(self, keys: Keys | None = None) -> None:
        entries = [placed.entry for placed in self._placed.values()]
        visible = (entries, dict(self._up), keys or lookup.keys(self.memory))
        if visible != self._visible:
            before, self._visible = self._visible, None
            lookup.write(self.memory, entries, self._up, keys, before and before[:2])
            self._visible = visible

    def _remove(self, gone: Collection[ServiceKey], time: int) -> None:
        """Take services out of the lookup, and only then what they had."""
        removed = [self._placed.pop(key) for key in gone]
        self._returns.remove(gone)
        if removed:
            self._write_lookup()
        for placed in removed:
            for number in placed.numbers.values():
                destinations.free(self.memory, number, time)

    def _move(self, plans: Mapping[ServiceKey, _Plan], time: int) -> None:
        """Larger ranges of numbers for services; indexes inside them, and so slots and flows, stay as they are."""
        left: list[Entry] = []
        for key, plan in plans.items():
            placed = self._placed.get(key)
            if placed is None or placed.entry.capacity == plan.entry.capacity:
                continue
            old, base = placed.entry, plan.entry.destinations
            destinations.clear_range(self.memory, base, plan.entry.capacity)
            destinations.copy_range(self.memory, old.destinations, base, old.capacity)
            # Slots that begin anew are not filled yet: the lookup must not name them here.
            placed.entry = replace(old, destinations=base, capacity=plan.entry.capacity)
            placed.numbers = {address: number - old.destinations + base for address, number in placed.numbers.items()}
            left.append(old)
        if left:
            self._write_lookup()
        identities = self.memory.identities
        for old in left:
            for number in range(old.destinations, old.destinations + old.capacity):
                if identities.get(number, "used") and not identities.get(number, "freed"):
                    identities.put(number, "freed", max(1, time))

    def _write_service(self, service: DesiredService, plan: _Plan, time: int) -> int:
        placed = self._placed.get(service.key)
        fresh = placed is None
        placed = placed or self._place(plan.entry)
        anew = placed.entry.slots != plan.entry.slots
        written, placed.written = placed.written, None  # what fails halfway is written whole the next time
        placed.entry = replace(plan.entry, on_dead=int(service.on_dead))
        numbers = {address: plan.entry.destinations + index for address, index in plan.indexes.items()}
        before = {member.address: member for member in written.members} if written else {}
        alike = written is not None and written.sent_alike(service)
        for member in service.members:
            number, then = numbers[member.address], before.get(member.address)
            if not alike or then != member or placed.numbers.get(member.address) != number:
                destinations.write(self.memory, number, service, member, self._legs)
                self._rerouted = self._rerouted or then is None or then.hop != member.hop
        self._returns.write(service, numbers)
        self.memory.fence()
        available = [m for m in service.members if m.state is State.AVAILABLE and m.weight > 0]
        owners = maglev.table([(m.address, m.weight) for m in available], plan.entry.slot_count)
        index = [plan.indexes[m.address] for m in available] + [NO_DESTINATION]
        answers = [index[owner] for owner in owners]
        if anew:
            placed.slots = SlotTable(self.memory, plan.entry.slots, plan.entry.slot_count)
            placed.slots.begin(answers, time)
            changed = plan.entry.slot_count
        elif fresh:
            changed = placed.slots.fill(answers)
        else:
            changed = placed.slots.assign(answers, time, remember=service.tracking)
        self.numbered += placed.numbers != numbers
        for address in placed.numbers.keys() - numbers.keys():
            destinations.free(self.memory, placed.numbers[address], time)
        placed.numbers = numbers
        placed.written = service
        return changed

    def _place(self, entry: Entry) -> _Placed:
        """Make room for a new service; nothing finds it before the lookup is written."""
        slots = SlotTable(self.memory, entry.slots, entry.slot_count)
        destinations.clear_range(self.memory, entry.destinations, entry.capacity)
        placed = self._placed[entry.key] = _Placed(entry, slots, {})
        return placed

    def sweep(self, services: Sequence[DesiredService]) -> int:
        """Settle slots whose time has come; returns how many. Of very many tracked ones, some have their turn later."""
        time = self.memory.time
        settled = 0
        looked, first = 0, self._swept if self._swept < len(services) else 0
        for number in range(len(services)):
            service = services[(first + number) % len(services)]
            placed = self._placed.get(service.key)
            if looked >= SWEEP:
                self._swept = (first + number) % len(services)
                break
            if placed is not None and placed.slots.tracked:
                looked += len(placed.slots.tracked)
                settled += placed.slots.sweep(time, self._idle, min(service.grace, self._idle))
        asking = [placed for placed in self._placed.values() if placed.entry.previous_count]
        done = [placed for placed in asking if not placed.slots.asks()]
        for placed in done:
            placed.entry = replace(placed.entry, previous_slots=0, previous_count=0)
        self._flows.step(self.memory, any(placed.slots.tracked for placed in self._placed.values()))
        keys = lookup.keys(self.memory)
        if len(done) == len(asking) and keys.previous != keys.current:
            # Nobody asks the hash of before: those that did are settled, or gone.
            keys = Keys(keys.current, keys.current)
            self._write_lookup(keys)
        elif done:
            self._write_lookup(keys)
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
