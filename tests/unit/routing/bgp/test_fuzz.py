"""Whatever a peer sends: messages, or the one refusal that the RFCs name, and never an exception of another kind.

What is sent are good messages, damaged in a few places: most of them get past the header, into what is hard to read.
"""

from __future__ import annotations

import random
import struct
from ipaddress import IPv4Address, ip_address

import pytest

from appliance.model_bgp import Community
from appliance.routing.bgp.capability import Capabilities, Family, GracefulRestart
from appliance.routing.bgp.message import Keepalive, Notification, Open, Reader, RouteRefresh, encode
from appliance.routing.bgp.notification import Code, Refusal
from appliance.routing.bgp.update import end_of_rib, pack, withdraw
from appliance.routing.route import Attributes
from appliance.routing.status import SessionState as State
from tests.profile import PARSER_INPUTS
from tests.unit.routing.bgp.pair import LEFT, RIGHT, Pair, peer

BATCH = 5000
BATCHES = max(1, PARSER_INPUTS // BATCH)
FOUR, SIX = ip_address("203.0.113.10"), ip_address("2001:db8::10")
COMMUNITIES = (Community((65001, 7)), Community((65001, 1, 2)))
ROUTES = [
    (FOUR, Attributes(LEFT, (65001, 4200000001), 50, 100, COMMUNITIES)),
    (FOUR, Attributes(ip_address("2001:db8::1"), (65001,))),
    (SIX, Attributes(ip_address("2001:db8::1"), (65001, 65001), 7, None, COMMUNITIES)),
]
CAPABILITIES = Capabilities(
    frozenset(Family), 65002, True, True, GracefulRestart(True, 120, True, ((Family.IPV4, True), (Family.IPV6, False))),
    frozenset({(Family.IPV4, Family.IPV6)}), ((71, b"abc"), (200, b"")),
)  # fmt: skip
GOOD = [
    encode(Open(65002, 90, IPv4Address("2.2.2.2"), CAPABILITIES)),
    encode(Open(23, 0, IPv4Address("2.2.2.2"), Capabilities())),
    encode(Keepalive()),
    encode(Notification(6, 2, b"\x05hello")),
    *(encode(RouteRefresh(family, 0)) for family in Family),
    *(end_of_rib(family) for family in Family),
    *(message for four_octet in (True, False) for one in ROUTES for message in pack([one], four_octet=four_octet)),
    *withdraw([FOUR, SIX]),
]


def damaged(chance: random.Random) -> bytes:
    """Return a stream of one to three messages with something wrong in it, often with lengths that are right."""
    stream = bytearray()
    for _ in range(chance.randint(1, 3)):
        one = bytearray(chance.choice(GOOD))
        for _ in range(chance.choice((0, 1, 1, 2, 4))):
            if len(one) <= 16:
                break
            place = chance.randrange(16, len(one))
            match chance.randrange(5):
                case 0:
                    one[place] = chance.randrange(256)
                case 1:
                    one[place] = chance.choice((0, 1, 2, 127, 128, 254, 255))
                case 2:
                    del one[place : place + chance.randint(1, 6)]
                case 3:
                    one[place:place] = chance.randbytes(chance.randint(1, 6))
                case _:
                    one[place] ^= 1 << chance.randrange(8)
        if len(one) >= 19 and chance.random() < 0.8:
            one[16:18] = struct.pack(">H", len(one))
        stream += one
    return bytes(stream)


@pytest.mark.hypothesis
def test_a_reader_gives_messages_or_one_refusal() -> None:
    chance, refused, read = random.Random(20), 0, 0
    for _ in range(BATCH * BATCHES):
        reader = Reader()
        reader.four_octet, reader.internal, reader.extended_next_hop = (chance.random() < 0.5 for _ in range(3))
        stream = damaged(chance)
        reader.feed(stream)
        refusal = None
        try:
            for _ in reader.messages():
                read += 1
        except Refusal as error:
            refusal = error
        if refusal is not None:
            refused += 1
            assert refusal.code in (Code.HEADER, Code.OPEN, Code.UPDATE, Code.ROUTE_REFRESH)
            assert refusal.why
            assert reader.last
    assert refused > BATCH * BATCHES // 10
    assert read > BATCH * BATCHES // 3


@pytest.mark.hypothesis
def test_a_session_ends_with_a_word_and_comes_back() -> None:
    chance = random.Random(21)
    lab = Pair(peer(RIGHT, remote_as=65002), peer(LEFT, local_as=65002))
    lab.start()
    for _ in range(40 * BATCHES):
        lab.run(100)
        left = lab.left.session
        assert left.state is State.ESTABLISHED
        serving = left.serving
        assert serving is not None
        left.received(serving.serial, damaged(chance), lab.now)
    assert lab.left.session.errors
