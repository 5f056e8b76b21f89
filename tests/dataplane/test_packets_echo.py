"""Packet in, packet out: echo requests of the prober's to one backend, every way that there is, and the replies.

One program with tagged and untagged frames, NAT and every tunnel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from appliance.dataplane.desired import Desired, DesiredService, Hop, Member, ProbeLink
from appliance.dataplane.encapsulation import ALL
from appliance.dataplane.enums import Reason, State
from appliance.dataplane.model import Action, AnswerKey
from appliance.dataplane.model.exits import probe_address
from appliance.model import Address, Forward, Mode, Protocol, ServiceKey, Tunnel, TunnelKind
from tests.dataplane.equivalence.pair import Pair, loaded, shape
from tests.dataplane.frames import BALANCER, Frame
from tests.dataplane.oracle import checksums_are_right

pytestmark = pytest.mark.root

MAC = bytes.fromhex("02000001010b")
LINK = ProbeLink(7, bytes.fromhex("0200000000aa0200000000ab"), IPv4Address("169.254.7.2"))
OWN: dict[int, Address] = {4: IPv4Address("10.1.10.5"), 6: IPv6Address("2001:db8:10::5")}
BACKEND: dict[int, Address] = {4: IPv4Address("10.1.10.11"), 6: IPv6Address("2001:db8:10::11")}
STRANGER: dict[int, Address] = {4: IPv4Address("192.0.2.1"), 6: IPv6Address("2001:db8:77::1")}
REQUEST, REPLY = {4: 8, 6: 128}, {4: 0, 6: 129}
INTERFACE, TAG, CODE = 3, 10, 46
NAMED = b"\x30\x39\0\2"
"""Identifier 12345, sequence number 2."""
DATA = b"sixteen random b"


@dataclass(frozen=True)
class Road:
    """How packets get to the backends of a VIP."""

    name: str
    last: int
    """Of the VIP's address."""
    forward: Forward = Forward.DSR
    tunnel: Tunnel | None = None
    vlan: int | None = None

    def vip(self, family: int) -> Address:
        return ip_address("203.0.113.0" if family == 4 else "2001:db8:5::") + self.last


ROADS = (
    Road("direct", 10),
    Road("tagged", 11, vlan=TAG),
    Road("nat", 12, Forward.NAT),
    Road("nat-tagged", 13, Forward.NAT, vlan=TAG),
    Road("gue", 14, tunnel=Tunnel(TunnelKind.GUE, 6080)),
    Road("dscp", 15, tunnel=Tunnel(TunnelKind.DSCP, code=CODE)),
)
EACH = [(road, family) for road in ROADS for family in (4, 6)]
NAMES = [f"{road.name}-{family}" for road, family in EACH]


def service(road: Road, family: int) -> DesiredService:
    hop = Hop(INTERFACE, MAC + BALANCER, OWN[family], road.vlan)
    # Behind NAT one answer is that of one service: each has a port of its own.
    member = Member(BACKEND[family], 1, State.AVAILABLE, hop, OWN[family], port=8000 + road.last)
    key = ServiceKey(road.vip(family), 80, Protocol.TCP)
    if road.forward is Forward.NAT:
        return DesiredService(key, (member,), 900, forward=road.forward)
    return DesiredService(
        key, (Member(BACKEND[family], 1, State.AVAILABLE, hop, OWN[family]),), 900, tunnel=road.tunnel
    )


SERVICES = {(road, family): service(road, family) for road, family in EACH}


def program() -> AbstractContextManager[Pair]:
    return loaded(shape(resets=False, ipv6=True, mode=Mode.VLAN, mixed=True, nat=True, tunnels=ALL))


def opened(pair: Pair) -> Pair:
    """All services, and nothing else."""
    pair.clear()
    pair.at(1000)
    services = tuple(sorted(SERVICES.values(), key=lambda one: one.key))
    pair.apply("open", Desired(services, dict.fromkeys((one.key.vip for one in services), True), probe=LINK))
    return pair


@pytest.fixture(scope="module")
def loaded_pair() -> Iterator[Pair]:
    with program() as pair:
        yield pair


@pytest.fixture
def pair(loaded_pair: Pair) -> Pair:
    return opened(loaded_pair)


def between(frame: Frame, source: Address, destination: Address, tos: int = 0) -> Frame:
    if isinstance(source, IPv4Address) and isinstance(destination, IPv4Address):
        return frame.ipv4(source, destination, tos=tos)
    assert isinstance(source, IPv6Address)
    assert isinstance(destination, IPv6Address)
    return frame.ipv6(source, destination, traffic=tos)


def called(pair: Pair, road: Road, family: int) -> Address:
    """The backend as the prober knows it."""
    [number] = pair.tables[1].numbers(SERVICES[road, family].key).values()
    return probe_address(number, family)


def prober(family: int) -> Address:
    return LINK.address if family == 4 else LINK.address6


def out(pair: Pair, road: Road, family: int) -> Frame:
    """What the prober sends, up to its IP header."""
    return between(Frame(LINK.macs[6:], LINK.macs[:6]), prober(family), called(pair, road, family))


def back(road: Road, family: int) -> Frame:
    """What the backend sends, likewise."""
    source = BACKEND[family] if road.forward is Forward.NAT else road.vip(family)
    frame = Frame(BALANCER, MAC)
    return between(frame.tagged(road.vlan) if road.vlan else frame, source, OWN[family])


