"""Nodes of a fleet over plain memory: what one remembers the others are told, a little later and in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

from appliance.dataplane import flowshare, slotshare
from appliance.dataplane.desired import Desired, DesiredService
from appliance.dataplane.enums import State
from appliance.dataplane.flowshare import WHOLE, FlowLearner
from appliance.dataplane.shape import Shape
from appliance.dataplane.slotshare import SharedSlots
from appliance.dataplane.tables import Tables
from appliance.model import Address, ServiceKey
from tests.unit.dataplane.clients import Clients
from tests.unit.dataplane.desires import GRACE, IDLE, OTHER, SHAPE, desired, member, memory_at, service

FLEET = replace(SHAPE, fleet=True, tracks_all=True)
RETELL = slotshare.retell(IDLE, GRACE)
ROUND = flowshare.round_time(IDLE)


@dataclass(frozen=True)
class ToldSlots:
    """Tracked slots, as a record carries them."""

    key: ServiceKey
    count: int
    groups: tuple[SharedSlots, ...]


@dataclass(frozen=True)
class ToldFlow:
    """A flow, as a record carries it."""

    key: ServiceKey
    backend: Address
    name: int
    left: int
    bits: int
    candidate: bool
    opened: bool = False


Record = ToldSlots | ToldFlow


@dataclass
class Node:
    """A balancer. `number` makes it differ from others: in its clock, its numbering, the size of its flow table."""

    number: int
    shape: Shape = FLEET
    wanted: Desired = field(default_factory=Desired)
    tables: Tables = field(init=False)
    clients: Clients = field(init=False)
    told: int = 0
    """How many records it has sent."""
    arrived: dict[int, set[int]] = field(default_factory=dict)
    """Of each other node, which of its records have come."""

    def __post_init__(self) -> None:
        shape = replace(self.shape, sets=self.shape.sets << 2 * self.number)
        self.tables = Tables(memory_at(1000 + 7777 * self.number, shape))
        self.clients = Clients(self.tables.memory)

    def open(self, wanted: Desired) -> None:
        """Begin with this state, each node with numbers and slots of its own."""
        before = service(OTHER, [member(90 + number) for number in range(3 * self.number)])
        first = [replace(one, members=one.members[self.number :]) for one in wanted.services]
        self.tables.apply(desired(*([before] if self.number else []), *first))
        self.apply(wanted)
        self.pass_time(3 * IDLE)
        for _ in range(3):
            self.pass_time(1)
        tracked = self.tables.tracked()
        assert not any(tracked[one.key] for one in wanted.services if not one.remember_all)

    def apply(self, wanted: Desired) -> None:
        """Bring the tables to a state."""
        self.wanted = wanted
        self.tables.apply(wanted)

    def pass_time(self, seconds: int) -> None:
        """Move the clock, and settle what may be."""
        memory = self.tables.memory
        memory.settings.put(0, "time", memory.time + seconds)
        self.tables.sweep(self.wanted.services)

    def state(self, key: ServiceKey, backend: Address) -> State:
        """What a backend may receive."""
        return self.tables.memory.state(self.tables.numbers(key)[backend])

    def news(self) -> list[Record]:
        """What the program has told since it was last asked."""
        memory, found = self.tables.memory, list[Record]()
        while self.clients.model.news:
            one = self.clients.model.news.popleft()
            known = flowshare.whose(memory, one.destination)
            assert known is not None
            left = one.expiry - memory.time
            found.append(ToldFlow(*known, one.name, left, WHOLE, one.candidate, one.opened))
        return found

    def slots(self, within: int | None = None) -> list[Record]:
        """The tracked slots."""
        found: list[Record] = []
        for one in self.wanted.services:
            slots = self.tables.slots(one.key)
            assert slots is not None
            if groups := slotshare.shared(self.tables, one.key, within):
                found.append(ToldSlots(one.key, slots.count, tuple(groups)))
        return found

    def flows(self, least: int = 1) -> list[Record]:
        """The flows of the whole table."""
        memory, found, bits = self.tables.memory, list[Record](), flowshare.name_bits(self.tables.memory)
        for one in flowshare.flows_of(memory, 0, memory.shape.owners, least):
            known = flowshare.whose(memory, one.destination)
            assert known is not None
            found.append(ToldFlow(*known, one.name, one.left, bits, one.candidate))
        return found

    def learn(self, record: Record, *, joining: bool = False) -> None:
        """Take in a record of another node."""
        if isinstance(record, ToldSlots):
            slotshare.learn(self.tables, record.key, record.count, record.groups, joining=joining)
            return
        entry, numbers = self.tables.entry(record.key), self.tables.numbers(record.key)
        if entry is None or record.backend not in numbers:
            return
        FlowLearner(self.tables.memory).learn(
            entry,
            numbers[record.backend] - entry.destinations,
            record.name,
            record.left,
            bits=record.bits,
            candidate=record.candidate,
            opened=record.opened,
        )


@dataclass(order=True)
class Parcel:
    """A record on its way to a node."""

    at: float
    number: int
    source: int
    target: int
    record: Record = field(compare=False)


@dataclass
class Exchange:
    """What carries records between nodes: each takes `delay` seconds at most, and they overtake one another."""

    nodes: Sequence[Node]
    random: Random
    delay: float
    parcels: list[Parcel] = field(default_factory=list)

    def publish(self, node: Node, records: Sequence[Record], now: float) -> None:
        """Send records to all others."""
        for record in records:
            node.told += 1
            for other in self.nodes:
                if other is not node:
                    at = now + self.random.random() * self.delay
                    self.parcels.append(Parcel(at, node.told, node.number, other.number, record))

    def deliver(self, now: float) -> None:
        """Hand over what has come by now."""
        self.parcels.sort()
        due = [one for one in self.parcels if one.at <= now]
        self.parcels = [one for one in self.parcels if one.at > now]
        for one in due:
            target = self.nodes[one.target]
            target.learn(one.record)
            self.publish(target, target.news(), now)

    def has_come(self, source: Node, number: int, target: Node) -> bool:
        """Whether all records of a node up to this number are with another."""
        if source is target:
            return True
        way = (source.number, target.number)
        return not any((one.source, one.target) == way and one.number <= number for one in self.parcels)


def tracking(one: DesiredService, *, remember_all: bool = False, sticky: bool = False) -> DesiredService:
    """A service that remembers otherwise."""
    return replace(one, remember_all=remember_all, sticky=sticky)
