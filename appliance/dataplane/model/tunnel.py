"""What becomes of a packet that leaves for its backend at layer 3: in an outer header, or with another destination."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from appliance.dataplane.abi import MAPPED
from appliance.dataplane.encapsulation import LENGTHS
from appliance.dataplane.enums import Encapsulation
from appliance.dataplane.memory import Memory
from appliance.dataplane.model import packet
from appliance.dataplane.model.packet import IPV4, IPV6, TCP, UDP, Ip, number, put, put_checksum
from appliance.model import Address

ENTROPY = 0x3FFF
"""Of a source port: RFC 6335's dynamic ports are those from 0xC000 on."""
FLOW_LABEL = 0xFFFFF


@dataclass(frozen=True)
class Tunnel:
    """What packets travel in. `room` is the length of the longest packet that fits, bytes."""

    kind: Encapsulation
    header: bytes
    room: int
    option: int

    @classmethod
    def of(cls, memory: Memory, number: int) -> Tunnel:
        """The tunnel of a number."""
        get = memory.tunnels.get
        return cls(
            Encapsulation(get(number, "kind")),
            memory.tunnels.bytes_of(number, "header", 52),
            get(number, "room"),
            get(number, "option"),
        )

    @property
    def backend(self) -> Address:
        """Where packets go with `dscp`."""
        return IPv4Address(self.header[12:16]) if self.header[:12] == MAPPED else IPv6Address(self.header[:16])

    def sent(self, frame: bytes, ip: Ip, entropy: int) -> bytes:
        """A frame as it leaves, but for its layer-2 addresses and tag. `entropy` tells flows apart."""
        if self.kind is Encapsulation.DSCP:
            return readdressed(frame, ip, self.backend, self.option)
        return self._wrapped(frame, ip, entropy)

    def _wrapped(self, frame: bytes, ip: Ip, entropy: int) -> bytes:
        inside = frame[ip.start : ip.start + ip.length]
        first, length = LENGTHS[str(self.kind)]
        header, family = self.header[:length], 4 if first == packet.IP_HEADER else 6
        traffic = traffic_class(frame, ip)
        if length - first >= packet.UDP_HEADER:
            datagram = length - first + len(inside)
            port = (0xFFFF - ENTROPY) | entropy & ENTROPY
            header = put(put(header, first, port.to_bytes(2, "big")), first + 4, datagram.to_bytes(2, "big"))
            if self.option:
                addresses = header[12:20] if family == 4 else header[8:40]
                covered = addresses + datagram.to_bytes(4, "big") + bytes((0, UDP)) + header[first:]
                check = 0xFFFF - packet.ones_complement_sum(covered, sum_inside(frame, ip))
                header = put_checksum(header, first + 6, check or 0xFFFF)
        if family == 4:
            header = put(header, 1, bytes([traffic]) + (length + len(inside)).to_bytes(2, "big"))
            header = put_checksum(header, 10, packet.checksum(header[:first]))
        else:
            word = 6 << 28 | traffic << 20 | entropy & FLOW_LABEL
            header = put(header, 0, word.to_bytes(4, "big"))
            header = put(header, 4, (length - first + len(inside)).to_bytes(2, "big"))
        kind = IPV4 if family == 4 else IPV6
        return frame[: ip.start - 2] + kind.to_bytes(2, "big") + header + inside


def traffic_class(frame: bytes, ip: Ip) -> int:
    """DSCP and ECN of a packet; the outer header gets them as they are (RFC 6040)."""
    return frame[ip.start + 1] if ip.family == 4 else number(frame, ip.start) >> 4 & 0xFF


def sum_inside(frame: bytes, ip: Ip) -> int:
    """The ones' complement sum of a packet.

    Where it has a TCP or UDP checksum, the sum is what it would be if that were right: the transport's part then comes
    to the complement of the pseudo header, and an IPv4 header to nothing.
    """
    if not promises(frame, ip):
        inside = frame[ip.start : ip.start + ip.length]
        return packet.ones_complement_sum(inside + bytes(len(inside) % 2))
    pseudo = ip.source.packed + ip.destination.packed + ip.room.to_bytes(4, "big") + bytes((0, ip.protocol))
    header = frame[ip.start : ip.payload] if ip.family == 6 else b""
    return packet.ones_complement_sum(header, packet.checksum(pseudo))


def promises(frame: bytes, ip: Ip) -> bool:
    """Whether a packet's checksum tells its sum, as all headers are plain."""
    return ip.plain and (ip.protocol == TCP or (ip.protocol == UDP and number(frame, ip.payload + 6) != 0))


def readdressed(frame: bytes, ip: Ip, backend: Address, code: int) -> bytes:
    """The packet to another destination, with a DSCP code (where it stands in its byte); ECN stays."""
    frame = packet.readdressed(frame, ip, ip.source, backend)
    if ip.family == 6:
        return put(frame, ip.start, (number(frame, ip.start) & 0xF03F | code << 4).to_bytes(2, "big"))
    before = frame[ip.start : ip.start + 2]
    after = bytes([before[0], before[1] & 3 | code])
    check = packet.adjusted(number(frame, ip.start + 10), before, after)
    return put_checksum(put(frame, ip.start, after), ip.start + 10, check)
