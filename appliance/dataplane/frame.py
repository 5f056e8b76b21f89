"""Building and reading single Ethernet frames, for `explain` and tests. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from appliance.model import Protocol

FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ECE": 64, "CWR": 128}
_ETHERNET, _IPV4 = 14, 20
_FRAGMENT = 0x3FFF
"""More-fragments and the offset."""


@dataclass(frozen=True)
class Flow:
    """The five things that name a flow."""

    protocol: Protocol
    source: IPv4Address
    source_port: int
    vip: IPv4Address
    vip_port: int

    def __str__(self) -> str:
        return f"{self.protocol} {self.source}:{self.source_port} {self.vip}:{self.vip_port}"

    @classmethod
    def parse(cls, text: str) -> Flow:
        """Read `tcp 198.51.100.7:4242 203.0.113.10:443`; raises ValueError that says what is wrong."""
        words = text.split()
        if len(words) != 3 or words[0].upper() not in Protocol.__members__:
            raise ValueError(f"{text!r} is not a flow; write 'tcp CLIENT:PORT VIP:PORT' or 'udp CLIENT:PORT VIP:PORT'")
        ends = []
        for word in words[1:]:
            host, colon, port = word.rpartition(":")
            if not colon or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
                raise ValueError(f"{word!r} is not ADDRESS:PORT with a port from 1 to 65535")
            try:
                ends.append((IPv4Address(host), int(port)))
            except ValueError:
                raise ValueError(f"{host!r} is not an IPv4 address") from None
        (source, source_port), (vip, vip_port) = ends
        return cls(Protocol[words[0].upper()], source, source_port, vip, vip_port)


def flags(text: str) -> int:
    """Read TCP flags such as `SYN` or `FIN,ACK`; raises ValueError naming the unknown one."""
    number = 0
    for word in text.upper().replace("+", ",").replace("|", ",").split(","):
        if word.strip() not in FLAGS:
            raise ValueError(f"{word.strip()!r} is no TCP flag; use {', '.join(FLAGS)}")
        number |= FLAGS[word.strip()]
    return number


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) over data in network order."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~int(total) & 0xFFFF


def build(flow: Flow, *, destination: bytes, source: bytes, tcp_flags: int = 2, ttl: int = 64) -> bytes:
    """An Ethernet frame without payload for a flow, checksums right; MACs are 6 bytes."""
    if flow.protocol is Protocol.TCP:
        length = 20
        transport = struct.pack("!HHIIBBHHH", flow.source_port, flow.vip_port, 1, 0, 0x50, tcp_flags, 65535, 0, 0)
    else:
        length = 8
        transport = struct.pack("!HHHH", flow.source_port, flow.vip_port, length, 0)
    pseudo = flow.source.packed + flow.vip.packed + struct.pack("!HH", int(flow.protocol), length)
    sum_of = checksum(pseudo + transport)
    # In UDP a checksum of 0 means that there is none (RFC 768).
    at, none = (16, 0) if flow.protocol is Protocol.TCP else (6, 0xFFFF)
    transport = transport[:at] + struct.pack("!H", sum_of or none) + transport[at + 2 :]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0x4000, ttl, int(flow.protocol), 0)
    header += flow.source.packed + flow.vip.packed
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return destination + source + b"\x08\x00" + header + transport


def flow_of(frame: bytes) -> Flow | None:
    """The flow of a TCP or UDP packet over IPv4; None for anything else, fragments included."""
    if len(frame) < _ETHERNET + _IPV4 or frame[12:14] != b"\x08\x00":
        return None
    ip = frame[_ETHERNET:]
    header = (ip[0] & 15) * 4
    if ip[0] >> 4 != 4 or header < _IPV4 or len(ip) < header + 4 or ip[9] not in tuple(Protocol):
        return None
    if int.from_bytes(ip[6:8], "big") & _FRAGMENT:
        return None
    source_port, vip_port = struct.unpack_from("!HH", ip, header)
    return Flow(Protocol(ip[9]), IPv4Address(ip[12:16]), source_port, IPv4Address(ip[16:20]), vip_port)


def source_of(frame: bytes) -> IPv4Address | IPv6Address | None:
    """The source of an IP packet in a frame with or without a tag; None where none is to be seen."""
    at = _ETHERNET + (4 if frame[12:14] == b"\x81\x00" else 0)
    if frame[at - 2 : at] == b"\x08\x00" and len(frame) >= at + _IPV4:
        return IPv4Address(frame[at + 12 : at + 16])
    if frame[at - 2 : at] == b"\x86\xdd" and len(frame) >= at + 40:
        return IPv6Address(frame[at + 8 : at + 24])
    return None
