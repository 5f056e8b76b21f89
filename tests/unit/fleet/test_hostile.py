"""What is forged, replayed, truncated or foreign changes nothing but counters. The whole engine is compared."""

from __future__ import annotations

import enum
import hashlib
import hmac
import random
import types
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.fleet import messages as m
from appliance.fleet.counters import Counters
from appliance.fleet.envelope import DROPS, MOST, OVERHEAD, Drop, Keys, Kind
from appliance.fleet.members import MEMBERS
from appliance.fleet.orders import Gone, Joined, Learn, Send
from appliance.fleet.records import Facts, NodeState
from appliance.fleet.replay import PENDING
from appliance.fleet.stream import HELD
from appliance.model_fleet import Fleet
from tests.profile import EXAMPLES
from tests.unit.fleet.network import GROUP, KEY, OTHER_KEY, SERVICE, STORM, Network, Node, endpoint

KEYS, OTHER_KEYS = Keys((KEY,)), Keys((OTHER_KEY,))
ATOMS = (int, float, str, bytes, bytearray, type(None), enum.Enum, Fleet)


def picture(thing: object) -> object:
    """Return all that an engine consists of, except its counters, as values that can be compared."""
    if isinstance(thing, ATOMS):
        return thing if not isinstance(thing, bytearray) else bytes(thing)
    if isinstance(thing, Counters | Node | types.FunctionType | Iterator):
        return type(thing).__name__
    if isinstance(thing, dict):
        return [(picture(key), picture(value)) for key, value in thing.items()]
    if isinstance(thing, set | frozenset):
        return sorted(map(repr, thing))
    if isinstance(thing, list | tuple | deque):
        return [picture(one) for one in thing]
    names = [*getattr(thing, "__dict__", {}), *getattr(type(thing), "__slots__", ())]
    return type(thing).__name__, [(name, picture(getattr(thing, name, None))) for name in names]


def busy() -> Network:
    """A network in the middle of things: streams with gaps, a sync and a table on their way, a stranger."""
    network = Network(3, seed=5)
    network.run(0.5)
    network.ready()
    network.tell(0, 30000)
    network.run(0.5)
    network.weather = STORM
    network.start(3)
    network.run(0.1)
    asked = network.nodes[0].exchange.ask_table(network.nodes[1].exchange.life, SERVICE, network.now)
    network.act(0, asked)
    turn = 0
    while turn < 60 or not any(peer.stream.held for peer in network.nodes[0].exchange._peers.values()):
        network.tell(turn % 3, 100)
        network.run(0.001)
        turn += 1
    for number, node in network.nodes.items():
        network.act(number, node.exchange.due(network.now))  # so that all know what time it is
    return network


@pytest.fixture(scope="module")
def network() -> Network:
    """One for all tests here: none of them may change it."""
    return busy()


def refused(network: Network, data: bytes, reason: Drop | None = None, node: int = 0) -> None:
    """Give a datagram to a node, and see that nothing but a counter changes."""
    exchange = network.nodes[node].exchange
    before, dropped = picture(exchange), dict(exchange.counters.dropped)
    assert exchange.received(data, endpoint(1), network.now) == []
    assert picture(exchange) == before
    after = exchange.counters.dropped
    changed = {one: after[one] - dropped[one] for one in Drop if after[one] != dropped[one]}
    assert sum(changed.values()) == 1
    assert reason is None or changed == {reason: 1}


def fresh(network: Network, kind: Kind, body: bytes, *, sequence: int = 2**40, life: int | None = None) -> bytes:
    """Return a datagram as node 1 might send it next."""
    exchange = network.nodes[1].exchange
    return KEYS.seal(exchange.life if life is None else life, sequence, kind, body)


def hello(network: Network, heard: dict[int, int], state: NodeState = NodeState.READY) -> bytes:
    """Return the body of a HELLO that echoes these nonces."""
    others = {life: m.Heard(nonce) for life, nonce in heard.items()}
    return m.encode_hello(m.Hello(Facts("stranger", "1", state), 4711, others, 0, 1))


def test_the_picture_sees_what_changes(network: Network) -> None:
    other = busy()
    assert picture(other.nodes[0].exchange) == picture(network.nodes[0].exchange)
    before = picture(other.nodes[0].exchange)
    other.nodes[0].exchange.received(
        fresh(other, Kind.NAK, m.encode_nak(m.Nak(other.nodes[0].exchange.life, (m.Range(1, 1),)))),
        endpoint(1),
        other.now,
    )
    assert picture(other.nodes[0].exchange) != before
    assert any(peer.stream.held for peer in other.nodes[0].exchange._peers.values()), "it is in the middle of things"


