"""Between rtnetlink's messages of routes and the nouns of `routes`. No input or output.

linux/rtnetlink.h and linux/nexthop.h; numbers in host byte order, addresses in network byte order.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from functools import lru_cache
from socket import AF_INET, AF_INET6

from pyroute2.netlink import NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_DELROUTE, RTM_GETROUTE

from appliance.net.routes import NexthopNews, Path, RouteNews, Way
from appliance.net.wire import HEADER, Packet, attributes

RTM_NEWNEXTHOP = 104
RTM_DELNEXTHOP = 105
RTMGRP_NEXTHOP = 1 << 31
"""The group RTNLGRP_NEXTHOP (32), as a bit of `bind`."""

_MAIN = 254  # RT_TABLE_MAIN
_UNICAST = 1  # RTN_UNICAST
_REDIRECT, _ADVERTISED = 1, 9  # RTPROT_REDIRECT, RTPROT_RA
_CLONED = 0x200  # RTM_F_CLONED: an entry of the cache
_DEAD = 1  # RTNH_F_DEAD
_DST, _OIF, _GATEWAY, _PRIORITY, _MULTIPATH, _TABLE, _VIA, _ENCAP_TYPE, _NH_ID = 1, 4, 5, 6, 9, 15, 18, 21, 30
_WAY_ATTRIBUTES = (_GATEWAY, _VIA, _ENCAP_TYPE)
_PATH_ATTRIBUTES = (_NH_ID, _MULTIPATH, _OIF, *_WAY_ATTRIBUTES)
_NHA_ID = 1

# struct rtmsg: family, destination length, source length, TOS, table, protocol, scope, type, flags
_RTMSG = struct.Struct("=BBBBBBBBI")
_NEXT_HOP = struct.Struct("=HBBi")  # struct rtnexthop: length, flags, hops, interface index
_NHMSG = struct.Struct("=BBBBI")  # struct nhmsg
_NUMBER = struct.Struct("=I")
_TABLE_OFFSET = HEADER.size + 4
_LENGTH_OFFSET = HEADER.size + 1
_WIDTH = {AF_INET: 4, AF_INET6: 16}
MOST_FILTERS = 16
"""Interfaces that are asked for one by one; beyond it is cheaper to ask for the whole table once."""


def route(packet: Packet) -> RouteNews | None:
    """Return what a message says of a route of the main table, or None if it is not one for ordinary packets.

    None are those of another table, for some TOS or source only, and entries of the cache. One without a way (it
    refuses, or drops) matters only where it replaces another. Routes by a nexthop object tell their ways as long as
    net.ipv4.nexthop_compat_mode is 1, which is the kernel's default.
    """
    data = packet.data
    offset = HEADER.size + _RTMSG.size
    if len(data) < offset or data[_TABLE_OFFSET] != _MAIN:
        return None
    family, length, source, tos, _, protocol, _, kind, flags = _RTMSG.unpack_from(data, HEADER.size)
    width = _WIDTH.get(family)
    if width is None or length > 8 * width or source or tos or flags & _CLONED:
        return None
    values = dict(attributes(data, offset))
    destination = values.get(_DST, bytes(width))
    if len(destination) != width:
        return None
    gone = packet.kind == RTM_DELROUTE
    replaces = not gone and bool(packet.flags & NLM_F_REPLACE)
    paths: tuple[Path, ...] = ()
    if kind == _UNICAST:
        joined = family == AF_INET6 and protocol not in (_REDIRECT, _ADVERTISED)
        paths = _paths(family, joined, flags & _DEAD, *(values.get(one) for one in _PATH_ATTRIBUTES))
    if not paths and not replaces:
        return None
    return RouteNews((destination, length, _number(values.get(_PRIORITY))), paths, replaces, gone)


def nexthop(packet: Packet) -> NexthopNews | None:
    """Return which nexthop object a message is about."""
    for kind, value in attributes(packet.data, HEADER.size + _NHMSG.size):
        if kind == _NHA_ID and len(value) == _NUMBER.size:
            return NexthopNews(_number(value))
    return None


def is_default(packet: Packet) -> bool:
    """Tell whether it is about a route to everywhere; cheap."""
    return len(packet.data) > _LENGTH_OFFSET and packet.data[_LENGTH_OFFSET] == 0


def route_requests(interfaces: Collection[int]) -> tuple[bytes, ...]:
    """Return the requests for all routes of the main table that leave by these interfaces, of either family.

    The kernel heeds table and interface on sockets with NETLINK_GET_STRICT_CHK (Linux 4.20); others get more.
    """
    if not interfaces:
        return ()
    filters = sorted(interfaces) if len(interfaces) <= MOST_FILTERS else [0]
    return tuple(_request(family, index) for family in (AF_INET, AF_INET6) for index in filters)


def _request(family: int, index: int) -> bytes:
    body = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0) + _attribute(_TABLE, _MAIN)
    if index:
        body += _attribute(_OIF, index)
    return HEADER.pack(HEADER.size + len(body), RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, 0, 0) + body


def _attribute(kind: int, value: int) -> bytes:
    return struct.pack("=HHI", 8, kind, value)


@lru_cache(maxsize=1024)
def _paths(
    family: int,
    joined: bool,
    flags: int,
    nexthop: bytes | None,
    multipath: bytes | None,
    interface: bytes | None,
    *values: bytes | None,
) -> tuple[Path, ...]:
    """Return the paths of a message; a table of many routes has but few."""
    ways = []
    if multipath is None:
        if index := _number(interface):
            ways.append(_way(index, dict(zip(_WAY_ATTRIBUTES, values, strict=True)), flags))
    else:
        offset = 0
        while offset + _NEXT_HOP.size <= len(multipath):
            length, its_flags, _, index = _NEXT_HOP.unpack_from(multipath, offset)
            if length < _NEXT_HOP.size or offset + length > len(multipath):
                break
            its = dict(attributes(multipath, offset + _NEXT_HOP.size, offset + length))
            ways.append(_way(index, {kind: its.get(kind) for kind in _WAY_ATTRIBUTES}, its_flags))
            offset += length + 3 & ~3
    number = _number(nexthop)
    if family == AF_INET or number:
        return (Path(tuple(ways), number),) if ways else ()
    # IPv6 joins and parts the ways of a multipath route one by one.
    return tuple(Path((way,), sibling=joined and bool(way.gateway)) for way in ways)


def _way(interface: int, values: Mapping[int, bytes | None], flags: int) -> Way:
    gateway = values[_GATEWAY] or b""
    via = values[_VIA]
    if via is not None:  # struct rtvia: the family, and an address of it: RFC 8950 has IPv4 by way of IPv6
        gateway = via[2:]
    usable = not flags & _DEAD and values[_ENCAP_TYPE] is None and len(gateway) in (0, 4, 16)
    if len(gateway) not in (4, 16) or not any(gateway):
        gateway = b""
    return Way(interface, gateway, usable)


def _number(value: bytes | None) -> int:
    return int(_NUMBER.unpack(value)[0]) if value is not None and len(value) == _NUMBER.size else 0
