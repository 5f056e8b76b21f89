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

from appliance.dataplane.desired import Desired, DesiredService, Hop, Member
from appliance.dataplane.enums import Reason, State
from appliance.dataplane.hashing import coefficients, flow_hash, slot_of
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.dataplane.model.packet import TCP, Ip, Transport
from appliance.dataplane.model.tracking import Tracking
from appliance.dataplane.shape import Shape
from appliance.dataplane.slots import SlotTable
from appliance.dataplane.tables import Tables
from bench.simulate.copies import SERVICE, Channel, second
from bench.simulate.history import FIRST_BACKEND, History
from bench.simulate.learning import learn_flow, learn_slot
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
    tables: Tables = field(init=False)
    tracking: Tracking = field(init=False)
    remembered: bool = False
    refused: int = 0
    known: int = -1

    def __post_init__(self) -> None:
        self.tables = Tables(Memory.plain(Shape(services=8, destinations=512, slots=1 << 12, sets=1 << 12)))
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
        self._told: list[tuple[Telling, int, object]] = []
        self._flow_last: dict[int, Telling] = {}
        self._slot_last: dict[tuple[int, int], Telling] = {}
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
        for tick in range(int(site.duration) + 1):
            self._at(float(tick), "tick")
        heapify(self._queue)

    def _new(self, who: int, time: float) -> Balancer:
        balancer = Balancer(who, self.history)
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
                    self._at(time + self.channel.delay(number, other), "changed", other, changed)

    def _changed(self, time: float, who: int, changed: list[int]) -> None:
        balancer = self.balancers.get(who)
        if balancer:
            for slot in changed:
                learn_slot(balancer.slots, slot, None, 0, None, second(time))

    def _join(self, time: float, who: int) -> None:
        self.balancers[who] = balancer = self._new(who, time)
        others = [one for number, one in sorted(self.balancers.items()) if number != who]
        if self.channel is None or not others:
            return
        coarse = second(time)
        for number in sorted(others[0].slots.tracked):
            slot = others[0].slots.slot(number)
            learn_slot(balancer.slots, number, slot.was, coarse - slot.changed, coarse - slot.diverted, coarse)
        for telling, slot_number, packet in self._told:
            arrival = telling.time + self.channel.delay(telling.name, who)
            if isinstance(packet, Packet):
                if arrival <= time:
                    self._hear(time, who, telling, slot_number, packet)
                elif telling.sender == who:
                    self._at(arrival, "hear", who, telling, slot_number, packet)

    def _tell(self, time: float, telling: Telling, slot: int, packet: Packet | None) -> None:
        if telling.time > time or (telling.sender not in self.balancers):
            return
        self._told.append((telling, slot, packet))
        assert self.channel is not None
        for other in range(self.history.site.balancers):
            if other != telling.sender:
                arrival = time + self.channel.delay(telling.name, other)
                self._at(arrival, "hear", other, telling, slot, packet)

    def _hear(self, time: float, who: int, telling: Telling, slot: int, packet: Packet | None) -> None:
        balancer, coarse = self.balancers.get(who), second(time)
        if balancer is None:
            return
        if packet is None:
            sent = second(telling.time)
            learn_slot(balancer.slots, slot, None, sent - telling.changed, sent - telling.value, coarse)
        elif packet.flow.name not in self.broken:
            left = telling.value + self.history.site.idle - coarse
            flow = self._hash(packet)
            learn_flow(balancer.memory, flow, self._owners[packet.flow.name], left, coarse)

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
        """What is told of a flow and of its slot, and when."""
        coarse, who, name = second(time), packet.who, packet.flow.name
        last = self._flow_last.get(name)
        if not balancer.remembered and last is None:
            return
        if balancer.remembered or last is None:
            self._flow_last[name] = telling = Telling(time, who, coarse)
            self._tell(time, telling, packet.slot, packet)
        elif last.sender == who and last.time >= time:
            last.value = coarse
        else:
            since = last.time if last.sender == who else min(last.time, time)
            self._flow_last[name] = telling = self._later(since, who, time, coarse)
            self._at(telling.time, "tell", telling, packet.slot, packet)
        place = balancer.slots.first + packet.slot
        if balancer.memory.histories.get(place, "diverted") == coarse:
            previous = self._slot_last.get((packet.slot, who))
            if previous is not None and previous.time >= time:
                previous.value = coarse
                return
            telling = self._later(previous.time if previous else -1e9, who, time, coarse)
            telling.changed = balancer.slots.slot(packet.slot).changed
            self._slot_last[packet.slot, who] = telling
            self._at(telling.time, "tell", telling, packet.slot, None)

    def _later(self, last: float, who: int, time: float, coarse: int) -> Telling:
        when = max(time, last + self.history.site.refresh)
        return Telling(when, who, coarse, 0, self.history.roster.goes(who, time) > when)
