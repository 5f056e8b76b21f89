"""Packet in, packet out: what becomes of single frames, on the loaded program and on the model.

The frames of tracked slots are in test_packets_tracked.py, those of probes in test_packets_probes.py.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

import pytest

from appliance.dataplane.desired import Desired, DesiredService, Hop, Member
from appliance.dataplane.enums import Reason, State, Tail
from appliance.dataplane.kernel import Verdict
from appliance.dataplane.model import Action
from appliance.model import Protocol, ServiceKey
from tests.dataplane.equivalence.pair import Pair, loaded, shape
from tests.dataplane.frames import BALANCER, ROUTER, Frame
from tests.dataplane.oracle import checksums_are_right

pytestmark = pytest.mark.root

CLIENT, STRANGER = "198.51.100.7", "192.0.2.1"
VIP, DOWN = "203.0.113.10", "203.0.113.11"
BACKEND = bytes.fromhex("02000001010b")
DEAD = bytes.fromhex("02000001010c")
OWN = IPv4Address("10.1.10.5")


def _member(host: int, state: State, mac: bytes | None) -> Member:
    hop = Hop(2, mac + BALANCER, OWN) if mac else None
    return Member(IPv4Address(f"10.1.10.{host}"), int(state is State.AVAILABLE), state, hop)


UP = _member(11, State.AVAILABLE, BACKEND)
SERVICES: dict[tuple[str, int, Protocol], Member] = {
    (VIP, 80, Protocol.TCP): UP,
    (VIP, 53, Protocol.UDP): UP,
    (VIP, 81, Protocol.TCP): _member(12, State.DEAD, DEAD),
    (VIP, 82, Protocol.TCP): _member(13, State.AVAILABLE, None),
    (DOWN, 80, Protocol.TCP): _member(12, State.NONE, DEAD),
}
DESIRED = Desired(
    services=tuple(
        DesiredService(ServiceKey(IPv4Address(vip), port, protocol), (member,), 900)
        for (vip, port, protocol), member in SERVICES.items()
    ),
    vips={IPv4Address(VIP): True, IPv4Address(DOWN): False},
)

TO_VIP = Frame().ipv4(CLIENT, VIP)
GONE = Frame(to=BACKEND, sender=BALANCER).ipv4(CLIENT, VIP, ttl=63)
"""How TO_VIP leaves."""
BACK = Frame(to=ROUTER, sender=BALANCER).ipv4(VIP, CLIENT, ttl=64)
ROUTER_ALERT = bytes.fromhex("94040000")
MOST_OPTIONS = b"\1" * 40


@dataclass(frozen=True)
class Row:
    """A frame, its verdict with the reason, the frame afterwards (None: as it came), and why."""

    why: str
    frame: Frame
    action: Action
    reason: Reason
    after: Frame | None = None


PASS, DROP, TX = Action.PASS, Action.DROP, Action.TX

ROWS = (
    # Not for us.
    Row("ARP is the host's", Frame().other(0x0806, bytes(28)), PASS, Reason.NOT_IP),
    Row("an IEEE 802.3 length is no protocol of ours", Frame().other(46, bytes(46)), PASS, Reason.NOT_IP),
    Row("no VIP is an IPv6 address", Frame().other(0x86DD, b"\x60" + bytes(59)), PASS, Reason.NOT_VIP),
    Row("not to a VIP", Frame().ipv4(CLIENT, STRANGER).tcp(1, 80), PASS, Reason.NOT_VIP),
    Row("not to a VIP, short", Frame().ipv4(CLIENT, STRANGER).udp(1, 53), PASS, Reason.NOT_VIP),
    Row("another's fragment", Frame().ipv4(CLIENT, STRANGER, fragment=0x2000).tcp(1, 80), PASS, Reason.NOT_VIP),
    Row("another's ping", Frame().ipv4(CLIENT, STRANGER).icmp(8, data=bytes(56)), PASS, Reason.NOT_VIP),
    Row("another's nonsense", Frame().ipv4(CLIENT, STRANGER, length=9).tcp(1, 80), PASS, Reason.NOT_VIP),
    Row(
        "an empty place of the lookup table",
        Frame().ipv4("0.0.0.0", "0.0.0.0").raw(0, bytes((0, 0, 0, 0, 0, 40)) + bytes(34)),
        PASS,
        Reason.NOT_VIP,
    ),
    Row("0.0.0.0 is no VIP", Frame().ipv4("0.0.0.0", "0.0.0.0").tcp(1, 80), PASS, Reason.NOT_VIP),
    Row("a tag in simple mode", TO_VIP.tcp(1, 80).tagged(7), PASS, Reason.TAGGED),
    Row("a priority tag in simple mode", TO_VIP.tcp(1, 80).tagged(0), PASS, Reason.TAGGED),
    Row("a service tag", TO_VIP.tcp(1, 80).tagged(7, 0x88A8), PASS, Reason.QINQ),
    Row("two tags", TO_VIP.tcp(1, 80).tagged(7, 0x88A8).tagged(8), PASS, Reason.QINQ),
    # Forwarded.
    Row("a new connection", TO_VIP.tcp(1, 80), TX, Reason.FORWARD, GONE.tcp(1, 80)),
    Row("an older connection", TO_VIP.tcp(1, 80, "A"), TX, Reason.FORWARD, GONE.tcp(1, 80, "A")),
    Row(
        "with data",
        TO_VIP.tcp(1, 80, "PA", data=b"x" * 999),
        TX,
        Reason.FORWARD,
        GONE.tcp(1, 80, "PA", data=b"x" * 999),
    ),
    Row("no flags at all is TCP still", TO_VIP.tcp(1, 80, ""), TX, Reason.FORWARD, GONE.tcp(1, 80, "")),
    Row(
        "TCP options",
        TO_VIP.tcp(1, 80, options=MOST_OPTIONS),
        TX,
        Reason.FORWARD,
        GONE.tcp(1, 80, options=MOST_OPTIONS),
    ),
    Row("UDP, too short for the quick way", TO_VIP.udp(1, 53), TX, Reason.FORWARD, GONE.udp(1, 53)),
    Row("UDP", TO_VIP.udp(1, 53, b"q" * 40), TX, Reason.FORWARD, GONE.udp(1, 53, b"q" * 40)),
    Row("UDP without checksum", TO_VIP.udp(1, 53, checksum=0), TX, Reason.FORWARD, GONE.udp(1, 53, checksum=0)),
    Row("padded to the least length", TO_VIP.udp(1, 53).padded(60), TX, Reason.FORWARD, GONE.udp(1, 53).padded(60)),
    Row("longer than its packet", TO_VIP.tcp(1, 80).padded(200), TX, Reason.FORWARD, GONE.tcp(1, 80).padded(200)),
    Row(
        "don't fragment is no fragment",
        Frame().ipv4(CLIENT, VIP, fragment=0x4000).tcp(1, 80),
        TX,
        Reason.FORWARD,
        GONE.tcp(1, 80),
    ),
    Row(
        "the reserved bit is no fragment",
        Frame().ipv4(CLIENT, VIP, fragment=0x8000).tcp(1, 80),
        TX,
        Reason.FORWARD,
        Frame(BACKEND, BALANCER).ipv4(CLIENT, VIP, ttl=63, fragment=0x8000).tcp(1, 80),
    ),
    Row(
        "an option",
        Frame().ipv4(CLIENT, VIP, options=ROUTER_ALERT).tcp(1, 80),
        TX,
        Reason.FORWARD,
        Frame(BACKEND, BALANCER).ipv4(CLIENT, VIP, ttl=63, options=ROUTER_ALERT).tcp(1, 80),
    ),
    Row(
        "as many options as fit",
        Frame().ipv4(CLIENT, VIP, options=MOST_OPTIONS).udp(1, 53),
        TX,
        Reason.FORWARD,
        Frame(BACKEND, BALANCER).ipv4(CLIENT, VIP, ttl=63, options=MOST_OPTIONS).udp(1, 53),
    ),
    Row(
        "one hop is left",
        Frame().ipv4(CLIENT, VIP, ttl=2).tcp(1, 80),
        TX,
        Reason.FORWARD,
        Frame(BACKEND, BALANCER).ipv4(CLIENT, VIP, ttl=1).tcp(1, 80),
    ),
    Row(
        "all other bytes stay",
        Frame().ipv4(CLIENT, VIP, ttl=255, tos=0xFF, ident=0xFEDC).tcp(65535, 80, "FSRPAUEC"),
        TX,
        Reason.FORWARD,
        Frame(BACKEND, BALANCER).ipv4(CLIENT, VIP, ttl=254, tos=0xFF, ident=0xFEDC).tcp(65535, 80, "FSRPAUEC"),
    ),
    Row("a wrong checksum stays wrong", TO_VIP.tcp(1, 80, checksum=1), TX, Reason.FORWARD, GONE.tcp(1, 80, checksum=1)),
    Row(
        "from one VIP to another",
        Frame().ipv4(DOWN, VIP).tcp(1, 80),
        TX,
        Reason.FORWARD,
        Frame(BACKEND, BALANCER).ipv4(DOWN, VIP, ttl=63).tcp(1, 80),
    ),
    # No backend to forward to.
    Row("no port", TO_VIP.tcp(1, 8080), DROP, Reason.UNKNOWN_PORT),
    Row("the port of the other protocol", TO_VIP.udp(1, 80, bytes(30)), DROP, Reason.UNKNOWN_PORT),
    Row("the port of the other VIP", Frame().ipv4(CLIENT, DOWN).udp(1, 53), DROP, Reason.UNKNOWN_PORT),
    Row("the only backend is dead", TO_VIP.tcp(1, 81), DROP, Reason.NO_BACKEND),
    Row("the only backend is not judged yet", Frame().ipv4(CLIENT, DOWN).tcp(1, 80), DROP, Reason.NO_BACKEND),
    Row("its MAC address is not known", TO_VIP.tcp(1, 82), DROP, Reason.UNRESOLVED),
    # Other protocols.
    Row("GRE to a VIP", TO_VIP.raw(47, bytes(30)), DROP, Reason.PROTOCOL),
    Row("SCTP to a VIP", TO_VIP.raw(132, bytes(30)), DROP, Reason.PROTOCOL),
    Row("no more than a header", TO_VIP.raw(50, b""), DROP, Reason.PROTOCOL),
    Row("unreachable", TO_VIP.icmp(3, 1, bytes(28)), DROP, Reason.ICMP_ERROR),
    Row("fragmentation needed", TO_VIP.icmp(3, 4, bytes(28)), DROP, Reason.ICMP_ERROR),
    Row("time exceeded", TO_VIP.icmp(11, 0, bytes(28)), DROP, Reason.ICMP_ERROR),
    Row("parameter problem", TO_VIP.icmp(12, 0, bytes(28)), DROP, Reason.ICMP_ERROR),
    Row("redirect", TO_VIP.icmp(5, 0, bytes(28)), DROP, Reason.ICMP_TYPE),
    Row("an echo reply", TO_VIP.icmp(0), DROP, Reason.ICMP_TYPE),
    Row("a timestamp request", TO_VIP.icmp(13, 0, bytes(12)), DROP, Reason.ICMP_TYPE),
    Row("an echo request has code 0", TO_VIP.icmp(8, 1), DROP, Reason.ICMP_TYPE),
    Row("ping", TO_VIP.icmp(8, data=b"p" * 56), TX, Reason.ECHO, BACK.icmp(0, data=b"p" * 56)),
    Row("ping without data", TO_VIP.icmp(8).padded(60), TX, Reason.ECHO, BACK.icmp(0).padded(60)),
    Row("ping of odd length", TO_VIP.icmp(8, data=b"p" * 57), TX, Reason.ECHO, BACK.icmp(0, data=b"p" * 57)),
    Row(
        "ping from the last hop of a traceroute",
        Frame().ipv4(CLIENT, VIP, ttl=1).icmp(8),
        TX,
        Reason.ECHO,
        BACK.icmp(0),
    ),
    Row(
        "ping with options",
        Frame().ipv4(CLIENT, VIP, options=ROUTER_ALERT).icmp(8),
        TX,
        Reason.ECHO,
        Frame(ROUTER, BALANCER).ipv4(VIP, CLIENT, options=ROUTER_ALERT).icmp(0),
    ),
    Row("ping to a VIP that is down", Frame().ipv4(CLIENT, DOWN).icmp(8), DROP, Reason.ECHO_VIP_DOWN),
    # Fragments.
    Row(
        "a first fragment",
        Frame().ipv4(CLIENT, VIP, fragment=0x2000).tcp(1, 80),
        TX,
        Reason.FORWARD,
        Frame(BACKEND, BALANCER).ipv4(CLIENT, VIP, ttl=63, fragment=0x2000).tcp(1, 80),
    ),
    Row("a middle one", Frame().ipv4(CLIENT, VIP, fragment=0x2010).udp(1, 53, b"x" * 40), DROP, Reason.FRAGMENT),
    Row("the last one", Frame().ipv4(CLIENT, VIP, fragment=0x0010).raw(6, bytes(40)), DROP, Reason.FRAGMENT),
    Row("of an echo request", Frame().ipv4(CLIENT, VIP, fragment=0x2000).icmp(8), DROP, Reason.FRAGMENT),
    # Lengths and fields that contradict.
    Row("no whole IPv4 header", TO_VIP.tcp(1, 80).cut(33), DROP, Reason.MALFORMED),
    Row("nothing behind the Ethernet header", TO_VIP.tcp(1, 80).cut(14), DROP, Reason.MALFORMED),
    Row("cut inside the TCP header", TO_VIP.tcp(1, 80).cut(53), DROP, Reason.MALFORMED),
    Row("cut inside the data", TO_VIP.tcp(1, 80, data=b"x" * 9).cut(62), DROP, Reason.MALFORMED),
    Row("version 6", Frame().ipv4(CLIENT, VIP, version=6).tcp(1, 80), DROP, Reason.MALFORMED),
    Row("a header of 16 bytes", Frame().ipv4(CLIENT, VIP, words=4).tcp(1, 80), DROP, Reason.MALFORMED),
    Row("a header longer than the packet", Frame().ipv4(CLIENT, VIP, words=15).tcp(1, 80), DROP, Reason.MALFORMED),
    Row("shorter than its header", Frame().ipv4(CLIENT, VIP, length=19).tcp(1, 80), DROP, Reason.MALFORMED),
    Row("no length", Frame().ipv4(CLIENT, VIP, length=0).tcp(1, 80), DROP, Reason.MALFORMED),
    Row("longer than the frame", Frame().ipv4(CLIENT, VIP, length=41).tcp(1, 80), DROP, Reason.MALFORMED),
    Row("no room for TCP", Frame().ipv4(CLIENT, VIP, length=39).tcp(1, 80), DROP, Reason.MALFORMED),
    Row("no room for UDP", Frame().ipv4(CLIENT, VIP, length=27).udp(1, 53), DROP, Reason.MALFORMED),
    Row("no room for ICMP", Frame().ipv4(CLIENT, VIP, length=27).icmp(8), DROP, Reason.MALFORMED),
    Row("a TCP header of 16 bytes", TO_VIP.tcp(1, 80, words=4), DROP, Reason.MALFORMED),
    Row("a TCP header beyond the packet", TO_VIP.tcp(1, 80, words=6).padded(100), DROP, Reason.MALFORMED),
    Row("a UDP length of 7", TO_VIP.udp(1, 53, bytes(30), length=7), DROP, Reason.MALFORMED),
    Row("a UDP length beyond the packet", TO_VIP.udp(1, 53, bytes(30), length=39), DROP, Reason.MALFORMED),
    Row("malformed goes before unknown port", TO_VIP.tcp(1, 8080, words=4), DROP, Reason.MALFORMED),
    Row("arrived with TTL 1", Frame().ipv4(CLIENT, VIP, ttl=1).tcp(1, 80), DROP, Reason.TTL),
    Row("arrived with TTL 0", Frame().ipv4(CLIENT, VIP, ttl=0).udp(1, 53), DROP, Reason.TTL),
    # From a VIP.
    Row("from a VIP", Frame().ipv4(VIP, STRANGER).tcp(80, 1, "SA"), PASS, Reason.VIP_SOURCE),
    Row("from a VIP, no TCP", Frame().ipv4(VIP, STRANGER).icmp(0), PASS, Reason.VIP_SOURCE),
    Row("from a VIP, a fragment", Frame().ipv4(VIP, STRANGER, fragment=1).udp(53, 1), PASS, Reason.VIP_SOURCE),
    Row("from a VIP, malformed", Frame().ipv4(VIP, STRANGER, length=7).udp(53, 1), PASS, Reason.VIP_SOURCE),
)


@pytest.mark.parametrize("row", ROWS, ids=[row.why.replace(" ", "-") for row in ROWS])
def test_packet(pair: Pair, row: Row) -> None:
    pair.apply("open", DESIRED)
    left = pair.send(row.frame.bytes)
    pair.compare()
    assert (left.action, left.reason) == (row.action, row.reason)
    assert left.frame == (row.after or row.frame).bytes
    if row.after and row.why != "a wrong checksum stays wrong":
        assert checksums_are_right(left.frame)


def test_every_row_has_its_own_reason_why() -> None:
    assert len({row.why for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("whole", [TO_VIP.tcp(1, 80, options=b"\1" * 4, data=b"data"), TO_VIP.icmp(8, data=b"data")])
def test_a_frame_cut_anywhere_is_malformed(pair: Pair, whole: Frame) -> None:
    pair.apply("open", DESIRED)
    for size in range(14, len(whole.bytes)):
        left = pair.send(whole.cut(size).bytes)
        assert (left.action, left.reason) == (DROP, Reason.MALFORMED)
    assert pair.send(whole.bytes).action is TX


def test_unknown_ports_pass_where_that_is_configured(pair: Pair) -> None:
    pair.apply("open", replace(DESIRED, pass_unknown_port=True))
    left = pair.send(TO_VIP.tcp(1, 8080).bytes)
    assert (left.action, left.reason) == (PASS, Reason.UNKNOWN_PORT)


def test_header_checksum_is_kept_right_wherever_it_carries(pair: Pair) -> None:
    """The identification field makes any checksum; one hop less adds 0x0100, which carries from 0xff00 on."""
    pair.apply("open", DESIRED)
    plain = int.from_bytes(Frame().ipv4(CLIENT, VIP, ident=0).tcp(1, 80).bytes[24:26], "big")
    for checksum in (*range(0, 0xFE00, 0x101), *range(0xFE00, 0xFFFF)):
        ident = (plain - checksum) % 0xFFFF
        before = Frame().ipv4(CLIENT, VIP, ident=ident).tcp(1, 80).bytes
        assert int.from_bytes(before[24:26], "big") == checksum
        after = Frame(BACKEND, BALANCER).ipv4(CLIENT, VIP, ident=ident, ttl=63).tcp(1, 80).bytes
        assert pair.send(before).frame == after


def test_counters_tell_octets_and_new_connections(pair: Pair) -> None:
    pair.apply("open", DESIRED)
    for frame in (TO_VIP.tcp(1, 80), TO_VIP.tcp(1, 80, "SA"), TO_VIP.tcp(1, 80, "A", data=b"12345").padded(200)):
        number = pair.send(frame.bytes).destination
    assert pair.real.backend(number) == UP.address
    counted = {name: pair.real.counter(number, name) for name in ("packets", "octets", "flows", "drops")}
    assert counted == {"packets": 3, "octets": 40 + 40 + 45, "flows": 1, "drops": 0}


def test_without_its_second_program_it_drops_and_says_so() -> None:
    """INCOMPLETE: the only exit that the comparison with the model cannot reach."""
    with loaded(shape(resets=False)) as pair:
        pair.apply("open", DESIRED)
        assert pair.generation.maps["vc5_tails"].delete(int(Tail.COLD).to_bytes(4, sys.byteorder))
        assert pair.main.test_run(TO_VIP.icmp(8).bytes).verdict is Verdict.DROP
        assert pair.main.test_run(TO_VIP.tcp(1, 80).bytes).verdict is Verdict.TX
        assert {reason for reason in Reason if pair.real.reason(reason)} == {Reason.INCOMPLETE}
