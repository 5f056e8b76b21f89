"""From rtnetlink's messages to nouns. The messages are bytes as the kernel sends them."""

from __future__ import annotations

import struct
import sys
from ipaddress import ip_address, ip_interface
from socket import AF_INET, AF_INET6
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.net.links import Link
from appliance.net.messages import decode, dump_requests, resolve_request
from appliance.net.view import Message, Neighbour, NeighbourState, OwnAddress
from appliance.net.wire import Packet, split

NEWLINK, DELLINK, NEWADDR, DELADDR, NEWNEIGH, DELNEIGH = 16, 17, 20, 21, 28, 29
MAC = bytes.fromhex("020000000001")
AF_BRIDGE = 7


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, header: bytes, *attributes: bytes) -> bytes:
    body = header + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def link(kind: int, flags: int, family: int = 0) -> bytes:
    """struct ifinfomsg; IFLA_ADDRESS 1, IFLA_IFNAME 3, IFLA_MTU 4."""
    header = struct.pack("=BxHiII", family, 1, 5, flags, 0)
    return message(kind, header, attribute(1, MAC), attribute(3, b"eth0\0"), attribute(4, struct.pack("=I", 1400)))


def own(
    kind: int, *attributes: bytes, family: int = AF_INET, length: int = 24, flags: int = 0, scope: int = 0
) -> bytes:
    """struct ifaddrmsg; IFA_ADDRESS 1, IFA_LOCAL 2, IFA_FLAGS 8."""
    return message(kind, struct.pack("=BBBBI", family, length, flags, scope, 5), *attributes)


def own6(flags: int = 0, scope: int = 0) -> bytes:
    """An IPv6 address with IFA_FLAGS."""
    values = (attribute(1, V6.packed), attribute(8, struct.pack("=I", flags)))
    return own(NEWADDR, *values, family=AF_INET6, length=64, scope=scope)


def neigh(kind: int, state: int, *attributes: bytes, family: int = AF_INET, flags: int = 0) -> bytes:
    """struct ndmsg; NDA_DST 1, NDA_LLADDR 2."""
    return message(kind, struct.pack("=BxxxiHBB", family, 5, state, flags, 1), *attributes)


def decoded(data: bytes) -> list[Message | None]:
    return [decode(packet) for packet in split(data)]


V4 = ip_address("192.0.2.7")
V6 = ip_address("2001:db8::7")
OWN6 = ip_interface("2001:db8::7/64")

CASES = [
    (link(NEWLINK, 0x41), Link(5, "eth0", MAC, 1400, up=True, enabled=True)),
    (link(NEWLINK, 0x01), Link(5, "eth0", MAC, 1400, enabled=True)),
    (link(NEWLINK, 0x40), Link(5, "eth0", MAC, 1400)),
    (link(DELLINK, 0x41), Link(5, gone=True)),
    (link(DELLINK, 0x41, AF_BRIDGE), None),
    (own(NEWADDR, attribute(1, V4.packed), attribute(2, V4.packed)), OwnAddress(5, ip_interface("192.0.2.7/24"))),
    (
        own(NEWADDR, attribute(1, b"\xc0\x00\x02\x09"), attribute(2, V4.packed), length=32),
        OwnAddress(5, ip_interface("192.0.2.7/32")),
    ),
    (own(DELADDR, attribute(1, V4.packed)), OwnAddress(5, ip_interface("192.0.2.7/24"), gone=True)),
    (
        own(NEWADDR, attribute(1, V6.packed), family=AF_INET6, length=64),
        OwnAddress(5, ip_interface("2001:db8::7/64")),
    ),
    (own6(0x80), OwnAddress(5, OWN6)),  # permanent
    (own6(0x40), OwnAddress(5, OWN6, gone=True)),  # tentative
    (own6(0x44), OwnAddress(5, OWN6, gone=True)),  # optimistic
    (own6(0x48), OwnAddress(5, OWN6, gone=True)),  # duplicate
    (own6(0x20), OwnAddress(5, OWN6, gone=True)),  # deprecated
    (own6(scope=253), OwnAddress(5, OWN6, gone=True)),  # link
    (own6(scope=254), OwnAddress(5, OWN6, gone=True)),  # host
    (
        own(NEWADDR, attribute(2, V4.packed), attribute(8, struct.pack("=I", 0x20)), scope=253),
        OwnAddress(5, ip_interface("192.0.2.7/24")),
    ),
    (own(NEWADDR), None),
    (
        neigh(NEWNEIGH, 2, attribute(1, V4.packed), attribute(2, MAC)),
        Neighbour(5, V4, MAC, NeighbourState.REACHABLE),
    ),
    (
        neigh(NEWNEIGH, 4, attribute(1, V6.packed), attribute(2, MAC), family=AF_INET6),
        Neighbour(5, V6, MAC, NeighbourState.STALE),
    ),
    (neigh(NEWNEIGH, 0x20, attribute(1, V4.packed)), Neighbour(5, V4, b"", NeighbourState.FAILED)),
    (neigh(NEWNEIGH, 0x100, attribute(1, V4.packed), attribute(2, MAC)), Neighbour(5, V4, MAC)),
    (neigh(DELNEIGH, 4, attribute(1, V4.packed), attribute(2, MAC)), Neighbour(5, V4)),
    (neigh(NEWNEIGH, 0x80, attribute(1, V4.packed), flags=8), None),
    (neigh(NEWNEIGH, 0x80, attribute(2, MAC), family=AF_BRIDGE), None),
    (message(24, bytes(12)), None),
]


