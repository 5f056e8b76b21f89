"""What a frame says, and how its bytes change: Ethernet, IPv4 (RFC 791), TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792).

Addresses, ports and lengths are numbers as one reads them (the bytes of the frame are in network order).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from appliance.dataplane.enums import Reason
from appliance.model import Address

ETHERNET = 14
"""Length of an Ethernet header without a tag, bytes."""
IPV4, IPV6, TAG, SERVICE_TAG = 0x0800, 0x86DD, 0x8100, 0x88A8
"""EtherTypes: IEEE 802 numbers, IEEE 802.1Q for the tags."""
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
"""IANA protocol numbers."""
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
"""TCP flags (RFC 9293 section 3.1)."""
IP_HEADER, IPV6_HEADER, TCP_HEADER, UDP_HEADER, ICMP_HEADER = 20, 40, 20, 8, 8
"""The least lengths of the headers, bytes."""
OFFSET = 0x1FFF
OFFSET6 = 0xFFF8
"""The bits of a fragment's offset, in IPv4 and in the fragment header of IPv6."""
FRAGMENT = 0x3FFF
"""More-fragments and fragment offset; the reserved bit and don't-fragment are no sign of a fragment."""
OWN_TTL = 64
"""Time to live of packets that begin here (RFC 1700's default)."""
LEAST_FRAME = 60
"""The least length of an Ethernet frame without its check sequence."""
FRAGMENT6 = 0xFFF9
"""The same of an IPv6 fragment header."""
FRAGMENT_HEADER, AUTHENTICATION_HEADER = 44, 51
EXTENSION_HEADERS = (0, 43, FRAGMENT_HEADER, AUTHENTICATION_HEADER, 60)
"""Hop-by-hop options, routing, fragment, authentication, destination options."""
EXTENSIONS = 6
TAG_LENGTH = 4
ECHO_REPLY, ECHO_REQUEST = 0, 8
ECHO_REQUEST6, ECHO_REPLY6 = 128, 129
NEIGHBOUR_DISCOVERY = range(133, 138)
"""RFC 4861: router and neighbour solicitations and advertisements, redirects."""
CHECKSUMS = {TCP: 16, UDP: 6, ICMP6: 2}
"""Where in their headers the checksums stand that cover addresses, bytes."""
UNREACHABLE, UNREACHABLE6 = 3, 1
FRAGMENTATION_NEEDED = 4
"""The code of an IPv4 unreachable that says that fragmentation is needed (RFC 1191 section 4)."""
ICMP_ERRORS = (UNREACHABLE, 11, 12)
"""Destination unreachable (with fragmentation needed), time exceeded, parameter problem."""


def number(frame: bytes, at: int, size: int = 2) -> int:
    """The number of `size` bytes at an offset of the frame."""
    return int.from_bytes(frame[at : at + size], "big")


@dataclass(frozen=True)
class Ip:
    """An IP header as it stands in the frame; nothing is checked yet but that its fixed part is there."""

    start: int
    """Offset in the frame."""
    version: int
    """As it claims; the EtherType said which family it is."""
    header: int
    """Length with options or extension headers, as they claim."""
    length: int
    """Length of the whole packet, as it claims."""
    fragment: bool
    ttl: int
    """Or hop limit."""
    protocol: int
    """Of what follows the last header that is known."""
    source: Address
    destination: Address
    contradicts: bool = False
    """Whether extension headers reach beyond the packet."""
    offset: bool = False
    """Whether it is a fragment other than the first one."""
    identification: int = 0
    """Of the datagram that a fragment belongs to; of IPv4 every packet has one."""

    @property
    def family(self) -> int:
        """4 or 6."""
        return self.destination.version

    @property
    def is_icmp(self) -> bool:
        """Whether what follows the headers is the ICMP of its family."""
        return self.protocol == (ICMP if self.family == 4 else ICMP6)

    @property
    def payload(self) -> int:
        """Offset in the frame of what follows the headers."""
        return self.start + self.header

    @property
    def room(self) -> int:
        """Bytes of the packet behind the headers."""
        return self.length - self.header

    @property
    def plain(self) -> bool:
        """Whether the header is the plain one, without options or extensions, and the packet is whole."""
        least = IP_HEADER if self.family == 4 else IPV6_HEADER
        return self.version == self.family and self.header == least and not self.fragment

    def fits(self, frame: bytes) -> bool:
        """Whether version and lengths contradict neither each other nor the frame; the frame may be longer."""
        least = IP_HEADER if self.family == 4 else IPV6_HEADER
        if self.version != self.family or self.contradicts:
            return False
        return least <= self.header <= self.length <= len(frame) - self.start