@pytest.mark.parametrize(("road", "family"), EACH, ids=NAMES)
def test_a_request_goes_where_all_probes_go(pair: Pair, road: Road, family: int) -> None:
    left = pair.send(out(pair, road, family).icmp(REQUEST[family], data=DATA, rest=NAMED).bytes, probe=True)
    assert (left.action, left.interface, left.reason) == (Action.REDIRECT, INTERFACE, Reason.PROBE_SENT)
    behind, dscp = road.forward is Forward.NAT, road.name == "dscp"
    arrives = BACKEND[family] if behind or dscp else road.vip(family)
    frame = Frame(MAC, BALANCER)
    sent = between(frame.tagged(road.vlan) if road.vlan else frame, OWN[family], arrives, CODE << 2 if dscp else 0)
    sent = sent.icmp(REQUEST[family], data=DATA, rest=NAMED)
    if road.name == "gue":
        assert left.frame[-len(sent.header + sent.body) :] == sent.header + sent.body
        whole = Ether(left.frame)
        before, _ = whole[UDP].chksum, whole[UDP].__delattr__("chksum")
        assert whole[IP if family == 4 else IPv6].dst == str(BACKEND[family])
        assert Ether(bytes(whole))[UDP].chksum == before
    else:
        assert left.frame == sent.bytes
        assert checksums_are_right(left.frame)
    key = AnswerKey(BACKEND[family] if behind else road.vip(family), 0, 12345, 1 if family == 4 else 58)
    assert list(pair.model.answers) == [key]
    pair.compare()


@pytest.mark.parametrize(("road", "family"), EACH, ids=NAMES)
def test_the_reply_comes_back(pair: Pair, road: Road, family: int) -> None:
    pair.send(out(pair, road, family).icmp(REQUEST[family], data=DATA, rest=NAMED).bytes, probe=True)
    left = pair.send(back(road, family).icmp(REPLY[family], data=DATA, rest=NAMED).padded(64).bytes)
    assert (left.action, left.interface, left.reason) == (Action.REDIRECT, LINK.interface, Reason.PROBE_ANSWER)
    delivered = between(Frame(LINK.macs[:6], LINK.macs[6:]), called(pair, road, family), prober(family))
    delivered = delivered.icmp(REPLY[family], data=DATA, rest=NAMED)
    assert left.frame.rstrip(b"\0") == delivered.bytes.rstrip(b"\0")
    assert checksums_are_right(left.frame)
    pair.compare()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("road", [ROADS[0], ROADS[2]], ids=["direct", "nat"])
def test_what_answers_no_request_is_passed(pair: Pair, road: Road, family: int) -> None:
    asked = out(pair, road, family)
    pair.send(asked.icmp(REQUEST[family], data=DATA, rest=NAMED).bytes, probe=True)
    answers, passed = back(road, family), Reason.NOT_VIP if road.forward is Forward.NAT else Reason.VIP_SOURCE
    source = BACKEND[family] if road.forward is Forward.NAT else road.vip(family)
    elsewhere = between(Frame(BALANCER, MAC), source, STRANGER[family])
    reply = answers.icmp(REPLY[family], data=DATA, rest=NAMED)
    for why, frame in {
        "another identifier": answers.icmp(REPLY[family], data=DATA, rest=b"\x30\x38\0\2"),
        "a request": answers.icmp(REQUEST[family], data=DATA, rest=NAMED),
        "another code": answers.icmp(REPLY[family], 1, DATA, rest=NAMED),
        "the other family's type": answers.icmp(REPLY[10 - family], data=DATA, rest=NAMED),
        "the other family's protocol": answers.raw(58 if family == 4 else 1, reply.body),
        "half a header": answers.raw(1 if family == 4 else 58, reply.body[:7]),
        "to another address": elsewhere.icmp(REPLY[family], data=DATA, rest=NAMED),
        "cut short": reply.cut(len(reply.bytes) - 1),
    }.items():
        left = pair.send(frame.bytes)
        assert (left.action, left.reason, left.frame) == (Action.PASS, passed, frame.bytes), why
    pair.compare()


@pytest.mark.parametrize("family", [4, 6])
def test_what_is_no_request_is_refused(pair: Pair, family: int) -> None:
    asked = out(pair, ROADS[0], family)
    request = asked.icmp(REQUEST[family], data=DATA, rest=NAMED)
    for why, frame in {
        "a reply": asked.icmp(REPLY[family], data=DATA, rest=NAMED),
        "another code": asked.icmp(REQUEST[family], 1, DATA, rest=NAMED),
        "the other family's type": asked.icmp(REQUEST[10 - family], data=DATA, rest=NAMED),
        "the other family's protocol": asked.raw(58 if family == 4 else 1, request.body),
        "half a header": asked.raw(1 if family == 4 else 58, request.body[:7]),
    }.items():
        left = pair.send(frame.bytes, probe=True)
        assert (left.action, left.reason, left.frame) == (Action.DROP, Reason.PROBE_REFUSED, frame.bytes), why
    pair.compare()
    assert pair.model.answers == {}


@pytest.mark.parametrize("family", [4, 6])
def test_a_reply_in_pieces_is_passed(pair: Pair, family: int) -> None:
    pair.send(out(pair, ROADS[0], family).icmp(REQUEST[family], data=DATA, rest=NAMED).bytes, probe=True)
    vip, own = ROADS[0].vip(family), OWN[family]
    if isinstance(vip, IPv4Address) and isinstance(own, IPv4Address):
        ip = Frame(BALANCER, MAC).ipv4(vip, own, fragment=0x2000)
    else:
        ip = Frame(BALANCER, MAC).ipv6(str(vip), str(own), extensions=((44, b"\0\0\0\1" + bytes(4)),))
    left = pair.send(ip.icmp(REPLY[family], data=DATA, rest=NAMED).bytes)
    assert (left.action, left.reason) == (Action.PASS, Reason.VIP_SOURCE)
    pair.compare()