@pytest.mark.parametrize(("data", "expected"), CASES)
def test_decode(data: bytes, expected: Message | None) -> None:
    assert decoded(data) == [expected]


def test_one_datagram_may_hold_many() -> None:
    assert decoded(b"".join(data for data, _ in CASES)) == [expected for _, expected in CASES]


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_without_raising(data: bytes, of_a_neighbour: bool) -> None:
    packets = list(split(data))
    assert sum(len(packet.data) for packet in packets) <= len(data)
    packets += split(message(NEWNEIGH, data if not of_a_neighbour else struct.pack("=BxxxiHBB", 2, 5, 2, 0, 1) + data))
    for packet in packets:
        assert isinstance(packet.error, int)
        if packet.kind in (NEWNEIGH, DELNEIGH):
            assert isinstance(decode(packet), Neighbour | None)


@pytest.mark.parametrize(
    ("data", "error", "last", "interrupted"),
    [
        (message(2, struct.pack("=i", -105) + bytes(16)), 105, False, False),
        (message(2, struct.pack("=i", 0) + bytes(16)), 0, False, False),
        (message(2, b""), 0, False, False),
        (message(3, struct.pack("=i", 0)), 0, True, False),
        (message(3, struct.pack("=i", -11)), 11, True, False),
        (link(NEWLINK, 1), 0, False, False),
        (struct.pack("=IHHII", 16, 24, 0x10, 0, 0), 0, False, True),  # NLM_F_DUMP_INTR
    ],
)
def test_control_messages(data: bytes, error: int, last: bool, interrupted: bool) -> None:
    (packet,) = split(data)
    assert (packet.error, packet.last, packet.interrupted) == (error, last, interrupted)


def test_a_message_cut_off_is_left_out() -> None:
    whole, cut = (data for data, _ in CASES[:2])
    assert list(split(whole + cut[:-1])) == [Packet(NEWLINK, 0, whole)]


def test_dumps_ask_for_links_first() -> None:
    kinds = [struct.unpack_from("=IHHIIB", request)[1:] for request in dump_requests()]
    assert kinds == [
        (18, 0x301, 0, 0, 0),
        (22, 0x301, 0, 0, 0),
        (30, 0x301, 0, 0, AF_INET),
        (30, 0x301, 0, 0, AF_INET6),
    ]


@given(st.sampled_from([NEWNEIGH, DELNEIGH]), st.integers(0, 0xFFFF), st.binary(max_size=40))
def test_a_link_layer_address_of_another_length_is_no_mac(kind: int, state: int, mac: bytes) -> None:
    (news,) = decoded(neigh(kind, state, attribute(1, V4.packed), attribute(2, mac)))
    assert isinstance(news, Neighbour)
    assert news.mac == (mac if len(mac) == 6 and kind == NEWNEIGH else b"")


@pytest.mark.parametrize(("address", "family"), [(V4, AF_INET), (V6, AF_INET6)])
def test_resolve_request_is_an_rtm_newneigh_with_ntf_use(address: Any, family: int) -> None:
    data = resolve_request(5, address)
    length, kind, flags, sequence, port = struct.unpack_from("=IHHII", data)
    assert (length, kind, flags, sequence, port) == (len(data), NEWNEIGH, 0x401, 0, 0)  # NLM_F_REQUEST | NLM_F_CREATE
    assert struct.unpack_from("=BxxxiHBB", data, 16) == (family, 5, 0, 1, 0)
    assert data[28:] == attribute(1, address.packed)
    assert sys.byteorder == "little" or data[:4] == length.to_bytes(4, "big")
