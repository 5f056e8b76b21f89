"""Several nodes whose VIP comes and goes, and messages that are late, lost and out of order: somebody has a route.

The nodes of the simulation are made of the function under test and of what its contract asks of messages, no more.
"""

from __future__ import annotations

import heapq
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.control.last_announcer import FRESH, Other, Place, kept, places
from appliance.model_bgp import Announce
from tests.profile import EXAMPLES

VIP = ipaddress.ip_address("203.0.113.10")
YES, DEMOTE, LAST, NO = Announce.YES, Announce.DEMOTE, Announce.LAST, Announce.NO

# my id is 5, and my place is that of 100 s; another node: its id, when it was heard, what of me it had taken in, how
# -> whether the route is kept at 110 s
RULES = [
    ((), True, True),
    (((9, 109.5, 109.0, YES),), True, False),
    (((9, 109.5, 109.0, LAST),), True, True),
    (((9, 109.5, 109.0, DEMOTE),), True, True),
    (((4, 109.5, 109.0, LAST),), True, False),
    (((4, 109.5, 109.0, DEMOTE),), True, False),
    (((4, 109.5, 109.0, NO),), True, True),
    (((9, 109.5, 106.9, YES),), True, True),
    (((9, 109.5, 109.0, YES), (7, 109.5, 99.0, NO)), True, True),
    (((9, 109.5, 109.0, YES), (7, 109.5, 100.0, NO)), True, True),
    (((9, 109.5, 109.0, YES), (7, 106.9, 99.0, NO)), True, False),
    ((), False, True),
    (((9, 109.5, 109.0, YES),), False, False),
    (((9, 106.0, 106.9, YES),), False, True),
    (((9, 109.5, 109.0, YES), (7, 109.5, 99.0, NO)), False, False),
    (((9, 109.5, 109.0, LAST),), False, True),
    (((4, 109.5, 109.0, LAST),), False, False),
]


@pytest.mark.parametrize(("others", "keep", "after"), RULES)
def test_the_rules(others: tuple[tuple[int, float, float, Announce], ...], keep: bool, after: bool) -> None:
    known = [Other(number, heard, echoed, {VIP: how}) for number, heard, echoed, how in others]
    found = places(5, [VIP], {VIP: Place(keep, 100.0)}, known, 110.0)
    assert found == {VIP: Place(after, 100.0 if keep is after else 110.0)}
    assert kept(found) == ({VIP} if after else frozenset())


def test_what_goes_down_is_kept_at_first() -> None:
    others = [Other(1, 110.0, 110.0, {VIP: YES})]
    assert places(5, [VIP], {}, others, 110.0) == {VIP: Place(True, 110.0)}


@dataclass(frozen=True)
class Message:
    sender: int
    number: int
    how: Announce
    taken_in: dict[int, int]
    """The number of the newest message of each other node that was taken in."""


@dataclass
class Node:
    """What a node has to know and to say for the function's contract."""

    id: int
    up: bool = True
    alive: bool = True
    place: dict[object, Place] = field(default_factory=dict)
    said: list[float] = field(default_factory=list)
    """When each message was made, by number."""
    newest: dict[int, tuple[float, Message]] = field(default_factory=dict)
    spoke: Announce | None = None

    @property
    def how(self) -> Announce:
        if self.up:
            return YES
        return LAST if self.place[VIP].keep else NO

    def decide(self, now: float) -> None:
        """Follow what is known at a moment."""
        if self.up:
            self.place = {}
            return
        others = [
            Other(
                one.sender, heard, self.said[one.taken_in[self.id]] if self.id in one.taken_in else -1e9, {VIP: one.how}
            )
            for heard, one in self.newest.values()
        ]
        self.place = dict(places(self.id, [VIP], self.place, others, now))  # type: ignore[arg-type]

    def say(self, now: float) -> Message:
        self.said.append(now)
        self.spoke = self.how
        return Message(
            self.id, len(self.said) - 1, self.how, {other: one.number for other, (_, one) in self.newest.items()}
        )

    def take_in(self, message: Message, now: float) -> None:
        before = self.newest.get(message.sender)
        if before is None or before[1].number < message.number:
            self.newest[message.sender] = (now, message)


