"""Frames in one line: the usual ones as people want to read them, and anything at all without a fault."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.dataplane.frame_text import line
from tests.dataplane.frames import Frame
from tests.profile import PARSER_INPUTS

CLIENT, VIP = "198.51.100.7", "203.0.113.10"
CLIENT6, VIP6 = "2001:db8::7", "2001:db8:5::10"
FOUR, SIX = Frame().ipv4(CLIENT, VIP), Frame().ipv6(CLIENT6, VIP6)
ENDS = f"IPv4 {CLIENT}:4242 > {VIP}:80"
QUOTED_TEXT = f"IPv4 {CLIENT}:4242 > {VIP}:53, UDP, length 20, ttl 64"
QUOTED = FOUR.udp(4242, 53, b"q" * 20).bytes[14:]
TABLE = (
    ("a SYN", FOUR.tcp(4242, 80, "S"), f"{ENDS}, TCP, SYN, seq 1000, win 8192, length 0, ttl 64"),
    (
        "an answer",
        FOUR.tcp(4242, 80, "PA", data=b"x" * 9),
        f"{ENDS}, TCP, PSH+ACK, seq 1000, ack 2000, win 8192, length 9, ttl 64",
    ),
    ("no flags", FOUR.tcp(4242, 80, ""), f"{ENDS}, TCP, no flags, seq 1000, win 8192, length 0, ttl 64"),
    ("with a tag", FOUR.tcp(4242, 80).tagged(7), f"vlan 7, {ENDS}, TCP, SYN, seq 1000, win 8192, length 0, ttl 64"),
    (
        "two tags",
        FOUR.udp(4242, 80).tagged(9, 0x88A8).tagged(7),
        f"service vlan 9, vlan 7, {ENDS}, UDP, length 0, ttl 64",
    ),
    (
        "IPv6",
        SIX.udp(4242, 53, b"query"),
        f"IPv6 [{CLIENT6}]:4242 > [{VIP6}]:53, UDP, length 5, ttl 64",
    ),
    ("an echo request", FOUR.icmp(8), f"IPv4 {CLIENT} > {VIP}, ICMP echo request, id 1, seq 2, ttl 64"),
    (
        "an error",
        FOUR.icmp(3, 1, QUOTED),
        f"IPv4 {CLIENT} > {VIP}, ICMP unreachable, code 1, about ({QUOTED_TEXT}), ttl 64",
    ),
    ("a type that has no name", FOUR.icmp(13), f"IPv4 {CLIENT} > {VIP}, ICMP type 13, ttl 64"),
    ("UDP that is too short", FOUR.udp(4242, 80, length=3), f"{ENDS}, UDP, length field 3 in 8 bytes, ttl 64"),
    ("UDP that is too long", FOUR.udp(4242, 80, length=99), f"{ENDS}, UDP, length field 99 in 8 bytes, ttl 64"),
    (
        "TCP that is too short",
        FOUR.tcp(4242, 80, words=2),
        f"{ENDS}, TCP, SYN, seq 1000, win 8192, header of 8 bytes in 20, ttl 64",
    ),
    (
        "an IP header that is too short",
        Frame().ipv4(CLIENT, VIP, words=3).udp(4242, 80),
        f"IPv4 {CLIENT} > {VIP}, UDP, header of 12 bytes, ttl 64",
    ),
    ("GRE", FOUR.raw(47, bytes(4)), f"IPv4 {CLIENT} > {VIP}, GRE, 4 bytes, ttl 64"),
    ("another protocol", FOUR.raw(200, bytes(4)), f"IPv4 {CLIENT} > {VIP}, protocol 200, 4 bytes, ttl 64"),
    (
        "the last hop",
        Frame().ipv4(CLIENT, VIP, ttl=1).udp(4242, 80),
        f"{ENDS}, UDP, length 0, ttl 1",
    ),
    (
        "a first fragment",
        Frame().ipv4(CLIENT, VIP, fragment=0x2000, ident=9).udp(4242, 80),
        f"{ENDS}, UDP, fragment of 9 at 0, length 0, ttl 64",
    ),
    (
        "the last fragment",
        Frame().ipv4(CLIENT, VIP, fragment=185, ident=9).raw(17, b"rest"),
        f"IPv4 {CLIENT} > {VIP}, UDP, fragment of 9 at 1480, the last one, ttl 64",
    ),
    (
        "a packet that is longer than its frame",
        Frame().ipv4(CLIENT, VIP, length=1500).udp(4242, 80),
        f"{ENDS}, UDP, length 0, claims 1500 bytes and has 28, ttl 64",
    ),
    ("nothing of TCP", FOUR.tcp(4242, 80).cut(34 + 12), f"{ENDS}, TCP, cut short, claims 40 bytes and has 32, ttl 64"),
    ("half an IP header", FOUR.tcp(4242, 80).cut(30), "IPv4 header cut short"),
    ("no IP header", Frame().other(0x0800, b""), "no IP version"),
    ("an IP version that there is not", Frame().other(0x0800, b"\x95" + bytes(40)), "IP version 9"),
    ("less than Ethernet", FOUR.tcp(1, 2).cut(13), "13 bytes, less than an Ethernet header"),
    (
        "ARP",
        Frame().other(0x0806, bytes.fromhex("0001080006040001020000000001c6336407000000000000cb00710a")),
        "ARP who has 203.0.113.10, tell 198.51.100.7",
    ),
    ("an odd ARP", Frame().other(0x0806, b"\xff" * 40), "ARP"),
    ("IEEE 802.3", Frame().other(46, bytes(46)), "no EtherType but a length of 46"),
    ("LLDP", Frame().other(0x88CC, bytes(46)), "EtherType 0x88cc, 46 bytes"),
)


@pytest.mark.parametrize(("frame", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_frame_in_words(frame: Frame, expected: str) -> None:
    assert line(frame.bytes, len(frame.bytes)) == expected


def test_what_is_not_kept_is_not_missing() -> None:
    whole = FOUR.tcp(4242, 80, "A", data=b"x" * 1460).bytes
    assert line(whole[:128], len(whole)) == line(whole, len(whole))
    assert "length 1460" in line(whole[:128], len(whole))
    assert "claims 1500 bytes and has 1400" in line(whole[:128], 1414)


KINDS = st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"\x88\xa8", b"\x08\x06"])
STARTS = st.sampled_from([b"\x45", b"\x4f", b"\x40", b"\x60"])
FRAMES = st.binary(max_size=160) | st.builds(
    lambda kind, start, rest: bytes(12) + kind + start + rest, KINDS, STARTS, st.binary(max_size=140)
)
REAL = [row[1].bytes for row in TABLE]
BROKEN = st.builds(
    lambda frame, at, byte, size: (frame[: at % len(frame)] + bytes([byte]) + frame[at % len(frame) + 1 :])[:size],
    st.sampled_from(REAL),
    st.integers(0, 200),
    st.integers(0, 255),
    st.integers(0, 200),
)


@settings(max_examples=PARSER_INPUTS)
@given(FRAMES | BROKEN, st.integers(0, 70_000))
@example(bytes(12) + b"\x81\x00", 14)
@example(bytes(12) + b"\x81\x00\x00\x07\x81", 17)
@example(SIX.udp(1, 2).bytes[:54], 54)
def test_any_bytes_make_one_harmless_line(octets: bytes, length: int) -> None:
    said = line(octets, length)
    assert said.isascii()
    assert said.isprintable()
    assert 0 < len(said) < 400


@given(st.binary(max_size=200))
def test_only_numbers_are_taken_from_what_is_inside(data: bytes) -> None:
    """Whatever is sent cannot make other words of the line."""
    one, other = (line(FOUR.udp(1, 2, text).bytes, 500) for text in (data, bytes(len(data))))
    assert one == other
