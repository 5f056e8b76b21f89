"""What a BGP speaker can do, as its OPEN says it: capabilities (RFC 5492) and the parameters that hold them. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum

from appliance.model_address import Address
from appliance.routing.bgp.notification import Code, OpenError, Refusal


class Family(Enum):
    """What routes are about: an address family (IANA), and unicast of it (RFC 4760). The value is AFI and SAFI."""

    IPV4 = (1, 1)
    IPV6 = (2, 1)

    @property
    def afi(self) -> int:
        """The number of the address family."""
        return self.value[0]

    @property
    def safi(self) -> int:
        """The number of the kind of routes in it: 1, unicast."""
        return self.value[1]

    @property
    def bits(self) -> int:
        """How many bits an address of it has."""
        return 32 if self is Family.IPV4 else 128

    @classmethod
    def of(cls, address: Address) -> Family:
        """Return the family of an address."""
        return cls.IPV4 if address.version == 4 else cls.IPV6

    @classmethod
    def find(cls, afi: int, safi: int) -> Family | None:
        """Return the family with these numbers, None for one that we do not know."""
        return _FAMILIES.get((afi, safi))

    def __str__(self) -> str:
        return "IPv4" if self is Family.IPV4 else "IPv6"


_FAMILIES = {family.value: family for family in Family}


class Number(IntEnum):
    """The numbers of the capabilities that we know (IANA)."""

    MULTIPROTOCOL = 1
    ROUTE_REFRESH = 2
    EXTENDED_NEXT_HOP = 5
    GRACEFUL_RESTART = 64
    FOUR_OCTET_AS = 65
    ENHANCED_REFRESH = 70


CAPABILITIES = 2
"""The type of the only optional parameter of OPEN that is still in use (RFC 5492 section 4)."""
EXTENDED = 255
"""Where the first parameter has this type, lengths are of 16 bits (RFC 9072 section 2)."""
_RESTARTING, _NOTIFICATIONS, _FORWARDING = 0x8000, 0x4000, 0x80
MAX_RESTART_TIME = 0xFFF


@dataclass(frozen=True)
class GracefulRestart:
    """What a speaker says about its restarts (RFC 4724 section 3, RFC 8538 section 2)."""

    restarting: bool = False
    """Whether it has just restarted (bit R)."""
    time: int = 120
    """Seconds within which it will be back, 0..4095."""
    notifications: bool = False
    """Whether routes are kept after a NOTIFICATION as well (bit N)."""
    families: tuple[tuple[Family, bool], ...] = ()
    """Whose routes are kept, each with whether its forwarding state was preserved (bit F)."""


@dataclass(frozen=True)
class Capabilities:
    """What one side announces. `as_number` None: it speaks of AS numbers of two octets only (RFC 6793)."""

    families: frozenset[Family] = frozenset()
    as_number: int | None = None
    route_refresh: bool = False
    enhanced_refresh: bool = False
    graceful_restart: GracefulRestart | None = None
    extended_next_hop: frozenset[tuple[Family, Family]] = frozenset()
    """Families of routes, each with another family that its next hops may have (RFC 8950)."""
    unknown: tuple[tuple[int, bytes], ...] = ()
    """All others: number (0..255) and value (at most 255 bytes)."""


def encode_parameters(capabilities: Capabilities) -> bytes:
    """Return the end of an OPEN: the length of the optional parameters and all capabilities in one of them.

    Beyond 253 bytes of capabilities it is the extended form of RFC 9072. ValueError: there is a value out of range.
    """
    listed = b"".join(_listed(number, value) for number, value in _values(capabilities))
    if not listed:
        return b"\0"
    if len(listed) <= 253:
        return struct.pack(">BBB", len(listed) + 2, CAPABILITIES, len(listed)) + listed
    return struct.pack(">BBHBH", 255, EXTENDED, len(listed) + 3, CAPABILITIES, len(listed)) + listed


def decode_parameters(data: bytes) -> Capabilities:
    """Return what the end of an OPEN says, from the length of the optional parameters on.

    Raises Refusal: Unsupported Optional Parameter for any but capabilities, Unspecific where lengths do not add up.
    """
    if not data:
        raise _malformed("the OPEN message ends before its optional parameters")
    head, body = ">BB", data[1:]
    length = data[0]
    if length and body[:1] == bytes([EXTENDED]):
        if len(body) < 3:
            raise _malformed("the extended length of the optional parameters is cut off")
        head, length, body = ">BH", int.from_bytes(body[1:3], "big"), body[3:]
    if length != len(body):
        raise _malformed(f"{length} bytes of optional parameters are announced, and {len(body)} follow")
    found: list[tuple[int, bytes]] = []
    for kind, value in _split(body, head, "an optional parameter"):
        if kind != CAPABILITIES:
            raise Refusal(
                Code.OPEN,
                OpenError.UNSUPPORTED_PARAMETER,
                why=f"the peer sent an optional parameter of type {kind}; only type 2 (capabilities) is supported",
            )
        found += _split(value, ">BB", "a capability")
    return _gathered(found)


def _malformed(why: str) -> Refusal:
    return Refusal(Code.OPEN, OpenError.UNSPECIFIC, why=f"the peer's OPEN message is malformed: {why}")


def _split(data: bytes, head: str, what: str) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of each item of a list."""
    size, at = struct.calcsize(head), 0
    while at < len(data):
        if len(data) - at < size:
            raise _malformed(f"{what} is cut off")
        kind, length = struct.unpack_from(head, data, at)
        at += size
        if length > len(data) - at:
            raise _malformed(f"{what} of type {kind} has {length} bytes, and {len(data) - at} are left")
        yield kind, data[at : at + length]
        at += length


