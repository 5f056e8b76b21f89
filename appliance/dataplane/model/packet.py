"""What a frame says, and how its bytes change: Ethernet, IPv4 (RFC 791), TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792).

Addresses, ports and lengths are numbers as one reads them (the bytes of the frame are in network order).
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.dataplane.enums import Reason

ETHERNET = 14
"""Length of an Ethernet header without a tag, bytes."""
IPV4, IPV6, TAG, SERVICE_TAG = 0x0800, 0x86DD, 0x8100, 0x88A8
"""EtherTypes: IEEE 802 numbers, IEEE 802.1Q for the tags."""
ICMP, TCP, UDP = 1, 6, 17
"""IANA protocol numbers."""
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
"""TCP flags (RFC 9293 section 3.1)."""
IP_HEADER, TCP_HEADER, UDP_HEADER, ICMP_HEADER = 20, 20, 8, 8
"""The least lengths of the headers, bytes."""
FRAGMENT = 0x3FFF
"""More-fragments and fragment offset; the reserved bit and don't-fragment are no sign of a fragment."""
OWN_TTL = 64
"""Time to live of packets that begin here (RFC 1700's default)."""
LEAST_FRAME = 60
"""The least length of an Ethernet frame without its check sequence."""
ECHO_REPLY, ECHO_REQUEST = 0, 8
ICMP_ERRORS = (3, 11, 12)
"""Destination unreachable (with fragmentation needed), time exceeded, parameter problem."""


def number(frame: bytes, at: int, size: int = 2) -> int:
    """The number of `size` bytes at an offset of the frame."""
    return int.from_bytes(frame[at : at + size], "big")


@dataclass(frozen=True)
class Ip:
    """An IPv4 header as it stands in the frame; nothing is checked yet but that its first 20 bytes are there."""

    version: int
    header: int
    """Length of the header with its options, as it claims."""
    length: int
    """Length of the whole packet, as it claims."""
    fragment: bool
    ttl: int
    protocol: int
    source: int
    destination: int

    @property
    def payload(self) -> int:
        """Offset in the frame of what follows the header."""
        return ETHERNET + self.header

    @property
    def room(self) -> int:
        """Bytes of the packet behind the header."""
        return self.length - self.header

    @property
    def plain(self) -> bool:
        """Whether the header is the plain one, without options, and the packet is whole."""
        return self.version == 4 and self.header == IP_HEADER and not self.fragment

    def fits(self, frame: bytes) -> bool:
        """Whether version and lengths contradict neither each other nor the frame; the frame may be longer."""
        return self.version == 4 and IP_HEADER <= self.header <= self.length <= len(frame) - ETHERNET


@dataclass(frozen=True)
class Transport:
    """A TCP or UDP header. For UDP all but the ports is 0."""

    source_port: int
    destination_port: int
    header: int = 0
    flags: int = 0
    sequence: int = 0
    acknowledgement: int = 0

    @property
    def opens(self) -> bool:
        """Whether it asks for a new connection: SYN without ACK."""
        return self.flags & (SYN | ACK) == SYN


def read_ip(frame: bytes) -> Ip | None:
    """The IPv4 header of a frame; None where the frame ends before it does."""
    if len(frame) < ETHERNET + IP_HEADER:
        return None
    return Ip(
        version=frame[ETHERNET] >> 4,
        header=(frame[ETHERNET] & 15) * 4,
        length=number(frame, ETHERNET + 2),
        fragment=bool(number(frame, ETHERNET + 6) & FRAGMENT),
        ttl=frame[ETHERNET + 8],
        protocol=frame[ETHERNET + 9],
        source=number(frame, ETHERNET + 12, 4),
        destination=number(frame, ETHERNET + 16, 4),
    )


def read_transport(frame: bytes, ip: Ip) -> Transport | Reason:
    """The TCP or UDP header of a packet, or the reason why there is none to steer by."""
    if not ip.fits(frame):
        return Reason.MALFORMED
    if ip.fragment:
        return Reason.FRAGMENT
    at, room = ip.payload, ip.room
    if ip.protocol == UDP:
        if room < UDP_HEADER or not UDP_HEADER <= number(frame, at + 4) <= room:
            return Reason.MALFORMED
        return Transport(number(frame, at), number(frame, at + 2))
    if ip.protocol == TCP:
        if room < TCP_HEADER or not TCP_HEADER <= (frame[at + 12] >> 4) * 4 <= room:
            return Reason.MALFORMED
        return Transport(
            number(frame, at),
            number(frame, at + 2),
            header=(frame[at + 12] >> 4) * 4,
            flags=frame[at + 13],
            sequence=number(frame, at + 4, 4),
            acknowledgement=number(frame, at + 8, 4),
        )
    return Reason.PROTOCOL


