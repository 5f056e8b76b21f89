"""From what is desired to what the tables say: numbering, Maglev, slots, lookup; level-triggered.

`Tables` works on memory that may have been written by an earlier process: it reads what is there, and only stores what
differs. Order of stores: destinations, then histories, then slots, then the lookup that makes a new service visible.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from appliance.dataplane import destinations, lookup, maglev
from appliance.dataplane.abi import NARROW_TRACKED, NO_DESTINATION
from appliance.dataplane.desired import Desired, DesiredService
from appliance.dataplane.enums import State
from appliance.dataplane.flowsweep import FlowSweep
from appliance.dataplane.hashchange import new_keys, slot_counts
from appliance.dataplane.hashing import coefficients
from appliance.dataplane.legs import Legs
from appliance.dataplane.lookup import Entry, Keys
from appliance.dataplane.memory import Memory
from appliance.dataplane.numbering import FIRST_DESTINATION, indexes_of, numbers_of, resting
from appliance.dataplane.regions import reserve
from appliance.dataplane.shape import destination_count
from appliance.dataplane.slots import SlotTable
from appliance.errors import NoRoom
from appliance.model import Address, ServiceKey


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
        self._visible: tuple[object, ...] = ()
        self._legs = Legs(memory)
        self._flows = FlowSweep(left=memory.shape.sets * 8)
        for key, entry in lookup.entries(memory).items():
            slots = SlotTable(memory, entry.slots, entry.slot_count)
            slots.adopt(remember_all=entry.remember_all)
            self._placed[key] = _Placed(entry, slots, numbers_of(memory, entry))

    def apply(self, desired: Desired) -> Applied:
        """Make the tables say what is desired. Raises PlanError, with nothing changed, where it does not fit."""
        keys = new_keys(self.memory, self._entries().values(), desired.seed, self._idle)
        plans = self._plan(desired, keys)
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
        if plans:
            self._legs.keep(set(self.memory.destinations.column("leg")))
        self._up = {key.vip: False for key in self._placed} | dict(desired.vips)
        self._write_lookup(keys)
        return applied

    def needs_previous(
        self, seed: bytes, sizes: Mapping[ServiceKey, int], sticky: Mapping[ServiceKey, bool] | None = None
    ) -> bool:
        """Whether services with so many backends, under this seed, need a program that can ask the generation before.

        Those that `sticky` does not name stay as they are.
        """
        entries = self._entries()
        if any(entry.previous_count for entry in entries.values()):
            return True
        if entries and lookup.keys(self.memory).current != coefficients(seed):
            return True
        now = {key: entry.sticky for key, entry in entries.items()}
        wanted = now | dict(sticky or {})
        counts = slot_counts(entries, [(key, size, wanted.get(key, False)) for key, size in sizes.items()])
        return any(
            key in counts and (entry.slot_count < counts[key] or wanted[key] != entry.sticky)
            for key, entry in entries.items()
        )

    def slots_wanted(self, sizes: Mapping[ServiceKey, int], sticky: Mapping[ServiceKey, bool]) -> int:
        """How many slots services with so many backends will have in all, the hash having changed where it must."""
        needs = [(key, size, sticky.get(key, False)) for key, size in sizes.items()]
        return sum(slot_counts(self._entries(), needs).values())

    def _entries(self) -> dict[ServiceKey, Entry]:
        return {key: placed.entry for key, placed in self._placed.items()}

    def _rehashes(self, entry: Entry, service: DesiredService, keys: Keys, count: int) -> bool:
        """Whether a service's slots must begin anew: another seed, too few of them, or `sticky` is new or gone."""
        present = lookup.keys(self.memory)
        if keys.current != present.current:
            return service.tracking
        # Others wait for a program that can ask the generation before, and for their turn.
        if not self.memory.shape.previous or entry.previous_count or keys.previous != keys.current:
            return False
        return entry.slot_count < count or (service.tracking and service.sticky != entry.sticky)

    def _plan(self, desired: Desired, keys: Keys) -> dict[ServiceKey, _Plan]:
        """Find room for every service that differs from what was last written."""
        shape, idle = self.memory.shape, desired.idle
        for what, count in (("services", len(desired.services)), ("VIPs", len(desired.vips))):
            if count > shape.service_limit:
                raise NoRoom(f"{count} {what} do not fit a lookup table of {shape.services} positions")
        wanted = {service.key for service in desired.services}
        kept = [placed.entry for key, placed in self._placed.items() if key in wanted]
        slots = [(entry.slots, entry.slot_count) for entry in kept]
        slots += [(entry.previous_slots, entry.previous_count) for entry in kept if entry.previous_count]
        numbers = [(entry.destinations, entry.capacity) for entry in kept]
        gone = [placed.entry for key, placed in self._placed.items() if key not in wanted]
        avoided = resting(self.memory, gone, idle) if self._numbers_needed(desired) else []
        counts = slot_counts(self._entries(), ((s.key, len(s.members), s.sticky) for s in desired.services))
        plans = {}
        for service in desired.services:
            placed, count = self._placed.get(service.key), counts[service.key]
            rehashes = placed is not None and self._rehashes(placed.entry, service, keys, count)
            if placed is None:
                capacity = destination_count(len(service.members))
                first = reserve(slots, [], count, 0, shape.slots, "slots")
                base = reserve(numbers, avoided, capacity, FIRST_DESTINATION, shape.destinations, "destinations")
                entry = Entry(service.key, first, count, base, capacity, int(service.on_dead), sticky=service.sticky)
                indexes = {member.address: index for index, member in enumerate(service.members, 1)}
            elif placed.written != service or rehashes:
                entry, indexes = indexes_of(self.memory, placed.entry, service, idle)
                if entry.capacity != placed.entry.capacity:
                    size, limit = entry.capacity, shape.destinations
                    base = reserve(numbers, avoided, size, FIRST_DESTINATION, limit, "destinations")
                    entry = replace(entry, destinations=base)
            else:
                continue
            if placed is not None and rehashes:
                seeded = keys.current != lookup.keys(self.memory).current
                entry = self._anew(entry, service, count, slots, must=seeded)
            elif not service.tracking:
                entry = replace(entry, sticky=service.sticky)
            if service.remember_all and not shape.tracks_all:
                raise NoRoom(f"{service.key} remembers all flows, and the program cannot")
            entry = replace(entry, remember_all=service.remember_all)
            if not shape.wide and entry.capacity > NARROW_TRACKED:
                raise NoRoom(f"{service.key} has too many backends for slots of one byte")
            plans[service.key] = _Plan(entry, indexes)
        return plans

    def _anew(
        self, entry: Entry, service: DesiredService, count: int, slots: list[tuple[int, int]], *, must: bool
    ) -> Entry:
        """The entry with new slots, and the former ones as those of before.

        Where they need not be new, and there is no room for them now, the service goes on as it is, and is tried again
        whenever something changes: what others need must not wait.
        """
        shape = self.memory.shape
        if not shape.previous:
            raise NoRoom(f"the hash of {service.key} changes, and the program cannot ask the one before")
        try:
            first = reserve(slots, [], count, 0, shape.slots, "slots")
        except NoRoom:
            if must:
                raise
            return entry
        return replace(
            entry,
            slots=first,
            slot_count=count,
            sticky=service.sticky,
            previous_slots=entry.slots,
            previous_count=entry.slot_count,
            previous_sticky=entry.sticky,
        )

    def _numbers_needed(self, desired: Desired) -> bool:
        """Whether any backend has no number yet: mostly not, and then nobody need look which are free."""
        known = {key: placed.numbers.keys() for key, placed in self._placed.items()}
        return any(
            service.key not in known or any(member.address not in known[service.key] for member in service.members)
            for service in desired.services
        )

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
            lookup.write(self.memory, entries, self._up, keys)
            self._visible = visible

    def _remove(self, gone: Collection[ServiceKey], time: int) -> None:
        """Take services out of the lookup, and only then what they had."""
        removed = [self._placed.pop(key) for key in gone]
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
        placed = self._placed.get(service.key) or self._place(plan.entry)
        anew = placed.entry.slots != plan.entry.slots
        placed.entry = replace(plan.entry, on_dead=int(service.on_dead))
        numbers = {address: plan.entry.destinations + index for address, index in plan.indexes.items()}
        for member in service.members:
            destinations.write(self.memory, numbers[member.address], service.key, member, self._legs)
        self.memory.fence()
        available = [m for m in service.members if m.state is State.AVAILABLE and m.weight > 0]
        owners = maglev.table([(m.address, m.weight) for m in available], plan.entry.slot_count)
        index = [plan.indexes[m.address] for m in available] + [NO_DESTINATION]
        if anew:
            placed.slots = SlotTable(self.memory, plan.entry.slots, plan.entry.slot_count)
            placed.slots.begin([index[owner] for owner in owners], time, remember_all=service.remember_all)
            changed = plan.entry.slot_count
        else:
            placed.slots.remember_all(service.remember_all, time)
            new, remember = [index[owner] for owner in owners], service.tracking
            changed = placed.slots.assign(new, time, remember=remember, idle=self._idle)
        self.numbered += placed.numbers != numbers
        for address in placed.numbers.keys() - numbers.keys():
            destinations.free(self.memory, placed.numbers[address], time)
        placed.numbers = numbers
        placed.written = service
        return changed

    def _place(self, entry: Entry) -> _Placed:
        """Make room for a new service; nothing finds it before the lookup is written."""
        slots = SlotTable(self.memory, entry.slots, entry.slot_count)
        slots.clear()
        destinations.clear_range(self.memory, entry.destinations, entry.capacity)
        placed = self._placed[entry.key] = _Placed(entry, slots, {})
        return placed

    def sweep(self, services: Sequence[DesiredService]) -> int:
        """Settle slots whose time has come; returns how many."""
        time = self.memory.time
        settled = 0
        for service in services:
            placed = self._placed.get(service.key)
            if placed is not None and placed.slots.tracked:
                settled += placed.slots.sweep(time, self._idle, min(service.grace, self._idle))
        asking = [placed for placed in self._placed.values() if placed.entry.previous_count]
        done = [placed for placed in asking if not placed.slots.asks()]
        for placed in done:
            placed.entry = replace(placed.entry, previous_slots=0, previous_count=0, previous_sticky=False)
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

    def asks(self) -> bool:
        """Whether any service still asks the generation before."""
        return any(placed.entry.previous_count for placed in self._placed.values())

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
