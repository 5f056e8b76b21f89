"""Some engines and the ways between them: a network of numbers, in which an hour takes seconds.

A node of it keeps what it learns as a daemon would, and a log of what it has learnt of whom.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from itertools import count
from math import inf

from appliance.fleet.members import Member
from appliance.fleet.orders import Failed, Gone, Joined, Learn, Order, Send, Synced, TableTold
from appliance.fleet.records import (
    Announced,
    Announces,
    Down,
    Facts,
    Flow,
    Flows,
    How,
    NodeState,
    Record,
    ServiceDown,
    Slot,
    Slots,
    TableOf,
    View,
)
from appliance.fleet.session import Exchange
from appliance.model import Protocol
from appliance.model_address import Endpoint, ServiceKey
from appliance.model_fleet import Fleet

KEY, OTHER_KEY = b"a secret of the fleet", b"another secret of it"
SERVICE = ServiceKey(IPv4Address("203.0.113.10"), 443, Protocol.TCP)
BACKEND = IPv4Address("10.1.2.1")
GROUP = Endpoint(IPv4Address("239.255.76.5"), 9876)


def endpoint(number: int) -> Endpoint:
    """Where a node is."""
    return Endpoint(IPv4Address("10.1.1.1") + number, 9876)


@dataclass
class Node:
    """One daemon, and what it knows."""

    number: int
    fleet: Fleet
    chance: random.Random
    started: float
    state_: NodeState = NodeState.LEARNING
    flows: dict[int, int] = field(default_factory=dict)
    """Seconds left, by name."""
    slots: dict[int, Slot] = field(default_factory=dict)
    down: tuple[int, ...] = ()
    versions: int = 0
    announces: dict[int, How] = field(default_factory=dict)
    """How others announce a VIP, by their lives."""
    heard: list[Order] = field(default_factory=list)
    told: int = 0
    sends: int = 0
    octets: int = 0
    alive: bool = True
    exchange: Exchange = field(init=False)

    def __post_init__(self) -> None:
        life = self.chance.getrandbits(64)
        self.exchange = Exchange(self.fleet, self, life, lambda: self.chance.getrandbits(64), self.started)

    # ---- Local

    def hello(self) -> Facts:
        """As the daemon does."""
        return Facts(
            *(f"node{self.number}", "1.0", self.state_), health=self.health, flows=len(self.flows),
            tracked_slots=len(self.slots),
        )  # fmt: skip

    @property
    def health(self) -> bytes:
        """The digest of the view."""
        return self.versions.to_bytes(8)

    def view(self) -> View:
        """Which backends are down."""
        down = tuple(Down(BACKEND + one, True, one) for one in self.down)
        return View(self.health, (ServiceDown(SERVICE, down),) if down else ())

    def state(self, shared: bool) -> Iterator[Record]:
        """As the daemon does."""
        yield self.view()
        yield Announces((Announced(SERVICE.vip, How.YES),))
        if shared:
            names = list(self.flows)
            for first in range(0, len(names), 300):
                some = names[first : first + 300]
                yield Flows(SERVICE, BACKEND, tuple(Flow(name, self.flows.get(name, 0)) for name in some))
            yield Slots(SERVICE, 65536, BACKEND, None, tuple(self.slots.values()))

    def table(self, service: ServiceKey) -> TableOf | None:
        """As the daemon does."""
        return TableOf(service, (BACKEND, BACKEND + 1), (1, 2, 0) * 2000) if service == SERVICE else None

    # ---- what it does

    def new_flows(self, count: int, now: float) -> list[Order]:
        """Remember flows, and tell of them."""
        names = [self.exchange.life >> 32 << 32 | self.told + number for number in range(count)]
        self.told += count
        self.flows.update(dict.fromkeys(names, 100))
        return self.exchange.publish([Flows(SERVICE, BACKEND, tuple(Flow(name, 100) for name in names))], now)

    def new_view(self, down: Sequence[int], now: float) -> list[Order]:
        """See other backends down."""
        self.down, self.versions = tuple(down), self.versions + 1
        return self.exchange.publish([self.view()], now)

    def obey(self, order: Order) -> None:
        """Do what is not sending."""
        self.heard.append(order)
        if isinstance(order, Gone):
            self.announces.pop(order.member.life, None)
        if isinstance(order, Learn):
            for record in order.records:
                match record:
                    case Flows():
                        self.flows.update({flow.name: flow.left for flow in record.entries})
                    case Slots():
                        self.slots.update({slot.number: slot for slot in record.entries})
                    case Announces():
                        self.announces[order.member.life] = record.entries[0].how
                    case _:
                        pass

    # ---- what it has heard

    def stream_of(self, life: int) -> list[list[int]]:
        """The counters of the flows that a life has told in its stream: a list for each time its stream began."""
        runs: list[list[int]] = [[]]
        for order in self.heard:
            if isinstance(order, Joined | Synced | Gone) and order.member.life == life:
                runs.append([])
            if isinstance(order, Learn) and order.member.life == life and not order.sync:
                for record in order.records:
                    if isinstance(record, Flows):
                        runs[-1] += [flow.name & 0xFFFFFFFF for flow in record.entries]
        return runs

    def of(self, kind: type[Order]) -> list[Member]:
        """Whom orders of a kind were about."""
        return [
            order.member for order in self.heard if isinstance(order, kind) and not isinstance(order, Send | Failed)
        ]

    def tables(self) -> list[TableTold]:
        """The tables that came."""
        return [order for order in self.heard if isinstance(order, TableTold)]


@dataclass
class Weather:
    """What becomes of datagrams: chances from 0 to 1, seconds."""

    lost: float = 0.0
    twice: float = 0.0
    delay: float = 0.0002
    late: float = 0.0
    """The chance of a delay that is `lateness` longer."""
    lateness: float = 0.02


CLEAR = Weather()
STORM = Weather(lost=0.2, twice=0.1, delay=0.001, late=0.2)


class Network:
    """Nodes, named by numbers from 0, and what is between them."""

    def __init__(self, nodes: int, *, seed: int = 1, multicast: bool = True, fleet: Fleet | None = None) -> None:
        self.now = 1000.0
        self.chance = random.Random(seed)
        group = GROUP if multicast else None
        peers = () if multicast else tuple(endpoint(number) for number in range(nodes))
        self.fleet = fleet or Fleet(keys=(KEY,), group=group, peers=peers)
        self.weather = CLEAR
        self.cut: set[frozenset[int]] = set()
        """Pairs between which nothing passes."""
        self.nodes: dict[int, Node] = {}
        self.wire: list[bytes] = []
        """Every datagram that was sent."""
        self._order = count()
        self._ways: list[tuple[float, int, int, int, bytes]] = []
        for number in range(nodes):
            self.start(number)

    def start(self, number: int, **facts: object) -> Node:
        """Start a node, or start it anew, knowing nothing."""
        fleet = replace(self.fleet, peers=tuple(one for one in self.fleet.peers if one != endpoint(number)))
        node = Node(number, fleet, random.Random(self.chance.getrandbits(32)), self.now)
        for name, value in facts.items():
            setattr(node, name, value)
        self.nodes[number] = node
        return node

    def kill(self, number: int) -> None:
        """End a node without a word."""
        self.nodes[number].alive = False

    def stop(self, number: int) -> None:
        """End a node as it should."""
        node = self.nodes[number]
        self.act(number, node.exchange.leave(self.now))
        node.alive = False

    def ready(self) -> None:
        """All nodes announce their VIPs."""
        for node in self.nodes.values():
            node.state_ = NodeState.READY

    def part(self, *sides: set[int]) -> None:
        """Cut the network in parts."""
        self.cut = {frozenset((one, other)) for side in sides for one in side for other in set().union(*sides) - side}

    def act(self, number: int, orders: list[Order]) -> None:
        """Do what a node wants done."""
        node = self.nodes[number]
        for order in orders:
            assert not isinstance(order, Failed), order.what
            if not isinstance(order, Send):
                node.obey(order)
                continue
            self.wire.append(order.data)
            if order.to is not None:
                targets = [one.number for one in self.nodes.values() if endpoint(one.number) == order.to]
            elif node.fleet.group is not None:
                targets = [other for other in self.nodes if other != number]
            else:
                targets = [other for other in self.nodes if endpoint(other) in node.fleet.peers]
            for target in targets:
                node.sends += 1
                node.octets += len(order.data)
                self.carry(number, target, order.data)

    def carry(self, source: int, target: int, data: bytes) -> None:
        """Put a datagram on its way."""
        weather, chance = self.weather, self.chance
        for _ in range(2 if chance.random() < weather.twice else 1):
            if chance.random() < weather.lost:
                continue
            late = weather.lateness * chance.random() if chance.random() < weather.late else 0.0
            at = self.now + weather.delay + late
            heapq.heappush(self._ways, (at, next(self._order), source, target, data))

    def step(self, until: float) -> bool:
        """Go to the next thing that happens, `until` at the latest; False where nothing happens before."""
        arrival = self._ways[0][0] if self._ways else inf
        living = {number: node for number, node in self.nodes.items() if node.alive}
        deadlines = {number: node.exchange.deadline() for number, node in living.items()}
        first = min(deadlines, key=lambda number: deadlines[number], default=-1)
        at = min(arrival, deadlines.get(first, inf))
        if at > until:
            self.now = until
            return False
        self.now = max(self.now, at)
        if arrival < deadlines.get(first, inf):
            _, _, source, target, data = heapq.heappop(self._ways)
            if self.nodes[target].alive and frozenset((source, target)) not in self.cut:
                orders = self.nodes[target].exchange.received(data, endpoint(source), self.now)
                self.act(target, orders)
        else:
            self.act(first, self.nodes[first].exchange.due(self.now))
        return True

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self.step(until):
            pass

    def tell(self, number: int, flows: int) -> None:
        """A node has new flows."""
        self.act(number, self.nodes[number].new_flows(flows, self.now))

    def burst(self, number: int, datagrams: int) -> None:
        """A node tells of one flow in each of so many datagrams."""
        for _ in range(datagrams):
            self.tell(number, 1)
            self.nodes[number].exchange._stream.flush(self.now)
            self.act(number, self.nodes[number].exchange.due(self.now))
            self.now += 0.0001

    # ---- agreement

    def living(self) -> list[Node]:
        """Nodes that are there."""
        return [node for node in self.nodes.values() if node.alive]

    def disagreements(self) -> list[str]:
        """Return where nodes do not know the same."""
        found = []
        living = self.living()
        everything = set().union(*(node.flows for node in living))
        lives = {node.exchange.life: node for node in living}
        for node in living:
            others = set(lives) - {node.exchange.life}
            if set(node.exchange.members) != others:
                found.append(f"{node.number}: members {[m.name for m in node.exchange.members.values()]}")
            if set(node.flows) != everything:
                found.append(f"{node.number}: {len(everything - set(node.flows))} flows are missing")
            for life, member in node.exchange.members.items():
                if life not in lives:
                    continue
                if lives[life].versions and (member.view is None or member.view != lives[life].view()):
                    found.append(f"{node.number}: the view of {member.name} is {member.view}")
                if member.facts.health != lives[life].health:
                    found.append(f"{node.number}: HELLO of {member.name} is old")
        return found