def ones_complement_sum(data: bytes, start: int = 0) -> int:
    """The 16-bit ones' complement sum of an even number of bytes (RFC 1071)."""
    total = start + sum(number(data, at) for at in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    return 0xFFFF - ones_complement_sum(data)


def adjusted(before: int, old: bytes, new: bytes) -> int:
    """The checksum after `old` became `new` in what it covers (RFC 1624, equation 3)."""
    inverted = bytes(255 - byte for byte in old)
    return 0xFFFF - ones_complement_sum(inverted + new, 0xFFFF - before)


def put(frame: bytes, at: int, new: bytes) -> bytes:
    """The frame with other bytes at an offset."""
    return frame[:at] + new + frame[at + len(new) :]


def put_checksum(frame: bytes, at: int, value: int) -> bytes:
    """The frame with another checksum at an offset."""
    return put(frame, at, value.to_bytes(2, "big"))


def one_hop_less(frame: bytes) -> bytes:
    """Time to live decremented, the header checksum kept right (RFC 1141: 0x0100 is added to it).

    The sum's negative zero is written as zero, as routers do.
    """
    total = number(frame, ETHERNET + 10) + 0x0100
    total = (total & 0xFFFF) + (total >> 16)
    frame = put_checksum(frame, ETHERNET + 10, 0 if total == 0xFFFF else total)
    return put(frame, ETHERNET + 8, bytes([frame[ETHERNET + 8] - 1]))


def turned(frame: bytes) -> bytes:
    """The frame on its way back: MAC addresses exchanged."""
    return frame[6:12] + frame[:6] + frame[12:]


def echo_reply(frame: bytes, ip: Ip) -> bytes:
    """An echo request as its own answer: addresses exchanged, new time to live, type changed; data untouched."""
    source, destination = frame[26:30], frame[30:34]
    check = adjusted(number(frame, 24), frame[22:24], bytes([OWN_TTL, frame[23]]))
    icmp = adjusted(number(frame, ip.payload + 2), bytes([ECHO_REQUEST, 0]), bytes([ECHO_REPLY, 0]))
    frame = put(put_checksum(turned(frame), 24, check), 22, bytes([OWN_TTL]))
    frame = put(frame, 26, destination + source)
    return put_checksum(put(frame, ip.payload, bytes([ECHO_REPLY])), ip.payload + 2, icmp)


def readdressed(frame: bytes, ip: Ip, source: bytes, destination: bytes) -> bytes:
    """The packet from and to other addresses, with the checksums that cover them; a UDP checksum of 0 means none."""
    old, new = frame[26:34], source + destination
    frame = put_checksum(frame, 24, adjusted(number(frame, 24), old, new))
    at = ip.payload + (16 if ip.protocol == TCP else 6)
    before = number(frame, at)
    if before or ip.protocol == TCP:
        after = adjusted(before, old, new)
        frame = put_checksum(frame, at, after if after or ip.protocol == TCP else 0xFFFF)
    return put(frame, 26, new)


def reset(frame: bytes, ip: Ip, tcp: Transport) -> bytes:
    """The answer of a host that does not know the connection (RFC 9293 section 3.10.7.1): RST, without options or data.

    The frame is cut to the least length; what lies behind the packet is padding.
    """
    segment = ip.room - tcp.header + bool(tcp.flags & SYN) + bool(tcp.flags & FIN)
    if tcp.flags & ACK:
        sequence, acknowledgement, flags = tcp.acknowledgement, 0, RST
    else:
        sequence, acknowledgement, flags = 0, (tcp.sequence + segment) % 2**32, RST | ACK
    addresses = frame[30:34] + frame[26:30]
    head = bytes.fromhex("4500 0028 0000 4000") + bytes([OWN_TTL, TCP, 0, 0]) + addresses
    ports = tcp.destination_port.to_bytes(2, "big") + tcp.source_port.to_bytes(2, "big")
    numbers = sequence.to_bytes(4, "big") + acknowledgement.to_bytes(4, "big")
    body = ports + numbers + bytes([TCP_HEADER // 4 << 4, flags]) + bytes(6)
    pseudo = addresses + bytes([0, TCP, 0, TCP_HEADER])
    packet = put_checksum(head, 10, checksum(head)) + put_checksum(body, 16, checksum(pseudo + body))
    return put(turned(frame), ETHERNET, packet)[:LEAST_FRAME]
