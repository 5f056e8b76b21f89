"""Frames for `explain` and tests: built as another implementation builds them, read back, and refused with a reason."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from appliance.dataplane.frame import FLAGS, Flow, build, checksum, flags, flow_of, vlan_of
from appliance.model import Protocol
from tests.dataplane.frames import Frame

DESTINATION, SOURCE = bytes.fromhex("020000000010"), bytes.fromhex("020000000099")
PORTS = st.integers(1, 65535)
FLOWS = st.builds(Flow, st.sampled_from(Protocol), st.ip_addresses(v=4), PORTS, st.ip_addresses(v=4), PORTS) | (
    st.builds(Flow, st.sampled_from(Protocol), st.ip_addresses(v=6), PORTS, st.ip_addresses(v=6), PORTS)
)
VLANS = st.none() | st.integers(1, 4094)
TEXT = "tcp 198.51.100.7:4242 203.0.113.10:443"
WEB6 = Flow(Protocol.TCP, IPv6Address("2001:db8::7"), 4242, IPv6Address("2001:db8:5::10"), 443)
WEB = Flow(Protocol.TCP, IPv4Address("198.51.100.7"), 4242, IPv4Address("203.0.113.10"), 443)


def built(flow: Flow, tcp_flags: int = 2, ttl: int = 64, vlan: int | None = None) -> bytes:
    """A frame of ours."""
    return build(flow, destination=DESTINATION, source=SOURCE, tcp_flags=tcp_flags, ttl=ttl, vlan=vlan)


def expected(flow: Flow, tcp_flags: int, ttl: int, vlan: int | None = None) -> bytes:
    """The same by scapy, which computes lengths and checksums itself."""
    ends: dict[str, Any] = {"src": str(flow.source), "dst": str(flow.vip)}
    ip: Any = IP(**ends, ttl=ttl, id=1, flags="DF") if flow.vip.version == 4 else IPv6(**ends, hlim=ttl)
    if vlan is not None:
        ip = Dot1Q(vlan=vlan) / ip
    inner: TCP | UDP
    if flow.protocol is Protocol.TCP:
        inner = TCP(sport=flow.source_port, dport=flow.vip_port, seq=1, ack=0, flags=tcp_flags, window=65535)
    else:
        inner = UDP(sport=flow.source_port, dport=flow.vip_port)
    return bytes(Ether(dst=DESTINATION.hex(":"), src=SOURCE.hex(":")) / ip / inner)


@given(FLOWS, st.integers(0, 255), st.integers(0, 255), VLANS)
def test_frames_are_as_others_build_them(flow: Flow, tcp_flags: int, ttl: int, vlan: int | None) -> None:
    assert built(flow, tcp_flags, ttl, vlan) == expected(flow, tcp_flags, ttl, vlan)


@pytest.mark.parametrize("protocol", Protocol)
def test_a_checksum_that_comes_out_as_zero(protocol: Protocol) -> None:
    """UDP writes it as 0xffff, since 0 means none (RFC 768); TCP has no such rule."""
    at = 34 + (16 if protocol is Protocol.TCP else 6)
    flow = Flow(protocol, WEB.source, 1, WEB.vip, WEB.vip_port)
    rest = int.from_bytes(built(flow)[at : at + 2], "big")
    # One more in the source port is one less in the checksum.
    flow = Flow(protocol, WEB.source, 1 + rest, WEB.vip, WEB.vip_port)
    frame = built(flow)
    assert frame[at : at + 2] == (b"\0\0" if protocol is Protocol.TCP else b"\xff\xff")
    assert frame == expected(flow, 2, 64)


@given(FLOWS, VLANS)
def test_flows_are_read_back(flow: Flow, vlan: int | None) -> None:
    assert Flow.parse(str(flow)) == flow
    assert Flow.parse(f"  {str(flow).upper()} ") == flow
    frame = built(flow, vlan=vlan)
    assert (flow_of(frame), vlan_of(frame)) == (flow, vlan)


@given(st.binary(max_size=80) | FLOWS.map(built).flatmap(lambda f: st.integers(0, len(f)).map(lambda n: f[:n])))
def test_any_bytes_have_a_flow_or_none(frame: bytes) -> None:
    found = flow_of(frame)
    assert found is None or (len(frame) >= 38 and frame[12:14] in (b"\x08\x00", b"\x81\x00", b"\x86\xdd"))


ENDS = ("198.51.100.7", "203.0.113.10")
ENDS6 = ("2001:db8::7", "2001:db8:5::10")
BASE6 = Frame().ipv6(*ENDS6)
BASE = Frame().ipv4("198.51.100.7", "203.0.113.10")
# A frame -> its flow
READ = {
    "options": (Frame().ipv4(*ENDS, options=bytes(8)).tcp(4242, 443), WEB),
    "padding": (BASE.tcp(4242, 443).padded(), WEB),
    "ICMP": (BASE.icmp(8), None),
    "a tag": (BASE.tagged(5).tcp(4242, 443), WEB),
    "a tag with a priority": (BASE.tagged(0xE005).tcp(4242, 443), WEB),
    "a tag without a VLAN": (BASE.tagged(0xE000).tcp(4242, 443), None),
    "two tags": (BASE.tagged(5).tagged(6).tcp(4242, 443), None),
    "a service tag": (BASE.tagged(5, 0x88A8).tcp(4242, 443), None),
    "IPv6": (BASE6.tcp(4242, 443), WEB6),
    "IPv6 with extension headers": (
        Frame().ipv6(*ENDS6, extensions=((0, bytes(8)), (60, b"\0\1" + bytes(14)))).tcp(4242, 443),
        WEB6,
    ),
    "an IPv6 fragment": (
        Frame().ipv6(*ENDS6, extensions=((44, bytes.fromhex("0000000900000001")),)).tcp(4242, 443),
        None,
    ),
    "the first fragment": (Frame().ipv4(*ENDS, fragment=0x2000).tcp(4242, 443), None),
    "a later fragment": (Frame().ipv4(*ENDS, fragment=0x0001).tcp(4242, 443), None),
    "another version": (Frame().ipv4(*ENDS, version=6).tcp(4242, 443), None),
    "a header too short": (Frame().ipv4(*ENDS, words=4).tcp(4242, 443), None),
    "a header beyond the frame": (Frame().ipv4(*ENDS, words=15).tcp(4242, 443).cut(60), None),
}


@pytest.mark.parametrize(("frame", "flow"), READ.values(), ids=READ.keys())
def test_what_has_a_flow(frame: Frame, flow: Flow | None) -> None:
    assert flow_of(frame.bytes) == flow


# What is no flow -> what is said of it
WRONG = [
    ("", "'' is not a flow; write 'tcp CLIENT:PORT VIP:PORT'"),
    (TEXT + " x", "is not a flow"),
    (TEXT.replace("tcp", "icmp"), "is not a flow"),
    (TEXT.replace("tcp", "6"), "is not a flow"),
    (TEXT.replace(":443", ""), "'203.0.113.10' is not ADDRESS:PORT with a port from 1 to 65535"),
    (TEXT.replace("443", "0"), "'203.0.113.10:0' is not ADDRESS:PORT"),
    (TEXT.replace("443", "65536"), "is not ADDRESS:PORT"),
    (TEXT.replace("443", "-1"), "is not ADDRESS:PORT"),
    (TEXT.replace("443", "\u0664"), "is not ADDRESS:PORT"),
    (TEXT.replace("198", "256"), "'256.51.100.7' is neither an IPv4 address nor an IPv6 address in brackets"),
    (TEXT.replace("203.0.113.10", "[2001:db8::1]"), "the client is IPv4, the VIP IPv6"),
    (TEXT.replace("203.0.113.10", "2001:db8::1"), "'2001:db8::1' is neither"),
    (TEXT.replace("203.0.113.10", "[203.0.113.10]"), "'[203.0.113.10]' is neither"),
    (TEXT.replace("203.0.113.10", "[fe80::1%eth0]"), "'[fe80::1%eth0]' is neither"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_is_no_flow_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Flow.parse(text)
    assert message in str(caught.value)


@given(st.text(max_size=30) | st.from_regex(r"(tcp|udp) [0-9.:\[\]]{0,20} [0-9.:\[\]]{0,20}", fullmatch=True))
def test_any_text_is_a_flow_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        flow = Flow.parse(text)
        assert Flow.parse(str(flow)) == flow


# What is written -> the flags byte
WRITTEN = [
    ("SYN", 2),
    ("syn", 2),
    ("FIN,ACK", 17),
    ("fin+ack", 17),
    ("SYN | ACK", 18),
    ("RST", 4),
    ("CWR,ECE,URG", 224),
]


@pytest.mark.parametrize(("text", "number"), WRITTEN)
def test_flags(text: str, number: int) -> None:
    assert flags(text) == number


@pytest.mark.parametrize(("text", "word"), [("", ""), ("SIN", "SIN"), ("SYN,,ACK", ""), ("ACK XYZ", "ACK XYZ")])
def test_what_is_no_flag_is_named(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=rf"'{word}' is no TCP flag; use FIN, SYN, RST"):
        flags(text)


@given(st.sets(st.sampled_from(sorted(FLAGS)), min_size=1))
def test_flags_add_up(names: set[str]) -> None:
    assert flags(",".join(sorted(names))) == sum(FLAGS[name] for name in names)


@given(st.binary(max_size=64))
def test_a_checksum_makes_the_sum_right(data: bytes) -> None:
    """RFC 1071: over data with its checksum the checksum is zero."""
    even = data + bytes(len(data) % 2)
    assert checksum(data) == checksum(even)
    assert checksum(even + checksum(data).to_bytes(2, "big")) == 0