def trio() -> tuple[Node, Node, Node]:
    """Three nodes that are up and know of each other, at 100 s."""
    nodes = Node(1), Node(2), Node(3)
    for _ in range(2):
        for message in [node.say(100.0) for node in nodes]:
            for node in nodes:
                if node.id != message.sender:
                    node.take_in(message, 100.0)
    return nodes


def down(node: Node, now: float) -> Message:
    """Let a VIP go down; returns what is said of it."""
    node.up = False
    node.decide(now)
    return node.say(now + 0.01)


def hear(node: Node, message: Message, now: float) -> Announce:
    """Let a message come; returns how the VIP is announced then."""
    node.take_in(message, now)
    node.decide(now)
    return node.how


def test_three_of_which_each_relies_on_the_next_one() -> None:
    """What the first one hears of the third is late: it says YES still, while that one relies on the second."""
    first, second, third = trio()
    said = down(first, 101.0)
    hear(second, said, 101.1)
    hear(third, said, 101.1)
    late = third.say(101.2)
    hear(second, late, 101.3)
    said = down(second, 101.4)
    hear(first, said, 101.5)
    hear(third, said, 101.5)
    agreed = first.say(101.6)
    said = down(third, 101.7)
    hear(second, said, 101.8)
    said = second.say(101.9)
    assert hear(third, said, 102.0) is LAST  # the first one has not taken in yet that this one is down
    assert hear(second, agreed, 102.1) is NO
    hear(first, said, 102.15)
    assert hear(first, late, 102.2) is NO
    assert third.how is LAST


def test_what_is_heard_late_is_not_believed_for_longer() -> None:
    """The third one hears nothing of the first, and does not wait for it any more when it goes down."""
    first, second, third = trio()
    said = down(first, 101.0)
    hear(second, said, 101.1)
    hear(third, said, 101.1)
    late = third.say(101.2)
    said = down(second, 102.0)
    hear(first, said, 102.1)
    hear(third, said, 102.1)
    later = first.say(102.2)
    hear(second, third.say(102.3), 102.4)
    hear(first, second.say(102.5), 102.6)
    assert hear(first, late, 105.0) is LAST  # it was said more than FRESH seconds ago, though it has come just now
    said = down(third, 105.0)
    hear(second, said, 105.1)
    assert hear(third, second.say(105.2), 105.3) is NO
    hear(second, later, 105.4)
    assert LAST in (first.how, second.how)


