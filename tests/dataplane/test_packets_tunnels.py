"""Packets that leave in a tunnel: every kind, either family outside and inside, seen by scapy, which knows GUE not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Packet

from appliance.dataplane.desired import Desired, DesiredService, Hop, Member, ProbeLink
from appliance.dataplane.encapsulation import ALL, outer
from appliance.dataplane.enums import Reason, State
from appliance.dataplane.model import Action
from appliance.dataplane.model.exits import probe_address
from appliance.model import Address, Protocol, ServiceKey, Tunnel, TunnelKind
from tests.dataplane.equivalence.pair import Pair, loaded, shape
from tests.dataplane.frames import BALANCER, Frame, internet_checksum

pytestmark = pytest.mark.root

CLIENTS: dict[int, Address] = {4: IPv4Address("198.51.100.7"), 6: IPv6Address("2001:db8:9::7")}
VIPS: dict[int, Address] = {4: IPv4Address("203.0.113.10"), 6: IPv6Address("2001:db8:5::10")}
BACKENDS: dict[int, Address] = {4: IPv4Address("10.9.10.11"), 6: IPv6Address("2001:db8:99::11")}
OWN: dict[int, Address] = {4: IPv4Address("10.1.10.5"), 6: IPv6Address("2001:db8:10::5")}
GATEWAY = bytes.fromhex("0200000101fe")
PORT = 6080
MTU = 600
LENGTHS = {TunnelKind.IPIP: 0, TunnelKind.GRE: 4, TunnelKind.FOU: 8, TunnelKind.GUE: 12}
IP_LENGTH = {4: 20, 6: 40}
PROBE = ProbeLink(7, bytes.fromhex("0200000000aa0200000000ab"), IPv4Address("169.254.255.255"))
TRAFFIC = 0xB9
COMBINATIONS = [(kind, outside, inside) for kind in LENGTHS for outside in (4, 6) for inside in (4, 6)]
NAMES = [f"{kind}-{inside}-in-{outside}" for kind, outside, inside in COMBINATIONS]
DATA = (b"", b"x", b"odd data.", b"q" * 300, b"z" * 511)


@pytest.fixture(scope="module")
def loaded_pair() -> Iterator[Pair]:
    with loaded(shape(resets=False, ipv6=True, tunnels=ALL)) as pair:
        yield pair


@pytest.fixture
def pair(loaded_pair: Pair) -> Pair:
    loaded_pair.clear()
    loaded_pair.at(1000)
    return loaded_pair


def desired(tunnel: Tunnel, outside: int, inside: int, *, mtu: int = MTU) -> Desired:
    """Two services with one backend, behind a gateway."""
    hop = Hop(2, GATEWAY + BALANCER, OWN[outside], mtu=mtu)
    member = Member(BACKENDS[outside], 1, State.AVAILABLE, hop, OWN[inside])
    keys = [ServiceKey(VIPS[inside], port, protocol) for port, protocol in ((80, Protocol.TCP), (53, Protocol.UDP))]
    services = tuple(DesiredService(key, (member,), 900, tunnel=tunnel) for key in sorted(keys))
    return Desired(services=services, vips={VIPS[inside]: True}, probe=PROBE)


def packet(inside: int, ttl: int = 64, *, source: Address | None = None, traffic: int = TRAFFIC) -> Frame:
    """An IP header from the client to the VIP."""
    client, vip = source or CLIENTS[inside], VIPS[inside]
    if isinstance(client, IPv6Address) and isinstance(vip, IPv6Address):
        return Frame().ipv6(client, vip, hops=ttl, traffic=traffic, flow=5)
    assert isinstance(client, IPv4Address)
    assert isinstance(vip, IPv4Address)
    return Frame().ipv4(client, vip, ttl=ttl, tos=traffic)


def transport(ip: Frame, data: bytes, checksum: int | None = None, port: int = 4000) -> tuple[Frame, ...]:
    """The same data in TCP and in UDP."""
    return ip.tcp(port, 80, "PA", data=data), ip.udp(port, 53, data, checksum=checksum)


def taken_off(frame: bytes, kind: TunnelKind, outside: int, inside: int) -> tuple[Packet, bytes]:
    """The outer packet as scapy reads it, every field but the lengths and checksums judged; and what was inside."""
    whole = Ether(frame)
    assert (whole.dst, whole.src) == ("02:00:00:01:01:fe", "02:00:00:00:00:10")
    outer = whole[IP if outside == 4 else IPv6]
    assert (outer.src, outer.dst) == (str(OWN[outside]), str(BACKENDS[outside]))
    number = {4: 4, 6: 41}[inside]
    protocol = {TunnelKind.IPIP: number, TunnelKind.GRE: 47}.get(kind, 17)
    if outside == 4:
        assert (outer.ttl, outer.tos, str(outer.flags), outer.frag, outer.ihl) == (64, TRAFFIC, "DF", 0, 5)
        assert (outer.proto, outer.len) == (protocol, len(frame) - 14)
        assert internet_checksum(frame[14:34]) == 0
    else:
        assert (outer.hlim, outer.tc, outer.nh, outer.plen) == (64, TRAFFIC, protocol, len(frame) - 54)
    rest = frame[14 + IP_LENGTH[outside] :]
    if kind is TunnelKind.GRE:
        assert (outer[GRE].proto, outer[GRE].version, rest[:2]) == ({4: 0x0800, 6: 0x86DD}[inside], 0, b"\0\0")
    elif kind is not TunnelKind.IPIP:
        assert (outer[UDP].dport, outer[UDP].len) == (PORT, len(rest))
        assert outer[UDP].sport >= 0xC000
    if kind is TunnelKind.GUE:
        assert rest[8:12] == bytes((0, number, 0, 0))
    return outer, rest[LENGTHS[kind] :]


def udp_checksum_is_right(frame: bytes, outside: int) -> bool:
    """RFC 768, over everything behind the outer IP header."""
    start = 14 + IP_LENGTH[outside]
    datagram = frame[start:]
    pseudo = OWN[outside].packed + BACKENDS[outside].packed + len(datagram).to_bytes(4, "big") + bytes((0, 0, 0, 17))
    return datagram[6:8] != b"\0\0" and internet_checksum(pseudo + datagram) == 0


@pytest.mark.parametrize(("kind", "outside", "inside"), COMBINATIONS, ids=NAMES)
@pytest.mark.parametrize("checksum", [True, False], ids=["checksum", "no-checksum"])
def test_every_kind(pair: Pair, kind: TunnelKind, outside: int, inside: int, checksum: bool) -> None:
    pair.apply("open", desired(Tunnel(kind, PORT, checksum), outside, inside))
    for data in DATA:
        if len(data) + IP_LENGTH[inside] + 20 + IP_LENGTH[outside] + LENGTHS[kind] > MTU:
            continue
        for zero in (None, 0):
            came, left = (transport(packet(inside, ttl), data, zero) for ttl in (64, 63))
            for before, after in zip(came, left, strict=True):
                for padded in (before, before.padded(len(before.bytes) + 7)):
                    exit_ = pair.send(padded.bytes)
                    assert (exit_.action, exit_.reason) == (Action.TX, Reason.FORWARD)
                    _, inner = taken_off(exit_.frame, kind, outside, inside)
                    assert inner == after.bytes[14:], "the packet inside is whole, one hop older, without padding"
                    if kind in (TunnelKind.FOU, TunnelKind.GUE):
                        start = 14 + IP_LENGTH[outside] + 6
                        none = exit_.frame[start : start + 2] == b"\0\0"
                        assert udp_checksum_is_right(exit_.frame, outside) if checksum else none
    pair.compare()


@pytest.mark.parametrize(("kind", "outside", "inside"), COMBINATIONS, ids=NAMES)
def test_options_and_extensions_are_summed_up(pair: Pair, kind: TunnelKind, outside: int, inside: int) -> None:
    pair.apply("open", desired(Tunnel(kind, PORT), outside, inside))
    for data in DATA[:3]:
        ip = Frame().ipv6(str(CLIENTS[6]), str(VIPS[6]), traffic=TRAFFIC, extensions=((60, bytes(8)), (0, bytes(8))))
        if inside == 4:
            ip = Frame().ipv4(str(CLIENTS[4]), str(VIPS[4]), tos=TRAFFIC, options=b"\1" * 8)
        for frame in transport(ip, data):
            left = pair.send(frame.bytes)
            assert left.reason is Reason.FORWARD
            taken_off(left.frame, kind, outside, inside)
            assert kind in (TunnelKind.IPIP, TunnelKind.GRE) or udp_checksum_is_right(left.frame, outside)


@pytest.mark.parametrize(("kind", "outside", "inside"), COMBINATIONS, ids=NAMES)
def test_too_long_for_the_way(pair: Pair, kind: TunnelKind, outside: int, inside: int) -> None:
    pair.apply("open", desired(Tunnel(kind, PORT), outside, inside))
    most = MTU - IP_LENGTH[outside] - LENGTHS[kind] - IP_LENGTH[inside] - 20
    assert pair.send(packet(inside).tcp(1, 80, data=bytes(most)).bytes).reason is Reason.FORWARD
    left = pair.send(packet(inside).tcp(1, 80, data=bytes(most + 1)).bytes)
    assert (left.action, left.reason) == (Action.TX, Reason.TOO_BIG)
    room = IP_LENGTH[inside] + 20 + most
    at = 14 + 20 + 6 if inside == 4 else 14 + 40 + 6
    assert int.from_bytes(left.frame[at : at + 2], "big") == room, "the answer says how much the tunnel leaves"
    assert pair.real.counter(left.destination, "drops") == 1


@pytest.mark.parametrize("kind", [TunnelKind.FOU, TunnelKind.GUE])
@pytest.mark.parametrize("outside", [4, 6])
def test_flows_differ_outside(pair: Pair, kind: TunnelKind, outside: int) -> None:
    """Queues and links are chosen by what is outside; a flow's packets must not overtake one another."""
    pair.apply("open", desired(Tunnel(kind, PORT), outside, 4))
    ports, labels = set(), set()
    for port in range(1000, 1200):
        outer, _ = taken_off(pair.send(packet(4).tcp(port, 80).bytes).frame, kind, outside, 4)
        again, _ = taken_off(pair.send(packet(4).tcp(port, 80, "A", data=b"x").bytes).frame, kind, outside, 4)
        assert outer[UDP].sport == again[UDP].sport
        ports.add(outer[UDP].sport)
        labels.add(outer.fl if outside == 6 else 0)
    assert len(ports) > 190
    assert outside == 4 or len(labels) > 190


