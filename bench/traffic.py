"""The packets of a measurement: header templates, one for each service, in which the driver varies the source."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from appliance.model import Protocol

ETHERNET, TAG, IPV4, IPV6, UDP = 14, 4, 20, 40, 8
ICMP = 1
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
    pieces: tuple[tuple[int, int], ...] = ()
    """Offset and length of what a program reads at once."""

    @property
    def stores(self) -> tuple[tuple[int, int], ...]:
        """Offset and length of what the driver copies: words of 8 bytes, then pieces that lie across two of them.

        Without those that it writes by themselves.
        """
        words = tuple((at, 8) for at in range(0, self.headers, 8))
        alone = {self.source} | ({self.check - 2} if self.check else set())
        seams = ((at, size) for at, size in self.pieces if at // 8 != (at + size - 1) // 8 and at not in alone)
        return (*words, *seams)

    def differs(self, at: int, size: int) -> bool:
        """Return whether the frames differ there."""
        return len({frame[at : at + size] for frame in self.frames}) > 1

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
        start = self.check - 10
        header = bytearray(frame[start : start + IPV4])
        header[10:12] = bytes(2)
        header[self.source - start : self.source - start + 4] = bytes(4)
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


def icmp_error4(vips: Sequence[IPv4Address], port: int) -> Traffic:
    """Return "fragmentation needed" to every VIP in turn, each about a segment from its port to one client."""

    def message(vip: IPv4Address) -> bytes:
        quoted = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1500, 1, 0x4000, 63, Protocol.TCP, 0, vip.packed, CLIENTS.packed)
        return struct.pack("!BBHI", 3, 4, 0, 1400) + quoted + struct.pack("!HHI", port, 40000, 1)

    return _ipv4(vips, ICMP, message, 2)


def fragment4(vips: Sequence[IPv4Address], port: int) -> Traffic:
    """Return first fragments of datagrams of 4,000 bytes to every VIP in turn."""
    return _ipv4(vips, Protocol.UDP, lambda vip: struct.pack("!HHHH", 40000, port, 4008, 0), 24, fragment=0x2000)


def answer4(backends: Sequence[IPv4Address], first: int, port: int = 40000, *, payload: int = 6) -> Traffic:
    """Return what backends behind NAT answer, each from a port of its own, `first` and up; clients are the flows."""

    def transport(backend: IPv4Address) -> bytes:
        own = first + int(backend) - int(backends[0])
        return struct.pack("!HHIIBBHHH", own, port, 1, 1, 5 << 4, ACK, 64240, 0, 0)

    return _ipv4(backends, Protocol.TCP, transport, payload, answers=True)


def _ipv4(
    vips: Sequence[IPv4Address],
    protocol: int,
    transport: bytes | Callable[[IPv4Address], bytes],
    payload: int,
    fragment: int = 0x4000,
    *,
    answers: bool = False,
) -> Traffic:
    """Return frames with this transport header, or that of the VIP, and zeros behind it; `answers` come from there.

    The IPv4 identification differs so that all headers have one checksum: the driver then needs only one sum.
    """
    if len(vips) & len(vips) - 1:
        raise ValueError(f"{len(vips)} VIPs are no power of two")
    frames = []
    for vip in vips:
        head = transport(vip) if callable(transport) else transport
        length = IPV4 + len(head) + payload
        ends = (vip.packed, CLIENTS.packed) if answers else (CLIENTS.packed, vip.packed)
        words = ("!BBHHHBBH4s4s", 0x45, 0, length, 0, fragment, 64, protocol, 0, *ends)
        identification = 0xFFFF - ones_sum(struct.pack(*words))
        header = bytearray(struct.pack(*words))
        header[4:6] = identification.to_bytes(2, "big")
        header[10:12] = (0xFFFF - ones_sum(header)).to_bytes(2, "big")
        frames.append(BALANCER_MAC + ROUTER_MAC + b"\x08\0" + bytes(header) + head + bytes(payload))
    pieces = tuple((ETHERNET + at, 4) for at in (-2, 8, 12, 16, 20))
    source = ETHERNET + (16 if answers else 12)
    return Traffic(tuple(frames), ETHERNET + IPV4 + len(head), source, ETHERNET + 10, pieces)


def tcp6(vips: Sequence[IPv6Address], port: int, *, flags: int = ACK, payload: int = 6) -> Traffic:
    """Return the same over IPv6, 80 bytes; the flows differ in the last word of the source."""
    if len(vips) & len(vips) - 1:
        raise ValueError(f"{len(vips)} VIPs are no power of two")
    transport = struct.pack("!HHIIBBHHH", 40000, port, 1, 1, 5 << 4, flags, 64240, 0, 0)
    source = IPv6Address("2001:db8:9::").packed[:12] + CLIENTS.packed
    head = struct.pack("!IHBB", 6 << 28, len(transport) + payload, Protocol.TCP, 64) + source
    start = BALANCER_MAC + ROUTER_MAC + b"\x86\xdd" + head
    frames = tuple(start + vip.packed + transport + bytes(payload) for vip in vips)
    pieces = tuple((ETHERNET + at, size) for at, size in ((8, 8), (16, 4), (20, 4), (24, 8), (32, 8), (40, 4)))
    return Traffic(frames, ETHERNET + IPV6 + len(transport), ETHERNET + 20, None, pieces)


def tagged(traffic: Traffic, vlan: int) -> Traffic:
    """Return the same packets with a VLAN tag."""
    tag = b"\x81\0" + vlan.to_bytes(2, "big")
    frames = tuple(frame[:12] + tag + frame[12:] for frame in traffic.frames)
    check = traffic.check + TAG if traffic.check else None
    pieces = tuple((at + TAG, size) for at, size in traffic.pieces)
    return Traffic(frames, traffic.headers + TAG, traffic.source + TAG, check, pieces)
