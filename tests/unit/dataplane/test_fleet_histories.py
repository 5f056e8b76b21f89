"""Random histories of a fleet: no flow of a living backend moves, whichever node it comes by.

Nodes with the same configuration see deaths, returns, drains and weights at slightly different moments, and answer by
the model of the program. What they tell each other takes time and is overtaken. Flows change nodes at any moment, as
soon as what was told of them has arrived. A packet that reaches another backend than its flow began with, while that
one lives for the node that answers, is a flow that is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from appliance.dataplane import tables
from appliance.dataplane.desired import Desired
from appliance.dataplane.enums import State
from appliance.dataplane.flowshare import WHOLE
from appliance.dataplane.frame import Flow
from appliance.dataplane.slots import SlotTable, ToldSlot
from appliance.model import Address, Protocol, ServiceKey
from tests.profile import FUZZ
from tests.unit.dataplane.clients import ACK, SYN, flow, key_of
from tests.unit.dataplane.desires import AVAILABLE, DEAD, DRAINING, GRACE, IDLE, LOG, TLS, WEB, desired, member, service
from tests.unit.dataplane.fleet_nodes import RETELL, ROUND, Exchange, Node, Record, ToldFlow, ToldSlots, tracking

HISTORIES = 200 if FUZZ else 3
SECONDS = 900
SKEW = 4.0
"""Seconds that a change may take until a node sees it, where it does not look at it for long as something else."""
LONG = 4 * IDLE
"""Seconds for which a node may see a backend otherwise than the others do."""
BUSY = 150, 450
"""For so many of so many seconds there are many changes."""
DELAY = 3.0
"""Seconds that a record takes at most."""
SILENCE = {Protocol.TCP: 0.7 * IDLE, Protocol.UDP: 0.5 * GRACE}
"""Seconds for which a flow is silent at most."""
BACKENDS = range(1, 6)
Keep = Callable[[Record], bool]
View = dict[int, tuple[int, State]]


@dataclass
class Followed:
    """A flow: to whom it belongs, and where and when it was last seen."""

    owner: Address
    node: Node
    record: int
    at: float
    until: float


@dataclass
class Outcome:
    """What was seen in histories."""

    packets: int = 0
    moved: int = 0
    through_tracked: int = 0
    lost: list[str] = field(default_factory=list)
    to_draining: int = 0
    records: int = 0
    settled: int = 0
    """How often nothing was tracked anywhere."""


def every(record: Record) -> bool:
    """All records are told."""
    return True


class History:
    """One history; all chance comes from the seed."""

    def __init__(self, seed: int, seen: Outcome, nodes: int = 2, keep: Keep = every) -> None:
        self.random, self.seen, self.keep = Random(seed), seen, keep
        self.now = 0.0
        self.sticky, self.all = self.random.random() < 0.3, self.random.random() < 0.5
        self.view: View = dict.fromkeys(BACKENDS, (1, AVAILABLE))
        self.nodes = [Node(number) for number in range(nodes)]
        self.views: list[View] = [dict(self.view) for _ in self.nodes]
        self.exchange = Exchange(self.nodes, self.random, DELAY)
        self.changes: list[tuple[float, int, int]] = []
        self.flows: dict[Flow, Followed] = {}
        self.ended: dict[Flow, Followed] = {}
        for node in self.nodes:
            node.open(self.desired(self.view))

    def desired(self, view: View) -> Desired:
        members = [
            member(number, weight if state == AVAILABLE else 0, state) for number, (weight, state) in view.items()
        ]
        secure = tracking(service(TLS, members), remember_all=self.all)
        return desired(tracking(service(WEB, members), sticky=self.sticky), secure, service(LOG, members))

    def play(self, seconds: int) -> None:
        for second in range(seconds):
            if second < seconds - 5 * IDLE:
                self.change(second)
            for _ in range(4):
                self.now += 0.25
                self.see()
                self.exchange.deliver(self.now)
                self.clients()
            for node in self.nodes:
                node.pass_time(1)
                self.tell(node, node.news())
                if (second + node.number) % RETELL == 0:
                    self.tell(node, node.slots())
                if (second + 5 * node.number) % ROUND == 0:
                    self.tell(node, node.flows(IDLE - ROUND))
            self.seen.settled += not any(any(self.tracked(node).values()) for node in self.nodes)
        self.seen.records += sum(node.told for node in self.nodes)

    def tracked(self, node: Node) -> dict[ServiceKey, int]:
        return {key: count for key, count in node.tables.tracked().items() if key != TLS or not self.all}

    def tell(self, node: Node, records: list[Record]) -> None:
        self.exchange.publish(node, [one for one in records if self.keep(one)], self.now)

    def change(self, second: int) -> None:
        """Let something happen to a backend now and then; every node sees it at its own moment."""
        random = self.random
        if random.random() > (0.1 if second % BUSY[1] < BUSY[0] else 0.002):
            return
        number = random.choice(BACKENDS)
        weight, state = self.view[number]
        living = [one for one, (_, is_now) in self.view.items() if is_now == AVAILABLE and one != number]
        choices = [(weight, AVAILABLE), (random.choice((1, 2, 5)), state)]
        if len(living) > 1:
            choices += [(weight, DEAD), (weight, DRAINING)]
        self.view[number] = random.choice(choices)
        late = random.randrange(len(self.nodes)) if random.random() < 0.1 else -1
        for node in self.nodes:
            wait = LONG if node.number == late else SKEW
            self.changes.append((self.now + random.random() * wait, node.number, number))

    def see(self) -> None:
        """Let nodes see what is due, as it is by then."""
        due = [one for one in self.changes if one[0] <= self.now]
        self.changes = [one for one in self.changes if one[0] > self.now]
        for _, at, number in due:
            self.views[at][number] = self.view[number]
            node = self.nodes[at]
            node.apply(self.desired(self.views[at]))
            self.tell(node, node.slots(within=0))

    def clients(self) -> None:
        for _ in range(2):
            if self.random.random() < 0.4 or not self.flows:
                self.begin()
        for one in self.random.sample(list(self.flows), min(3, len(self.flows))):
            self.go_on(one)
        for one, known in list(self.flows.items()):
            if self.now - known.at > SILENCE[one.protocol] - 1:
                self.go_on(one)

    def begin(self) -> None:
        # 5-tuples are used again at once, and later no more, so that slots come to rest.
        number = int(self.now // IDLE) * 40 + self.random.randrange(40)
        one = flow(self.random.choice((WEB, TLS, LOG)), number)
        known = self.flows.get(one)
        # A 5-tuple is not used again before its records have arrived.
        before = known or self.ended.get(one)
        if before and not all(self.exchange.has_come(before.node, before.record, other) for other in self.nodes):
            return
        node = self.random.choice(self.nodes)
        udp = one.protocol is Protocol.UDP
        if udp and known:
            return
        self.flows.pop(one, None)
        first = node.clients.send(one, ACK if udp else SYN)
        second = node.clients.send(one)
        self.tell(node, node.news())
        assert first == second, f"{one} begins at {first} and goes on at {second}"
        if first is not None:
            self.seen.to_draining += node.state(key_of(one), first) is DRAINING and not udp
            until = self.now + self.random.expovariate(1 / IDLE)
            self.flows[one] = Followed(first, node, node.told, self.now, until)

    def go_on(self, one: Flow) -> None:
        """A packet of a flow, by any node to which all has been told."""
        known = self.flows[one]
        nodes = [node for node in self.nodes if self.exchange.has_come(known.node, known.record, node)]
        node = self.random.choice(nodes)
        key = key_of(one)
        if node.state(key, known.owner) < DRAINING or self.now > known.until:
            self.ended[one] = self.flows.pop(one)
            return
        slots = node.tables.slots(key)
        assert slots is not None
        self.seen.packets += 1
        self.seen.moved += node is not known.node
        self.seen.through_tracked += node is not known.node and bool(self.tracked(node).get(key))
        to = node.clients.send(one)
        self.tell(node, node.news())
        if to != known.owner:
            self.seen.lost.append(
                f"{self.now:.2f}: {one} from node {known.node.number} to {node.number}: {known.owner} {to}"
            )
            del self.flows[one]
            return
        self.flows[one] = replace(known, node=node, record=node.told, at=self.now)


@pytest.mark.parametrize("nodes", [2, 3])
def test_no_flow_moves(nodes: int) -> None:
    seen = Outcome()
    for seed in range(HISTORIES if nodes == 2 else HISTORIES // 3):
        History(seed, seen, nodes).play(SECONDS)
    print(seen)
    assert (seen.lost, seen.to_draining) == ([], 0)
    assert seen.through_tracked > seen.moved // 4 > 500
    assert seen.settled > 30


def no_flows(record: Record) -> bool:
    """Slots alone are told."""
    return isinstance(record, ToldSlots)


def no_slots(record: Record) -> bool:
    """Flows alone are told."""
    return isinstance(record, ToldFlow)


def only_at_once(record: Record) -> bool:
    """Nothing is told again, and slots with a view of their own only when they change."""
    return isinstance(record, ToldSlots) or record.bits == WHOLE


class Indifferent(SlotTable):
    """Lets slots settle though another node answers new flows otherwise."""

    def learn(self, number: int, told: ToldSlot, time: int, *, joining: bool = False) -> bool:
        now = self.owners()[number] if number < self.count else None
        return super().learn(number, replace(told, now=now), time, joining=joining)


class Forgetful(SlotTable):
    """Takes no times of others."""

    def learn(self, number: int, told: ToldSlot, time: int, *, joining: bool = False) -> bool:
        ages = replace(told, changed=1 << 16, diverted=1 << 16) if number in self.tracked else told
        return super().learn(number, ages, time, joining=joining)


WRONG: dict[str, tuple[Keep, type[SlotTable]]] = {
    "flows are not told": (no_flows, SlotTable),
    "slots are not told": (no_slots, SlotTable),
    "flows are not told again": (only_at_once, SlotTable),
    "a slot settles while another node answers otherwise": (every, Indifferent),
    "times of others do not count": (every, Forgetful),
}


HARD = "a slot settles while another node answers otherwise"
"""It takes long histories to find this one."""


@pytest.mark.parametrize(
    ("keep", "table"),
    [
        pytest.param(keep, table, id=name, marks=pytest.mark.appliance if name == HARD else ())
        for name, (keep, table) in WRONG.items()
    ],
)
def test_simpler_rules_are_found_out(keep: Keep, table: type[SlotTable], monkeypatch: pytest.MonkeyPatch) -> None:
    """The histories are hard enough to tell right rules from wrong ones."""
    monkeypatch.setattr(tables, "SlotTable", table)
    seen = Outcome()
    for seed in range(12):
        History(seed, seen, 2, keep).play(SECONDS)
        if seen.lost:
            return
    raise AssertionError(f"{seen.packets} packets did not show it")
