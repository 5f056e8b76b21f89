"""ICMP errors: those to a VIP, about a packet of a flow, and the answer to a packet that is too big.

RFC 792 and RFC 1191 for IPv4, RFC 4443 for IPv6.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from appliance.dataplane.model import packet
from appliance.dataplane.model.packet import ACK, ICMP, ICMP6, TCP, UDP, Ip, Transport
from appliance.model import Address

QUOTED = 8
"""Bytes of the transport header that an error quotes at least."""
ERRORS = {4: packet.ICMP_ERRORS, 6: (1, 2, 3, 4)}
"""Types of errors that concern a flow, by family. In ICMPv6: unreachable, too big, time exceeded, parameter problem."""
FRAGMENTATION_NEEDED = bytes((3, 4))
TOO_BIG6 = bytes((2, 0))
MOST4, MOST6 = 548, 1232
"""Bytes that are quoted at most: answers have up to 576 and 1,280."""


@dataclass(frozen=True)
class Flow:
    """The flow that an error is about, as packets of the other direction show it."""

    ip: Ip
    transport: Transport
    quoted: int
    """Where the quoted packet begins, bytes of the frame."""
    inner: int
    """Where its transport does, bytes from the header of the error."""


def concerned(frame: bytes, ip: Ip) -> Flow | None:
    """The flow that an ICMP error is about; None where it quotes no packet that came from the VIP.

    `ip` is the header of the error, which fits the frame, with at least 8 bytes of ICMP behind it.
    """
    at, room = ip.payload + packet.ICMP_HEADER, ip.room - packet.ICMP_HEADER
    if frame[ip.payload] not in ERRORS[ip.family]:
        return None
    inner = _inner4(frame, at, room) if ip.family == 4 else _inner6(frame, at, room)
    if inner is None or inner.source != ip.destination or inner.protocol not in (TCP, UDP):
        return None
    if inner.room < QUOTED:
        return None
    ports = packet.number(frame, inner.payload + 2), packet.number(frame, inner.payload)
    mirrored = replace(ip, source=inner.destination, destination=inner.source, protocol=inner.protocol)
    return Flow(mirrored, Transport(*ports, flags=ACK), at, inner.payload - ip.start)


def _inner4(frame: bytes, at: int, room: int) -> Ip | None:
    """The quoted IPv4 header; its `length` is what is there of the packet."""
    inner = packet.read_ip(frame, at) if room >= packet.IP_HEADER else None
    if inner is None or inner.version != 4 or inner.header < packet.IP_HEADER or inner.offset:
        return None
    return replace(inner, length=room)


def _inner6(frame: bytes, at: int, room: int) -> Ip | None:
    """The quoted IPv6 header, likewise."""
    inner = packet.read_ipv6(frame[: at + room], at, room) if room >= packet.IPV6_HEADER else None
    if inner is None or inner.version != 6 or inner.contradicts or inner.offset:
        return None
    return inner


def may_be_answered(frame: bytes, ip: Ip) -> bool:
    """Whether a router would answer a packet with an error: not where many may have sent it, or get it.

    RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e). Of ICMP nothing is answered.
    """
    if frame[0] & 1 or ip.offset or ip.protocol not in (TCP, UDP):
        return False
    if isinstance(ip.source, IPv4Address):
        return ip.source.packed[0] not in (0, 127) and ip.source.packed[0] < 224
    return not ip.source.is_multicast and int(ip.source) > 1


def too_big(frame: bytes, ip: Ip, mtu: int) -> bytes:
    """The answer from the VIP to a packet that is longer than `mtu`; it quotes whole words of the packet."""
    most = MOST4 if ip.family == 4 else MOST6
    quoted = frame[ip.start : ip.start + min(ip.length, most) // 4 * 4]
    addresses = _addresses(ip.destination, ip.source)
    if ip.family == 4:
        body = FRAGMENTATION_NEEDED + bytes(4) + min(mtu, 0xFFFF).to_bytes(2, "big") + quoted
        body = packet.put_checksum(body, 2, packet.checksum(body))
        length = (packet.IP_HEADER + len(body)).to_bytes(2, "big")
        head = b"\x45\0" + length + bytes.fromhex("0000 4000") + bytes([packet.OWN_TTL, ICMP, 0, 0]) + addresses
        head = packet.put_checksum(head, 10, packet.checksum(head))
    else:
        body = TOO_BIG6 + bytes(2) + mtu.to_bytes(4, "big") + quoted
        pseudo = addresses + len(body).to_bytes(4, "big") + bytes((0, 0, 0, ICMP6))
        body = packet.put_checksum(body, 2, packet.checksum(pseudo + body))
        head = bytes.fromhex("6000 0000") + len(body).to_bytes(2, "big") + bytes([ICMP6, packet.OWN_TTL]) + addresses
    return packet.turned(frame)[: ip.start] + head + body


def _addresses(source: Address, destination: Address) -> bytes:
    assert isinstance(source, IPv6Address) == isinstance(destination, IPv6Address)
    return source.packed + destination.packed
