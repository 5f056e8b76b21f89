"""Packet in, packet out in every mode and both families: tags, redirects, extension headers, ICMPv6."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import pytest

from appliance.dataplane.desired import Desired, DesiredService, Hop, Member
from appliance.dataplane.enums import DeadPolicy, Reason, State
from appliance.dataplane.kernel import Verdict
from appliance.dataplane.model import Action
from appliance.model import Address, Mode, Protocol, ServiceKey
from tests.dataplane.equivalence.pair import LOOPBACK, Pair, loaded, shape
from tests.dataplane.frames import BALANCER, ROUTER, Frame
from tests.dataplane.oracle import checksums_are_right

pytestmark = pytest.mark.root

CLIENT, CLIENT6 = "198.51.100.7", "2001:db8:9::7"
VIP, VIP6, DOWN6, STRANGER6 = "203.0.113.10", "2001:db8:5::10", "2001:db8:5::11", "2001:db8:77::1"
BACKEND, BACKEND6 = bytes.fromhex("02000001010b"), bytes.fromhex("02000006010b")
NEAR, FAR = LOOPBACK, 7
"""Interfaces: where frames arrive here, and another."""
TAG = 10
SHAPES = {
    "simple": shape(resets=True, ipv6=True),
    "vlan": shape(resets=True, mode=Mode.VLAN, ipv6=True),
    "multi-nic": shape(resets=True, mode=Mode.MULTI_NIC, ipv6=True),
    "mixed": shape(resets=True, mode=Mode.VLAN, ipv6=True, mixed=True),
    "ipv4-only": shape(resets=True, mode=Mode.VLAN),
}


@pytest.fixture(scope="module", params=SHAPES)
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, Pair]]:
    with loaded(SHAPES[request.param]) as pair:
        yield request.param, pair


def desired(interface: int, vlan: int | None) -> Desired:
    """Services of both families, whose backends are all reached alike."""

    def service(vip: str, port: int, protocol: Protocol, state: State = State.AVAILABLE) -> DesiredService:
        address: Address = IPv6Address(vip) if ":" in vip else IPv4Address(vip)
        backend: Address = IPv4Address("10.1.10.11") if address.version == 4 else IPv6Address("2001:db8:10::11")
        mac = BACKEND if address.version == 4 else BACKEND6
        own: Address = IPv4Address("10.1.10.5") if address.version == 4 else IPv6Address("2001:db8:10::5")
        member = Member(backend, 1, state, Hop(interface, mac + BALANCER, own, vlan))
        return DesiredService(ServiceKey(address, port, protocol), (member,), 900, on_dead=DeadPolicy.RESET)

    services = (
        service(VIP, 80, Protocol.TCP),
        service(VIP, 53, Protocol.UDP),
        service(VIP6, 80, Protocol.TCP),
        service(VIP6, 53, Protocol.UDP),
    )
    return Desired(services, {IPv4Address(VIP): True, IPv6Address(VIP6): True, IPv6Address(DOWN6): False})


def arriving(name: str, frame: Frame) -> Frame:
    """The frame as it comes in a mode: with another tag than it leaves with, of priority 5."""
    return frame.tagged(5 << 13 | 20) if name in ("vlan", "ipv4-only") else frame


def leaving(name: str, frame: Frame) -> Frame:
    """The frame as it leaves again: priority kept, the id that of the backend's network."""
    return frame.tagged(5 << 13 | TAG) if name in ("vlan", "ipv4-only") else frame


PACKETS = {
    "tcp4": (Frame().ipv4(CLIENT, VIP).tcp(1, 80), Frame(BACKEND, BALANCER).ipv4(CLIENT, VIP, ttl=63).tcp(1, 80)),
    "udp4": (
        Frame().ipv4(CLIENT, VIP).udp(1, 53, b"q" * 30),
        Frame(BACKEND, BALANCER).ipv4(CLIENT, VIP, ttl=63).udp(1, 53, b"q" * 30),
    ),
    "tcp6": (Frame().ipv6(CLIENT6, VIP6).tcp(1, 80), Frame(BACKEND6, BALANCER).ipv6(CLIENT6, VIP6, hops=63).tcp(1, 80)),
    "short udp6": (
        Frame().ipv6(CLIENT6, VIP6).udp(1, 53, b"q"),
        Frame(BACKEND6, BALANCER).ipv6(CLIENT6, VIP6, hops=63).udp(1, 53, b"q"),
    ),
    "tcp6 behind options": (
        Frame().ipv6(CLIENT6, VIP6, extensions=((0, bytes(8)), (60, bytes(8)))).tcp(1, 80),
        Frame(BACKEND6, BALANCER).ipv6(CLIENT6, VIP6, hops=63, extensions=((0, bytes(8)), (60, bytes(8)))).tcp(1, 80),
    ),
}


