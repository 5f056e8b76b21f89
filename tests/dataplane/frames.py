"""Frames for tests, built layer by layer, with every length and checksum right unless a test says otherwise:

    Frame().ipv4("198.51.100.7", "203.0.113.10", ttl=2).tcp(40000, 80, "SA", data=b"x").padded(60).bytes

Written apart from the program's model, so that one can find the other's mistakes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

BALANCER = bytes.fromhex("020000000010")
ROUTER = bytes.fromhex("020000000099")
FLAGS = "FSRPAUEC"
"""TCP flags by letter, from the lowest bit up."""


def flag_bits(flags: str | int) -> int:
    """TCP flags, given as letters or as a number, as a number."""
    return flags if isinstance(flags, int) else sum(1 << FLAGS.index(letter) for letter in flags)


def internet_checksum(data: bytes) -> int:
    """RFC 1071: the complement of the ones' complement sum of 16-bit words."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    return 0xFFFF - ((total - 1) % 0xFFFF + 1 if total else 0)


@dataclass(frozen=True)
class Frame:
    """An Ethernet frame in the making; every method returns a new one. `bytes` is the result."""

    to: bytes = BALANCER
    sender: bytes = ROUTER
    tags: bytes = b""
    kind: int = 0x0800
    header: bytes = b""
    body: bytes = b""
    least: int = 0
    most: int = 1 << 16
    _ip: tuple[int, ...] = ()
    _ip_options: bytes = b""
    _ip_length: int | None = None
    _ip_checksum: int | None = None
    _extensions: tuple[tuple[int, bytes], ...] = ()

    def macs(self, twelve: bytes) -> Frame:
        """Destination, then source MAC."""
        return replace(self, to=twelve[:6], sender=twelve[6:])

    def tagged(self, vlan: int, kind: int = 0x8100) -> Frame:
        """One more tag, inside those already there."""
        return replace(self, tags=self.tags + struct.pack(">HH", kind, vlan))

    def other(self, kind: int, body: bytes) -> Frame:
        """A frame of another EtherType."""
        return replace(self, kind=kind, body=body)

    def ipv4(
        self,
        source: str | IPv4Address,
        destination: str | IPv4Address,
        *,
        ttl: int = 64,
        tos: int = 0,
        ident: int = 1,
        fragment: int = 0x4000,
        options: bytes = b"",
        version: int = 4,
        words: int | None = None,
        length: int | None = None,
        checksum: int | None = None,
    ) -> Frame:
        """An IPv4 header. `fragment` is the whole field; `words` the header's length as it claims."""
        words = (20 + len(options)) // 4 if words is None else words
        fields = (
            version << 4 | words,
            tos,
            ident,
            fragment,
            ttl,
            int(IPv4Address(source)),
            int(IPv4Address(destination)),
        )
        return replace(self, _ip=fields, _ip_options=options, _ip_length=length, _ip_checksum=checksum)

    def ipv6(
        self,
        source: str | IPv6Address,
        destination: str | IPv6Address,
        *,
        hops: int = 64,
        traffic: int = 0,
        flow: int = 0,
        extensions: tuple[tuple[int, bytes], ...] = (),
        version: int = 6,
        length: int | None = None,
    ) -> Frame:
        """An IPv6 header. `extensions` are (protocol number, header); the first byte of each is filled in."""
        fields = (version << 28 | traffic << 20 | flow, hops, int(IPv6Address(source)), int(IPv6Address(destination)))
        return replace(self, kind=0x86DD, _ip=fields, _ip_length=length, _extensions=extensions)

    def raw(self, protocol: int, body: bytes) -> Frame:
        """The packet's protocol number and what follows its header."""
        if self.kind == 0x86DD:
            return self._raw6(protocol, body)
        first, tos, ident, fragment, ttl, source, destination = self._ip
        length = 20 + len(self._ip_options) + len(body) if self._ip_length is None else self._ip_length
        middle = struct.pack(">BBHHHBB", first, tos, length, ident, fragment, ttl, protocol)
        addresses = struct.pack(">II", source, destination)
        checksum = self._ip_checksum
        if checksum is None:
            checksum = internet_checksum(middle + b"\0\0" + addresses + self._ip_options)
        header = middle + struct.pack(">H", checksum) + addresses + self._ip_options
        return replace(self, header=header, body=body)

    def _raw6(self, protocol: int, body: bytes) -> Frame:
        word, hops, source, destination = self._ip
        following, chain = protocol, b""
        for kind, content in reversed(self._extensions):
            chain = bytes([following]) + content[1:] + chain
            following = kind
        length = len(chain) + len(body) if self._ip_length is None else self._ip_length
        header = struct.pack(">IHBB", word, length, following, hops)
        return replace(
            self, header=header + source.to_bytes(16, "big") + destination.to_bytes(16, "big") + chain, body=body
        )

    def _pseudo(self, protocol: int, length: int) -> bytes:
        if self.kind == 0x86DD:
            addresses = b"".join(address.to_bytes(16, "big") for address in self._ip[2:])
            return addresses + struct.pack(">II", length, protocol)
        return struct.pack(">IIHH", *self._ip[5:], protocol, length)

    def tcp(
        self,
        source: int,
        destination: int,
        flags: str | int = "S",
        *,
        sequence: int = 1000,
        acknowledgement: int = 2000,
        options: bytes = b"",
        data: bytes = b"",
        words: int | None = None,
        checksum: int | None = None,
    ) -> Frame:
        """A TCP segment; `words` is the header's length as it claims."""
        words = (20 + len(options)) // 4 if words is None else words
        start = struct.pack(
            ">HHIIBBH", source, destination, sequence, acknowledgement, words << 4, flag_bits(flags), 8192
        )
        rest = options + data
        if checksum is None:
            zero = start + bytes(4) + rest
            checksum = internet_checksum(self._pseudo(6, len(zero)) + zero)
        return self.raw(6, start + struct.pack(">HH", checksum, 0) + rest)

    def udp(
        self,
        source: int,
        destination: int,
        data: bytes = b"",
        *,
        length: int | None = None,
        checksum: int | None = None,
    ) -> Frame:
        """A UDP datagram; a checksum that comes out as 0 is sent as 0xffff (RFC 768)."""
        length = 8 + len(data) if length is None else length
        start = struct.pack(">HHH", source, destination, length)
        if checksum is None:
            checksum = internet_checksum(self._pseudo(17, length) + start + b"\0\0" + data) or 0xFFFF
        return self.raw(17, start + struct.pack(">H", checksum) + data)

    def icmp(self, kind: int, code: int = 0, data: bytes = b"", *, rest: bytes = b"\0\1\0\2") -> Frame:
        """An ICMP message; `rest` are the 4 bytes behind its checksum."""
        start = struct.pack(">BB", kind, code)
        protocol, pseudo = (58, self._pseudo(58, 8 + len(data))) if self.kind == 0x86DD else (1, b"")
        checksum = internet_checksum(pseudo + start + b"\0\0" + rest + data)
        return self.raw(protocol, start + struct.pack(">H", checksum) + rest + data)

    def padded(self, size: int = 60) -> Frame:
        """At least so many bytes, zeros behind the packet."""
        return replace(self, least=size)

    def cut(self, size: int) -> Frame:
        """At most so many bytes."""
        return replace(self, most=size)

    @property
    def bytes(self) -> bytes:
        """The frame as it travels."""
        whole = self.to + self.sender + self.tags + struct.pack(">H", self.kind) + self.header + self.body
        return whole.ljust(self.least, b"\0")[: self.most]
