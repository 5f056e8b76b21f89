"""Building and reading single Ethernet frames, for `explain` and tests. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from appliance.dataplane.model import packet
from appliance.model import Address, Protocol

FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ECE": 64, "CWR": 128}
_ID = 0x0FFF
"""The VLAN id within a tag's control information (IEEE 802.1Q)."""
_PORTS = 4


@dataclass(frozen=True)
class Flow:
    """The five things that name a flow; both addresses are of one family."""

    protocol: Protocol
    source: Address
    source_port: int
    vip: Address
    vip_port: int

    def __str__(self) -> str:
        return f"{self.protocol} {_end(self.source, self.source_port)} {_end(self.vip, self.vip_port)}"

    @classmethod
    def parse(cls, text: str) -> Flow:
        """Read `tcp 198.51.100.7:4242 203.0.113.10:443` or `udp [2001:db8::7]:4242 [2001:db8:5::10]:53`.

        Raises ValueError that says what is wrong.
        """
        words = text.split()
        if len(words) != 3 or words[0].upper() not in Protocol.__members__:
            raise ValueError(f"{text!r} is not a flow; write 'tcp CLIENT:PORT VIP:PORT' or 'udp CLIENT:PORT VIP:PORT'")
        (source, source_port), (vip, vip_port) = (_parse_end(word) for word in words[1:])
        if source.version != vip.version:
            raise ValueError(f"{text!r} is not a flow: the client is IPv{source.version}, the VIP IPv{vip.version}")
        return cls(Protocol[words[0].upper()], source, source_port, vip, vip_port)


def _end(address: Address, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _parse_end(word: str) -> tuple[Address, int]:
    host, colon, port = word.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(f"{word!r} is not ADDRESS:PORT with a port from 1 to 65535")
    inner = host.removeprefix("[").removesuffix("]")
    try:
        if host == f"[{inner}]" and "%" not in inner:
            return IPv6Address(inner), int(port)
        return IPv4Address(host), int(port)
    except ValueError:
        raise ValueError(f"{host!r} is neither an IPv4 address nor an IPv6 address in brackets") from None


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


def build(
    flow: Flow, *, destination: bytes, source: bytes, tcp_flags: int = 2, ttl: int = 64, vlan: int | None = None
) -> bytes:
    """An Ethernet frame without payload for a flow, checksums right; MACs are 6 bytes, `vlan` the id of a tag."""
    if flow.protocol is Protocol.TCP:
        length = 20
        transport = struct.pack("!HHIIBBHHH", flow.source_port, flow.vip_port, 1, 0, 0x50, tcp_flags, 65535, 0, 0)
    else:
        length = 8
        transport = struct.pack("!HHHH", flow.source_port, flow.vip_port, length, 0)
    # RFC 9293 section 3.1 and RFC 8200 section 8.1: the two pseudo headers add up to the same.
    pseudo = flow.source.packed + flow.vip.packed + struct.pack("!HH", int(flow.protocol), length)
    sum_of = checksum(pseudo + transport)
    # In UDP a checksum of 0 means that there is none (RFC 768).
    at, none = (16, 0) if flow.protocol is Protocol.TCP else (6, 0xFFFF)
    transport = transport[:at] + struct.pack("!H", sum_of or none) + transport[at + 2 :]
    kind = packet.IPV6 if flow.vip.version == 6 else packet.IPV4
    if kind == packet.IPV6:
        header = struct.pack("!IHBB", 0x60000000, length, int(flow.protocol), ttl)
        header += flow.source.packed + flow.vip.packed
    else:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0x4000, ttl, int(flow.protocol), 0)
        header += flow.source.packed + flow.vip.packed
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    tag = struct.pack("!HH", packet.TAG, vlan) if vlan is not None else b""
    return destination + source + tag + struct.pack("!H", kind) + header + transport


def vlan_of(frame: bytes) -> int | None:
    """The VLAN id of a frame with one tag; None without."""
    if len(frame) < packet.ETHERNET + packet.TAG_LENGTH or packet.number(frame, 12) != packet.TAG:
        return None
    return packet.number(frame, 14) & _ID


def flow_of(frame: bytes) -> Flow | None:
    """The flow of a TCP or UDP packet, tagged with a VLAN or not; None for anything else, fragments included."""
    vlan = vlan_of(frame)
    if vlan == 0 or len(frame) < packet.ETHERNET:
        return None
    start = packet.ETHERNET + (packet.TAG_LENGTH if vlan else 0)
    readers = {packet.IPV4: packet.read_ip, packet.IPV6: packet.read_ipv6}
    read = readers.get(packet.number(frame, start - 2))
    ip = read(frame, start) if read else None
    if ip is None or ip.version != ip.family or ip.contradicts or ip.fragment or ip.protocol not in tuple(Protocol):
        return None
    if ip.header < packet.IP_HEADER or len(frame) < ip.payload + _PORTS:
        return None
    source_port, vip_port = struct.unpack_from("!HH", frame, ip.payload)
    return Flow(Protocol(ip.protocol), ip.source, source_port, ip.destination, vip_port)


def source_of(frame: bytes) -> Address | None:
    """The source of an IP packet in a frame with or without a tag; None where none is to be seen."""
    ip = _ip(frame)
    return ip.source if ip else None


def destination_of(frame: bytes) -> Address | None:
    """The destination of an IP packet in a frame with or without a tag; None where none is to be seen."""
    ip = _ip(frame)
    return ip.destination if ip else None


def _ip(frame: bytes) -> packet.Ip | None:
    if len(frame) < packet.ETHERNET:
        return None
    start = packet.ETHERNET + (packet.TAG_LENGTH if vlan_of(frame) is not None else 0)
    readers = {packet.IPV4: packet.read_ip, packet.IPV6: packet.read_ipv6}
    read = readers.get(packet.number(frame, start - 2))
    return read(frame, start) if read else None