@pytest.mark.parametrize("inside", [4, 6])
def test_dscp(pair: Pair, inside: int) -> None:
    """The backend's address, the service's code, ECN as it was, all checksums right; no padding taken off."""
    pair.apply("open", desired(Tunnel(TunnelKind.DSCP, code=46), inside, inside))
    for data in DATA:
        for zero in (None, 0):
            if zero == 0 and inside == 6:
                continue
            for before in transport(packet(inside), data, zero):
                left = pair.send(before.padded(64).bytes)
                assert left.reason is Reason.FORWARD
                whole = Ether(left.frame)
                ip = whole[IP if inside == 4 else IPv6]
                assert (ip.src, ip.dst) == (str(CLIENTS[inside]), str(BACKENDS[inside]))
                assert (ip.tos if inside == 4 else ip.tc) == 46 << 2 | TRAFFIC & 3
                assert (ip.ttl if inside == 4 else ip.hlim) == 63
                if zero == 0 and whole.haslayer(UDP):
                    assert whole[UDP].chksum == 0
                for layer in (IP, TCP, UDP):
                    if whole.haslayer(layer) and not (layer is UDP and whole[UDP].chksum == 0):
                        del whole[layer].chksum
                assert bytes(Ether(bytes(whole))) == left.frame


def test_dscp_behind_options(pair: Pair) -> None:
    pair.apply("open", desired(Tunnel(TunnelKind.DSCP, code=1), 4, 4))
    for frame in transport(Frame().ipv4(str(CLIENTS[4]), str(VIPS[4]), options=b"\1" * 12), b"abc"):
        whole = Ether(pair.send(frame.bytes).frame)
        for layer in (IP, TCP, UDP):
            if whole.haslayer(layer):
                left = whole[layer].chksum
                del whole[layer].chksum
                assert Ether(bytes(whole))[layer].chksum == left


