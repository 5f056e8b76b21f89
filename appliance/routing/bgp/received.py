"""What a peer says of its routes: path attributes from bytes, and what RFC 7606 makes of those that are wrong. Pure.

Nothing of it is ever installed, so it is read for three ends: to keep the session where the documents want it kept, to
end it where they want it ended, and to show it to people. There are three ways with a mistake, the mildest first:

    discard     the attribute is left out
    withdraw    all routes of the message count as withdrawn
    reset       the session ends; that is a Refusal
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from appliance.model_address import Address, Network
from appliance.model_bgp import Community
from appliance.routing.bgp.attribute import AS_SEQUENCE, AS_SET, EXTENDED, FLAGS, OPTIONAL, TRANSITIVE, Type
from appliance.routing.bgp.capability import Family
from appliance.routing.bgp.notification import Code, Refusal, UpdateError

Segment = tuple[int, tuple[int, ...]]
"""A part of an AS path: AS_SET or AS_SEQUENCE, and AS numbers."""


@dataclass(frozen=True)
class Prefixes:
    """Networks of one family as they came, already checked. To make objects of them takes time: see `networks`."""

    family: Family
    data: bytes
    count: int

    def __len__(self) -> int:
        return self.count

    def networks(self) -> Iterator[Network]:
        """Yield them; bits beyond the length of a prefix mean nothing (RFC 4271 section 4.3)."""
        at, size = 0, self.family.bits // 8
        make = ipaddress.IPv4Network if self.family is Family.IPV4 else ipaddress.IPv6Network
        while at < len(self.data):
            bits = self.data[at]
            end = at + 1 + (bits + 7) // 8
            yield make((self.data[at + 1 : end].ljust(size, b"\0"), bits), strict=False)
            at = end


def read_prefixes(data: bytes, family: Family) -> Prefixes | None:
    """Return the networks that `data` lists; None where a length is too great or does not fit (RFC 7606, 5.3)."""
    at = count = 0
    most, end = family.bits, len(data)
    while at < end:
        bits = data[at]
        if bits > most:
            return None
        at += 1 + (bits + 7 >> 3)
        count += 1
    return Prefixes(family, data, count) if at == end else None


@dataclass(frozen=True)
class Path:
    """The attributes of a message, as far as people want to see them."""

    origin: int | None = None
    as_path: tuple[Segment, ...] = ()
    next_hop: Address | None = None
    med: int | None = None
    local_pref: int | None = None
    communities: tuple[Community, ...] = ()
    others: tuple[int, ...] = ()
    """The types of all other attributes, MP_REACH_NLRI and MP_UNREACH_NLRI apart."""


@dataclass(frozen=True)
class Mistake:
    """What is wrong with an attribute, and how RFC 4271 section 6.3 would answer it."""

    subcode: int
    data: bytes
    why: str

    def refusal(self) -> Refusal:
        """Return it as the end of the session."""
        return Refusal(Code.UPDATE, self.subcode, self.data, self.why)


@dataclass
class Found:
    """What a list of attributes says."""

    types: set[int] = field(default_factory=set)
    values: dict[int, bytes] = field(default_factory=dict)
    """Of the attributes that are right."""
    reach: Prefixes | None = None
    reach_next_hop: Address | None = None
    reachable: bool = False
    """Whether MP_REACH_NLRI names any routes, of whatever family."""
    unreach: Prefixes | None = None
    withdraw: list[Mistake] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)
    four_octet: bool = True

    def path(self) -> Path:
        """Return the attributes for people; the values have been checked."""
        values = self.values
        communities = [Community(parts) for parts in struct.iter_unpack(">HH", values.get(Type.COMMUNITIES, b""))]
        large = struct.iter_unpack(">III", values.get(Type.LARGE_COMMUNITIES, b""))
        communities += [Community(parts) for parts in large]
        segments = _segments(values.get(Type.AS_PATH, b""), self.four_octet)
        next_hop = self.reach_next_hop
        if Type.NEXT_HOP in values:
            next_hop = ipaddress.IPv4Address(values[Type.NEXT_HOP])
        return Path(
            origin=_number(values.get(Type.ORIGIN)),
            as_path=() if isinstance(segments, str) else segments,
            next_hop=next_hop,
            med=_number(values.get(Type.MULTI_EXIT_DISC)),
            local_pref=_number(values.get(Type.LOCAL_PREF)),
            communities=tuple(communities),
            others=tuple(sorted(self.types - _SHOWN)),
        )


_SHOWN = {Type.ORIGIN, Type.AS_PATH, Type.NEXT_HOP, Type.MULTI_EXIT_DISC, Type.LOCAL_PREF, Type.COMMUNITIES} | {
    Type.LARGE_COMMUNITIES,
    Type.MP_REACH_NLRI,
    Type.MP_UNREACH_NLRI,
}
_INTERNAL = {Type.LOCAL_PREF, Type.ORIGINATOR_ID, Type.CLUSTER_LIST}
"""What means nothing from a peer of another AS (RFC 7606 sections 7.5, 7.9, 7.10)."""
_OLD = {Type.AS4_PATH, Type.AS4_AGGREGATOR}
"""What means nothing where AS numbers have four octets anyway (RFC 6793 section 4.1)."""
_DISCARDED = {Type.ATOMIC_AGGREGATE, Type.AGGREGATOR, *_OLD}
"""Those that are discarded where they are wrong (RFC 7606 sections 7.6, 7.7, RFC 6793 section 6)."""
_SIZES: dict[int, tuple[int, int]] = {
    Type.ORIGIN: (1, 0),
    **dict.fromkeys((Type.NEXT_HOP, Type.MULTI_EXIT_DISC, Type.LOCAL_PREF, Type.ORIGINATOR_ID), (4, 0)),
    Type.ATOMIC_AGGREGATE: (0, 0),
    **dict.fromkeys((Type.COMMUNITIES, Type.CLUSTER_LIST), (4, 4)),
    Type.EXTENDED_COMMUNITIES: (8, 8),
    Type.AS4_AGGREGATOR: (8, 0),
    Type.IPV6_EXTENDED_COMMUNITIES: (20, 20),
    Type.LARGE_COMMUNITIES: (12, 12),
    Type.ONLY_TO_CUSTOMER: (4, 0),
}
"""How many bytes the value of an attribute has: so many, and any multiple of so many more."""


def read_attributes(data: bytes, *, four_octet: bool, internal: bool, extended_next_hop: bool) -> Found:
    """Return what a list of attributes says; raises Refusal where the session must end."""
    found = Found(four_octet=four_octet)
    at, end = 0, len(data)
    while at < end:
        flags, kind = data[at], data[at + 1] if at + 1 < end else 0
        size = 4 if flags & EXTENDED else 3
        length = int.from_bytes(data[at + 2 : at + size], "big") if at + size <= end else end
        whole = data[at : at + size + length]
        value = whole[size:]
        if at + size + length > end:
            # RFC 7606 section 4. Networks that are cut off with it cannot be withdrawn (section 3 (j)).
            mistake = _cut_off(kind, size, end - at, length, data[at:])
            if kind in (Type.MP_REACH_NLRI, Type.MP_UNREACH_NLRI):
                raise mistake.refusal()
            found.types.add(kind)
            found.withdraw.append(mistake)
            break
        at += size + length
        if kind in found.types:
            if kind in (Type.MP_REACH_NLRI, Type.MP_UNREACH_NLRI):
                why = f"the peer sent {_called(kind)} twice in one UPDATE"
                raise Refusal(Code.UPDATE, UpdateError.MALFORMED_ATTRIBUTES, why=why)
            found.discarded.append(f"{_called(kind)} is there more than once; the first counts")
            continue
        found.types.add(kind)
        if kind not in FLAGS:
            if not flags & OPTIONAL:
                why = f"the peer sent attribute {kind} as one that everybody has to know, and it is unknown here"
                raise Refusal(Code.UPDATE, UpdateError.UNRECOGNIZED_WELL_KNOWN, whole, why)
            continue
        if (kind in _INTERNAL and not internal) or (kind in _OLD and four_octet):
            found.discarded.append(f"{_called(kind)} means nothing in this session")
            continue
        mistake_ = _judge(found, Type(kind), flags, value, whole, extended_next_hop)
        if mistake_ is None:
            found.values[kind] = value
        elif kind in _DISCARDED and mistake_.subcode != UpdateError.ATTRIBUTE_FLAGS:
            found.discarded.append(mistake_.why)
        else:
            found.withdraw.append(mistake_)
    return found


def _judge(found: Found, kind: Type, flags: int, value: bytes, whole: bytes, extended: bool) -> Mistake | None:
    """Return what is wrong with one attribute; of the two that name networks, take what they say."""
    mistake = None
    if (flags & (OPTIONAL | TRANSITIVE)) != FLAGS[kind]:
        why = f"{_called(kind)} has flags {flags:#04x}"
        mistake = Mistake(UpdateError.ATTRIBUTE_FLAGS, whole, why)
    if kind is Type.MP_REACH_NLRI:
        _reach(found, value, whole, extended)
        return mistake
    if kind is Type.MP_UNREACH_NLRI:
        _unreach(found, value, whole)
        return mistake
    if mistake is not None:
        return mistake
    if not _fits(kind, len(value), found.four_octet):
        return Mistake(UpdateError.ATTRIBUTE_LENGTH, whole, f"{_called(kind)} has {len(value)} bytes")
    if kind is Type.ORIGIN and value[0] > 2:
        return Mistake(UpdateError.INVALID_ORIGIN, whole, f"ORIGIN is {value[0]}; there are 0, 1 and 2")
    if kind is Type.NEXT_HOP and (value == bytes(4) or 224 <= value[0] < 240):
        why = f"NEXT_HOP is {ipaddress.IPv4Address(value)}, which is no address of a host"
        return Mistake(UpdateError.INVALID_NEXT_HOP, whole, why)
    if kind in (Type.AS_PATH, Type.AS4_PATH):
        segments = _segments(value, found.four_octet or kind is Type.AS4_PATH)
        if isinstance(segments, str):
            return Mistake(UpdateError.MALFORMED_AS_PATH, b"", f"{_called(kind)} {segments}")
    return None


def _fits(kind: Type, length: int, four_octet: bool) -> bool:
    if kind is Type.AGGREGATOR:
        return length == (8 if four_octet else 6)
    if kind not in _SIZES:
        return True
    least, more = _SIZES[kind]
    return length == least or (more > 0 and length > least and length % more == 0)


def _reach(found: Found, value: bytes, whole: bytes, extended: bool) -> None:
    """Take MP_REACH_NLRI: family, next hop, an octet without meaning, networks (RFC 4760 section 3)."""
    if len(value) < 5 or 5 + value[3] > len(value):
        raise _bad_networks(whole, f"MP_REACH_NLRI has only {len(value)} bytes")
    afi, safi, length = struct.unpack_from(">HBB", value)
    next_hop, listed = value[4 : 4 + length], value[5 + length :]
    found.reachable = bool(listed)
    family = Family.find(afi, safi)
    if family is None:
        found.discarded.append(f"networks of AFI {afi}, SAFI {safi}, which was not agreed to")
        return
    allowed = {16, 32} if family is Family.IPV6 else {4, 16, 32} if extended else {4}
    if length not in allowed:
        sizes = " or ".join(map(str, sorted(allowed)))
        raise _bad_networks(whole, f"the next hop of {family} networks has {length} bytes, not {sizes}")
    found.reach_next_hop = ipaddress.ip_address(next_hop[:16])
    found.reach = read_prefixes(listed, family)
    if found.reach is None:
        raise _bad_networks(whole, f"the {family} networks in MP_REACH_NLRI cannot be told apart")


def _unreach(found: Found, value: bytes, whole: bytes) -> None:
    """Take MP_UNREACH_NLRI: family, networks (RFC 4760 section 4)."""
    if len(value) < 3:
        raise _bad_networks(whole, f"MP_UNREACH_NLRI has only {len(value)} bytes")
    afi, safi = struct.unpack_from(">HB", value)
    family = Family.find(afi, safi)
    if family is None:
        found.discarded.append(f"withdrawals of AFI {afi}, SAFI {safi}, which was not agreed to")
        return
    found.unreach = read_prefixes(value[3:], family)
    if found.unreach is None:
        raise _bad_networks(whole, f"the {family} networks in MP_UNREACH_NLRI cannot be told apart")


def _segments(value: bytes, four_octet: bool) -> tuple[Segment, ...] | str:
    """Return the segments of an AS path, or what is wrong with it (RFC 7606 section 7.2)."""
    at, segments, size = 0, [], 4 if four_octet else 2
    while at < len(value):
        if at + 2 > len(value):
            return "ends within a segment"
        kind, count = value[at], value[at + 1]
        end = at + 2 + count * size
        if kind not in (AS_SET, AS_SEQUENCE):
            # Segments of confederations (RFC 5065) are for members of one.
            return f"has a segment of type {kind}"
        if not count or end > len(value):
            return f"has a segment of {count} AS numbers with {len(value) - at - 2} bytes left"
        numbers = struct.unpack_from(f">{count}{'I' if four_octet else 'H'}", value, at + 2)
        if 0 in numbers:
            return "has AS 0, which nobody may have (RFC 7607)"
        segments.append((kind, numbers))
        at = end
    return tuple(segments)


def _cut_off(kind: int, size: int, left: int, length: int, data: bytes) -> Mistake:
    why = f"an attribute begins {left} bytes before the end of the attributes"
    if left >= size:
        why = f"{_called(kind)} has {length} bytes, and {left - size} are left"
    return Mistake(UpdateError.MALFORMED_ATTRIBUTES, b"", why)


def _bad_networks(whole: bytes, why: str) -> Refusal:
    """Return the end of the session: a message without its networks cannot count as withdrawn (RFC 7606, 5.3)."""
    return Refusal(Code.UPDATE, UpdateError.OPTIONAL_ATTRIBUTE, whole, f"the peer's UPDATE cannot be read: {why}")


def _called(kind: int) -> str:
    return Type(kind).name if kind in FLAGS else f"attribute {kind}"


def _number(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value, "big")
