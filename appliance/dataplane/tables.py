"""From what is desired to what the tables say: numbering, Maglev, slots, lookup; level-triggered.

`Tables` works on memory that may have been written by an earlier process: it reads what is there, and only stores what
differs. Order of stores: destinations, then histories, then slots, then the lookup that makes a new service visible.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from appliance.dataplane import block, destinations, lookup, maglev
from appliance.dataplane.abi import NARROW_TRACKED, NO_DESTINATION
from appliance.dataplane.desired import Desired, DesiredService
from appliance.dataplane.enums import State
from appliance.dataplane.flowsweep import FlowSweep
from appliance.dataplane.hashchange import NOBODY, new_keys, slot_counts
from appliance.dataplane.hashing import coefficients
from appliance.dataplane.lookup import Entry, Keys
from appliance.dataplane.memory import Memory
from appliance.dataplane.numbering import indexes_of, numbers_of, rests
from appliance.dataplane.placed import Applied as Applied
from appliance.dataplane.placed import Placed, Plan, with_values, without_answers
from appliance.dataplane.returns import Returns
from appliance.dataplane.rooms import Rooms, rooms
from appliance.dataplane.shape import destination_count
from appliance.dataplane.slots import SlotTable
from appliance.dataplane.tunnels import Paths
from appliance.errors import NoRoom
from appliance.model import Address, ServiceKey
from appliance.model_address import same_addresses

SWEEP = 1 << 14
"""Tracked slots, a service being as much work as 4, after which a sweep goes on with the next call: about 10 ms."""


class Tables:
    """All services in one generation of the program's memory."""

    def __init__(self, memory: Memory) -> None:
        """Adopt whatever the memory holds."""
        self.memory = memory
        self._placed: dict[ServiceKey, Placed] = {}
        self._up = lookup.vips(memory)
        self._idle = memory.settings.get(0, "idle")
        self.numbered = 0
        """How often a backend has got a number, or another one."""
        self._visible: tuple[list[Entry], dict[Address, bool], Keys] | None = None
        self._applied: Desired | None = None
        """What the last `apply` has brought the tables to; None where it failed, and all must be looked at."""
        self._swept = 0
        """The service with which the next sweep begins."""
        self._paths = Paths(memory)
        self._rerouted = False
        """Whether a destination has got another way out since legs were last given away."""
        self._blocked = block.BlockTable(memory)
        self._returns = Returns(memory)
        self._flows = FlowSweep(left=memory.shape.sets * 8)
        for key, entry in lookup.entries(memory).items():
            slots = SlotTable(memory, entry.slots, entry.slot_count)
            slots.adopt(remember_all=entry.remember_all)
            self._placed[key] = Placed(entry, slots, numbers_of(memory, entry))

    def apply(self, desired: Desired) -> Applied:
        """Make the tables say what is desired. Raises PlanError, with nothing changed, where it does not fit."""
        keys = new_keys(self.memory, (placed.entry for placed in self._placed.values()), desired.seed, self._idle)
        differing = self._differing(desired, keys)
        same, counts, anew = differing is not None, dict[ServiceKey, int](), set[ServiceKey]()
        if differing is None:
            needs = ((one.key, len(one.members), one.sticky) for one in desired.services)
            blank = without_answers(self._placed, desired.fleet_slots)
            entries = {key: entry for key, entry in self._entries().items() if key not in blank}
            counts = slot_counts(entries, needs, desired.fleet_slots)
            anew = {key for key in blank & counts.keys() if counts[key] != self._placed[key].entry.slot_count}
            differing = [one for one in desired.services if self._differs(one, keys, counts[one.key], anew)]
        plans = self._plan(desired, differing, keys, counts, anew)
        block.check(self.memory, desired.blocked)
        self._returns.check(desired.services, plans.keys())
        time = self.memory.time
        applied = Applied()
        former, self._applied = self._applied, None
        self._write_settings(desired)
        self._blocked.write(desired.blocked)
        if self._returns.write_outlets(desired.outlets, self._paths.legs):
            self._rerouted = True
        if not same:
            self._remove((self._placed.keys() - {service.key for service in desired.services}) | anew, time)
        self._move(plans, time)
        for service in differing:
            changed = self._write_service(service, plans[service.key], time)
            if changed:
                applied.changed[service.key] = changed
        if self._rerouted:
            self._paths.keep(self._returns.outlets)
            self._rerouted = False
        steady = same and former is not None and same_addresses(former.vips, desired.vips)
        self._up = (self._up if steady else {key.vip: False for key in self._placed}) | dict(desired.vips)
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
        if keys.current != lookup.keys(self.memory).current or before.fleet_slots != desired.fleet_slots:
            return None
        pairs = [pair for pair in zip(desired.services, before.services, strict=True) if pair[0] is not pair[1]]
        if any(new.key != old.key for new, old in pairs):
            return None
        return [new for new, old in pairs if self._placed[new.key].written != new]

    def _differs(self, service: DesiredService, keys: Keys, count: int, anew: Collection[ServiceKey]) -> bool:
        placed = self._placed.get(service.key)
        return (
            placed is None
            or service.key in anew
            or placed.written != service
            or self._rehashes(placed.entry, service, keys, count)
        )

    def needs_previous(
        self,
        seed: bytes,
        sizes: Mapping[ServiceKey, int],
        sticky: Mapping[ServiceKey, bool] | None = None,
        fleet: Mapping[ServiceKey, int] = NOBODY,
    ) -> bool:
        """Whether services with so many backends, under this seed, need a program that can ask the generation before.

        Those that `sticky` does not name stay as they are; `fleet` are the slots that other nodes have.
        """
        entries = self._entries()
        if any(entry.previous_count for entry in entries.values()):
            return True
        if entries and lookup.keys(self.memory).current != coefficients(seed):
            return True
        now = {key: entry.sticky for key, entry in entries.items()}
        wanted = now | dict(sticky or {})
        counts = slot_counts(entries, [(key, size, wanted.get(key, False)) for key, size in sizes.items()], fleet)
        return any(
            key in counts and (entry.slot_count < counts[key] or wanted[key] != entry.sticky)
            for key, entry in entries.items()
        )

    def slots_wanted(
        self,
        sizes: Mapping[ServiceKey, int],
        sticky: Mapping[ServiceKey, bool],
        fleet: Mapping[ServiceKey, int] = NOBODY,
    ) -> int:
        """How many slots services with so many backends will have in all, the hash having changed where it must."""
        needs = [(key, size, sticky.get(key, False)) for key, size in sizes.items()]
        return sum(slot_counts(self._entries(), needs, fleet).values())

    def _entries(self) -> dict[ServiceKey, Entry]:
        return {key: placed.entry for key, placed in list(self._placed.items())}  # a list: another thread may ask

    def _rehashes(self, entry: Entry, service: DesiredService, keys: Keys, count: int) -> bool:
        """Whether a service's slots must begin anew: another seed, too few of them, or `sticky` is new or gone."""
        present = lookup.keys(self.memory)
        if keys.current != present.current:
            return service.tracking
        # Others wait for a program that can ask the generation before, and for their turn.
        if not self.memory.shape.previous or entry.previous_count or keys.previous != keys.current:
            return False
        return entry.slot_count < count or (service.tracking and service.sticky != entry.sticky)

    def _plan(
        self,
        desired: Desired,
        differing: Sequence[DesiredService],
        keys: Keys,
        counts: Mapping[ServiceKey, int],
        anew: Collection[ServiceKey],
    ) -> dict[ServiceKey, Plan]:
        """Find room for every service that differs from what was last written."""
        shape, idle = self.memory.shape, desired.idle
        for what, count in (("services", len(desired.services)), ("VIPs", len(desired.vips))):
            if count > shape.service_limit:
                raise NoRoom(f"{count} {what} do not fit a lookup table of {shape.services} positions")
        room: Rooms | None = None
        plans = {}
        for service in differing:
            placed = self._placed.get(service.key) if service.key not in anew else None
            count = counts.get(service.key, placed.entry.slot_count if placed else 0)
            rehashes = placed is not None and self._rehashes(placed.entry, service, keys, count)
            known = {member.address: placed.numbers.get(member.address) for member in service.members} if placed else {}
            if placed is not None and not rehashes and None not in known.values():
                entry, base = placed.entry, placed.entry.destinations
                indexes = {who: at - base for who, at in known.items() if at}
            else:
                if room is None:
                    wanted = {one.key for one in desired.services}
                    room = rooms(self.memory, self._placed, wanted, differing, lambda at: rests(self.memory, at, idle))
                if placed is None:
                    capacity = destination_count(len(service.members))
                    first, base = room.slots.reserve(count), room.numbers.reserve(capacity)
                    entry = Entry(
                        service.key, first, count, base, capacity, int(service.on_dead), sticky=service.sticky
                    )
                    indexes = {member.address: index for index, member in enumerate(service.members, 1)}
                else:
                    entry, indexes = indexes_of(self.memory, placed.entry, service, idle)
                    if entry.capacity != placed.entry.capacity:
                        entry = replace(entry, destinations=room.numbers.reserve(entry.capacity))
                if rehashes:
                    seeded = keys.current != lookup.keys(self.memory).current
                    entry = self._anew(entry, service, count, room, must=seeded)
            if not rehashes and not service.tracking:
                entry = with_values(entry, sticky=service.sticky)
            if service.remember_all and not shape.tracks_all:
                raise NoRoom(f"{service.key} remembers all flows, and the program cannot")
            entry = with_values(entry, remember_all=service.remember_all)
            if not shape.wide and entry.capacity > NARROW_TRACKED:
                raise NoRoom(f"{service.key} has too many backends for slots of one byte")
            plans[service.key] = Plan(entry, indexes)
        return plans

    def _anew(self, entry: Entry, service: DesiredService, count: int, room: Rooms, *, must: bool) -> Entry:
        """The entry with new slots, and the former ones as those of before.

        Where they need not be new, and there is no room for them now, the service goes on as it is, and is tried again
        whenever something changes: what others need must not wait.
        """
        shape = self.memory.shape
        if not shape.previous:
            raise NoRoom(f"the hash of {service.key} changes, and the program cannot ask the one before")
        try:
            first = room.slots.reserve(count)
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

    def _move(self, plans: Mapping[ServiceKey, Plan], time: int) -> None:
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

    def _write_service(self, service: DesiredService, plan: Plan, time: int) -> int:
        placed = self._placed.get(service.key)
        fresh = placed is None
        placed = placed or self._place(plan.entry)
        anew = placed.entry.slots != plan.entry.slots
        written, placed.written = placed.written, None  # what fails halfway is written whole the next time
        placed.entry = with_values(plan.entry, on_dead=int(service.on_dead))
        numbers = {address: plan.entry.destinations + index for address, index in plan.indexes.items()}
        before = {member.address: member for member in written.members} if written else {}
        alike = written is not None and written.sent_alike(service)
        for member in service.members:
            number, then = numbers[member.address], before.get(member.address)
            if not alike or then != member or placed.numbers.get(member.address) != number:
                destinations.write(self.memory, number, plan.entry.destinations, service, member, self._paths)
                self._rerouted = self._rerouted or then is None or then.hop != member.hop
        self._returns.write(service, numbers)
        self.memory.fence()
        available = [m for m in service.members if m.state is State.AVAILABLE and m.weight > 0]
        owners = maglev.table([(m.address, m.weight) for m in available], plan.entry.slot_count)
        index = [plan.indexes[m.address] for m in available] + [NO_DESTINATION]
        answers = [index[owner] for owner in owners]
        if anew:
            placed.slots = SlotTable(self.memory, plan.entry.slots, plan.entry.slot_count)
            placed.slots.begin(answers, time, remember_all=service.remember_all)
            changed = plan.entry.slot_count
        elif fresh:
            changed = placed.slots.fill(answers)
            placed.slots.remember_all(service.remember_all, time)
        else:
            placed.slots.remember_all(service.remember_all, time)
            changed = placed.slots.assign(answers, time, remember=service.tracking, idle=self._idle)
        self.numbered += placed.numbers != numbers
        for address in placed.numbers.keys() - numbers.keys():
            destinations.free(self.memory, placed.numbers[address], time)
        placed.numbers = numbers
        placed.written = service
        return changed

    def _place(self, entry: Entry) -> Placed:
        """Make room for a new service; nothing finds it before the lookup is written."""
        slots = SlotTable(self.memory, entry.slots, entry.slot_count)
        destinations.clear_range(self.memory, entry.destinations, entry.capacity)
        placed = self._placed[entry.key] = Placed(entry, slots, {})
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
            looked += 4 + (len(placed.slots.tracked) if placed is not None else 0)
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

    def tracks(self, key: ServiceKey) -> bool:
        """Whether slots of a service may be tracked at all."""
        placed = self._placed.get(key)
        return placed is not None and (placed.written is None or placed.written.tracking)

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
