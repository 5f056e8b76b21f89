"""Packet in, packet out: probes to a VIP on one backend, and their answers."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

import pytest

from appliance.dataplane.desired import Desired, DesiredService, Hop, Member, ProbeLink
from appliance.dataplane.enums import Reason, State
from appliance.dataplane.model import Action
from appliance.model import Protocol, ServiceKey
from tests.dataplane.equivalence.pair import Pair
from tests.dataplane.frames import BALANCER, ROUTER, Frame, internet_checksum
from tests.dataplane.oracle import checksums_are_right

pytestmark = pytest.mark.root

VIP, OWN, OTHER_OWN, PROBER = "203.0.113.10", "10.1.10.5", "10.1.20.5", "169.254.7.2"
BACKEND = bytes.fromhex("02000001010b")
VETH = bytes.fromhex("0200000000aa0200000000ab")
LINK = ProbeLink(7, VETH, IPv4Address(PROBER))
INTERFACE = 3


def _member(host: int, state: State, mac: bytes | None) -> Member:
    hop = Hop(INTERFACE, mac + BALANCER, IPv4Address(OWN)) if mac else None
    return Member(IPv4Address(f"10.1.10.{host}"), int(state is State.AVAILABLE), state, hop)


def _desired(*members: Member) -> Desired:
    services = [(80, Protocol.TCP), (53, Protocol.UDP)]
    return Desired(
        services=tuple(DesiredService(ServiceKey(IPv4Address(VIP), *one), members, 900) for one in services),
        vips={IPv4Address(VIP): True},
        probe=LINK,
    )


DEAD, UNRESOLVED, REMOVED = (
    _member(11, State.DEAD, BACKEND),
    _member(12, State.NONE, None),
    _member(13, State.AVAILABLE, BACKEND),
)
# The numbers that the backends of the first service get, in the order of their addresses.
DEAD_NUMBER, UNRESOLVED_NUMBER, REMOVED_NUMBER, UNUSED_NUMBER = 17, 18, 19, 20


def _address(number: int) -> str:
    return str(IPv4Address("10.0.0.0") + number)


def _to(number: int) -> Frame:
    return Frame(VETH[6:], VETH[:6]).ipv4(PROBER, _address(number))


SENT = Frame(BACKEND, BALANCER).ipv4(OWN, VIP)
ANSWER = Frame(BALANCER, ROUTER).ipv4(VIP, OWN, ttl=61)
DELIVERED = Frame(VETH[:6], VETH[6:]).ipv4(_address(DEAD_NUMBER), PROBER, ttl=61)


@dataclass(frozen=True)
class Row:
    """A probe, the reason with which it leaves, how it leaves (None: as it came), and why."""

    why: str
    frame: Frame
    reason: Reason
    after: Frame | None = None


SENT_ROWS = (
    Row("to a dead backend", _to(DEAD_NUMBER).tcp(4000, 80), Reason.PROBE_SENT, SENT.tcp(4000, 80)),
    Row("to another port", _to(DEAD_NUMBER).tcp(4000, 8080), Reason.PROBE_SENT, SENT.tcp(4000, 8080)),
    Row(
        "with data",
        _to(DEAD_NUMBER).tcp(4, 80, "PA", data=b"GET"),
        Reason.PROBE_SENT,
        SENT.tcp(4, 80, "PA", data=b"GET"),
    ),
    Row("UDP", _to(DEAD_NUMBER).udp(4000, 53, b"q"), Reason.PROBE_SENT, SENT.udp(4000, 53, b"q")),
    Row("no checksum", _to(DEAD_NUMBER).udp(4, 53, checksum=0), Reason.PROBE_SENT, SENT.udp(4, 53, checksum=0)),
    Row("MAC address not known", _to(UNRESOLVED_NUMBER).tcp(4000, 80), Reason.UNRESOLVED),
    Row("to a removed backend", _to(REMOVED_NUMBER).tcp(4000, 80), Reason.PROBE_REFUSED),
    Row("to an unused number", _to(UNUSED_NUMBER).tcp(4000, 80), Reason.PROBE_REFUSED),
    Row("to number 0", _to(0).tcp(4000, 80), Reason.PROBE_REFUSED),
    Row("to a number beyond all", _to(512).tcp(4000, 80), Reason.PROBE_REFUSED),
    Row("to another network", Frame().ipv4(PROBER, "11.0.0.17").tcp(4000, 80), Reason.PROBE_REFUSED),
    Row("ping", _to(DEAD_NUMBER).icmp(8), Reason.PROBE_SENT, SENT.icmp(8)),
    Row("another protocol", _to(DEAD_NUMBER).raw(47, bytes(24)), Reason.PROBE_REFUSED),
    Row("ARP", Frame().other(0x0806, bytes(46)), Reason.PROBE_REFUSED),
    Row("IPv6", Frame().other(0x86DD, bytes(60)), Reason.PROBE_REFUSED),
    Row("a tag", _to(DEAD_NUMBER).tcp(4000, 80).tagged(3), Reason.PROBE_REFUSED),
    Row("cut short", _to(DEAD_NUMBER).tcp(4000, 80).cut(53), Reason.PROBE_REFUSED),
    Row("no IPv4 header", _to(DEAD_NUMBER).tcp(4000, 80).cut(20), Reason.PROBE_REFUSED),
    Row(
        "a length below the header's",
        Frame().ipv4(PROBER, _address(DEAD_NUMBER), length=5).tcp(4000, 80),
        Reason.PROBE_REFUSED,
    ),
    Row(
        "a length beyond the frame",
        Frame().ipv4(PROBER, _address(DEAD_NUMBER), length=41).tcp(4000, 80),
        Reason.PROBE_REFUSED,
    ),
    Row(
        "options",
        Frame().ipv4(PROBER, _address(DEAD_NUMBER), options=b"\1" * 4).tcp(4000, 80),
        Reason.PROBE_REFUSED,
    ),
    Row(
        "a fragment",
        Frame().ipv4(PROBER, _address(DEAD_NUMBER), fragment=0x2000).tcp(4000, 80),
        Reason.PROBE_REFUSED,
    ),
)
ANSWER_ROWS = (
    Row("accepted", ANSWER.tcp(80, 4000, "SA"), Reason.PROBE_ANSWER, DELIVERED.tcp(80, 4000, "SA")),
    Row("refused", ANSWER.tcp(80, 4000, "RA"), Reason.PROBE_ANSWER, DELIVERED.tcp(80, 4000, "RA")),
    Row("padded", ANSWER.tcp(80, 4000, "A").padded(60), Reason.PROBE_ANSWER, DELIVERED.tcp(80, 4000, "A").padded(60)),
    Row("UDP", ANSWER.udp(53, 4000, b"answer"), Reason.PROBE_ANSWER, DELIVERED.udp(53, 4000, b"answer")),
    Row("no checksum", ANSWER.udp(53, 4000, checksum=0), Reason.PROBE_ANSWER, DELIVERED.udp(53, 4000, checksum=0)),
    Row(
        "with options",
        Frame().ipv4(VIP, OWN, options=b"\1" * 8).tcp(80, 4000, "SA"),
        Reason.PROBE_ANSWER,
        Frame(VETH[:6], VETH[6:]).ipv4(_address(DEAD_NUMBER), PROBER, options=b"\1" * 8).tcp(80, 4000, "SA"),
    ),
    Row("ping", ANSWER.icmp(0), Reason.PROBE_ANSWER, DELIVERED.icmp(0)),
    Row("ping with another identifier", ANSWER.icmp(0, rest=b"\0\3\0\2"), Reason.VIP_SOURCE),
    Row("from another port", ANSWER.tcp(81, 4000, "SA"), Reason.VIP_SOURCE),
    Row("to another port", ANSWER.tcp(80, 4001, "SA"), Reason.VIP_SOURCE),
    Row("of the other protocol", ANSWER.udp(80, 4000), Reason.VIP_SOURCE),
    Row("to another address", Frame().ipv4(VIP, OTHER_OWN).tcp(80, 4000, "SA"), Reason.VIP_SOURCE),
    Row("a fragment", Frame().ipv4(VIP, OWN, fragment=0x2000).tcp(80, 4000, "SA"), Reason.VIP_SOURCE),
    Row("not from a VIP", Frame().ipv4("203.0.113.99", OWN).tcp(80, 4000, "SA"), Reason.NOT_VIP),
)


@pytest.fixture
def probing(pair: Pair) -> Pair:
    """Two services with a dead backend, one whose MAC is not known, and one that has been removed."""
    pair.apply("open", _desired(DEAD, UNRESOLVED, REMOVED))
    pair.apply("remove", _desired(DEAD, UNRESOLVED))
    numbers = pair.tables[0].numbers(ServiceKey(IPv4Address(VIP), 80, Protocol.TCP))
    assert numbers == {DEAD.address: DEAD_NUMBER, UNRESOLVED.address: UNRESOLVED_NUMBER}
    return pair


@pytest.mark.parametrize("row", SENT_ROWS, ids=[row.why.replace(" ", "-") for row in SENT_ROWS])
def test_probe(probing: Pair, row: Row) -> None:
    left = probing.send(row.frame.bytes, probe=True)
    probing.compare()
    assert left.reason is row.reason
    assert left.frame == (row.after or row.frame).bytes
    assert (left.action, left.interface) == ((Action.REDIRECT, INTERFACE) if row.after else (Action.DROP, 0))
    assert len(probing.model.answers) == bool(row.after)
    if row.after:
        assert checksums_are_right(left.frame)


@pytest.mark.parametrize("row", ANSWER_ROWS, ids=[row.why.replace(" ", "-") for row in ANSWER_ROWS])
def test_answer(probing: Pair, row: Row) -> None:
    probing.send(_to(DEAD_NUMBER).tcp(4000, 80).bytes, probe=True)
    probing.send(_to(DEAD_NUMBER).udp(4000, 53).bytes, probe=True)
    probing.send(_to(DEAD_NUMBER).icmp(8).bytes, probe=True)
    left = probing.send(row.frame.bytes)
    assert left.reason is row.reason
    assert left.frame == (row.after or row.frame).bytes
    assert (left.action, left.interface) == ((Action.REDIRECT, LINK.interface) if row.after else (Action.PASS, 0))
    if row.after:
        assert checksums_are_right(left.frame)


def test_an_answer_belongs_to_the_last_probe_with_its_ports(probing: Pair) -> None:
    other = _member(14, State.AVAILABLE, BACKEND)
    probing.apply("add", _desired(DEAD, UNRESOLVED, other))
    number = probing.tables[0].numbers(ServiceKey(IPv4Address(VIP), 80, Protocol.TCP))[other.address]
    for target in (DEAD_NUMBER, number):
        probing.send(_to(target).tcp(4000, 80).bytes, probe=True)
    assert probing.send(ANSWER.tcp(80, 4000, "SA").bytes).frame[26:30] == IPv4Address(_address(number)).packed


def test_no_probe_link_no_answers(probing: Pair) -> None:
    probing.send(_to(DEAD_NUMBER).tcp(4000, 80).bytes, probe=True)
    probing.both("no link", lambda memory: memory.settings.put(0, "probe_interface", 0))
    assert probing.send(ANSWER.tcp(80, 4000, "SA").bytes).reason is Reason.VIP_SOURCE


def test_a_checksum_that_comes_to_nought_is_not_sent_as_none(probing: Pair) -> None:
    """RFC 768: a computed UDP checksum of zero is transmitted as all ones."""
    for data in range(65536):
        probe = _to(DEAD_NUMBER).udp(4000, 53, data.to_bytes(2, "big"))
        if SENT.udp(4000, 53, data.to_bytes(2, "big")).bytes[40:42] == b"\xff\xff":
            break
    left = probing.send(probe.bytes, probe=True)
    assert left.frame[40:42] == b"\xff\xff"
    assert left.frame == SENT.udp(4000, 53, data.to_bytes(2, "big")).bytes


def test_no_carry_is_lost_when_a_checksum_is_adjusted(pair: Pair) -> None:
    """Addresses and checksum so that the sum of 32-bit words carries twice on a little-endian machine."""
    own, prober = IPv4Address("10.1.0.0"), IPv4Address("169.254.255.255")
    hop = Hop(INTERFACE, BACKEND + BALANCER, own)
    service = DesiredService(
        ServiceKey(IPv4Address(VIP), 53, Protocol.UDP), (Member(own + 9, 1, State.DEAD, hop),), 900
    )
    link = ProbeLink(7, VETH, prober)
    pair.apply("open", Desired(services=(service,), vips={IPv4Address(VIP): True}, probe=link))
    number = IPv4Address("10.0.0.17")
    pair.send(Frame().ipv4(prober, number).udp(4000, 53).bytes, probe=True)

    # What the adjustment to the new source address leaves has to be so much that the second one carries twice.
    wanted = 0xFFFF - int.from_bytes(
        ((1 << 33) - 1 - _little(prober) - _little_inverted(own)).to_bytes(2, "little"), "big"
    )
    difference = 0xFFFF - internet_checksum(bytes(255 - byte for byte in IPv4Address(VIP).packed) + number.packed)
    checksum = (wanted + difference) % 0xFFFF
    left = pair.send(Frame().ipv4(VIP, own).udp(53, 4000, checksum=checksum).bytes)
    assert left.reason is Reason.PROBE_ANSWER


def _little(address: IPv4Address) -> int:
    return int.from_bytes(address.packed, "little")


def _little_inverted(address: IPv4Address) -> int:
    return ~_little(address) & 0xFFFFFFFF
