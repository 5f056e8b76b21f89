"""ICMP errors: what they say, and of which packet; any bytes are read."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded, IPv6

from appliance.health.quoted import Quoted, Refusal, read_error
from tests.profile import PARSER_INPUTS

OWN, VIP = "10.1.10.5", "203.0.113.10"
OWN6, VIP6 = "2001:db8:10::5", "2001:db8:f::10"
SEGMENT = IP(src=OWN, dst=VIP) / TCP(sport=8200, dport=443)
SEGMENT6 = IPv6(src=OWN6, dst=VIP6) / TCP(sport=8200, dport=443)
OUTER = IP(src=OWN, dst="10.1.10.11") / SEGMENT
TYPES4 = {
    (3, 0): Refusal.NETWORK,
    (3, 1): Refusal.HOST,
    (3, 2): Refusal.PROTOCOL,
    (3, 3): Refusal.PORT,
    (3, 13): Refusal.PROHIBITED,
    (11, 0): Refusal.HOPS,
}


def of(refusal: Refusal, mtu: int = 0, version: int = 4) -> Quoted:
    """What is read of an error about the segment."""
    own, vip = (OWN, VIP) if version == 4 else (OWN6, VIP6)
    return Quoted(refusal, ip_address(own), ip_address(vip), 6, 8200, 443, mtu)


@pytest.mark.parametrize(("kind", "refusal"), TYPES4.items(), ids=str)
def test_errors_of_ipv4(kind: tuple[int, int], refusal: Refusal) -> None:
    message = bytes(ICMP(type=kind[0], code=kind[1])) + bytes(SEGMENT)
    assert read_error(4, message) == of(refusal)


def test_too_big() -> None:
    message = bytes(ICMP(type=3, code=4, nexthopmtu=1400)) + bytes(SEGMENT)
    assert read_error(4, message) == of(Refusal.TOO_BIG, 1400)
    message = bytes(ICMPv6PacketTooBig(mtu=1280)) + bytes(SEGMENT6)
    assert read_error(6, message) == of(Refusal.TOO_BIG, 1280, 6)


@pytest.mark.parametrize(
    ("header", "refusal"),
    [
        (ICMPv6DestUnreach(code=0), Refusal.NETWORK),
        (ICMPv6DestUnreach(code=1), Refusal.PROHIBITED),
        (ICMPv6DestUnreach(code=3), Refusal.HOST),
        (ICMPv6DestUnreach(code=4), Refusal.PORT),
        (ICMPv6TimeExceeded(code=0), Refusal.HOPS),
        (ICMPv6ParamProblem(code=1), Refusal.PROTOCOL),
    ],
    ids=str,
)
def test_errors_of_ipv6(header: object, refusal: Refusal) -> None:
    assert read_error(6, bytes(header) + bytes(SEGMENT6)) == of(refusal, 0, 6)  # type: ignore[call-overload]


def test_the_outer_packet_of_a_tunnel_is_read_as_such() -> None:
    found = read_error(4, bytes(ICMP(type=3, code=2)) + bytes(OUTER))
    assert found is not None
    assert (found.destination, found.protocol) == (ip_address("10.1.10.11"), 4)
    fou = IP(src=OWN, dst="10.1.10.11") / UDP(sport=40000, dport=6080) / bytes(SEGMENT)
    found = read_error(4, bytes(ICMP(type=3, code=3)) + bytes(fou))
    assert found is not None
    assert (found.protocol, found.source_port, found.port) == (17, 40000, 6080)


def test_an_echo_request_has_its_identifier_for_a_port() -> None:
    quoted = IP(src=OWN, dst=VIP) / ICMP(type=8, id=8201)
    found = read_error(4, bytes(ICMP(type=3, code=1)) + bytes(quoted))
    assert found is not None
    assert (found.source_port, found.port) == (8201, 0)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        bytes(ICMP(type=0)) + bytes(SEGMENT),  # an echo reply
        bytes(ICMP(type=3, code=2)),  # nothing quoted
        bytes(ICMP(type=3, code=2)) + bytes(SEGMENT6),  # the wrong family
        bytes(ICMP(type=3, code=2)) + b"\x41" + bytes(SEGMENT)[1:],  # a header of 4 bytes
    ],
)
def test_what_is_no_error_of_ours(message: bytes) -> None:
    assert read_error(4, message) is None


@settings(max_examples=PARSER_INPUTS)
@given(st.sampled_from([4, 6]), st.binary(max_size=120))
@example(4, b"\x03\x03" + bytes(6) + b"\x4f" + bytes(27))
def test_any_bytes_are_read(version: int, message: bytes) -> None:
    found = read_error(version, message)
    assert found is None or (found.source.version == version and 0 <= found.mtu <= 0xFFFF)