def test_every_datagram_that_came_is_refused_when_it_comes_again(network: Network) -> None:
    exchange = network.nodes[0].exchange
    replayed = 0
    for data in network.wire:
        header = KEYS.head(data)
        peer = exchange._peers.get(header.life)
        if header.life == exchange.life:
            refused(network, data, Drop.OWN)
        elif peer is not None and peer.window.knows(header.sequence):
            refused(network, data, Drop.REPLAYED)
            replayed += 1
    assert replayed > 50


@pytest.mark.parametrize("kind", Kind)
def test_a_single_wrong_bit_is_enough(network: Network, kind: Kind) -> None:
    body = next(data for data in reversed(network.wire) if KEYS.head(data).kind == kind)[OVERHEAD - 16 : -16]
    data = fresh(network, kind, body[:200])
    chance = random.Random(kind)
    for place in range(len(data)):
        wrong = bytearray(data)
        wrong[place] ^= 1 << chance.randrange(8)
        refused(network, bytes(wrong))


def test_what_is_truncated_or_longer_is_refused(network: Network) -> None:
    data = fresh(network, Kind.RECORDS, m.encode_records(m.Records(10**6, b"x" * 80)))
    for length in range(len(data)):
        refused(network, data[:length], Drop.SHORT if length < OVERHEAD else Drop.FORGED)
    refused(network, data + b"\0", Drop.FORGED)
    refused(network, data + bytes(MOST), Drop.LONG)
    refused(network, b"", Drop.SHORT)


@settings(max_examples=3 * EXAMPLES)
@given(data=st.binary(max_size=200), head=st.sampled_from((b"", b"V5F1", b"V5F2")))
def test_whatever_comes_changes_nothing(network: Network, data: bytes, head: bytes) -> None:
    refused(network, head + data)


@given(kind=st.integers(0, 255), body=st.binary(max_size=200))
def test_what_has_the_key_and_makes_no_sense_raises_nothing(kind: int, body: bytes) -> None:
    network = Network(2)
    network.run(0.3)
    exchange, life = network.nodes[0].exchange, network.nodes[1].exchange.life
    head = KEYS.seal(life, 10**6, Kind.HELLO, b"")[:28]
    for front in (b"", exchange.life.to_bytes(8)):
        sealed = sealed_as(head[:24] + bytes([kind]) + head[25:] + front + body)
        exchange.received(sealed, endpoint(1), network.now)
    assert exchange.due(network.now + 0.1) is not None


def sealed_as(content: bytes) -> bytes:
    """Return content with a MAC that is right."""
    return content + hmac.digest(KEY, content, hashlib.sha256)[:16]


def test_strangers_are_not_heard(network: Network) -> None:
    own = network.nodes[0].exchange.life
    bodies = {
        Kind.RECORDS: m.encode_records(m.Records(1, b"")),
        Kind.NAK: m.encode_nak(m.Nak(own, (m.Range(1, 5),))),
        Kind.REQUEST: m.encode_request(m.Request(own, 1, m.What.EVERYTHING)),
        Kind.PART: m.encode_part(m.Part(own, 1, 0, 0, b"")),
        Kind.ACK: m.encode_ack(m.Ack(own, 1, 1)),
        Kind.HELLO: hello(network, {own: network.nodes[0].exchange._nonces.current}, NodeState.LEAVING),
    }
    for kind, body in bodies.items():
        refused(network, fresh(network, kind, body, life=4711, sequence=1), Drop.UNPROVED)
    refused(network, OTHER_KEYS.seal(4711, 1, Kind.HELLO, bodies[Kind.HELLO]), Drop.KEY)
    refused(network, fresh(network, Kind.HELLO, b"", life=4711), Drop.MALFORMED)
    refused(network, fresh(network, Kind.HELLO, b"", life=own), Drop.OWN)


def test_a_member_that_makes_no_sense_is_not_heard(network: Network) -> None:
    for kind in Kind:
        refused(network, fresh(network, kind, b"\xff"), Drop.MALFORMED)