@pytest.mark.parametrize("packet", PACKETS)
def test_a_packet_leaves_as_its_mode_says(place: tuple[str, Pair], packet: str) -> None:
    name, pair = place
    before, after = PACKETS[packet]
    pair.clear()
    pair.at(1000)
    pair.apply("open", desired(FAR, TAG if name in ("vlan", "ipv4-only") else None))
    left = pair.send(arriving(name, before).bytes)
    pair.compare()
    if packet != "tcp4" and packet != "udp4" and name == "ipv4-only":
        assert (left.action, left.reason) == (Action.PASS, Reason.NOT_VIP)
        return
    redirected = name in ("multi-nic", "mixed")
    assert left.action is (Action.REDIRECT if redirected else Action.TX)
    assert left.interface == (FAR if redirected else 0)
    assert left.frame == leaving(name, after).bytes
    assert checksums_are_right(left.frame)


@dataclass(frozen=True)
class Mixed:
    """Where a packet comes from and goes to in a site with tagged and untagged interfaces."""

    comes: int | None
    goes: int | None
    interface: int
    action: Action


@pytest.mark.parametrize(
    "mixed",
    [
        Mixed(20, TAG, FAR, Action.TX),
        Mixed(20, TAG, NEAR, Action.TX),
        Mixed(20, None, FAR, Action.REDIRECT),
        Mixed(20, None, NEAR, Action.TX),
        Mixed(None, TAG, FAR, Action.REDIRECT),
        Mixed(None, TAG, NEAR, Action.TX),
        Mixed(None, None, FAR, Action.REDIRECT),
        Mixed(None, None, NEAR, Action.TX),
    ],
    ids=str,
)
@pytest.mark.parametrize("packet", ["tcp4", "tcp6", "tcp6 behind options"])
def test_tags_are_pushed_and_popped(mixed: Mixed, packet: str) -> None:
    with loaded(SHAPES["mixed"]) as pair:
        pair.at(1000)
        pair.apply("open", desired(mixed.interface, mixed.goes))
        before, after = PACKETS[packet]
        if mixed.comes:
            before = before.tagged(3 << 13 | mixed.comes)
        if mixed.goes:
            after = after.tagged((3 << 13 if mixed.comes else 0) | mixed.goes)
        left = pair.send(before.bytes)
        assert (left.action, left.frame) == (mixed.action, after.bytes)


