"""The same site once more, the plain way: whole balancers, all slots, packet by packet, everything at its own time.

Each balancer has its own memory, filled by the product's `Tables`, swept every second; packets have addresses and
ports, and the model hashes them. Each record is delivered to each balancer when it arrives. Packets come from a trace
of the run that is to be judged, since both must meet the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from ipaddress import IPv4Address
from random import Random

from appliance.dataplane.abi import FIN_LIFE
from appliance.dataplane.desired import Desired, DesiredService, Hop, Member
from appliance.dataplane.enums import Reason, State
from appliance.dataplane.hashing import coefficients, flow_hash, slot_of
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.dataplane.model.packet import FIN, TCP, Ip, Transport
from appliance.dataplane.model.tracking import Tracking
from appliance.dataplane.shape import Shape
from appliance.dataplane.slots import SlotTable, ToldSlot
from appliance.dataplane.slotshare import learn_table, retell
from appliance.dataplane.tables import Tables
from bench.simulate.copies import SERVICE, Channel, first_retelling, next_round, second
from bench.simulate.history import FIRST_BACKEND, History
from bench.simulate.learning import learn_flow, learn_slot, told_slot
from bench.simulate.schemes import Connection, Telling

SEED = bytes(range(16))
COEFFICIENTS = coefficients(SEED)


@dataclass(frozen=True)
class Packet:
    """One packet of the trace: who sends it, and which balancer it comes to."""

    time: float
    order: int
    flow: Connection
    slot: int
    who: int
    transport: Transport


@dataclass
class Trace:
    """A scheme that only writes down. Nobody is answered: it says what the connection expects."""

    slot: int
    packets: list[Packet]
    name: str = "trace"

    def answer(self, flow: Connection, who: int, time: float, transport: Transport) -> int:
        self.packets.append(Packet(time, len(self.packets), flow, self.slot, who, transport))
        return flow.owner

    def joined(self, who: int, time: float) -> None:
        pass

    def closed(self, flow: Connection, time: float) -> None:
        pass


class Clients:
    """Addresses and ports for connections, by the slot that they must fall into."""

    def __init__(self, slots: int) -> None:
        self._slots, self._random = slots, Random(7)
        self._ready: dict[int, list[tuple[IPv4Address, int]]] = {}
        self._known: dict[int, tuple[IPv4Address, int]] = {}

    def of(self, packet: Packet) -> tuple[IPv4Address, int]:
        """The client of a packet's connection."""
        if packet.flow.name not in self._known:
            ready = self._ready.setdefault(packet.slot, [])
            while not ready:
                source, port = IPv4Address(self._random.getrandbits(32)), self._random.randrange(1024, 65536)
                flow = flow_hash(COEFFICIENTS, source, port, SERVICE.vip, SERVICE.port, TCP)
                self._ready.setdefault(slot_of(flow, self._slots), []).append((source, port))
            self._known[packet.flow.name] = ready.pop()
        return self._known[packet.flow.name]


@dataclass
class Balancer:
    """One that is there: its tables and its half of the program."""

    number: int
    history: History
    talks: bool
    tables: Tables = field(init=False)
    tracking: Tracking = field(init=False)
    remembered: bool = False
    refused: int = 0
    known: int = -1

    def __post_init__(self) -> None:
        shape = Shape(services=8, destinations=512, slots=1 << 12, sets=1 << 12, fleet=self.talks)
        self.tables = Tables(Memory.plain(shape))
        self.tracking = Tracking(self.memory, self._count)

    @property
    def memory(self) -> Memory:
        return self.tables.memory

    @property
    def slots(self) -> SlotTable:
        slots = self.tables.slots(SERVICE)
        assert slots is not None
        return slots

    @property
    def entry(self) -> Entry:
        entry = self.tables.entry(SERVICE)
        assert entry is not None
        return entry

    def _count(self, reason: Reason) -> None:
        self.remembered = self.remembered or reason is Reason.REMEMBERED
        self.refused += reason is Reason.REFUSED

    def clock(self, coarse: int) -> None:
        """Let time pass; once for each second that somebody looks at."""
        if coarse > self.memory.time:
            self.memory.settings.put(0, "time", coarse)
            if self.known >= 0:
                self.tables.sweep([self.desired().services[0]])

    def desired(self) -> Desired:
        """What the tables should say after so many events."""
        history = self.history
        states = dict(history.start)
        for event in history.churn.backends[: max(0, self.known)]:
            states.update(dict.fromkeys(event.backends, event.state))
        hop = Hop(2, bytes(12), IPv4Address("10.255.255.1"))
        members = [
            Member(FIRST_BACKEND + who, 1, state if state is not State.NONE else State.DEAD, hop)
            for who, state in states.items()
        ]
        service = DesiredService(SERVICE, tuple(members), history.site.idle)
        return Desired((service,), {SERVICE.vip: True}, SEED, history.site.idle)

    def see(self, number: int) -> list[int]:
        """Act on an event; returns the slots that changed."""
        before = self.slots.owners() if self.known >= 0 else []
        self.known = number
        self.tables.apply(self.desired())
        after = self.slots.owners()
        return [slot for slot, owner in enumerate(after) if before and owner != before[slot]]