def _listed(number: int, value: bytes) -> bytes:
    if not 0 <= number <= 255 or len(value) > 255:
        raise ValueError(f"capability {number} with {len(value)} bytes cannot be sent")
    return bytes([number, len(value)]) + value


def _values(capabilities: Capabilities) -> Iterator[tuple[int, bytes]]:
    for family in sorted(capabilities.families, key=lambda family: family.value):
        yield Number.MULTIPROTOCOL, struct.pack(">HBB", family.afi, 0, family.safi)
    if capabilities.route_refresh:
        yield Number.ROUTE_REFRESH, b""
    if capabilities.extended_next_hop:
        pairs = sorted((route.value, hop.afi) for route, hop in capabilities.extended_next_hop)
        yield Number.EXTENDED_NEXT_HOP, b"".join(struct.pack(">HHH", *route, hop) for route, hop in pairs)
    restart = capabilities.graceful_restart
    if restart is not None:
        if not 0 <= restart.time <= MAX_RESTART_TIME:
            raise ValueError(f"a restart time of {restart.time} s is not between 0 and {MAX_RESTART_TIME}")
        flags = _RESTARTING * restart.restarting | _NOTIFICATIONS * restart.notifications
        kept = (struct.pack(">HBB", *family.value, _FORWARDING * preserved) for family, preserved in restart.families)
        yield Number.GRACEFUL_RESTART, struct.pack(">H", flags | restart.time) + b"".join(kept)
    if capabilities.as_number is not None:
        yield Number.FOUR_OCTET_AS, struct.pack(">I", capabilities.as_number)
    if capabilities.enhanced_refresh:
        yield Number.ENHANCED_REFRESH, b""
    yield from capabilities.unknown


# How many bytes the value of a known capability has: so many, and any multiple of so many more.
_SIZES: dict[int, tuple[int, int]] = {
    Number.MULTIPROTOCOL: (4, 0),
    Number.ROUTE_REFRESH: (0, 0),
    Number.EXTENDED_NEXT_HOP: (0, 6),
    Number.GRACEFUL_RESTART: (2, 4),
    Number.FOUR_OCTET_AS: (4, 0),
    Number.ENHANCED_REFRESH: (0, 0),
}


def _fits(number: int, length: int) -> bool:
    least, more = _SIZES[number]
    return length == least or (more > 0 and length > least and (length - least) % more == 0)


def _gathered(found: list[tuple[int, bytes]]) -> Capabilities:
    """Return what a list of capabilities says. Of one that is there twice the last counts, or all if they add up."""
    families: set[Family] = set()
    pairs: set[tuple[Family, Family]] = set()
    last: dict[int, bytes] = {}
    unknown: dict[tuple[int, bytes], None] = {}
    for number, value in found:
        if number not in _SIZES:
            unknown[number, value] = None
            continue
        if not _fits(number, len(value)):
            raise _malformed(f"capability {number} ({Number(number).name}) has {len(value)} bytes")
        last[number] = value
        if number == Number.MULTIPROTOCOL:
            afi, _reserved, safi = struct.unpack(">HBB", value)
            families |= _known(afi, safi)
        elif number == Number.EXTENDED_NEXT_HOP:
            for afi, safi, hop in struct.iter_unpack(">HHH", value):
                pairs |= {(route, family) for route in _known(afi, safi) for family in _known(hop, 1)}
    number_of = last.get(Number.FOUR_OCTET_AS)
    return Capabilities(
        families=frozenset(families),
        as_number=None if number_of is None else int.from_bytes(number_of, "big"),
        route_refresh=Number.ROUTE_REFRESH in last,
        enhanced_refresh=Number.ENHANCED_REFRESH in last,
        graceful_restart=_restart(last.get(Number.GRACEFUL_RESTART)),
        extended_next_hop=frozenset(pairs),
        unknown=tuple(unknown),
    )


def _known(afi: int, safi: int) -> set[Family]:
    family = Family.find(afi, safi)
    return set() if family is None else {family}


def _restart(value: bytes | None) -> GracefulRestart | None:
    if value is None:
        return None
    head = int.from_bytes(value[:2], "big")
    listed = struct.iter_unpack(">HBB", value[2:])
    return GracefulRestart(
        restarting=bool(head & _RESTARTING),
        time=head & MAX_RESTART_TIME,
        notifications=bool(head & _NOTIFICATIONS),
        families=tuple(
            (family, bool(flags & _FORWARDING)) for afi, safi, flags in listed for family in _known(afi, safi)
        ),
    )
