"""Messages of BGP as octets, for a peer of tests that says what it likes: made here field by field, and read back.

Written from RFC 4271, 4760, 5492, 6793 and 2918, and apart from the program, which is not to be judged by its own code.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_network

from tests.lab.routers.terms import Prefix

MARKER = b"\xff" * 16
HEADER_SIZE = 19
IPV4, IPV6, UNICAST = 1, 2, 1
AS_TRANS = 23456


class Kind(IntEnum):
    """Types of messages."""

    OPEN = 1
    UPDATE = 2
    NOTIFICATION = 3
    KEEPALIVE = 4
    ROUTE_REFRESH = 5


class Attribute(IntEnum):
    """Types of path attributes."""

    ORIGIN = 1
    AS_PATH = 2
    NEXT_HOP = 3
    MED = 4
    LOCAL_PREF = 5
    COMMUNITIES = 8
    REACHABLE = 14
    UNREACHABLE = 15
    LARGE_COMMUNITIES = 32


class Capability(IntEnum):
    """Codes of capabilities."""

    MULTIPROTOCOL = 1
    ROUTE_REFRESH = 2
    EXTENDED_NEXT_HOP = 5
    GRACEFUL_RESTART = 64
    FOUR_OCTET_AS = 65
    ENHANCED_ROUTE_REFRESH = 70


# ---- making


def message(kind: int, body: bytes = b"", *, marker: bytes = MARKER, length: int | None = None) -> bytes:
    """A message; `length` is what it says of itself, by default the truth."""
    size = HEADER_SIZE + len(body) if length is None else length
    return marker + struct.pack("!HB", size, kind) + body


def capability(code: int, value: bytes = b"") -> bytes:
    """One capability."""
    return bytes((code, len(value))) + value


def usual(own_as: int, families: Iterable[int] = (IPV4, IPV6)) -> tuple[bytes, ...]:
    """The capabilities of any router: families, route refresh, AS numbers of four octets."""
    return (
        *(capability(Capability.MULTIPROTOCOL, struct.pack("!HBB", family, 0, UNICAST)) for family in families),
        capability(Capability.ROUTE_REFRESH),
        capability(Capability.FOUR_OCTET_AS, struct.pack("!I", own_as)),
    )


def open_message(
    own_as: int,
    router_id: str,
    hold_time: int = 9,
    *,
    version: int = 4,
    capabilities: Iterable[bytes] | None = None,
) -> bytes:
    """An OPEN; without `capabilities` it has the usual ones, with an empty list none."""
    told = b"".join(usual(own_as) if capabilities is None else capabilities)
    parameters = bytes((2, len(told))) + told if told else b""
    short = own_as if own_as < 1 << 16 else AS_TRANS
    fixed = struct.pack("!BHH4sB", version, short, hold_time, IPv4Address(router_id).packed, len(parameters))
    return message(Kind.OPEN, fixed + parameters)


def keepalive() -> bytes:
    """A KEEPALIVE."""
    return message(Kind.KEEPALIVE)


def notification(code: int, subcode: int, data: bytes = b"") -> bytes:
    """A NOTIFICATION."""
    return message(Kind.NOTIFICATION, bytes((code, subcode)) + data)


def shutdown(words: str, subcode: int = 2) -> bytes:
    """A Cease with words for the operator (RFC 9003)."""
    text = words.encode()
    return notification(6, subcode, bytes((len(text),)) + text)


def refresh(family: int, subtype: int = 0) -> bytes:
    """A ROUTE-REFRESH; subtypes 1 and 2 begin and end one (RFC 7313)."""
    return message(Kind.ROUTE_REFRESH, struct.pack("!HBB", family, subtype, UNICAST))


def attribute(kind: int, value: bytes, flags: int = 0x40) -> bytes:
    """A path attribute; flags 0x40 well known, 0x80 optional, 0xC0 optional and transitive."""
    return bytes((flags, kind, len(value))) + value


def update(attributes: bytes = b"", announced: bytes = b"", withdrawn: bytes = b"") -> bytes:
    """An UPDATE of IPv4 routes."""
    lengths = struct.pack("!H", len(withdrawn)) + withdrawn + struct.pack("!H", len(attributes))
    return message(Kind.UPDATE, lengths + attributes + announced)


def prefix(text: str) -> bytes:
    """A prefix as it stands in an UPDATE."""
    network = ip_network(text)
    return bytes((network.prefixlen,)) + network.network_address.packed[: (network.prefixlen + 7) // 8]


def route(text: str, next_hop: str, as_path: Iterable[int]) -> bytes:
    """A whole UPDATE for one IPv4 route, AS numbers of four octets."""
    numbers = tuple(as_path)
    segment = bytes((2, len(numbers))) + b"".join(struct.pack("!I", number) for number in numbers) if numbers else b""
    attributes = attribute(Attribute.ORIGIN, b"\0") + attribute(Attribute.AS_PATH, segment)
    attributes += attribute(Attribute.NEXT_HOP, IPv4Address(next_hop).packed)
    return update(attributes, prefix(text))


# ---- reading


@dataclass(frozen=True)
class Heard:
    """One message of the other side; `at` is CLOCK_MONOTONIC, seconds."""

    at: float = field(compare=False)
    kind: int
    body: bytes

    def __str__(self) -> str:
        name = Kind(self.kind).name if self.kind in list(Kind) else str(self.kind)
        return f"{name} {self.body.hex()}"

    @property
    def error(self) -> tuple[int, int]:
        """Code and subcode of a NOTIFICATION."""
        return self.body[0], self.body[1]

    @property
    def words(self) -> str:
        """What a Cease tells the operator."""
        return self.body[3 : 3 + self.body[2]].decode() if len(self.body) > 2 else ""

    @property
    def open(self) -> Open:
        """An OPEN, read."""
        version, short, hold_time, name, _ = struct.unpack_from("!BHH4sB", self.body)
        return Open(version, short, hold_time, str(IPv4Address(name)), tuple(_capabilities(self.body[10:])))

    @property
    def update(self) -> Update:
        """An UPDATE, read."""
        size = int.from_bytes(self.body[:2], "big")
        withdrawn = list(_prefixes(self.body[2 : 2 + size], 4))
        rest = self.body[2 + size :]
        size = int.from_bytes(rest[:2], "big")
        attributes = dict(_attributes(rest[2 : 2 + size]))
        announced = list(_prefixes(rest[2 + size :], 4))
        hop = attributes.get(Attribute.NEXT_HOP, b"")
        if Attribute.REACHABLE in attributes:
            value = attributes[Attribute.REACHABLE]
            hop = value[4 : 4 + value[3]]
            announced += _prefixes(value[5 + value[3] :], 4 if value[1] == IPV4 else 16)
        if Attribute.UNREACHABLE in attributes:
            value = attributes[Attribute.UNREACHABLE]
            withdrawn += _prefixes(value[3:], 4 if value[1] == IPV4 else 16)
        address = str(IPv4Address(hop) if len(hop) == 4 else IPv6Address(hop[:16])) if hop else ""
        return Update(tuple(announced), tuple(withdrawn), address, attributes)


@dataclass(frozen=True)
class Open:
    """An OPEN."""

    version: int
    short_as: int
    hold_time: int
    router_id: str
    capabilities: tuple[tuple[int, bytes], ...]
    """Code and value, in the order in which they came."""


@dataclass(frozen=True)
class Update:
    """An UPDATE; without prefixes it ends the initial routes (RFC 4724)."""

    announced: tuple[Prefix, ...]
    withdrawn: tuple[Prefix, ...]
    next_hop: str
    attributes: dict[int, bytes]


def _capabilities(parameters: bytes) -> Iterator[tuple[int, bytes]]:
    while parameters:
        kind, size = parameters[0], parameters[1]
        value, parameters = parameters[2 : 2 + size], parameters[2 + size :]
        while kind == 2 and value:
            yield value[0], value[2 : 2 + value[1]]
            value = value[2 + value[1] :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        wide = bool(data[0] & 0x10)
        size = int.from_bytes(data[2 : 4 if wide else 3], "big")
        start = 4 if wide else 3
        yield data[1], data[start : start + size]
        data = data[start + size :]


def _prefixes(data: bytes, octets: int) -> Iterator[Prefix]:
    while data:
        size = (data[0] + 7) // 8
        packed = data[1 : 1 + size].ljust(octets, b"\0")
        address = IPv4Address(packed) if octets == 4 else IPv6Address(packed)
        yield ip_network(f"{address}/{data[0]}")
        data = data[1 + size :]
