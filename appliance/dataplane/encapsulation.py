"""The headers that packets travel in to backends elsewhere: prebuilt, all but what differs from packet to packet.

IP in IP: RFC 2003, 2473, 4213. GRE without options: RFC 2784, 7676. In UDP: directly (`fou`), or behind a header of
four bytes (`gue`, draft-ietf-intarea-gue, variant 0). What goes with `dscp` gets no header.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from appliance.dataplane.enums import Encapsulation
from appliance.dataplane.hashing import mapped
from appliance.model import Address, Service, Tunnel, TunnelKind

TTL = 64
"""Of outer headers."""
IPV4_LENGTH, IPV6_LENGTH, UDP_LENGTH = 20, 40, 8
IPIP, IPIP6, GRE, UDP = 4, 41, 47, 17
"""IANA protocol numbers."""
TYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
"""What GRE calls the families: their EtherTypes."""
ALL = tuple(str(kind) for kind in Encapsulation if kind is not Encapsulation.NONE)
"""The encapsulations by name, in the order of their numbers."""
LENGTHS = {
    f"{kind}{family}": (ip, ip + behind)
    for kind, behind in (("ipip", 0), ("gre", 4), ("fou", UDP_LENGTH), ("gue", UDP_LENGTH + 4))
    for family, ip in ((4, IPV4_LENGTH), (6, IPV6_LENGTH))
}
"""Of those with a header, by name: length of the outer IP header, length of the whole header, bytes."""


@dataclass(frozen=True)
class Outer:
    """A prebuilt header: lengths, checksums, source port, traffic class and flow label are 0.

    `ip_sum` and `udp_sum` are ones' complement sums, in network order, of the IPv4 header and of what the checksum of
    UDP covers beside the packet inside and the lengths.
    """

    kind: Encapsulation
    header: bytes
    ip_sum: int = 0
    udp_sum: int = 0
    option: int = 0

    @property
    def length(self) -> int:
        """By how much packets grow, bytes."""
        return 0 if self.kind is Encapsulation.DSCP else len(self.header)


def encapsulation(tunnel: Tunnel, backend: Address) -> Encapsulation:
    """What packets to this backend travel in."""
    if tunnel.kind is TunnelKind.DSCP:
        return Encapsulation.DSCP
    return Encapsulation[f"{tunnel.kind.name}{backend.version}"]


def encapsulations(services: Iterable[Service]) -> tuple[str, ...]:
    """The names of all encapsulations that these services need, in the order of their numbers."""
    kinds = {
        encapsulation(service.tunnel, backend.address)
        for service in services
        if service.tunnel is not None
        for backend in service.backends
    }
    return tuple(str(kind) for kind in sorted(kinds))


def outer(tunnel: Tunnel, family: int, own: Address, backend: Address) -> Outer:
    """The header from the balancer's `own` address to a backend of that family, around packets of `family`, 4 or 6."""
    kind = encapsulation(tunnel, backend)
    if kind is Encapsulation.DSCP:
        return Outer(kind, mapped(backend), option=tunnel.code << 2)
    carried = IPIP if family == 4 else IPIP6
    protocol, behind = carried, b""
    if tunnel.kind is TunnelKind.GRE:
        protocol, behind = GRE, bytes(2) + TYPES[family]
    elif tunnel.kind in (TunnelKind.FOU, TunnelKind.GUE):
        protocol, behind = UDP, bytes(2) + tunnel.port.to_bytes(2, "big") + bytes(4)
        if tunnel.kind is TunnelKind.GUE:
            behind += bytes((0, carried, 0, 0))
    addresses = own.packed + backend.packed
    if backend.version == 4:
        ip = b"\x45" + bytes(5) + b"\x40\0" + bytes((TTL, protocol, 0, 0)) + addresses
    else:
        ip = b"\x60" + bytes(5) + bytes((protocol, TTL)) + addresses
    udp_sum = ones_sum(addresses + bytes((0, UDP)) + behind) if protocol == UDP else 0
    option = int(protocol == UDP and tunnel.checksum)
    return Outer(kind, ip + behind, ones_sum(ip) if backend.version == 4 else 0, udp_sum, option)


def ones_sum(words: bytes) -> int:
    """The ones' complement sum of an even number of bytes (RFC 1071), in network order."""
    total = sum(int.from_bytes(words[at : at + 2], "big") for at in range(0, len(words), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def native16(number: int) -> int:
    """A sum in network order as this host's order has it."""
    return int.from_bytes(number.to_bytes(2, "big"), sys.byteorder)
