"""One session against another of the same kind: what both come to, whatever the order in which things happen."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model_bgp import Peer
from appliance.routing.bgp.agreement import offer
from appliance.routing.bgp.connection import Connection
from appliance.routing.bgp.message import Notification, encode
from appliance.routing.bgp.session import Session
from appliance.routing.route import Attributes
from appliance.routing.status import Direction
from appliance.routing.status import SessionState as State
from tests.unit.routing.bgp.pair import LATENCY, LEFT, RIGHT, End, Pair, peer

VIP = ip_address("203.0.113.10")


def pair(seed: int = 1, ids: tuple[str, str] = ("1.1.1.1", "2.2.2.2"), **more: object) -> Pair:
    """Return two speakers of different AS that want each other."""
    return Pair(peer(RIGHT, remote_as=65002, **more), peer(LEFT, local_as=65002, **more), seed=seed, ids=ids)


def endings(end: End) -> list[tuple[Direction, int | None, int | None]]:
    return [(one.ending.direction, one.ending.code, one.ending.subcode) for one in end.news if one.ending]


def states(lab: Pair) -> tuple[State, State]:
    return lab.left.session.state, lab.right.session.state


def connections(lab: Pair) -> tuple[int, int]:
    return len(lab.left.session.connections), len(lab.right.session.connections)


BOTH_UP = (State.ESTABLISHED, State.ESTABLISHED)


@pytest.mark.parametrize("ids", [("1.1.1.1", "2.2.2.2"), ("2.2.2.2", "1.1.1.1"), ("1.1.1.1", "1.1.1.1")])
@pytest.mark.parametrize("seed", range(20))
def test_both_open_at_once_and_one_connection_is_left(seed: int, ids: tuple[str, str]) -> None:
    lab = pair(seed, ids)
    lab.start()
    lab.run(5)
    assert states(lab) == BOTH_UP
    assert connections(lab) == (1, 1)
    [left], [right] = lab.left.session.connections.values(), lab.right.session.connections.values()
    assert left.inbound != right.inbound
    assert (lab.left.session.established_count, lab.right.session.established_count) == (1, 1)
    # That of the speaker with the higher id is kept, and with equal ids that of the higher AS (RFC 6286).
    assert right.inbound == (ids[0] > ids[1])


@pytest.mark.parametrize("ids", [("1.1.1.1", "2.2.2.2"), ("2.2.2.2", "1.1.1.1")])
def test_whatever_comes_late_a_session_that_has_begun_goes_on(ids: tuple[str, str]) -> None:
    for seed in range(600):
        lab = pair(seed, ids)
        lab.lateness = 5 * LATENCY
        lab.start()
        lab.run(20)
        assert states(lab) == BOTH_UP
        assert (lab.left.session.established_count, lab.right.session.established_count) == (1, 1), seed


@given(
    st.integers(0, 1 << 32),
    st.lists(
        st.tuples(st.sampled_from(["cut", "left deaf", "right deaf", "refuse", "heal"]), st.floats(0, 40)), max_size=8
    ),
)
def test_after_every_trouble_there_is_one_session_again(seed: int, troubles: list[tuple[str, float]]) -> None:
    lab = pair(seed)
    lab.start()
    for what, seconds in troubles:
        if what == "cut":
            lab.cut()
        lab.left.deaf = what == "left deaf"
        lab.right.deaf = what == "right deaf"
        lab.refuses = what == "refuse"
        lab.run(seconds)
        assert all(count <= 2 for count in connections(lab))
    lab.left.deaf = lab.right.deaf = lab.refuses = False
    lab.run(400)
    assert states(lab) == BOTH_UP
    assert connections(lab) == (1, 1)


def test_a_session_lives_by_keepalives_and_ends_without_them() -> None:
    lab = pair(hold_time=9)
    lab.start()
    lab.run(600)
    assert lab.left.session.established_count == 1
    lab.left.deaf = True
    lab.run(9.5)
    assert endings(lab.left)[0] == (Direction.SENT, 4, 0)
    assert endings(lab.right)[0] == (Direction.RECEIVED, 4, 0)


def test_the_shorter_hold_time_counts() -> None:
    lab = Pair(peer(RIGHT, remote_as=65002, hold_time=90), peer(LEFT, local_as=65002, hold_time=6))
    lab.start()
    lab.run(2)
    [one] = lab.left.session.connections.values()
    assert one.hold_time == 6
    lab.left.deaf = True
    lab.run(6.1)
    assert endings(lab.left) == [(Direction.SENT, 4, 0)]


WRONG = [
    ("the AS", peer(RIGHT, remote_as=65003), peer(LEFT, local_as=65002), ("1.1.1.1", "2.2.2.2"), (2, 2), "AS 65002"),
    ("the same id", peer(RIGHT), peer(LEFT), ("1.1.1.1", "1.1.1.1"), (2, 3), "router id is 1.1.1.1, which is ours"),
]


@pytest.mark.parametrize(
    ("left", "right", "ids", "code", "words"), [row[1:] for row in WRONG], ids=[r[0] for r in WRONG]
)
def test_what_cannot_be_agreed_to(
    left: Peer, right: Peer, ids: tuple[str, str], code: tuple[int, int], words: str
) -> None:
    lab = Pair(left, right, ids=ids)
    lab.start()
    lab.run(1)
    assert State.ESTABLISHED not in states(lab)
    assert (Direction.SENT, *code) in endings(lab.left)
    # With the same id, each refuses the other before it has heard of it.
    assert {(Direction.RECEIVED, *code), (Direction.SENT, *code)} & set(endings(lab.right))
    assert any(one.ending and words in one.ending.text for one in lab.left.news)
    attempts = lab.left.session.attempts
    lab.run(600)
    # Every minute at most, every half at least, and more while that grows.
    assert 8 <= lab.left.session.attempts - attempts <= 40


def test_attempts_come_more_and_more_seldom_and_begin_anew_after_a_good_session() -> None:
    lab = pair()
    lab.refuses = True
    lab.start()
    lab.run(1000)
    late = lab.left.session.attempts
    assert 18 <= late <= 45
    lab.refuses = False
    lab.run(120)
    assert states(lab) == BOTH_UP
    lab.cut()
    lab.run(2.5)
    assert states(lab) == BOTH_UP


def test_one_that_is_passive_waits_and_one_that_is_stopped_refuses() -> None:
    lab = Pair(peer(RIGHT, remote_as=65002, passive=True), peer(LEFT, local_as=65002))
    lab.left.session.start(lab.now)
    lab.run(100)
    assert (lab.left.session.state, lab.left.session.attempts) == (State.ACTIVE, 0)
    lab.right.session.start(lab.now)
    lab.run(1)
    assert states(lab) == BOTH_UP
    lab.left.session.stop(3, "the peer was removed", lab.now)
    lab.run(1)
    assert endings(lab.right)[0] == (Direction.RECEIVED, 6, 3)
    lab.run(100)
    assert states(lab) == (State.STOPPED, State.IDLE)


def test_bfd_ends_a_session_at_once_and_holds_off_the_next() -> None:
    lab = pair()
    lab.start()
    lab.run(5)
    lab.left.session.bfd(down=True, why="control detection time expired", now=lab.now)
    assert lab.left.session.state is State.IDLE
    lab.run(25)
    assert endings(lab.right)[0] == (Direction.RECEIVED, 6, 10)
    assert State.ESTABLISHED not in states(lab)
    lab.left.session.bfd(down=False, why="", now=lab.now)
    lab.run(1)
    assert states(lab) == BOTH_UP
    # A router without BFD from now on is not without a session for ever.
    lab.left.session.bfd(down=True, why="control detection time expired", now=lab.now)
    lab.run(90)
    assert states(lab) == BOTH_UP


def test_a_peer_that_restarts_gracefully_takes_the_place_of_its_former_session() -> None:
    """The right one is exchanged for a new one that knows nothing; the left one has not noticed the end."""
    for graceful in (True, False):
        lab = pair(graceful_restart=graceful, hold_time=240)
        lab.start()
        lab.run(5)
        lab.right.links.clear()
        lab.left.deaf = False
        lab.right.session = Session(lab.right.session.local, lab.random.random, lab.now)
        lab.right.session.start(lab.now)
        lab.run(20)
        assert (states(lab) == BOTH_UP) == graceful


def test_the_other_of_two_connections_is_no_restart_however_late_its_open_comes() -> None:
    lab = pair()
    left = lab.left.session
    left.start(lab.now)
    other = left.accepted(LEFT, lab.now)
    assert other is not None
    lab.right.session.start(lab.now)
    lab.run(5)
    if other in left.connections:  # it gave way when the session was established
        left.received(other, encode(offer(lab.right.session.local)), lab.now)
    assert left.established_count == 1
    serving = left.serving
    assert serving is not None
    late = Connection(99, left.local, left, left.orders, lab.random.random, inbound=True)
    late.began_at = serving.established_at
    left.connections[99] = late
    assert not left.may_open(late, offer(lab.right.session.local), lab.now)
    assert left.serving is serving
    late.began_at = serving.established_at + 1
    left.connections[99] = late
    assert left.may_open(late, offer(lab.right.session.local), lab.now)
    assert left.serving is None


def test_routes_are_told_and_told_again_by_a_new_session() -> None:
    lab = pair()
    lab.left.routes = {VIP: Attributes(LEFT, (65001,))}
    lab.start()
    lab.run(5)
    assert lab.right.session.ignored == 1
    lab.cut()
    lab.run(10)
    assert lab.right.session.ignored == 2
    lab.left.routes = {}
    lab.tell(lab.left)
    lab.run(1)
    assert lab.right.session.ignored == 2


@pytest.mark.parametrize("state", ["open-sent", "established"])
@given(st.binary(max_size=60))
def test_whatever_a_peer_says(state: str, data: bytes) -> None:
    lab = pair()
    lab.left.session.start(lab.now)
    serial = lab.left.session.accepted(LEFT, lab.now)
    assert serial is not None
    if state == "established":
        lab.right.session.start(lab.now)
        lab.run(5)
        [serial] = [one.serial for one in lab.left.session.connections.values()]
    before = len(lab.left.session.orders)
    lab.left.session.received(serial, data, lab.now)
    for ending in endings(lab.left):
        assert ending[0] is not Direction.LOCAL
    lab.left.session.received(serial, encode(Notification(6, 4)), lab.now)
    lab.run(30)
    assert len(lab.left.session.connections) <= 1
    assert before >= 0


def test_a_message_out_of_place_is_answered_with_its_own_error() -> None:
    lab = pair()
    lab.left.session.start(lab.now)
    serial = lab.left.session.accepted(LEFT, lab.now)
    assert serial is not None
    lab.left.session.orders.clear()
    lab.left.session.received(serial, bytes.fromhex("ff" * 16 + "001304"), lab.now)
    [news] = lab.left.session.news
    assert news.ending is not None
    assert (news.ending.code, news.ending.subcode) == (5, 1)
    assert "keepalive" in news.ending.text


def test_what_a_restarting_daemon_says() -> None:
    lab = pair()
    local = lab.left.session.local
    lab.left.session = Session(replace(local, restarting=True, preserved=True), lab.random.random, lab.now)
    lab.start()
    lab.run(5)
    agreement = lab.right.session.agreement
    assert agreement is not None
    assert agreement.graceful_restart is not None
    assert agreement.graceful_restart.restarting
    assert dict(agreement.graceful_restart.families)
    assert agreement.router_id == IPv4Address("1.1.1.1")
    lab.cut()
    lab.run(10)
    again = lab.right.session.agreement
    assert again is not None
    assert again.graceful_restart is not None
    assert not again.graceful_restart.restarting
