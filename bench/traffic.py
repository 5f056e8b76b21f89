"""The packets of a measurement: header templates, one for each service, in which the driver varies the source."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from appliance.model import Protocol

ETHERNET, IPV4, IPV6, UDP = 14, 20, 40, 8
SYN, ACK = 0x02, 0x10
BALANCER_MAC = bytes.fromhex("020000000001")
ROUTER_MAC = bytes.fromhex("0200000000fe")
CLIENTS = IPv4Address("10.0.0.0")
"""The source of flow 0; the flows share its first octet."""
MAX_FLOWS = 1 << 24


@dataclass(frozen=True)
class Traffic:
    """Frames of one length that differ in their service. Offsets and lengths are bytes.

    `source` is where the 32-bit word lies that tells flows apart, zero in its low 24 bits here; `check` where the IPv4
    header checksum lies, computed here for flow 0; None for a frame without one.
    """

    frames: tuple[bytes, ...]
    headers: int
    source: int
    check: int | None

    def sum(self) -> int:
        """Return the one's complement sum of an IPv4 header with its checksum taken as 0, in this machine's byte order.

        The source counts as 0, since the driver adds all of it. Every template must have the same.
        """
        sums = {self._sum(frame) for frame in self.frames}
        if len(sums) != 1:
            raise ValueError("the templates' header sums differ, and the driver knows only one")
        return sums.pop()

    def _sum(self, frame: bytes) -> int:
        if self.check is None:
            return 0
        header = bytearray(frame[ETHERNET : ETHERNET + IPV4])
        header[self.check - ETHERNET : self.check - ETHERNET + 2] = bytes(2)
        header[self.source - ETHERNET : self.source - ETHERNET + 4] = bytes(4)
        return ones_sum(header, "=")


def ones_sum(header: bytes | bytearray, order: str = "!") -> int:
    """Return the one's complement sum of 16-bit words (RFC 1071)."""
    total: int = sum(struct.unpack(f"{order}{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def tcp4(vips: Sequence[IPv4Address], port: int, *, flags: int = ACK, payload: int = 6) -> Traffic:
    """Return untagged TCP over IPv4 to every VIP in turn, 60 bytes. `vips` is a power of two of addresses.

    The TCP checksum is left at 0; nothing that forwards at layer 2 looks at it.
    """
    header = struct.pack("!HHIIBBHHH", 40000, port, 1, 1, 5 << 4, flags, 64240, 0, 0)
    return _ipv4(vips, Protocol.TCP, header, payload)


def udp4(vips: Sequence[IPv4Address], port: int, *, payload: int = 18) -> Traffic:
    """Return the same of UDP, without checksum, and as long, so that the floor's bounds hold."""
    return _ipv4(vips, Protocol.UDP, struct.pack("!HHHH", 40000, port, UDP + payload, 0), payload)


def tcp6(vips: Sequence[IPv6Address], port: int, *, flags: int = ACK, payload: int = 6) -> Traffic:
    """Return the same over IPv6; the last word of the source tells flows apart."""
    transport = struct.pack("!HHIIBBHHH", 40000, port, 1, 1, 5 << 4, flags, 64240, 0, 0)
    body = transport + bytes(payload)
    source = bytes.fromhex("20010db8") + bytes(8) + CLIENTS.packed
    head = struct.pack("!IHBB", 6 << 28, len(body), Protocol.TCP, 64) + source
    frames = tuple(BALANCER_MAC + ROUTER_MAC + b"\x86\xdd" + head + vip.packed + body for vip in vips)
    return Traffic(frames, ETHERNET + IPV6 + len(transport), ETHERNET + 20, None)


def _ipv4(vips: Sequence[IPv4Address], protocol: Protocol, transport: bytes, payload: int) -> Traffic:
    """Return frames with this transport header, and zeros behind it.

    The IPv4 identification differs so that all headers have one checksum: the driver then needs only one sum.
    """
    if len(vips) & len(vips) - 1:
        raise ValueError(f"{len(vips)} VIPs are no power of two")
    frames = []
    for vip in vips:
        length = IPV4 + len(transport) + payload
        words = ("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, 64, protocol, 0, CLIENTS.packed, vip.packed)
        identification = 0xFFFF - ones_sum(struct.pack(*words))
        header = bytearray(struct.pack(*words))
        header[4:6] = identification.to_bytes(2, "big")
        header[10:12] = (0xFFFF - ones_sum(header)).to_bytes(2, "big")
        frames.append(BALANCER_MAC + ROUTER_MAC + b"\x08\0" + bytes(header) + transport + bytes(payload))
    return Traffic(tuple(frames), ETHERNET + IPV4 + len(transport), ETHERNET + 12, ETHERNET + 10)