def test_what_is_for_others_is_counted() -> None:
    network = Network(2)
    network.run(0.3)
    exchange = network.nodes[0].exchange
    bodies = (
        (Kind.NAK, m.encode_nak(m.Nak(4711, (m.Range(1, 5),)))),
        (Kind.REQUEST, m.encode_request(m.Request(4711, 1, m.What.EVERYTHING))),
        (Kind.PART, m.encode_part(m.Part(4711, 1, 0, 0, b""))),
        (Kind.ACK, m.encode_ack(m.Ack(4711, 1, 1))),
        (Kind.ACK, m.encode_ack(m.Ack(exchange.life, 77, 1))),
    )
    for number, (kind, body) in enumerate(bodies):
        assert exchange.received(fresh(network, kind, body, sequence=10**6 + number), endpoint(1), network.now) == []
    assert exchange.counters.dropped[Drop.STRAY] == len(bodies)


def test_yesterdays_words_are_not_believed() -> None:
    """The same life and key, a node that was restarted since: it has other nonces."""
    network = Network(2)
    network.run(0.3)
    network.tell(1, 10)
    network.run(0.3)
    yesterday = [data for data in network.wire if KEYS.head(data).life == network.nodes[1].exchange.life]
    network.kill(1)
    restarted = network.start(0).exchange
    for data in yesterday:
        restarted.received(data, endpoint(1), network.now)
    network.run(1)
    assert not restarted.members
    assert not network.nodes[0].of(Joined)
    assert not network.nodes[0].of(Learn)
    assert restarted.counters.dropped[Drop.UNPROVED] == len(yesterday)
    network.run(6)
    assert not restarted._strangers.shown, "nor remembered"


def test_a_life_that_was_gone_is_not_revived_by_its_old_words() -> None:
    network = Network(2)
    network.run(0.3)
    network.part({0}, {1})
    network.run(3)
    withheld = [data for data in network.wire if KEYS.head(data).life == network.nodes[1].exchange.life][-3:]
    exchange = network.nodes[0].exchange
    network.kill(1)
    network.run(3)
    assert len(network.nodes[0].of(Gone)) == 1
    for data in withheld:
        exchange.received(data, endpoint(1), network.now)
    assert not exchange.members


def test_recorded_hellos_are_echoed_at_a_bounded_rate_and_remembered_in_a_bounded_place() -> None:
    network = Network(2)
    network.run(0.3)
    node = network.nodes[0]
    before = node.exchange.counters.sent[Kind.HELLO]
    for life in range(1000):
        network.act(
            0, node.exchange.received(fresh(network, Kind.HELLO, hello(network, {}), life=life), endpoint(1), 0)
        )
        network.run(0.001)
    assert node.exchange.counters.sent[Kind.HELLO] - before <= 21
    assert len(node.exchange._strangers.shown) <= PENDING
    assert network.disagreements() == []


def test_there_are_no_more_members_than_fit_into_a_hello() -> None:
    network = Network(1)
    exchange = network.nodes[0].exchange
    for life in range(1, MEMBERS + 10):
        body = hello(network, {exchange.life: exchange._nonces.current})
        exchange.received(KEYS.seal(life, 1, Kind.HELLO, body), endpoint(life), network.now)
    assert len(exchange.members) == MEMBERS
    assert exchange.counters.dropped[Drop.CROWDED] == 9
    network.run(1)


def test_what_a_member_holds_back_is_bounded() -> None:
    """A stream that never begins, and one with a gap that is never filled."""
    network = Network(2)
    network.run(0.3)
    exchange = network.nodes[0].exchange
    for number in range(2, 10_000):
        data = fresh(network, Kind.RECORDS, m.encode_records(m.Records(number, b"")), sequence=10**6 + number)
        exchange.received(data, endpoint(1), network.now)
    (peer,) = exchange._peers.values()
    assert len(peer.stream.held) == HELD - 1, "those from 2 on, of HELD from 1 on"
    body = m.encode_records(m.Records(2**64 - 1, b""))
    exchange.received(fresh(network, Kind.RECORDS, body), endpoint(1), network.now)
    orders = exchange.due(network.now + 0.01)
    assert exchange.counters.sent[Kind.NAK] == 1
    assert orders


def test_reasons_are_told_in_words() -> None:
    assert set(DROPS) == set(Drop)


def test_a_configuration_with_another_key_signs_with_it() -> None:
    network = Network(2)
    network.run(0.3)
    fleet = replace(network.fleet, keys=(OTHER_KEY, KEY), group=GROUP)
    network.nodes[0].exchange.configure(fleet, network.now)
    (sent,) = network.nodes[0].exchange.announce(network.now + 1)
    assert isinstance(sent, Send)
    assert OTHER_KEYS.head(sent.data).life == network.nodes[0].exchange.life
