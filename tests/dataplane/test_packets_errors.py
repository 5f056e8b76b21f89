"""ICMP errors about flows, fragments, answers "too big": frames and short stories, in all modes, both families."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

import pytest
from scapy.layers.inet6 import IPv6, _ICMPv6
from scapy.layers.l2 import Ether

from appliance.dataplane.abi import FRAGMENT_LIFE, TOO_BIG_RATE
from appliance.dataplane.desired import Desired, DesiredService, Hop, Member
from appliance.dataplane.enums import DeadPolicy, Reason, State
from appliance.dataplane.model import Action, Exit
from appliance.model import Address, Mode, Protocol, ServiceKey
from tests.dataplane.equivalence.errors import between
from tests.dataplane.equivalence.pair import Pair, loaded, shape
from tests.dataplane.frames import BALANCER, ROUTER, Frame
from tests.dataplane.oracle import checksums_are_right

pytestmark = pytest.mark.root

START = 1000
VLAN_IN = 7
PORT, DNS = 80, 53
CLIENT_PORT = 40001
MTU = 1400


class Family(NamedTuple):
    """The addresses of a site in one family."""

    vip: Address
    client: Address
    router: Address
    backends: tuple[Address, ...]
    own: Address


def _family(*texts: str) -> Family:
    vip, client, router, backend, own = map(ip_address, texts)
    return Family(vip, client, router, tuple(backend + number for number in range(4)), own)


FAMILIES = (
    _family("203.0.113.10", "198.51.100.7", "192.0.2.254", "10.1.10.11", "10.1.10.5"),
    _family("2001:db8:5::10", "2001:db8:9::7", "2001:db8:77::fe", "2001:db8:10::11", "2001:db8:10::5"),
)
SHAPES = {
    "simple": shape(resets=True, ipv6=True, narrow=True),
    "vlan": shape(resets=True, ipv6=True, mode=Mode.VLAN, narrow=True),
    "multi-nic": shape(resets=True, ipv6=True, mode=Mode.MULTI_NIC, small=True, narrow=True),
    "mixed": shape(resets=True, ipv6=True, mode=Mode.VLAN, mixed=True, narrow=True),
}


@pytest.fixture(scope="module", params=SHAPES)
def loaded_mode(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with loaded(SHAPES[request.param]) as pair:
        yield pair


@pytest.fixture
def pair(loaded_mode: Pair) -> Iterator[Pair]:
    """A pair in each mode, with empty tables."""
    loaded_mode.clear()
    loaded_mode.at(START)
    yield loaded_mode
    loaded_mode.compare()


@pytest.fixture(params=FAMILIES, ids=["IPv4", "IPv6"])
def family(request: pytest.FixtureRequest) -> Family:
    """The addresses to test with."""
    found: Family = request.param
    return found


def site(
    pair: Pair, family: Family, *states: State, mtu: int = MTU, on_dead: DeadPolicy = DeadPolicy.RESELECT
) -> Desired:
    """Services on TCP port 80 and UDP port 53, with a backend for each state, default four that are available."""
    vlan = 10 if pair.plain.shape.tagged else None
    members = tuple(
        Member(
            address,
            int(state is State.AVAILABLE),
            state,
            Hop(2, bytes([2, 0, 0, 1, 1, number]) + BALANCER, family.own, vlan, mtu),
        )
        for number, (address, state) in enumerate(
            zip(family.backends, states or (State.AVAILABLE,) * 4, strict=False), 11
        )
    )
    keys = (ServiceKey(family.vip, PORT, Protocol.TCP), ServiceKey(family.vip, DNS, Protocol.UDP))
    return Desired(
        services=tuple(DesiredService(key, members, 900, on_dead) for key in keys), vips={family.vip: True}, idle=900
    )


def incoming(pair: Pair, frame: Frame) -> bytes:
    """A frame as it comes in this mode: in pure VLAN mode with a tag."""
    raw = frame.bytes
    if pair.plain.shape.tagged and not pair.plain.shape.mixed:
        raw = raw[:12] + bytes((0x81, 0, 0x60, VLAN_IN)) + raw[12:]
    return raw


def send(pair: Pair, frame: Frame) -> Exit:
    """Send a frame as it comes in this mode."""
    return pair.send(incoming(pair, frame))


def owner(pair: Pair, family: Family, port: int = CLIENT_PORT, flags: str = "A") -> int:
    """The destination of a packet of the client's."""
    left = send(pair, between(family.client, family.vip).tcp(port, PORT, flags))
    assert left.reason is Reason.FORWARD
    return left.destination


def inner(family: Family, port: int = CLIENT_PORT) -> Frame:
    """A segment that a backend has sent to the client."""
    return between(family.vip, family.client).tcp(PORT, port, "A", data=b"x" * 99)


