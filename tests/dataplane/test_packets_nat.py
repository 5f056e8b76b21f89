"""Packet in, packet out: to backends behind NAT, and their answers back."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from appliance.dataplane.desired import Desired, DesiredService, Hop, Member, Outlet, ProbeLink
from appliance.dataplane.enums import Reason, State
from appliance.dataplane.model import Action
from appliance.errors import PlanError
from appliance.model import Forward, Protocol, ServiceKey
from tests.dataplane.equivalence.pair import LOOPBACK, Pair, loaded, shape
from tests.dataplane.frames import BALANCER, ROUTER, Frame
from tests.dataplane.oracle import checksums_are_right
from tests.dataplane.routed import FAR, NAME, NARROWED, NEAR

pytestmark = pytest.mark.root

CLIENT, UNRESOLVED, REFUSED, STRANGER = "198.51.100.7", "198.51.100.8", "198.51.100.9", "192.0.2.1"
CLIENT6 = "2001:db8:9::7"
VIP, BACKEND, OWN = "203.0.113.10", "10.1.10.11", "10.1.10.5"
VIP6, BACKEND6, OWN6 = "2001:db8:5::10", "2001:db8:10::11", "2001:db8:10::5"
MAC = bytes.fromhex("02000001010b")
VETH = bytes.fromhex("0200000000aa0200000000ab")
PROBER = "169.254.7.2"
CLAMP = 1200


def _service(vip: str, port: int, mapped: int | None, backend: str, own: str, *, udp: bool = False) -> DesiredService:
    hop = Hop(LOOPBACK, MAC + BALANCER, ip_address(own))
    member = Member(ip_address(backend), 1, State.AVAILABLE, hop, port=mapped)
    key = ServiceKey(ip_address(vip), port, Protocol.UDP if udp else Protocol.TCP)
    return DesiredService(key, (member,), 900, forward=Forward.NAT, clamp=CLAMP)


SERVICES = (
    _service(VIP, 80, 8080, BACKEND, OWN),
    _service(VIP, 53, 5353, BACKEND, OWN, udp=True),
    _service(VIP, 443, None, BACKEND, OWN),
    _service(VIP6, 80, 8080, BACKEND6, OWN6),
    _service(VIP6, 53, 5353, BACKEND6, OWN6, udp=True),
)


def _desired() -> Desired:
    outlets = {socket.if_nametoindex(NAME): Outlet(LOOPBACK)}
    vips = {ip_address(VIP): True, ip_address(VIP6): True}
    return Desired(SERVICES, vips, probe=ProbeLink(7, VETH, ip_address(PROBER)), outlets=outlets)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def loaded_pair() -> Iterator[Pair]:
    with loaded(shape(resets=False, ipv6=True, nat=True)) as pair:
        yield pair


@pytest.fixture
def pair(loaded_pair: Pair) -> Pair:
    loaded_pair.clear()
    loaded_pair.at(1000)
    loaded_pair.apply("open", _desired())
    return loaded_pair


TO_VIP, TO_VIP6 = Frame().ipv4(CLIENT, VIP), Frame().ipv6(CLIENT6, VIP6)
GONE, GONE6 = (
    Frame(MAC, BALANCER).ipv4(CLIENT, BACKEND, ttl=63),
    Frame(MAC, BALANCER).ipv6(CLIENT6, BACKEND6, hops=63),
)
FROM, FROM6 = Frame(sender=MAC).ipv4(BACKEND, CLIENT), Frame(sender=MAC).ipv6(BACKEND6, CLIENT6)
BACK, BACK6 = Frame(FAR, NEAR).ipv4(VIP, CLIENT, ttl=63), Frame(FAR, NEAR).ipv6(VIP6, CLIENT6, hops=63)


def _mss(size: int, before: bytes = b"") -> bytes:
    options = before + b"\2\4" + size.to_bytes(2, "big")
    return options + b"\1" * (-len(options) % 4)


@dataclass(frozen=True)
class Row:
    """A frame, its verdict with the reason, the frame afterwards (None: as it came), and why."""

    why: str
    frame: Frame
    action: Action
    reason: Reason
    after: Frame | None = None


PASS, DROP, TX = Action.PASS, Action.DROP, Action.TX
FORWARD, RETURN = Reason.FORWARD, Reason.RETURN

ROWS = (
    # There.
    Row("a mapped port", TO_VIP.tcp(4, 80), TX, FORWARD, GONE.tcp(4, 8080)),
    Row("a port that stays", TO_VIP.tcp(4, 443), TX, FORWARD, GONE.tcp(4, 443)),
    Row("with data", TO_VIP.tcp(4, 80, "PA", data=b"odd"), TX, FORWARD, GONE.tcp(4, 8080, "PA", data=b"odd")),
    Row("UDP", TO_VIP.udp(4, 53, b"q"), TX, FORWARD, GONE.udp(4, 5353, b"q")),
    Row("UDP without checksum", TO_VIP.udp(4, 53, checksum=0), TX, FORWARD, GONE.udp(4, 5353, checksum=0)),
    Row("IPv6", TO_VIP6.tcp(4, 80), TX, FORWARD, GONE6.tcp(4, 8080)),
    Row("IPv6, UDP", TO_VIP6.udp(4, 53, b"q"), TX, FORWARD, GONE6.udp(4, 5353, b"q")),
    Row(
        "IPv6 with a header more",
        Frame().ipv6(CLIENT6, VIP6, extensions=((60, bytes(8)),)).tcp(4, 80),
        TX,
        FORWARD,
        Frame(MAC, BALANCER).ipv6(CLIENT6, BACKEND6, hops=63, extensions=((60, bytes(8)),)).tcp(4, 8080),
    ),
    Row(
        "IPv4 options",
        Frame().ipv4(CLIENT, VIP, options=b"\1" * 40).tcp(4, 80),
        TX,
        FORWARD,
        Frame(MAC, BALANCER).ipv4(CLIENT, BACKEND, ttl=63, options=b"\1" * 40).tcp(4, 8080),
    ),
    Row("no hop left", Frame().ipv4(CLIENT, VIP, ttl=1).tcp(4, 80), DROP, Reason.TTL),
    # Segments.
    *(
        Row(
            f"a segment of {size} behind {len(before)} bytes",
            TO_VIP.tcp(4, 80, "S", options=_mss(size, before)),
            TX,
            FORWARD,
            GONE.tcp(4, 8080, "S", options=_mss(min(size, CLAMP), before)),
        )
        for size in (CLAMP - 1, CLAMP, CLAMP + 1, 1460, 65535)
        for before in (b"", b"\1", b"\4\2", b"\3\3\7", b"\1" * 35, b"\1" * 36)
    ),
    Row(
        "no SYN is clamped",
        TO_VIP.tcp(4, 80, "A", options=_mss(1460)),
        TX,
        FORWARD,
        GONE.tcp(4, 8080, "A", options=_mss(1460)),
    ),
    Row(
        "an option without length",
        TO_VIP.tcp(4, 80, "S", options=b"\5\0\1\1" + _mss(1460)),
        TX,
        FORWARD,
        GONE.tcp(4, 8080, "S", options=b"\5\0\1\1" + _mss(1460)),
    ),
    Row(
        "behind the end of options",
        TO_VIP.tcp(4, 80, "S", options=bytes(4) + _mss(1460)),
        TX,
        FORWARD,
        GONE.tcp(4, 8080, "S", options=bytes(4) + _mss(1460)),
    ),
    # Back.
    Row(
        "an answer",
        FROM.tcp(8080, 4, "SA", options=_mss(1460)),
        TX,
        RETURN,
        BACK.tcp(80, 4, "SA", options=_mss(CLAMP)),
    ),
    Row("an answer from the service's port", FROM.tcp(443, 4, "A"), TX, RETURN, BACK.tcp(443, 4, "A")),
    Row("an answer by UDP", FROM.udp(5353, 4, b"a"), TX, RETURN, BACK.udp(53, 4, b"a")),
    Row("an answer without checksum", FROM.udp(5353, 4, checksum=0), TX, RETURN, BACK.udp(53, 4, checksum=0)),
    Row("an answer over IPv6", FROM6.tcp(8080, 4, "SA"), TX, RETURN, BACK6.tcp(80, 4, "SA")),
    Row("an answer by UDP over IPv6", FROM6.udp(5353, 4, b"a"), TX, RETURN, BACK6.udp(53, 4, b"a")),
    Row("an answer with no hop left", Frame().ipv4(BACKEND, CLIENT, ttl=1).tcp(8080, 4, "A"), DROP, Reason.TTL),
    Row(
        "the client's router is not resolved",
        Frame().ipv4(BACKEND, UNRESOLVED).tcp(8080, 4, "A"),
        PASS,
        Reason.NO_ROUTE,
        Frame().ipv4(VIP, UNRESOLVED).tcp(80, 4, "A"),
    ),
    Row("a route that refuses", Frame().ipv4(BACKEND, REFUSED).tcp(8080, 4, "A"), PASS, Reason.NO_ROUTE),
    Row(
        "too long for the route",
        Frame().ipv4(BACKEND, NARROWED).tcp(8080, 4, "A", data=bytes(600)),
        PASS,
        Reason.NO_ROUTE,
    ),
    Row("no route", Frame().ipv4(BACKEND, STRANGER).tcp(8080, 4, "A"), PASS, Reason.NOT_VIP),
    # The host's.
    Row("to the balancer itself", Frame().ipv4(BACKEND, OWN).tcp(8080, 4, "A"), PASS, Reason.NOT_VIP),
    Row(
        "to another address of the balancer", Frame().ipv4(BACKEND, "10.77.0.1").tcp(8080, 4, "A"), PASS, Reason.NOT_VIP
    ),
    Row("the backend's own connection", FROM.tcp(40000, 443, "S"), PASS, Reason.NOT_VIP),
    Row("the port of the VIP is not the backend's", FROM.tcp(80, 4, "A"), PASS, Reason.NOT_VIP),
    Row("the port of the other protocol", FROM.udp(8080, 4, bytes(30)), PASS, Reason.NOT_VIP),
    Row("to somebody else's MAC", Frame(to=ROUTER).ipv4(BACKEND, CLIENT).tcp(8080, 4, "A"), PASS, Reason.NOT_VIP),
    Row("a ping of the backend's", FROM.icmp(8), PASS, Reason.NOT_VIP),
    Row("malformed", Frame().ipv4(BACKEND, CLIENT, length=39).tcp(8080, 4, "A"), PASS, Reason.NOT_VIP),
)

NONSENSE = ("an option without length", "behind the end of options")
"""Scapy writes other options there than it reads."""


@pytest.mark.parametrize("row", ROWS, ids=[row.why.replace(" ", "-") for row in ROWS])
def test_packet(pair: Pair, row: Row) -> None:
    left = pair.send(row.frame.bytes)
    pair.compare()
    assert (left.action, left.reason) == (row.action, row.reason)
    assert left.frame == (row.after or row.frame).bytes
    if row.after and row.why not in NONSENSE:
        assert checksums_are_right(left.frame)


def test_every_row_has_its_own_reason_why() -> None:
    assert len({row.why for row in ROWS}) == len(ROWS)


def test_checksums_of_udp_are_right_wherever_they_carry(pair: Pair) -> None:
    """The data makes any checksum; it must never come out as 0, which would mean that there is none."""
    for number in range(0, 65536, 97):
        data = number.to_bytes(2, "big")
        assert pair.send(TO_VIP.udp(4, 53, data).bytes).frame == GONE.udp(4, 5353, data).bytes
        assert pair.send(FROM6.udp(5353, 4, data).bytes).frame == BACK6.udp(53, 4, data).bytes


@pytest.mark.parametrize("port", [80, 8080, 9000])
def test_probes_go_the_same_way_and_their_answers_come_back(pair: Pair, port: int) -> None:
    """Those to the service's port to the backend's; others, such as of checks with a port of their own, stay."""
    number = pair.tables[1].numbers(SERVICES[0].key)[ip_address(BACKEND)]
    called, arrives = str(ip_address("10.0.0.0") + number), {80: 8080}.get(port, port)
    sent = pair.send(Frame(VETH[6:], VETH[:6]).ipv4(PROBER, called).tcp(4000, port).bytes, probe=True)
    assert sent.frame == Frame(MAC, BALANCER).ipv4(OWN, BACKEND).tcp(4000, arrives).bytes
    answer = pair.send(Frame(sender=MAC).ipv4(BACKEND, OWN).tcp(arrives, 4000, "SA").bytes)
    assert answer.reason is Reason.PROBE_ANSWER
    assert answer.frame == Frame(VETH[:6], VETH[6:]).ipv4(called, PROBER).tcp(port, 4000, "SA").bytes
    pair.compare()


def test_one_answer_for_two_services_is_refused(pair: Pair) -> None:
    other = _service("203.0.113.11", 80, 8080, BACKEND, OWN)
    desired = _desired()
    with pytest.raises(PlanError, match=r"10\.1\.10\.11 port 8080/tcp could be for 203\.0\.113\.11:80/tcp or"):
        pair.apply("two", Desired((*desired.services, other), {**desired.vips, other.key.vip: True}))
    pair.compare()
    assert pair.send(FROM.tcp(8080, 4, "A").bytes).reason is RETURN


def test_a_service_that_goes_takes_its_answers_along(pair: Pair) -> None:
    desired = _desired()
    pair.apply("fewer", Desired(SERVICES[1:], desired.vips, outlets=desired.outlets))
    assert pair.send(FROM.tcp(8080, 4, "A").bytes).reason is Reason.NOT_VIP
    assert pair.send(FROM.tcp(443, 4, "A").bytes).reason is RETURN
    pair.compare()