TO = Frame().ipv6(CLIENT6, VIP6)
BACK = Frame(to=ROUTER, sender=BALANCER).ipv6(VIP6, CLIENT6)
ROWS: tuple[tuple[str, Frame, Action, Reason, Frame | None], ...] = (
    ("a VIP of IPv6 without this port", TO.tcp(1, 81), Action.DROP, Reason.UNKNOWN_PORT, None),
    ("not to a VIP", Frame().ipv6(CLIENT6, STRANGER6).tcp(1, 80), Action.PASS, Reason.NOT_VIP, None),
    ("to nobody", Frame().ipv6(CLIENT6, "::").tcp(1, 80), Action.PASS, Reason.NOT_VIP, None),
    (
        "the mapped address of a VIP",
        Frame().ipv6(CLIENT6, f"::ffff:{VIP}").tcp(1, 80),
        Action.PASS,
        Reason.NOT_VIP,
        None,
    ),
    ("from a VIP", Frame().ipv6(VIP6, STRANGER6).tcp(80, 1, "SA"), Action.PASS, Reason.VIP_SOURCE, None),
    ("ping", TO.icmp(128, data=b"ping"), Action.TX, Reason.ECHO, BACK.icmp(129, data=b"ping")),
    ("ping of a VIP that is down", Frame().ipv6(CLIENT6, DOWN6).icmp(128), Action.DROP, Reason.ECHO_VIP_DOWN, None),
    ("a neighbour solicitation", TO.icmp(135, data=bytes(20)), Action.PASS, Reason.NEIGHBOUR, None),
    ("an echo reply", TO.icmp(129), Action.DROP, Reason.ICMP_TYPE, None),
    ("ICMP of IPv4 in IPv6", TO.raw(1, bytes(20)), Action.DROP, Reason.PROTOCOL, None),
    ("hop limit 1", Frame().ipv6(CLIENT6, VIP6, hops=1).tcp(1, 80), Action.DROP, Reason.TTL, None),
    ("hop limit 0", Frame().ipv6(CLIENT6, VIP6, hops=0).udp(1, 53), Action.DROP, Reason.TTL, None),
    ("version 4", Frame().ipv6(CLIENT6, VIP6, version=4).tcp(1, 80), Action.DROP, Reason.MALFORMED, None),
    ("longer than the frame", Frame().ipv6(CLIENT6, VIP6, length=21).tcp(1, 80), Action.DROP, Reason.MALFORMED, None),
    ("no room for TCP", Frame().ipv6(CLIENT6, VIP6, length=19).tcp(1, 80), Action.DROP, Reason.MALFORMED, None),
    ("no whole header", TO.tcp(1, 80).cut(53), Action.DROP, Reason.MALFORMED, None),
    (
        "an extension header beyond the packet",
        Frame().ipv6(CLIENT6, VIP6, extensions=((60, bytes((0, 9)) + bytes(6)),)).tcp(1, 80),
        Action.DROP,
        Reason.MALFORMED,
        None,
    ),
    (
        "more extension headers than are read",
        Frame().ipv6(CLIENT6, VIP6, extensions=((60, bytes(8)),) * 7).tcp(1, 80),
        Action.DROP,
        Reason.PROTOCOL,
        None,
    ),
    ("no next header", TO.raw(59, bytes(20)), Action.DROP, Reason.PROTOCOL, None),
)


@pytest.mark.parametrize("row", ROWS, ids=[row[0].replace(" ", "-") for row in ROWS])
def test_oddities_of_ipv6(place: tuple[str, Pair], row: tuple[str, Frame, Action, Reason, Frame | None]) -> None:
    name, pair = place
    if name == "ipv4-only":
        return
    _, before, action, reason, after = row
    pair.clear()
    pair.at(1000)
    pair.apply("open", desired(FAR, TAG if name == "vlan" else None))
    left = pair.send(arriving(name, before).bytes)
    pair.compare()
    assert (left.action, left.reason) == (action, reason)
    assert left.frame == arriving(name, after or before).bytes
    if after:
        assert checksums_are_right(left.frame)


@pytest.mark.parametrize(
    ("shape_name", "frame", "reason"),
    [
        ("vlan", Frame().ipv4(CLIENT, VIP).tcp(1, 80), Reason.UNTAGGED),
        ("vlan", Frame().ipv6(CLIENT6, VIP6).tcp(1, 80), Reason.UNTAGGED),
        ("vlan", Frame().ipv4(CLIENT, VIP).tcp(1, 80).tagged(5 << 13), Reason.UNTAGGED),
        ("vlan", Frame().other(0x0806, bytes(28)), Reason.NOT_IP),
        ("vlan", Frame().other(0x0806, bytes(28)).tagged(20), Reason.NOT_IP),
        ("vlan", Frame().ipv4(CLIENT, VIP).tcp(1, 80).tagged(20).tagged(21), Reason.QINQ),
        ("vlan", Frame().ipv4(CLIENT, VIP).tcp(1, 80).tagged(20, 0x88A8), Reason.QINQ),
        ("mixed", Frame().ipv4(CLIENT, VIP).tcp(1, 80).tagged(5 << 13), Reason.UNTAGGED),
        ("multi-nic", Frame().ipv4(CLIENT, VIP).tcp(1, 80).tagged(20), Reason.TAGGED),
        ("simple", Frame().ipv6(CLIENT6, VIP6).tcp(1, 80).tagged(20), Reason.TAGGED),
        ("ipv4-only", Frame().ipv6(CLIENT6, VIP6).tcp(1, 80).tagged(20), Reason.NOT_VIP),
    ],
)
def test_frames_of_another_kind_are_passed_and_counted(shape_name: str, frame: Frame, reason: Reason) -> None:
    with loaded(SHAPES[shape_name]) as pair:
        pair.apply("open", desired(FAR, TAG if pair.plain.shape.tagged else None))
        left = pair.send(frame.bytes)
        assert (left.action, left.reason, left.frame) == (Action.PASS, reason, frame.bytes)