def error(family: Family, about: Frame, size: int | None = None, ttl: int = 64, kind: int | None = None) -> Frame:
    """A router's word that a packet was too big, quoting `size` bytes of it: default its header and 8 more."""
    quoted = about.bytes[14:][: len(about.header) + 8 if size is None else size]
    kind = kind or (3 if family.vip.version == 4 else 2)
    code = 4 if kind == 3 else 0
    return between(family.router, family.vip, ttl=ttl).icmp(kind, code, quoted, rest=(1300).to_bytes(4, "big"))


def body(frame: bytes) -> bytes:
    """A frame from its IP header on."""
    return frame[18:] if frame[12:14] == b"\x81\0" else frame[14:]


# ---- errors about flows


def test_an_error_goes_where_the_clients_packets_go(pair: Pair, family: Family) -> None:
    pair.apply("open", site(pair, family))
    seen = set()
    for port in range(CLIENT_PORT, CLIENT_PORT + 12):
        number = owner(pair, family, port)
        for kind in (3, 11, 12) if family.vip.version == 4 else (1, 2, 3, 4):
            left = send(pair, error(family, inner(family, port), kind=kind))
            assert (left.reason, left.destination) == (Reason.FORWARD, number)
        wanted = error(family, inner(family, port), ttl=63, kind=kind).bytes[14:]
        assert body(left.frame)[: len(wanted)] == wanted
        assert left.frame[:6] == bytes(pair.plain.destinations.bytes_of(number, "mac_head", 6))
        seen.add(number)
    assert len(seen) > 1


def test_of_a_datagram_likewise(pair: Pair, family: Family) -> None:
    pair.apply("open", site(pair, family))
    number = send(pair, between(family.client, family.vip).udp(CLIENT_PORT, DNS, bytes(20))).destination
    left = send(pair, error(family, between(family.vip, family.client).udp(DNS, CLIENT_PORT, bytes(999))))
    assert (left.reason, left.destination) == (Reason.FORWARD, number)


def test_what_is_quoted_may_have_longer_headers(pair: Pair, family: Family) -> None:
    pair.apply("open", site(pair, family))
    number = owner(pair, family)
    if isinstance(family.vip, IPv4Address):
        about = Frame().ipv4(family.vip, str(family.client), options=b"\1" * 40)
    else:
        about = between(family.vip, family.client, tuple((60, bytes(8)) for _ in range(6)))
    left = send(pair, error(family, about.tcp(PORT, CLIENT_PORT, "A")))
    assert (left.reason, left.destination) == (Reason.FORWARD, number)
    assert left.action in (Action.TX, Action.REDIRECT)


def test_what_concerns_no_flow_of_ours_is_dropped(pair: Pair, family: Family) -> None:
    pair.apply("open", site(pair, family))
    other = type(family.vip)(int(family.vip) + 1)
    tcp = inner(family)
    least = len(tcp.header) + 8
    odd = {
        "no service": between(family.vip, family.client).tcp(PORT + 1, CLIENT_PORT, "A"),
        "from another address": between(other, family.client).tcp(PORT, CLIENT_PORT, "A"),
        "to the VIP": between(family.client, family.vip).tcp(CLIENT_PORT, PORT, "A"),
        "of the other protocol": between(family.vip, family.client).udp(PORT, CLIENT_PORT, bytes(20)),
        "neither TCP nor UDP": between(family.vip, family.client).raw(47, bytes(40)),
    }
    for why, about in odd.items():
        assert send(pair, error(family, about)).reason is Reason.ICMP_ERROR, why
    for size in (0, 1, least - 9, least - 8, least - 1):
        assert send(pair, error(family, tcp, size)).reason is Reason.ICMP_ERROR, size
    assert send(pair, error(family, tcp, least)).reason is Reason.FORWARD


def test_a_later_fragment_tells_no_ports(pair: Pair) -> None:
    family = FAMILIES[0]
    pair.apply("open", site(pair, family))
    for fragment, reason in ((0x2000, Reason.FORWARD), (0x0001, Reason.ICMP_ERROR), (0x2010, Reason.ICMP_ERROR)):
        about = between(family.vip, family.client, fragment=fragment).udp(DNS, CLIENT_PORT, bytes(20))
        assert send(pair, error(family, about)).reason is reason


def test_an_error_with_ttl_one_goes_no_further(pair: Pair, family: Family) -> None:
    pair.apply("open", site(pair, family))
    assert send(pair, error(family, inner(family), ttl=1)).reason is Reason.TTL


