"""Frames in words: packets that the labs build, and whatever else may be on a wire."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.dataplane.frame import Flow, build, destination_of
from appliance.dataplane.reading import words, written
from tests.profile import PARSER_INPUTS

HERE, THERE = bytes.fromhex("020000000005"), bytes.fromhex("020000000001")
TCP = build(Flow.parse("tcp 198.51.100.7:4242 203.0.113.10:443"), destination=HERE, source=THERE, tcp_flags=18)
UDP6 = build(Flow.parse("udp [2001:db8::7]:4242 [2001:db8:5::10]:53"), destination=HERE, source=THERE)
TAGGED = TCP[:12] + b"\x81\x00\x00\x0a" + TCP[12:]

WORDS: dict[str, tuple[bytes, str]] = {
    "tcp": (TCP, "TCP SYN,ACK from 198.51.100.7:4242 to 203.0.113.10:443"),
    "tagged": (TAGGED, "TCP SYN,ACK from 198.51.100.7:4242 to 203.0.113.10:443"),
    "udp over IPv6": (UDP6, "UDP from [2001:db8::7]:4242 to [2001:db8:5::10]:53"),
    "no flags": (TCP[:47] + b"\0" + TCP[48:], "TCP without flags from 198.51.100.7:4242 to 203.0.113.10:443"),
    "GRE": (TCP[:23] + b"\x2f" + TCP[24:], "GRE (47) from 198.51.100.7 to 203.0.113.10"),
    "a protocol without a name": (
        TCP[:23] + b"\xfd" + TCP[24:],
        "another protocol (253) from 198.51.100.7 to 203.0.113.10",
    ),
    "a later fragment": (
        TCP[:20] + b"\x00\x10" + TCP[22:],
        "a later fragment of a TCP segment from 198.51.100.7 to 203.0.113.10",
    ),
    "the first fragment": (
        TCP[:20] + b"\x20\x00" + TCP[22:],
        "TCP SYN,ACK from 198.51.100.7:4242 to 203.0.113.10:443, the first fragment",
    ),
    "cut off": (TCP[:20], "IPv4, cut off in its header"),
    "cut off behind the header": (
        TCP[:40],
        "IPv4 from 198.51.100.7 to 203.0.113.10, whose lengths contradict the frame",
    ),
    "two tags": (TAGGED[:12] + b"\x81\x00\x00\x14" + TAGGED[12:], "a VLAN tag behind another"),
    "ARP": (HERE + THERE + b"\x08\x06", "ARP, EtherType 0x0806"),
    "unknown": (HERE + THERE + b"\xab\xcd", "something, EtherType 0xabcd"),
    "short": (b"\0", "1 bytes, less than an Ethernet header"),
}


@pytest.mark.parametrize("name", WORDS)
def test_words(name: str) -> None:
    frame, text = WORDS[name]
    assert words(frame) == text


MOVED = THERE + HERE + TCP[12:22] + b"\x3f" + TCP[23:]
OUTER = bytes.fromhex("4500 0040 0000 4000 4011 0000 0a000005 0a00000b")
DIRECT = OUTER[:9] + b"\x04" + OUTER[10:]
PORTS = bytes.fromhex("c000 15b3 0000 0000")
WRITTEN: dict[str, tuple[bytes, bytes, list[str]]] = {
    "nothing": (TCP, TCP, []),
    "sent on": (
        TCP,
        MOVED,
        ["destination MAC 02:00:00:00:00:01", "source MAC 02:00:00:00:00:05", "time to live 63 for 64"],
    ),
    "a tag more": (TCP, TAGGED, ["VLAN tag 10"]),
    "a tag less": (TAGGED, TCP, ["no VLAN tag"]),
    "another tag": (TAGGED, TAGGED[:15] + b"\x14" + TAGGED[16:], ["VLAN 20 for 10"]),
    "IP in IP": (TCP, TCP[:14] + DIRECT + TCP[14:], ["in front, IP in IP over IPv4 from 10.0.0.5 to 10.0.0.11"]),
    "FOU": (
        TCP,
        TCP[:14] + OUTER + PORTS + TCP[14:],
        ["in front, FOU to UDP port 5555 over IPv4 from 10.0.0.5 to 10.0.0.11"],
    ),
    "GUE": (
        TCP,
        TCP[:14] + OUTER + PORTS + bytes(4) + TCP[14:],
        ["in front, GUE to UDP port 5555 over IPv4 from 10.0.0.5 to 10.0.0.11"],
    ),
    "a mark": (TCP, TCP[:15] + b"\xb8" + TCP[16:], ["DSCP 46 for 0"]),
    "another port": (TCP, TCP[:36] + b"\x1f\x90" + TCP[38:], ["destination port 8080 for 443"]),
    "over IPv6": (UDP6, UDP6[:21] + b"\x01" + UDP6[22:], ["hop limit 1 for 64"]),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_written(name: str) -> None:
    before, after, found = WRITTEN[name]
    assert written(before, after) == found


def test_the_destination_of_a_frame() -> None:
    assert [str(destination_of(frame)) for frame in (TCP, TAGGED, UDP6)] == ["203.0.113.10"] * 2 + ["2001:db8:5::10"]
    assert destination_of(b"\0" * 13) is None


FRAMES = st.binary(max_size=128) | st.builds(
    lambda frame, at, new, end: (frame[:at] + new + frame[at + len(new) :])[:end],
    st.sampled_from([TCP, TAGGED, UDP6, WRITTEN["GUE"][1], WRITTEN["IP in IP"][1]]),
    st.integers(12, 60),
    st.binary(max_size=4),
    st.integers(0, 128),
)


@pytest.mark.hypothesis
@settings(max_examples=PARSER_INPUTS)
@given(FRAMES, FRAMES)
def test_any_frame(before: bytes, after: bytes) -> None:
    assert words(before).isprintable()
    assert all(line.isprintable() for line in written(before, after))