@dataclass(frozen=True)
class Transport:
    """A TCP or UDP header. For UDP all but the ports is 0.

    Of ICMP echo the identifier is the port of the side that asks, and the other one is 0.
    """

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


def read_ip(frame: bytes, start: int) -> Ip | None:
    """The IPv4 header at an offset of the frame; None where the frame ends before it does."""
    if len(frame) < start + IP_HEADER:
        return None
    return Ip(
        start=start,
        version=frame[start] >> 4,
        header=(frame[start] & 15) * 4,
        length=number(frame, start + 2),
        fragment=bool(number(frame, start + 6) & FRAGMENT),
        ttl=frame[start + 8],
        protocol=frame[start + 9],
        source=IPv4Address(frame[start + 12 : start + 16]),
        destination=IPv4Address(frame[start + 16 : start + 20]),
        offset=bool(number(frame, start + 6) & OFFSET),
        identification=number(frame, start + 4),
    )


def read_ipv6(frame: bytes, start: int, room: int | None = None) -> Ip | None:
    """The IPv6 header at an offset of the frame, with what extension headers follow it (RFC 8200 section 4).

    At most EXTENSIONS of them are read; what follows the last is then the protocol. `room` is how much there is of a
    packet that may have been cut; without it, its header says.
    """
    if len(frame) < start + IPV6_HEADER:
        return None
    length = IPV6_HEADER + number(frame, start + 4) if room is None else room
    following, header, contradicts = frame[start + 6], IPV6_HEADER, False
    fragment, offset, identification = False, False, 0
    for _ in range(EXTENSIONS if start + length <= len(frame) else 0):
        # A later fragment begins amid its datagram; and no fragment is one of a fragment.
        if following not in EXTENSION_HEADERS or offset or (fragment and following == FRAGMENT_HEADER):
            break
        at = start + header
        if header + 8 > length:
            contradicts = True
            break
        size = 8 if following == FRAGMENT_HEADER else (frame[at + 1] + 1) * 8
        if following == AUTHENTICATION_HEADER:
            size = (frame[at + 1] + 2) * 4
        if following == FRAGMENT_HEADER and number(frame, at + 2) & FRAGMENT6:
            fragment, offset = True, bool(number(frame, at + 2) & OFFSET6)
            identification = number(frame, at + 4, 4)
        following = frame[at]
        header += size
        if header > length:
            contradicts = True
            break
    return Ip(
        start=start,
        version=frame[start] >> 4,
        header=header,
        length=length,
        fragment=fragment,
        ttl=frame[start + 7],
        protocol=following,
        source=IPv6Address(frame[start + 8 : start + 24]),
        destination=IPv6Address(frame[start + 24 : start + 40]),
        contradicts=contradicts,
        offset=offset,
        identification=identification,
    )


def read_transport(frame: bytes, ip: Ip) -> Transport | Reason:
    """The TCP or UDP header of a packet, or the reason why there is none to steer by.

    The first fragment of a UDP datagram is shorter than that says.
    """
    if not ip.fits(frame):
        return Reason.MALFORMED
    if ip.offset or (ip.fragment and ip.protocol not in (TCP, UDP)):
        return Reason.FRAGMENT
    at, room = ip.payload, ip.room
    if ip.protocol == UDP:
        most = 0xFFFF if ip.fragment else room
        if room < UDP_HEADER or not UDP_HEADER <= number(frame, at + 4) <= most:
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


def read_echo(frame: bytes, ip: Ip, *, reply: bool) -> Transport | None:
    """An echo request or reply (RFC 792, RFC 4443 section 4); None where a packet is none."""
    if not ip.is_icmp or not ip.fits(frame) or ip.offset or ip.room < ICMP_HEADER:
        return None
    kinds = (ECHO_REQUEST, ECHO_REPLY) if ip.family == 4 else (ECHO_REQUEST6, ECHO_REPLY6)
    if (frame[ip.payload], frame[ip.payload + 1]) != (kinds[reply], 0):
        return None
    identifier = number(frame, ip.payload + 4)
    return Transport(0, identifier) if reply else Transport(identifier, 0)


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


def one_hop_less(frame: bytes, ip: Ip) -> bytes:
    """Time to live decremented, the header checksum kept right (RFC 1141: 0x0100 is added to it).

    The sum's negative zero is written as zero, as routers do.
    """
    if ip.family == 6:
        return put(frame, ip.start + 7, bytes([ip.ttl - 1]))
    total = number(frame, ip.start + 10) + 0x0100
    total = (total & 0xFFFF) + (total >> 16)
    frame = put_checksum(frame, ip.start + 10, 0 if total == 0xFFFF else total)
    return put(frame, ip.start + 8, bytes([ip.ttl - 1]))