def test_an_address_that_folds_like_a_vip_is_no_vip(place: tuple[str, Pair]) -> None:
    """Whoever knows the multipliers can find one; the address itself is compared."""
    name, pair = place
    if name == "ipv4-only":
        return
    pair.clear()
    pair.at(1000)
    pair.apply("open", desired(FAR, TAG if name == "vlan" else None))
    keys, copy = pair.plain.keys, pair.plain.copy
    first, second = keys.get(copy, "fold", 0), keys.get(copy, "fold", 1)
    wanted = IPv6Address(VIP6).packed
    high, low = int.from_bytes(wanted[:8], "little"), int.from_bytes(wanted[8:], "little")
    other = (high + 1) % 2**64
    twin = (low - first * pow(second, -1, 2**64)) % 2**64
    address = IPv6Address(other.to_bytes(8, "little") + twin.to_bytes(8, "little"))
    assert (other * first + twin * second) % 2**64 == (high * first + low * second) % 2**64
    left = pair.send(arriving(name, Frame().ipv6(CLIENT6, address).tcp(1, 80)).bytes)
    assert (left.action, left.reason) == (Action.PASS, Reason.NOT_VIP)


def test_a_reset_in_ipv6(place: tuple[str, Pair]) -> None:
    name, pair = place
    if name == "ipv4-only":
        return
    pair.clear()
    pair.at(1000)
    pair.apply("open", desired(FAR, TAG if name == "vlan" else None))
    service = ServiceKey(IPv6Address(VIP6), 80, Protocol.TCP)
    number = pair.tables[1].numbers(service)[IPv6Address("2001:db8:10::11")]
    slots = pair.tables[1].slots(service)
    assert slots is not None
    pair.both("all tracked", lambda memory: memory.destinations.put(number, "state", State.DEAD))
    pair.both("dead", lambda memory: memory.slots.__setitem__(slice(None), _tracked(memory.slots, memory.tracked)))
    pair.both(
        "was",
        lambda memory: [memory.histories.put(at, "was", 1) for at in range(slots.first, slots.first + slots.count)],
    )
    segment = Frame().ipv6(CLIENT6, VIP6).tcp(4000, 80, "A", sequence=77, acknowledgement=99, data=b"late")
    left = pair.send(arriving(name, segment).bytes)
    expected = Frame(to=ROUTER, sender=BALANCER).ipv6(VIP6, CLIENT6)
    expected = expected.tcp(80, 4000, "R", sequence=99, acknowledgement=0)
    assert (left.action, left.reason) == (Action.TX, Reason.RESET)
    assert left.frame[:12] == expected.bytes[:12]
    assert checksums_are_right(left.frame)


def _tracked(slots: memoryview[int], bit: int) -> memoryview[int]:
    changed = memoryview(bytearray(slots.nbytes)).cast(slots.format)  # type: ignore[call-overload]
    for at, word in enumerate(slots.tolist()):
        changed[at] = word | bit
    return changed


def test_a_door_that_leads_nowhere_is_counted() -> None:
    """NO_INTERFACE: the comparison with the model cannot reach it, for there every door is open."""
    with loaded(SHAPES["multi-nic"]) as pair:
        pair.apply("open", desired(FAR, None))
        doors = pair.generation.maps["vc5_doors"]
        for leg in range(1, 16):
            doors.delete(leg.to_bytes(4, "little"))
        assert pair.main.test_run(PACKETS["tcp4"][0].bytes).verdict is Verdict.DROP
        assert {reason for reason in Reason if pair.real.reason(reason)} == {Reason.NO_INTERFACE}
