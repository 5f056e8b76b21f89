"""What an ICMP error says, and of which packet: read from bytes that anybody may have sent. Pure.

RFC 792, RFC 1191 section 4 and RFC 4443 section 3; the quoted packet is one of ours with its first bytes behind IP.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from enum import StrEnum

from appliance.model import Address

HEADER = 8
"""Bytes of an ICMP error before the packet that it quotes."""
PORTS = 4
"""Bytes behind the quoted IP header that are needed: where TCP and UDP have their ports."""
_LEAST = {4: 20, 6: 40}


class Refusal(StrEnum):
    """Why a packet did not arrive."""

    PROTOCOL = "protocol unreachable"
    PORT = "port unreachable"
    HOST = "host unreachable"
    NETWORK = "network unreachable"
    PROHIBITED = "prohibited"
    TOO_BIG = "too big"
    HOPS = "time exceeded"


_BY_TYPE4 = {
    (3, 0): Refusal.NETWORK,
    (3, 1): Refusal.HOST,
    (3, 2): Refusal.PROTOCOL,
    (3, 3): Refusal.PORT,
    (3, 4): Refusal.TOO_BIG,
    (3, 9): Refusal.PROHIBITED,
    (3, 10): Refusal.PROHIBITED,
    (3, 13): Refusal.PROHIBITED,
    (11, 0): Refusal.HOPS,
}
_BY_TYPE6 = {
    (1, 0): Refusal.NETWORK,
    (1, 1): Refusal.PROHIBITED,
    (1, 3): Refusal.HOST,
    (1, 4): Refusal.PORT,
    (1, 5): Refusal.PROHIBITED,
    (1, 6): Refusal.PROHIBITED,
    (2, 0): Refusal.TOO_BIG,
    (3, 0): Refusal.HOPS,
    (4, 1): Refusal.PROTOCOL,
}
"""Code 1 of a parameter problem: a next header that the node does not know (RFC 4443 section 3.4)."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """One error. `mtu` is in bytes, 0 where none is told; ports are 0 where they are not quoted.

    Of an echo request `source_port` is the identifier.
    """

    refusal: Refusal
    source: Address
    destination: Address
    protocol: int
    source_port: int = 0
    port: int = 0
    mtu: int = 0


def read_error(version: int, message: bytes) -> Quoted | None:
    """Read an ICMP (version 4) or ICMPv6 (6) message; None for what is no such error, or quotes too little."""
    if len(message) < HEADER + _LEAST[version]:
        return None
    kind, code, _, rest = struct.unpack_from("!BBHI", message)
    refusal = (_BY_TYPE4 if version == 4 else _BY_TYPE6).get((kind, code))
    inner = message[HEADER:]
    if refusal is None or inner[0] >> 4 != version:
        return None
    source: Address
    destination: Address
    if version == 4:
        length, protocol = (inner[0] & 15) * 4, inner[9]
        source, destination = ipaddress.IPv4Address(inner[12:16]), ipaddress.IPv4Address(inner[16:20])
    else:
        length, protocol = 40, inner[6]
        source, destination = ipaddress.IPv6Address(inner[8:24]), ipaddress.IPv6Address(inner[24:40])
    if length < _LEAST[version]:
        return None
    mtu = 0
    if refusal is Refusal.TOO_BIG:
        mtu = rest & 0xFFFF if version == 4 else min(rest, 0xFFFF)
    begin = inner[length : length + HEADER]
    ports = (0, 0)
    if protocol in (1, 58):
        if len(begin) == HEADER:
            ports = struct.unpack_from("!H", begin, 4)[0], 0
    elif len(begin) >= PORTS:
        ports = struct.unpack_from("!HH", begin)
    return Quoted(refusal, source, destination, protocol, *ports, mtu)
