"""Path attributes (RFC 4271 section 5): which there are, and ours as bytes. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum

from appliance.model_address import Address
from appliance.model_bgp import Community
from appliance.routing.route import Attributes

AS_TRANS = 23456
"""What stands for an AS number that does not fit into two octets (RFC 6793)."""
AS_SET, AS_SEQUENCE = 1, 2
IGP = 0
"""The ORIGIN of our routes: they are from inside our AS."""

OPTIONAL, TRANSITIVE, EXTENDED = 0x80, 0x40, 0x10
"""Flags of an attribute: not everybody knows it; it is passed on; its length has two octets."""


class Type(IntEnum):
    """The types of attributes that we know (IANA)."""

    ORIGIN = 1
    AS_PATH = 2
    NEXT_HOP = 3
    MULTI_EXIT_DISC = 4
    LOCAL_PREF = 5
    ATOMIC_AGGREGATE = 6
    AGGREGATOR = 7
    COMMUNITIES = 8
    ORIGINATOR_ID = 9
    CLUSTER_LIST = 10
    MP_REACH_NLRI = 14
    MP_UNREACH_NLRI = 15
    EXTENDED_COMMUNITIES = 16
    AS4_PATH = 17
    AS4_AGGREGATOR = 18
    IPV6_EXTENDED_COMMUNITIES = 25
    LARGE_COMMUNITIES = 32
    ONLY_TO_CUSTOMER = 35


FLAGS: dict[int, int] = {
    **dict.fromkeys((Type.ORIGIN, Type.AS_PATH, Type.NEXT_HOP, Type.LOCAL_PREF, Type.ATOMIC_AGGREGATE), TRANSITIVE),
    **dict.fromkeys((Type.MULTI_EXIT_DISC, Type.ORIGINATOR_ID, Type.CLUSTER_LIST), OPTIONAL),
    **dict.fromkeys((Type.MP_REACH_NLRI, Type.MP_UNREACH_NLRI), OPTIONAL),
    **dict.fromkeys((Type.AGGREGATOR, Type.COMMUNITIES, Type.EXTENDED_COMMUNITIES), OPTIONAL | TRANSITIVE),
    **dict.fromkeys((Type.AS4_PATH, Type.AS4_AGGREGATOR, Type.LARGE_COMMUNITIES), OPTIONAL | TRANSITIVE),
    **dict.fromkeys((Type.IPV6_EXTENDED_COMMUNITIES, Type.ONLY_TO_CUSTOMER), OPTIONAL | TRANSITIVE),
}
"""Which of the first two flags an attribute has."""


def attribute(kind: Type, value: bytes, *, long: bool = False) -> bytes:
    """Return an attribute; its length has two octets where it must, or where `long` asks for it."""
    if long or len(value) > 0xFF:
        return struct.pack(">BBH", FLAGS[kind] | EXTENDED, kind, len(value)) + value
    return struct.pack(">BBB", FLAGS[kind], kind, len(value)) + value


def encode(attributes: Attributes, *, four_octet: bool, next_hop: bool) -> bytes:
    """Return the attributes of a route in the order of their types, without MP_REACH_NLRI.

    `four_octet`: the peer takes AS numbers of four octets. `next_hop`: NEXT_HOP belongs to them, since it is not in
    MP_REACH_NLRI. ValueError says which value cannot be sent.
    """
    parts = [attribute(Type.ORIGIN, bytes([IGP])), *_as_path(attributes.as_path, four_octet)]
    if next_hop:
        parts.append(attribute(Type.NEXT_HOP, attributes.next_hop.packed))
    if attributes.med is not None:
        parts.append(attribute(Type.MULTI_EXIT_DISC, _number(attributes.med, "a MED")))
    if attributes.local_pref is not None:
        parts.append(attribute(Type.LOCAL_PREF, _number(attributes.local_pref, "a local preference")))
    # RFC 8092 section 3: the same one twice must not be sent.
    communities = dict.fromkeys(attributes.communities)
    if ordinary := b"".join(_community(one, 0xFFFF, ">HH") for one in communities if len(one.parts) == 2):
        parts.append(attribute(Type.COMMUNITIES, ordinary))
    if not four_octet and any(number > 0xFFFF for number in attributes.as_path):
        parts.append(attribute(Type.AS4_PATH, _segments(attributes.as_path, "I")))
    if large := b"".join(_community(one, 0xFFFFFFFF, ">III") for one in communities if len(one.parts) != 2):
        parts.append(attribute(Type.LARGE_COMMUNITIES, large))
    return b"".join(parts)


def check_next_hop(next_hop: Address) -> None:
    """Raise ValueError for a next hop to which nothing can be sent."""
    if next_hop.is_unspecified or next_hop.is_multicast:
        raise ValueError(f"{next_hop} cannot be a next hop: it is no address of a host")


def _as_path(numbers: tuple[int, ...], four_octet: bool) -> Iterable[bytes]:
    for number in numbers:
        if not 1 <= number <= 0xFFFFFFFF:
            raise ValueError(f"AS {number} cannot be in a path; AS numbers are 1 to 4294967295")
    if four_octet:
        return [attribute(Type.AS_PATH, _segments(numbers, "I"))]
    short = tuple(number if number <= 0xFFFF else AS_TRANS for number in numbers)
    return [attribute(Type.AS_PATH, _segments(short, "H"))]


def _segments(numbers: tuple[int, ...], form: str) -> bytes:
    """Return AS numbers as AS_SEQUENCEs, each of at most 255."""
    pieces = (numbers[at : at + 255] for at in range(0, len(numbers), 255))
    return b"".join(struct.pack(f">BB{len(piece)}{form}", AS_SEQUENCE, len(piece), *piece) for piece in pieces)


def _number(value: int, what: str) -> bytes:
    if not 0 <= value <= 0xFFFFFFFF:
        raise ValueError(f"{what} of {value} cannot be sent; it is a number from 0 to 4294967295")
    return value.to_bytes(4, "big")


def _community(community: Community, most: int, form: str) -> bytes:
    parts = community.parts
    if len(parts) not in (2, 3) or not all(0 <= part <= most for part in parts):
        raise ValueError(
            f"community {community} cannot be sent; write two parts up to 65535, or three up to 4294967295"
        )
    return struct.pack(form, *parts)