def turned(frame: bytes) -> bytes:
    """The frame on its way back: MAC addresses exchanged."""
    return frame[6:12] + frame[:6] + frame[12:]


def echo_reply(frame: bytes, ip: Ip) -> bytes:
    """An echo request as its own answer: addresses exchanged, new time to live, type changed; data untouched."""
    at = ip.start
    kind = bytes([ECHO_REPLY if ip.family == 4 else ECHO_REPLY6])
    icmp = adjusted(number(frame, ip.payload + 2), frame[ip.payload : ip.payload + 1] + b"\0", kind + b"\0")
    frame = put_checksum(put(frame, ip.payload, kind), ip.payload + 2, icmp)
    if ip.family == 6:
        addresses = frame[at + 24 : at + 40] + frame[at + 8 : at + 24]
        return put(put(turned(frame), at + 7, bytes([OWN_TTL])), at + 8, addresses)
    check = adjusted(number(frame, at + 10), frame[at + 8 : at + 10], bytes([OWN_TTL, frame[at + 9]]))
    addresses = frame[at + 16 : at + 20] + frame[at + 12 : at + 16]
    frame = put(put_checksum(turned(frame), at + 10, check), at + 8, bytes([OWN_TTL]))
    return put(frame, at + 12, addresses)


def readdressed(frame: bytes, ip: Ip, source: Address, destination: Address) -> bytes:
    """The packet from and to other addresses, with the checksums that cover them; a UDP checksum of 0 means none."""
    first, size = (ip.start + 12, 8) if ip.family == 4 else (ip.start + 8, 32)
    old, new = frame[first : first + size], source.packed + destination.packed
    if ip.family == 4:
        frame = put_checksum(frame, ip.start + 10, adjusted(number(frame, ip.start + 10), old, new))
    if ip.offset or ip.protocol not in CHECKSUMS:
        return put(frame, first, new)
    at = ip.payload + CHECKSUMS[ip.protocol]
    before = number(frame, at)
    if before or ip.protocol != UDP:
        after = adjusted(before, old, new)
        frame = put_checksum(frame, at, after if after or ip.protocol != UDP else 0xFFFF)
    return put(frame, first, new)


def reset(frame: bytes, ip: Ip, tcp: Transport) -> bytes:
    """The answer of a host that does not know the connection (RFC 9293 section 3.10.7.1): RST, without options or data.

    The frame is cut to what it needs, or to the least length; what lies behind the packet is padding.
    """
    segment = ip.room - tcp.header + bool(tcp.flags & SYN) + bool(tcp.flags & FIN)
    if tcp.flags & ACK:
        sequence, acknowledgement, flags = tcp.acknowledgement, 0, RST
    else:
        sequence, acknowledgement, flags = 0, (tcp.sequence + segment) % 2**32, RST | ACK
    ports = tcp.destination_port.to_bytes(2, "big") + tcp.source_port.to_bytes(2, "big")
    numbers = sequence.to_bytes(4, "big") + acknowledgement.to_bytes(4, "big")
    body = ports + numbers + bytes([TCP_HEADER // 4 << 4, flags]) + bytes(6)
    addresses = ip.destination.packed + ip.source.packed
    if ip.family == 4:
        head = bytes.fromhex("4500 0028 0000 4000") + bytes([OWN_TTL, TCP, 0, 0]) + addresses
        head = put_checksum(head, 10, checksum(head))
    else:
        head = bytes.fromhex("6000 0000 0014") + bytes([TCP, OWN_TTL]) + addresses
    pseudo = addresses + bytes([0, TCP, 0, TCP_HEADER])
    packet = head + put_checksum(body, 16, checksum(pseudo + body))
    return put(turned(frame), ip.start, packet)[: max(LEAST_FRAME, ip.start + len(packet))]


def retagged(frame: bytes, had: bool, vlan: int) -> bytes:
    """The frame with a tag of this id, 0 for none: priority and drop eligibility of a tag that it had stay."""
    if had and vlan:
        return put(frame, ETHERNET, (number(frame, ETHERNET) & 0xF000 | vlan).to_bytes(2, "big"))
    if had:
        return frame[:12] + frame[12 + TAG_LENGTH :]
    if vlan:
        return frame[:12] + TAG.to_bytes(2, "big") + vlan.to_bytes(2, "big") + frame[12:]
    return frame