@pytest.mark.parametrize(("kind", "outside", "inside"), COMBINATIONS, ids=NAMES)
def test_probes_take_the_same_way(pair: Pair, kind: TunnelKind, outside: int, inside: int) -> None:
    """Also to a backend that is dead, else it would never come back."""
    wanted = desired(Tunnel(kind, PORT), outside, inside)
    dead = tuple(
        replace(one, members=tuple(replace(each, state=State.DEAD, weight=0) for each in one.members))
        for one in wanted.services
    )
    for services in (wanted.services, dead):
        pair.apply("open", replace(wanted, services=services))
        for service in services:
            number = next(iter(pair.tables[0].numbers(service.key).values()))
            to = probe_address(number, inside)
            ip = (
                Frame().ipv6(PROBE.address6, to, traffic=TRAFFIC)
                if isinstance(to, IPv6Address)
                else Frame().ipv4(PROBE.address, to, tos=TRAFFIC)
            )
            probe = ip.tcp(5000, 80) if service.key.protocol is Protocol.TCP else ip.udp(5000, 53, b"?")
            left = pair.send(probe.bytes, probe=True)
            assert left.reason is Reason.PROBE_SENT
            _, inner = taken_off(left.frame, kind, outside, inside)
            source = OWN[inside]
            made = packet(inside, source=source)
            if inside == 6:
                made = Frame().ipv6(str(source), str(VIPS[6]), traffic=TRAFFIC)
            sent = made.tcp(5000, 80) if service.key.protocol is Protocol.TCP else made.udp(5000, 53, b"?")
            assert inner == sent.bytes[14:]


