"""UPDATE messages: read by RFC 7606, and made of routes. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from appliance.model_address import Address
from appliance.routing.bgp.attribute import Type, attribute, check_next_hop, encode
from appliance.routing.bgp.capability import Family
from appliance.routing.bgp.frame import HEADER, MAX_MESSAGE, Kind, framed
from appliance.routing.bgp.notification import Code, Refusal, UpdateError
from appliance.routing.bgp.received import Found, Mistake, Path, Prefixes, read_attributes, read_prefixes
from appliance.routing.route import Attributes


@dataclass(frozen=True)
class Update:
    """What a received UPDATE says."""

    withdrawn: tuple[Prefixes, ...] = ()
    announced: tuple[Prefixes, ...] = ()
    attributes: Path | None = None
    """None where there are none, or where they are not to be believed."""
    trouble: str = ""
    """Why what it announces is counted as withdrawn (RFC 7606); empty if it is not."""
    discarded: tuple[str, ...] = ()
    """What was left out without harm to the rest."""
    end_of_rib: Family | None = None
    """The family of which that was all (RFC 4724 section 2)."""


def parse(body: bytes, *, four_octet: bool, internal: bool, extended_next_hop: bool) -> Update:
    """Return what the body of an UPDATE says; raises Refusal where the session cannot go on.

    `four_octet`: AS numbers in it have four octets. `internal`: the peer is of our AS. `extended_next_hop`: IPv4 routes
    may have an IPv6 next hop.
    """
    withdrawn_length = int.from_bytes(body[:2], "big")
    at = 2 + withdrawn_length + 2
    length = int.from_bytes(body[at - 2 : at], "big")
    if len(body) < 4 or at + length > len(body):
        why = f"the peer's UPDATE has lists of {withdrawn_length} and {length} bytes in a body of {len(body)}"
        raise Refusal(Code.UPDATE, UpdateError.MALFORMED_ATTRIBUTES, why=why)
    withdrawn = _networks(body[2 : at - 2], "withdrawn")
    announced = _networks(body[at + length :], "announced")
    if len(body) == 4:
        return Update(end_of_rib=Family.IPV4)
    found = read_attributes(
        body[at : at + length], four_octet=four_octet, internal=internal, extended_next_hop=extended_next_hop
    )
    gone = tuple(one for one in (withdrawn, found.unreach) if one)
    come = tuple(one for one in (announced, found.reach) if one)
    discarded = tuple(found.discarded)
    reachable = found.reachable or bool(announced)
    mistakes = found.withdraw + (_missing(found, bool(announced)) if reachable else [])
    if mistakes:
        # RFC 7606 section 5.2: other attributes are there for networks, and if none is to be seen, some may be lost.
        if not reachable and found.types - {Type.MP_UNREACH_NLRI}:
            raise mistakes[0].refusal()
        return Update(withdrawn=gone + come, trouble="; ".join(one.why for one in mistakes), discarded=discarded)
    ended = found.unreach is not None and not found.unreach and found.types == {Type.MP_UNREACH_NLRI}
    end = found.unreach.family if ended and not withdrawn and not announced and found.unreach is not None else None
    path = found.path() if found.types - {Type.MP_UNREACH_NLRI} else None
    return Update(gone, come, path, discarded=discarded, end_of_rib=end)


def _networks(data: bytes, what: str) -> Prefixes:
    networks = read_prefixes(data, Family.IPV4)
    if networks is None:
        why = f"the {what} networks in the peer's UPDATE cannot be told apart"
        raise Refusal(Code.UPDATE, UpdateError.INVALID_NETWORK, why=why)
    return networks


def _missing(found: Found, classic: bool) -> list[Mistake]:
    """Return which attributes are missing that routes must have (RFC 4271 section 5.1)."""
    mandatory = (Type.ORIGIN, Type.AS_PATH, *((Type.NEXT_HOP,) if classic else ()))
    return [
        Mistake(UpdateError.MISSING_WELL_KNOWN, bytes([kind]), f"{kind.name} is missing")
        for kind in mandatory
        if kind not in found.types
    ]


class Form(NamedTuple):
    """A message for routes of one family with equal attributes, without the routes."""

    head: bytes
    """What MP_REACH_NLRI begins with; empty for classic routes, which stand at the end of the message."""
    rest: bytes
    """All other attributes."""

    @property
    def room(self) -> int:
        """How many bytes of routes there is room for; may be negative."""
        return MAX_MESSAGE - HEADER - 4 - len(self.rest) - (len(self.head) + 4 if self.head else 0)

    def message(self, listed: Sequence[bytes]) -> bytes:
        """Return the message with these prefixes, each with its length."""
        networks = b"".join(listed)
        if not self.head:
            return framed(Kind.UPDATE, struct.pack(">HH", 0, len(self.rest)) + self.rest + networks)
        # RFC 7606 section 5.1: first, so that its networks are found whatever is wrong with the others.
        reach = attribute(Type.MP_REACH_NLRI, self.head + networks, long=True)
        return framed(Kind.UPDATE, struct.pack(">HH", 0, len(reach) + len(self.rest)) + reach + self.rest)


def form(family: Family, attributes: Attributes, *, four_octet: bool) -> Form:
    """Return the form of messages for routes of a family; raises ValueError if they cannot be announced.

    IPv4 routes with an IPv4 next hop are classic ones (RFC 4271); all others are in MP_REACH_NLRI (RFC 4760, RFC 8950).
    """
    next_hop = attributes.next_hop
    check_next_hop(next_hop)
    if family is Family.IPV6 and next_hop.version == 4:
        raise ValueError(f"an IPv6 route cannot have the next hop {next_hop}; set one of IPv6 for this peer")
    classic = family is Family.IPV4 and next_hop.version == 4
    packed = b"" if classic else next_hop.packed
    head = b"" if classic else struct.pack(">HBB", *family.value, len(packed)) + packed + b"\0"
    found = Form(head, encode(attributes, four_octet=four_octet, next_hop=classic))
    if found.room < 1 + family.bits // 8:
        raise ValueError(
            f"the attributes of a route take {len(found.rest)} bytes, and a message has {MAX_MESSAGE} in all;"
            f" {len(attributes.communities)} communities and {len(attributes.as_path)} AS numbers are too many"
        )
    return found


def prefix(address: Address) -> bytes:
    """Return the network of one address as it is listed."""
    return (b"\x20" if address.version == 4 else b"\x80") + address.packed


def pack(routes: Iterable[tuple[Address, Attributes]], *, four_octet: bool) -> Iterator[bytes]:
    """Yield UPDATE messages that announce routes; those with equal attributes go together.

    `four_octet`: the peer takes AS numbers of four octets. Raises ValueError, before anything is yielded, for a route
    that cannot be announced.
    """
    forms: dict[tuple[Family, Attributes], Form] = {}
    groups: dict[Form, list[bytes]] = {}
    for address, attributes in routes:
        key = (Family.of(address), attributes)
        if key not in forms:
            forms[key] = form(*key, four_octet=four_octet)
        groups.setdefault(forms[key], []).append(prefix(address))
    return (one.message(piece) for one, listed in groups.items() for piece in pieces(listed, one.room))


def pieces(listed: list[bytes], room: int) -> Iterator[list[bytes]]:
    """Yield prefixes of one size in pieces of at most `room` bytes."""
    count = room // len(listed[0]) if listed else 1
    return (listed[at : at + count] for at in range(0, len(listed), count))


# What a message of withdrawals has room for: the lengths of two lists, and of IPv6 the head of an attribute.
WITHDRAWN_ROOM = {
    Family.IPV4: MAX_MESSAGE - HEADER - 4,
    Family.IPV6: MAX_MESSAGE - HEADER - 4 - 7,
}


def withdrawal(family: Family, listed: Sequence[bytes]) -> bytes:
    """Return the UPDATE that withdraws prefixes of one family; none at all is the end of the RIB for IPv6."""
    networks = b"".join(listed)
    if family is Family.IPV4:
        return framed(Kind.UPDATE, struct.pack(">H", len(networks)) + networks + b"\0\0")
    unreach = attribute(Type.MP_UNREACH_NLRI, struct.pack(">HB", *family.value) + networks, long=len(networks) > 252)
    return framed(Kind.UPDATE, struct.pack(">HH", 0, len(unreach)) + unreach)


def withdraw(addresses: Iterable[Address]) -> Iterator[bytes]:
    """Yield UPDATE messages that withdraw VIPs."""
    groups: dict[Family, list[bytes]] = {family: [] for family in Family}
    for address in addresses:
        groups[Family.of(address)].append(prefix(address))
    for family, listed in groups.items():
        yield from (withdrawal(family, piece) for piece in pieces(listed, WITHDRAWN_ROOM[family]))


def end_of_rib(family: Family) -> bytes:
    """Return the UPDATE that says: those were all routes of a family (RFC 4724 section 2)."""
    return withdrawal(family, [])