@dataclass
class Network:
    """Nodes that speak each second and when something has changed, and what becomes of their messages."""

    chance: Random
    count: int
    loss: float
    latest: float
    """Seconds by which messages are late at most."""
    nodes: list[Node] = field(default_factory=list)
    now: float = 100.0
    _under_way: list[tuple[float, int, int, Message]] = field(default_factory=list)
    _counted: int = 0
    cut: set[tuple[int, int]] = field(default_factory=set)
    """Pairs of which the second does not hear the first."""

    def __post_init__(self) -> None:
        ids = self.chance.sample(range(1, 100), self.count)
        self.nodes = [Node(number) for number in ids]

    def run(self, seconds: float) -> Iterator[float]:
        """Let time pass; yields after everything that a node does."""
        end = self.now + seconds
        while self.now < end:
            self.now = round(self.now + self.chance.choice((0.01, 0.05, 0.1, 0.25)), 2)
            while self._under_way and self._under_way[0][0] <= self.now:
                _, _, place, message = heapq.heappop(self._under_way)
                if self.nodes[place].alive:
                    self.nodes[place].take_in(message, self.now)
                    yield from self._act(self.nodes[place])
            for node in self.nodes:
                if node.alive:
                    yield from self._act(node)

    def _act(self, node: Node) -> Iterator[float]:
        node.decide(self.now)
        yield self.now
        if node.how is not node.spoke or self.now - node.said[-1] >= 1.0:
            self._send(node)

    def _send(self, node: Node) -> None:
        message = node.say(self.now)
        for place, other in enumerate(self.nodes):
            if other is node or (node.id, other.id) in self.cut or self.chance.random() < self.loss:
                continue
            for _ in range(1 + (self.chance.random() < 0.1)):
                self._counted += 1
                late = round(self.chance.random() ** 3 * self.latest, 3)
                heapq.heappush(self._under_way, (self.now + late, self._counted, place, message))

    @property
    def routes(self) -> list[Announce]:
        return [node.how for node in self.nodes if node.alive and node.how is not NO]

    def disturb(self, *, deaths: bool) -> bool:
        """Change something by chance; returns whether a node has died."""
        node = self.chance.choice(self.nodes)
        what = self.chance.random()
        living = [one for one in self.nodes if one.alive]
        if what < 0.6 and node.alive:
            node.up = not node.up
            node.decide(self.now)
        elif what < 0.75:
            pair = node.id, self.chance.choice(self.nodes).id
            self.cut.symmetric_difference_update({pair})
        elif what < 0.8:
            for one in living:
                one.up = False
                one.decide(self.now)
        elif what < 0.9 and deaths and node.alive and len(living) > 1:
            node.alive = False
            return True
        return False

    def settle(self) -> None:
        """Let messages arrive for a while."""
        self.loss, self.latest = 0.0, 0.2
        self.cut.clear()
        for _ in self.run(30.0):
            pass


NETWORKS = {"chance": st.builds(Random, st.integers(0, 2**32 - 1)), "count": st.integers(2, 5)}
RUNS = settings(max_examples=EXAMPLES, deadline=None)


@RUNS
@given(loss=st.sampled_from((0.0, 0.05, 0.3, 0.7)), latest=st.sampled_from((0.05, 1.0, 4.0, 12.0)), **NETWORKS)
def test_there_is_a_route_at_every_moment(chance: Random, count: int, loss: float, latest: float) -> None:
    """Whatever goes down when, and whatever becomes of messages; and of the nodes that hear each other one remains."""
    network = Network(chance, count, loss, latest)
    for _ in range(12):
        network.disturb(deaths=False)
        for now in network.run(chance.choice((0.3, 1.0, 4.0, 9.0))):
            assert network.routes, now
    network.settle()
    usual = [node for node in network.nodes if node.up]
    least = min(network.nodes, key=lambda node: node.id)
    assert network.routes == ([YES] * len(usual) if usual else [LAST])
    assert usual or least.how is LAST


@RUNS
@given(loss=st.sampled_from((0.0, 0.05, 0.3)), latest=st.sampled_from((0.05, 1.0, 4.0)), **NETWORKS)
def test_a_node_that_dies_is_missed_for_as_long_as_it_is_believed(
    chance: Random, count: int, loss: float, latest: float
) -> None:
    network, died = Network(chance, count, loss, latest), -1e9
    for _ in range(12):
        if network.disturb(deaths=True):
            died = network.now
        for now in network.run(chance.choice((0.3, 1.0, 4.0, 9.0))):
            assert network.routes or now - died <= FRESH + 0.25, now
    network.settle()
    living = [node for node in network.nodes if node.alive]
    usual = [node for node in living if node.up]
    assert network.routes == ([YES] * len(usual) if usual else [LAST])
    assert usual or min(living, key=lambda node: node.id).how is LAST


@given(**NETWORKS)
@settings(max_examples=20, deadline=None)
def test_nobody_who_hears_nobody_withdraws(chance: Random, count: int) -> None:
    network = Network(chance, count, 1.0, 0.1)
    for node in network.nodes:
        node.up = False
        node.decide(network.now)
    for _ in network.run(20.0):
        assert network.routes == [LAST] * count