def test_header_checksum_carries_twice(pair: Pair) -> None:
    """Once in 20,000 headers the sum carries again when its carry is added; this is such a one on little-endian."""
    tunnel, data = Tunnel(TunnelKind.IPIP), bytes(0x01FF - 60)
    places = (IPv4Address("10.1.0.0") + number for number in range(1 << 16))
    own = next(place for place in places if outer(tunnel, 4, place, BACKENDS[4]).ip_sum == 0xFE01)
    wanted = desired(tunnel, 4, 4)
    hop = Hop(2, GATEWAY + BALANCER, own, mtu=MTU)
    member = Member(BACKENDS[4], 1, State.AVAILABLE, hop, OWN[4])
    services = tuple(replace(one, members=(member,)) for one in wanted.services)
    pair.apply("open", replace(wanted, services=services))
    left = pair.send(packet(4, traffic=0xFF).tcp(1, 80, data=data).bytes).frame
    assert left[14:18] == bytes.fromhex("45ff01ff")
    assert internet_checksum(left[14:34]) == 0


def test_another_tunnel_is_a_table_write(pair: Pair) -> None:
    """And packets meet either the one or the other, whole: it is written where none looks, then switched to."""
    first, second = Tunnel(TunnelKind.IPIP), Tunnel(TunnelKind.GUE, PORT)
    pair.apply("first", desired(first, 4, 4))
    number = pair.send(packet(4).tcp(1, 80).bytes).destination
    for tunnel, kind in ((second, TunnelKind.GUE), (first, TunnelKind.IPIP), (second, TunnelKind.GUE)):
        before = pair.real.destinations.get(number, "path")
        pair.apply(str(kind), desired(tunnel, 4, 4))
        assert pair.real.destinations.get(number, "path") != before
        taken_off(pair.send(packet(4).tcp(1, 80).bytes).frame, kind, 4, 4)
    pair.compare()