def test_an_error_leaves_no_trace(pair: Pair, family: Family) -> None:
    """In a tracked slot it follows what is remembered, else what was; it neither remembers nor refreshes."""
    up, dead = State.AVAILABLE, State.DRAINING
    pair.apply("open", site(pair, family, up, State.NONE))
    first = owner(pair, family)
    pair.apply("another", site(pair, family, dead, up))
    flows = list(pair.plain.flows)
    left = send(pair, error(family, inner(family)))
    assert (left.destination, list(pair.plain.flows)) == (first, flows)
    second = owner(pair, family, CLIENT_PORT + 1, "S")
    assert second != first
    flows = list(pair.plain.flows)
    pair.at(START + 500)
    left = send(pair, error(family, inner(family, CLIENT_PORT + 1)))
    assert (left.destination, list(pair.plain.flows)) == (second, flows)


@pytest.mark.parametrize(
    ("policy", "reason"),
    [(DeadPolicy.RESELECT, Reason.FORWARD), (DeadPolicy.DROP, Reason.DEAD), (DeadPolicy.RESET, Reason.DEAD)],
)
def test_an_error_for_a_dead_backend_is_not_answered(
    pair: Pair, family: Family, policy: DeadPolicy, reason: Reason
) -> None:
    pair.apply("open", site(pair, family, State.AVAILABLE, State.NONE, on_dead=policy))
    pair.apply("death", site(pair, family, State.DEAD, State.AVAILABLE, on_dead=policy))
    assert send(pair, error(family, inner(family))).reason is reason


# ---- fragments


