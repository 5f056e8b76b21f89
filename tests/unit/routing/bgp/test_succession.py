"""Sessions that another program goes on with, handed over at any byte: the peer ends up knowing what it should."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from appliance.model_address import Address
from appliance.routing.bgp import succession
from appliance.routing.bgp.capability import Family
from appliance.routing.bgp.connection import Close, Send
from appliance.routing.bgp.message import Notification, Reader, RouteRefresh, encode
from appliance.routing.bgp.session import Session
from appliance.routing.bgp.succession import Left, leave, read, resume
from appliance.routing.route import Attributes, Routes
from appliance.routing.status import Direction
from appliance.routing.status import SessionState as State
from tests.profile import EXAMPLES, PARSER_INPUTS
from tests.unit.routing.bgp.pair import LEFT, RIGHT, Pair, peer
from tests.unit.routing.bgp.test_outbox import HOP_6, VIPS, Peer, wanted

OURS = peer(RIGHT, remote_as=65001, next_hop_6=HOP_6, hold_time=90, passive=True)
THEIRS = peer(LEFT, remote_as=65001, next_hop_6=HOP_6, hold_time=90)
SOME = {vip: Attributes(HOP_6, (65001,)) for vip in VIPS[2:9]}
FAMILIES = [Family.IPV4, Family.IPV6]


class Forgiving(dict[Address, Attributes]):
    """A table from which what is not there can be withdrawn, too."""

    def __delitem__(self, key: Address) -> None:
        self.pop(key, None)


def established(**ours: Any) -> Pair:
    lab = Pair(replace(OURS, **ours), THEIRS)
    lab.start()
    lab.run(5)
    assert {lab.left.session.state, lab.right.session.state} == {State.ESTABLISHED}
    return lab


counts = st.sampled_from([1, 5, 18, 19, 30, 100, 5000])


class HandedOver(RuleBasedStateMachine):
    """The left one is replaced; bytes wait in the program, and on their way in either direction."""

    @initialize()
    def open(self) -> None:
        lab = established()
        self.random, self.now = lab.random.random, lab.now
        self.left, self.right = lab.left.session, lab.right.session
        self.peer, self.reader = Peer(), Reader()
        self.peer.known = Forgiving()
        self.reader.four_octet = self.reader.internal = self.reader.extended_next_hop = True
        self.hear(bytes(lab.right.heard))
        self.unsent, self.flying, self.coming = bytearray(), bytearray(), bytearray()
        self.routes: dict[Address, Attributes] = {}
        self.ever: set[Address] = set()
        self.told_again = self.lost = self.over = False
        self.want({})

    # ---- what a program does

    def act(self) -> None:
        """Take what both want to send; more is made where nothing waits."""
        for order in self._orders(self.left):
            if isinstance(order, Send):
                self.unsent += order.data
            self.over = self.over or isinstance(order, Close)
        for order in self._orders(self.right):
            if isinstance(order, Send):
                self.coming += order.data
        if not self.unsent and (serving := self.left.serving) is not None:
            self.unsent += self.left.supply(serving.serial, 0)

    @staticmethod
    def _orders(session: Session) -> list[Any]:
        orders, session.orders[:] = session.orders[:], []
        return orders

    @rule(count=counts)
    def write(self, count: int) -> None:
        self.flying += self.unsent[:count]
        del self.unsent[:count]
        self.act()

    @rule(count=counts)
    def arrive(self, count: int) -> None:
        data = bytes(self.flying[:count])
        del self.flying[:count]
        [serial] = self.right.connections
        self.right.received(serial, data, self.now)
        self.hear(data)
        self.act()

    def hear(self, data: bytes) -> None:
        self.reader.feed(data)
        for _ in self.reader.messages():
            self.peer.hear(self.reader.last)

    @rule(count=counts)
    def read(self, count: int) -> None:
        data = bytes(self.coming[:count])
        del self.coming[:count]
        for serial in list(self.left.connections):
            self.left.received(serial, data, self.now)
        self.act()

    @rule(seconds=st.sampled_from([0.1, 2.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.left.tick(self.now)
        self.right.tick(self.now)
        self.act()

    # ---- what is wanted

    @rule(routes=wanted)
    def want(self, routes: Routes) -> None:
        self.routes = dict(routes)
        self.ever |= set(routes)
        self.left.want(routes)
        self.act()

    @rule(family=st.sampled_from(FAMILIES), heard=st.sampled_from([0, 17, 5000]))
    def ask_for_all_again(self, family: Family, heard: int) -> None:
        self.coming += encode(RouteRefresh(family))
        self.read(heard)

    # ---- what this is about

    @rule()
    def hand_over(self) -> None:
        found = self._left(exact=True)
        self.unsent = bytearray(found.unsent)
        self._resume(found)
        assert self.left.serving is not None
        assert not self.left.serving.uncertain

    def _left(self, *, exact: bool) -> Left:
        found = leave(self.left, exact=exact, unsent=bytes(self.unsent))
        assert found is not None
        again = read(json.loads(json.dumps(found.as_json())))
        assert again == replace(found, told=found.told or {})
        return again

    def _resume(self, found: Left) -> None:
        before = self.left
        made = resume(before.local, found, self.ever, self.random, self.now)
        assert made is not None
        self.left, connection = made
        assert (self.left.since, connection.established_at) == (before.since, found.established_at)
        assert self.left.established_count == before.established_count
        self.want(self.routes)

    # ---- what comes of it

    @rule()
    def all_arrives(self) -> None:
        for _ in range(10_000):
            if not (self.unsent or self.flying or self.coming):
                break
            self.write(1 << 16)
            self.arrive(1 << 16)
            self.read(1 << 16)
        if self.lost:
            return
        assert self.peer.known == self.routes
        assert self.left.outbox is not None
        assert self.left.outbox.told == self.routes
        assert self.told_again or self.peer.ended == FAMILIES, "once each"
        assert self.told_again or not self.peer.stale
        assert set(self.peer.ended) == set(FAMILIES)

    def teardown(self) -> None:
        if hasattr(self, "right"):
            self.all_arrives()

    @invariant()
    def nobody_ends_it(self) -> None:
        if hasattr(self, "right") and not self.lost:
            assert (self.left.state, self.right.state) == (State.ESTABLISHED, State.ESTABLISHED)
            assert (self.left.errors, self.right.errors) == ({}, {})
            assert not any(isinstance(one, Notification) for one in self.peer.messages)


class Killed(HandedOver):
    """And it is killed now and then, where it was not amid a message that it sent."""

    @precondition(lambda self: not self.unsent)
    @rule(routes=wanted)
    def kill(self, routes: Routes) -> None:
        """Meanwhile other routes are wanted."""
        found = self._left(exact=False)
        self.routes = dict(routes)
        assert self.left.serving is not None
        self.lost = bool(self.left.serving.reader.rest)
        self.told_again = True
        self._resume(found)
        if self.lost:
            self.all_arrives()
            assert self.over
            assert self.left.last_error is not None
            assert self.left.last_error[1].direction is Direction.LOCAL, "nobody is told anything"
            self.open()


MANY = settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)
HandedOver.TestCase.settings = Killed.TestCase.settings = MANY
test_handed_over, test_killed = HandedOver.TestCase, Killed.TestCase


# ---- what is no session any more


def left_of(*, exact: bool = True, **ours: Any) -> tuple[Session, Left]:
    lab = established(**ours)
    session = lab.left.session
    session.want(SOME)
    assert session.serving is not None
    session.supply(session.serving.serial, 0)
    found = leave(session, exact=exact, unsent=b"\xff" * 16)
    assert found is not None
    return session, found


def nothing() -> float:
    return 0.5


TERMS: dict[str, Any] = {
    "hold_time": 12,
    "source_ip": LEFT,
    "password": "changed",
    "local_as": 65009,
    "remote_as": None,
    "multihop": 3,
    "ttl_security": True,
    "passive": False,
    "next_hop_6": None,
    "graceful_restart": False,
    "restart_time": 7,
}
OTHERS: dict[str, Any] = {
    "med": 5,
    "local_pref": 7,
    "prepend": 3,
    "next_hop_4": LEFT,
    "group": "other",
    "demote_med": 1,
    "accept": (),
}


@pytest.mark.parametrize("name", TERMS)
def test_a_session_that_is_to_be_another_is_not_taken_over(name: str) -> None:
    session, found = left_of()
    local = replace(session.local, peer=replace(session.local.peer, **{name: TERMS[name]}))
    assert resume(local, found, (), nothing, 0.0) is None


def test_nor_is_one_of_another_router_id() -> None:
    session, found = left_of()
    assert resume(replace(session.local, router_id=IPv4Address("9.9.9.9")), found, (), nothing, 0.0) is None


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_told_over_it_may_change(name: str) -> None:
    session, found = left_of()
    local = replace(session.local, peer=replace(session.local.peer, **{name: OTHERS[name]}))
    assert resume(local, found, (), nothing, 0.0) is not None


def test_a_clock_that_was_ahead_is_not_believed() -> None:
    session, found = left_of()
    made = resume(session.local, replace(found, established_at=1e12, since=1e12), (), nothing, 2000.0)
    assert made is not None
    assert (made[0].since, made[1].established_at) == (2000.0, 2000.0)


def test_without_a_session_nothing_is_left() -> None:
    assert leave(Pair(OURS, THEIRS).left.session, exact=True) is None


numbers = st.integers() | st.floats() | st.sampled_from([1e400, -1e400, float("nan"), 1 << 80])
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=8) | st.sampled_from(["IPV4", "ff", "192.0.2.9", "1"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """Draw what a program has left, with something in it replaced or taken away."""
    root = {"": left_of_once()}
    place: Any = root
    key: Any = ""
    while isinstance(place[key], dict | list) and place[key] and draw(st.integers(0, 4)):
        place = place[key]
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    if key and draw(st.integers(0, 9)) == 0:
        del place[key]
    else:
        place[key] = draw(json_values)
    return root[""]


LEFT_ONCE: list[tuple[Session, str]] = []


def left_of_once() -> Any:
    if not LEFT_ONCE:
        session, found = left_of()
        LEFT_ONCE.append((session, json.dumps(found.as_json())))
    return json.loads(LEFT_ONCE[0][1])


@settings(max_examples=PARSER_INPUTS)
@given(damaged() | json_values)
def test_odd_remains_are_nothing_or_a_session_that_works(content: Any) -> None:
    found = read(content)
    if found is None:
        return
    assert json.loads(json.dumps(found.as_json()))["version"] == succession.VERSION
    session, _ = LEFT_ONCE[0] if LEFT_ONCE else left_of()
    made = resume(session.local, found, VIPS, nothing, 2000.0)
    if made is None:
        return
    again, connection = made
    assert again.since <= 2000.0
    again.want({**SOME, ip_address("203.0.113.99"): Attributes(HOP_6, (65001,), 7)})
    while again.supply(connection.serial, 1 << 16):
        pass
    again.tick(2001.0)
    again.received(connection.serial, b"\xff" * 16 + b"\x00\x13\x04", 2002.0)
