"""Between rtnetlink's messages of routes and the nouns of `routes`. No input or output.

linux/rtnetlink.h and linux/nexthop.h; numbers in host byte order, addresses in network byte order.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
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
    ways = _ways(values, flags) if kind == _UNICAST else ()
    if not ways and not replaces:
        return None
    nexthop = _number(values.get(_NH_ID))
    paths: tuple[Path, ...]
    if family == AF_INET or nexthop:
        paths = (Path(ways, nexthop),) if ways else ()
    else:  # IPv6 joins and parts the ways of a multipath route one by one
        learned = protocol in (_REDIRECT, _ADVERTISED)
        paths = tuple(Path((way,), sibling=bool(way.gateway) and not learned) for way in ways)
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


def _ways(values: dict[int, bytes], flags: int) -> tuple[Way, ...]:
    multipath = values.get(_MULTIPATH)
    if multipath is None:
        interface = _number(values.get(_OIF))
        return (_way(interface, values, flags),) if interface else ()
    ways = []
    offset = 0
    while offset + _NEXT_HOP.size <= len(multipath):
        length, its_flags, _, interface = _NEXT_HOP.unpack_from(multipath, offset)
        if length < _NEXT_HOP.size or offset + length > len(multipath):
            break
        its = dict(attributes(multipath, offset + _NEXT_HOP.size, offset + length))
        ways.append(_way(interface, its, its_flags))
        offset += length + 3 & ~3
    return tuple(ways)


def _way(interface: int, values: dict[int, bytes], flags: int) -> Way:
    gateway = values.get(_GATEWAY, b"")
    if _VIA in values:  # struct rtvia: the family, and an address of it: RFC 8950 has IPv4 by way of IPv6
        gateway = values[_VIA][2:]
    usable = not flags & _DEAD and _ENCAP_TYPE not in values and len(gateway) in (0, 4, 16)
    if len(gateway) not in (4, 16) or not any(gateway):
        gateway = b""
    return Way(interface, gateway, usable)


def _number(value: bytes | None) -> int:
    return int(_NUMBER.unpack(value)[0]) if value is not None and len(value) == _NUMBER.size else 0