def pieces(family: Family, ident: int = 77, ports: tuple[int, int] = (CLIENT_PORT, DNS)) -> list[Frame]:
    """A datagram in three fragments, the first of 24 bytes."""
    data = bytes(range(60))
    whole = between(family.client, family.vip).udp(*ports, data).body
    made = []
    for start, end in ((0, 24), (24, 48), (48, 68)):
        more = end < len(whole)
        if family.vip.version == 4:
            ip = between(family.client, family.vip, fragment=0x2000 * more | start // 8, ident=ident)
        else:
            head = bytes(2) + (start | more).to_bytes(2, "big") + ident.to_bytes(4, "big")
            ip = between(family.client, family.vip, ((44, head),))
        made.append(ip.raw(17, whole[start:end]))
    return made


def test_later_fragments_follow_the_first(pair: Pair, family: Family) -> None:
    pair.apply("open", site(pair, family))
    first, second, third = pieces(family)
    whole = send(pair, between(family.client, family.vip).udp(CLIENT_PORT, DNS, bytes(60)))
    for frame in (first, third, second):
        left = send(pair, frame)
        assert (left.reason, left.destination) == (Reason.FORWARD, whole.destination)
        at = 8 if family.vip.version == 4 else 7
        before = frame.bytes[14:]
        assert body(left.frame)[at] == before[at] - 1
        assert body(left.frame)[20:][: len(before) - 20] == before[20:]


def test_a_fragment_that_comes_before_the_first_is_dropped(pair: Pair, family: Family) -> None:
    pair.apply("open", site(pair, family))
    first, second, third = pieces(family)
    assert [send(pair, frame).reason for frame in (third, first, second)] == [
        Reason.FRAGMENT,
        Reason.FORWARD,
        Reason.FORWARD,
    ]


def test_fragments_of_other_datagrams_do_not_follow(pair: Pair, family: Family) -> None:
    pair.apply("open", site(pair, family))
    send(pair, pieces(family)[0])
    assert send(pair, pieces(family, ident=78)[1]).reason is Reason.FRAGMENT
    stranger = family._replace(client=family.router)
    assert send(pair, pieces(stranger)[1]).reason is Reason.FRAGMENT
    assert send(pair, pieces(family)[1]).reason is Reason.FORWARD


def test_a_datagram_is_forgotten(pair: Pair, family: Family) -> None:
    pair.apply("open", site(pair, family))
    send(pair, pieces(family)[0])
    pair.at(START + FRAGMENT_LIFE - 1)
    assert send(pair, pieces(family)[1]).reason is Reason.FORWARD
    pair.at(START + FRAGMENT_LIFE)
    assert send(pair, pieces(family)[1]).reason is Reason.FRAGMENT


def test_a_first_fragment_must_hold_the_ports(pair: Pair, family: Family) -> None:
    pair.apply("open", site(pair, family))
    first = pieces(family)[0]
    for size, reason in ((0, Reason.MALFORMED), (7, Reason.MALFORMED), (8, Reason.FORWARD)):
        assert send(pair, first.raw(17, first.body[:size])).reason is reason
    tcp = between(family.client, family.vip).tcp(CLIENT_PORT, PORT, "A").body
    for size, reason in ((8, Reason.MALFORMED), (19, Reason.MALFORMED), (20, Reason.FORWARD)):
        assert send(pair, first.raw(6, tcp[:size])).reason is reason


def test_a_fragment_for_no_service(pair: Pair, family: Family) -> None:
    pair.apply("open", site(pair, family))
    first, second, _ = pieces(family, ports=(CLIENT_PORT, DNS + 1))
    assert [send(pair, frame).reason for frame in (first, second)] == [Reason.UNKNOWN_PORT, Reason.FRAGMENT]


# ---- too big


def long(family: Family, size: int, fragment: int = 0x4000, client: Address | None = None) -> Frame:
    """A packet of so many bytes."""
    ip = between(client or family.client, family.vip, fragment=fragment)
    head = 40 if family.vip.version == 4 else 60
    return ip.tcp(CLIENT_PORT, PORT, "A", data=bytes(number % 251 for number in range(size - head)))


def test_too_big_is_answered_as_a_router_would(pair: Pair, family: Family) -> None:
    pair.apply("open", site(pair, family))
    frame = long(family, MTU + 1)
    left = send(pair, frame)
    assert (left.action, left.reason) == (Action.TX, Reason.TOO_BIG)
    assert left.frame[:12] == ROUTER + BALANCER
    most = 548 if family.vip.version == 4 else 1232
    quoted, packet = frame.bytes[14:][:most], body(left.frame)
    assert packet.endswith(quoted)
    if family.vip.version == 4:
        wanted = between(family.vip, family.client, ident=0).icmp(3, 4, quoted, rest=MTU.to_bytes(4, "big"))
        assert checksums_are_right(left.frame)
    else:
        wanted = between(family.vip, family.client).icmp(2, 0, quoted, rest=MTU.to_bytes(4, "big"))
        oracle = Ether(left.frame)
        message = oracle[IPv6].payload
        assert isinstance(message, _ICMPv6)
        del message.cksum
        assert bytes(oracle) == left.frame
    assert packet == wanted.bytes[14:]
    assert send(pair, long(family, MTU)).reason is Reason.FORWARD


@pytest.mark.parametrize("size", [61, 62, 63, 64, 547, 548, 549, 1231, 1232, 1233, 1500])
def test_whole_words_are_quoted(pair: Pair, family: Family, size: int) -> None:
    pair.apply("open", site(pair, family, mtu=60))
    left = send(pair, long(family, size))
    assert left.reason is Reason.TOO_BIG
    most = min(size, 548 if family.vip.version == 4 else 1232) // 4 * 4
    assert len(body(left.frame)) == (28 if family.vip.version == 4 else 48) + most


def test_answers_keep_the_tag(pair: Pair, family: Family) -> None:
    pair.apply("open", site(pair, family))
    raw = incoming(pair, long(family, MTU + 1))
    if pair.plain.shape.mixed:
        raw = raw[:12] + bytes((0x81, 0, 0x60, VLAN_IN)) + raw[12:]
    left = pair.send(raw)
    behind = 18 if pair.plain.shape.tagged else 14
    assert (left.reason, left.frame[12:behind]) == (Reason.TOO_BIG, raw[12:behind])


def test_answers_are_limited(pair: Pair, family: Family) -> None:
    pair.apply("open", site(pair, family))
    frame = long(family, MTU + 1)
    reasons = [pair.send(incoming(pair, frame)).reason for _ in range(TOO_BIG_RATE + 3)]
    assert reasons == [Reason.TOO_BIG] * TOO_BIG_RATE + [Reason.TOO_BIG_LIMITED] * 3
    pair.at(START + 1)
    assert send(pair, frame).reason is Reason.TOO_BIG


def test_what_must_not_be_answered(pair: Pair, family: Family) -> None:
    pair.apply("open", site(pair, family))
    texts = (
        ("0.0.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255")
        if family.vip.version == 4
        else ("::", "::1", "ff02::1")
    )
    limited = Reason.TOO_BIG_LIMITED
    for text in texts:
        assert send(pair, long(family, MTU + 1, client=ip_address(text))).reason is limited, text
    assert send(pair, replace(long(family, MTU + 1), to=bytes((1, 0, 0x5E, 0, 0, 1)))).reason is limited
    big = between(family.vip, family.client).tcp(PORT, CLIENT_PORT, "A", data=bytes(1500))
    assert send(pair, error(family, big, MTU)).reason is limited
    first, second, _ = pieces(family)
    assert send(pair, first).reason is Reason.FORWARD
    assert send(pair, second.raw(17, bytes(MTU))).reason is limited
    assert send(pair, first.raw(17, first.body[:8] + bytes(MTU))).reason is Reason.TOO_BIG


def test_addresses_are_of_one_family() -> None:
    for family in FAMILIES:
        kind = IPv4Address if family.vip.version == 4 else IPv6Address
        assert all(isinstance(address, kind) for address in (family.vip, family.client, family.router, family.own))
