"""Between rtnetlink's bytes and the nouns of `view`. No input or output.

pyroute2 knows the messages of links and addresses, which are rare and of many parts. Those of neighbours and routes
come by the thousand and are simple, so they are read by hand: 5 us each instead of 60.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_interface
from socket import AF_INET, AF_INET6, AF_UNSPEC
from typing import Any

from pyroute2.netlink import NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST
from pyroute2.netlink.rtnl import (
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
)
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import NTF_PROXY, NTF_USE, ndmsg

from appliance.model import Address
from appliance.net import route_messages
from appliance.net.links import Link
from appliance.net.view import Message, Neighbour, NeighbourState, OwnAddress
from appliance.net.wire import HEADER, Packet, attributes

_IFF_UP = 0x1  # linux/if.h
_IFF_RUNNING = 0x40
_IFA_F_DADFAILED = 0x08  # linux/if_addr.h
_IFA_F_DEPRECATED = 0x20
_IFA_F_TENTATIVE = 0x40
_RT_SCOPE_UNIVERSE = 0  # linux/rtnetlink.h
_ETH_P_8021Q = 0x8100  # linux/if_ether.h
_BOND_STATE_BACKUP = 1  # linux/if_bonding.h
_AF_BRIDGE = 7  # RTM_NEWLINK of this family tells of a bridge port, and RTM_DELLINK that it left the bridge
_NDA_DST = 1  # linux/neighbour.h
_NDA_LLADDR = 2

_NDMSG = struct.Struct("=BxxxiHBB")  # struct ndmsg: family, interface index, state, flags, type

_STATES = {int(state): state for state in NeighbourState}


def decode(packet: Packet) -> Message | None:
    """Return what a message says, or None if it is of no concern (another type, an error, an odd address)."""
    read = _READERS.get(packet.kind)
    return read(packet) if read else None


def _link(packet: Packet) -> Link | None:
    message = _parse(ifinfmsg, packet)
    if message["family"] == _AF_BRIDGE:
        return None
    index = int(message["index"])
    if packet.kind == RTM_DELLINK:
        return Link(index, gone=True)
    flags = int(message["flags"])
    running = _IFF_UP | _IFF_RUNNING
    link = Link(
        index,
        name=str(message.get_attr("IFLA_IFNAME") or ""),
        mac=_mac(message.get_attr("IFLA_ADDRESS")),
        mtu=int(message.get_attr("IFLA_MTU") or 0),
        up=flags & running == running,
        enabled=bool(flags & _IFF_UP),
        kind=str(message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or ""),
        master=int(message.get_attr("IFLA_MASTER") or 0),
        standby=message.get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_KIND") == "bond"
        and message.get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA", "IFLA_BOND_SLAVE_STATE") == _BOND_STATE_BACKUP,
    )
    return _with_vlan(link, message) if link.kind == "vlan" else link


def _with_vlan(link: Link, message: Any) -> Link:
    """Add what is told of a VLAN interface, if it is one of 802.1Q whose parent is in this network namespace."""
    data = ("IFLA_LINKINFO", "IFLA_INFO_DATA")
    number = message.get_nested(*data, "IFLA_VLAN_ID")
    protocol = message.get_nested(*data, "IFLA_VLAN_PROTOCOL")
    parent = message.get_attr("IFLA_LINK")
    # With IFLA_LINK_NETNSID, the index is one of another namespace, and may be anything here.
    if not parent or number is None or protocol not in (None, _ETH_P_8021Q):
        return link
    if message.get_attr("IFLA_LINK_NETNSID") is not None:
        return link
    return replace(link, vlan=int(number), parent=int(parent))


def _own_address(packet: Packet) -> OwnAddress | None:
    message = _parse(ifaddrmsg, packet)
    # IFA_LOCAL is the own address of a point-to-point link, whose IFA_ADDRESS is the far end; IPv6 has it only there.
    text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    if message["family"] not in (AF_INET, AF_INET6) or text is None:
        return None
    flags = message.get_attr("IFA_FLAGS") or message["flags"]
    unusable = bool(flags & (_IFA_F_TENTATIVE | _IFA_F_DADFAILED))
    if message["family"] == AF_INET6:
        # A link-local address is in the same subnet on every interface, so it says nothing of who is where.
        unusable = unusable or bool(flags & _IFA_F_DEPRECATED) or message["scope"] != _RT_SCOPE_UNIVERSE
    address = ip_interface(f"{text}/{message['prefixlen']}")
    return OwnAddress(int(message["index"]), address, gone=unusable or packet.kind == RTM_DELADDR)


def _parse(form: Any, packet: Packet) -> Any:
    message = form(packet.data)
    message.decode()
    return message


def _mac(text: str | None) -> bytes:
    """Read `02:00:00:00:00:01`; anything that is not 6 bytes gives none (a tunnel has an IP address there)."""
    try:
        mac = bytes.fromhex((text or "").replace(":", ""))
    except ValueError:
        return b""
    return mac if len(mac) == 6 else b""


def _neighbour(packet: Packet) -> Neighbour | None:
    data = packet.data
    offset = HEADER.size + _NDMSG.size
    if len(data) < offset:
        return None
    family, index, state, flags, _ = _NDMSG.unpack_from(data, HEADER.size)
    if family not in (AF_INET, AF_INET6) or flags & NTF_PROXY:  # a proxy entry is an address the host answers for
        return None
    values = dict(attributes(data, offset))
    destination, mac = values.get(_NDA_DST, b""), values.get(_NDA_LLADDR, b"")
    if len(destination) != (4 if family == AF_INET else 16):
        return None
    address: Address = IPv4Address(destination) if family == AF_INET else IPv6Address(destination)
    if packet.kind == RTM_DELNEIGH:
        return Neighbour(index, address)
    return Neighbour(index, address, mac if len(mac) == 6 else b"", _STATES.get(state, NeighbourState.NONE))


_READERS: dict[int, Callable[[Packet], Message | None]] = {
    RTM_NEWLINK: _link,
    RTM_DELLINK: _link,
    RTM_NEWADDR: _own_address,
    RTM_DELADDR: _own_address,
    RTM_NEWNEIGH: _neighbour,
    RTM_DELNEIGH: _neighbour,
    RTM_NEWROUTE: route_messages.route,
    RTM_DELROUTE: route_messages.route,
    route_messages.RTM_NEWNEXTHOP: route_messages.nexthop,
    route_messages.RTM_DELNEXTHOP: route_messages.nexthop,
}


def resolve_request(index: int, address: Address) -> bytes:
    """Return the message that makes the kernel act as if it had a packet for the neighbour.

    RTM_NEWNEIGH with NTF_USE (neigh_add in net/core/neighbour.c): no entry or a failed one is resolved at once, a
    stale one is confirmed after delay_first_probe_time (5 s), any other is left alone, except that a permanent one
    would not be permanent any more.
    """
    request = ndmsg()
    request["family"] = AF_INET if address.version == 4 else AF_INET6
    request["ifindex"] = index
    request["state"] = int(NeighbourState.NONE)
    request["flags"] = NTF_USE
    request["attrs"] = [("NDA_DST", str(address))]
    return _encode(request, RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_CREATE)


def dump_requests() -> tuple[bytes, ...]:
    """Return the requests for all but routes: links first, for neighbours are taken in only of known ones."""
    requests = []
    for kind, message, family in (
        (RTM_GETLINK, ifinfmsg(), AF_UNSPEC),
        (RTM_GETADDR, ifaddrmsg(), AF_UNSPEC),
        (RTM_GETNEIGH, ndmsg(), AF_INET),
        (RTM_GETNEIGH, ndmsg(), AF_INET6),
    ):
        message["family"] = family
        requests.append(_encode(message, kind, NLM_F_REQUEST | NLM_F_DUMP))
    return tuple(requests)


def _encode(message: Any, kind: int, flags: int) -> bytes:
    message["header"]["type"] = kind
    message["header"]["flags"] = flags
    message["header"]["sequence_number"] = 0
    message["header"]["pid"] = 0
    message.encode()
    return bytes(message.data)