class Plain:
    """The whole site; `channel` None: balancers do not talk."""

    def __init__(self, history: History, channel: Channel | None, packets: Iterable[Packet]) -> None:
        self.history, self.channel, site = history, channel, history.site
        self.balancers = {who: self._new(who, -1.0) for who in range(site.balancers)}
        self.broken: set[int] = set()
        self.remembered = 0
        self._owners: dict[int, int] = {}
        self._clients = Clients(site.table)
        self._told: list[tuple[Telling, Packet]] = []
        self._ever: set[int] = set()
        self._pending: dict[tuple[int, int], Telling] = {}
        self._order = 0
        self._queue: list[tuple[float, int, str, tuple[object, ...]]] = []
        for packet in sorted(packets, key=lambda packet: (packet.time, packet.order)):
            self._at(packet.time, "packet", packet)
        for number in range(1, len(history.churn.backends) + 1):
            for who in range(site.balancers):
                self._at(history.arrivals[number][who], "see", who, number)
        for event in history.churn.balancers:
            for who in event.balancers:
                self._at(event.time, "join" if event.up else "go", who)
        for who in range(site.balancers if channel else 0):
            time, every = first_retelling(who, site.idle), retell(site.idle, site.idle)
            while time < site.duration:
                self._at(time, "retell", who)
                time += every
        for tick in range(int(site.duration) + 1):
            self._at(float(tick), "tick")
        heapify(self._queue)

    def _new(self, who: int, time: float) -> Balancer:
        balancer = Balancer(who, self.history, self.channel is not None)
        balancer.clock(max(1, second(time)))
        balancer.see(self.history.known(who, time))
        return balancer

    def _at(self, time: float, what: str, *arguments: object) -> None:
        self._order += 1
        heappush(self._queue, (time, 0 if what == "tick" else self._order, what, arguments))

    def run(self) -> None:
        while self._queue and self._queue[0][0] <= self.history.site.duration:
            time, _, what, arguments = heappop(self._queue)
            getattr(self, "_" + what)(time, *arguments)

    def _tick(self, time: float) -> None:
        for balancer in self.balancers.values():
            balancer.clock(second(time))

    def _go(self, time: float, who: int) -> None:
        del self.balancers[who]

    def _see(self, time: float, who: int, number: int) -> None:
        balancer = self.balancers.get(who)
        if balancer is None or balancer.known >= number:
            return
        changed = balancer.see(number)
        if self.channel:
            for other in range(self.history.site.balancers):
                if other != who:
                    said = {slot: told_slot(balancer.slots, slot, second(time)) for slot in changed}
                    self._at(time + self.channel.delay(number, other), "slots", other, said)

    def _slots(self, time: float, who: int, said: dict[int, ToldSlot]) -> None:
        balancer = self.balancers.get(who)
        if balancer:
            for slot, told in said.items():
                learn_slot(balancer.slots, slot, told, second(time), self.history.site.idle)

    def _retell(self, time: float, who: int) -> None:
        """Say everything about tracked slots again."""
        balancer = self.balancers.get(who)
        if balancer is None or self.channel is None:
            return
        balancer.clock(second(time))
        said = {slot: told_slot(balancer.slots, slot, second(time)) for slot in sorted(balancer.slots.tracked)}
        name = Telling(time, who, 0).name
        for other in range(self.history.site.balancers):
            if other != who:
                self._at(time + self.channel.delay(name, other), "slots", other, said)

    def _join(self, time: float, who: int) -> None:
        self.balancers[who] = balancer = self._new(who, time)
        others = [one for number, one in sorted(self.balancers.items()) if number != who]
        if self.channel is None or not others:
            return
        coarse, idle = second(time), self.history.site.idle
        others[0].clock(coarse)
        for number in sorted(others[0].slots.tracked):
            learn_slot(balancer.slots, number, told_slot(others[0].slots, number, coarse), coarse, idle, joining=True)
        addresses = {index: FIRST_BACKEND + index - 1 for index in range(1, balancer.entry.capacity)}
        learn_table(balancer.tables, SERVICE, [addresses.get(one) for one in others[0].slots.owners()], joining=True)
        for telling, packet in self._told:
            arrival = telling.time + self.channel.delay(telling.name, who)
            if arrival <= time:
                self._hear(time, who, telling, packet)
            elif telling.sender == who:
                self._at(arrival, "hear", who, telling, packet)

    def _tell(self, time: float, telling: Telling, packet: Packet) -> None:
        if telling.sender not in self.balancers or not telling.told:
            return
        self._told.append((telling, packet))
        assert self.channel is not None
        for other in range(self.history.site.balancers):
            if other != telling.sender:
                self._at(time + self.channel.delay(telling.name, other), "hear", other, telling, packet)

    def _hear(self, time: float, who: int, telling: Telling, packet: Packet) -> None:
        balancer, coarse = self.balancers.get(who), second(time)
        if balancer is not None and packet.flow.name not in self.broken:
            balancer.clock(coarse)
            left = telling.value + self.history.site.idle - coarse
            owner = self._owners[packet.flow.name]
            learn_flow(balancer.memory, balancer.entry, self._hash(packet), owner, telling, left)

    def _hash(self, packet: Packet) -> int:
        source, port = self._clients.of(packet)
        return flow_hash(COEFFICIENTS, source, port, SERVICE.vip, SERVICE.port, TCP)

    def _packet(self, time: float, packet: Packet) -> None:
        flow, balancer = packet.flow, self.balancers[packet.who]
        if flow.name in self.broken:
            return
        balancer.clock(second(time))
        source, port = self._clients.of(packet)
        ip = Ip(14, 4, 20, 40, False, 64, TCP, source, IPv4Address(int(SERVICE.vip)))
        transport = Transport(port, SERVICE.port, 20, packet.transport.flags)
        balancer.remembered = False
        index = balancer.tracking.choose(balancer.entry, ip, transport).index
        if transport.opens:
            self._owners[flow.name] = index
        elif index != self._owners[flow.name]:
            self.broken.add(flow.name)
        self.remembered += balancer.remembered
        if self.channel and packet.slot in balancer.slots.tracked:
            self._note(time, packet, balancer)

    def _note(self, time: float, packet: Packet, balancer: Balancer) -> None:
        """What is told of a flow, and when: news at once, the rest in the daemon's round."""
        who, name, idle = packet.who, packet.flow.name, self.history.site.idle
        news = list(balancer.tracking.news)
        balancer.tracking.news.clear()
        for one in news:
            telling = Telling(time, who, one.expiry - idle, news=True, candidate=one.candidate, opened=one.opened)
            self._tell(time, telling, packet)
        if balancer.remembered:
            self._ever.add(name)
        if name not in self._ever:
            return
        closing = bool(packet.transport.flags & FIN) and idle > FIN_LIFE
        pending = self._pending.get((name, who))
        if pending is not None and pending.time >= time:
            pending.value, pending.told = second(time), pending.told and not closing
            return
        when = next_round(packet.flow, who, time, idle)
        telling = Telling(when, who, second(time), not closing and self.history.roster.goes(who, time) > when)
        self._pending[name, who] = telling
        self._at(when, "tell", telling, packet)
