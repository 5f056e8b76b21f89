"""Between rtnetlink's messages, as pyroute2 decodes them, and the nouns of `view`. No input or output."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2.netlink import NLM_F_CREATE, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_NEWNEIGH
from pyroute2.netlink.rtnl.ndmsg import NTF_USE, ndmsg

from appliance.model import Address
from appliance.net.view import Link, Message, Neighbour, NeighbourState, OwnAddress

_IFF_UP = 0x1  # linux/if.h
_IFF_RUNNING = 0x40
_IFA_F_DADFAILED = 0x08  # linux/if_addr.h
_IFA_F_TENTATIVE = 0x40
_NTF_PROXY = 0x08  # linux/neighbour.h: an address that the host answers for, not a neighbour
_AF_BRIDGE = 7  # RTM_NEWLINK of this family tells of a bridge port, and RTM_DELLINK that it left the bridge


def decode(message: Any) -> Message | None:
    """Return what a message says, or None if it is of no concern (another type, an error, an odd address)."""
    match message.get("event"):
        case "RTM_NEWLINK" | "RTM_DELLINK":
            return _link(message)
        case "RTM_NEWADDR" | "RTM_DELADDR":
            return _own_address(message)
        case "RTM_NEWNEIGH" | "RTM_DELNEIGH":
            return _neighbour(message)
        case _:
            return None


def _link(message: Any) -> Link | None:
    if message["family"] == _AF_BRIDGE:
        return None
    index = int(message["index"])
    if message["event"] == "RTM_DELLINK":
        return Link(index, gone=True)
    flags = _IFF_UP | _IFF_RUNNING
    return Link(
        index,
        name=str(message.get_attr("IFLA_IFNAME") or ""),
        mac=_mac(message.get_attr("IFLA_ADDRESS")),
        mtu=int(message.get_attr("IFLA_MTU") or 0),
        up=message["flags"] & flags == flags,
    )


def _own_address(message: Any) -> OwnAddress | None:
    # IFA_LOCAL is the own address of a point-to-point link, whose IFA_ADDRESS is the far end; IPv6 has it only there.
    text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    if message["family"] not in (AF_INET, AF_INET6) or text is None:
        return None
    flags = message.get_attr("IFA_FLAGS") or message["flags"]
    unusable = bool(flags & (_IFA_F_TENTATIVE | _IFA_F_DADFAILED))
    address = ip_interface(f"{text}/{message['prefixlen']}")
    return OwnAddress(int(message["index"]), address, gone=unusable or message["event"] == "RTM_DELADDR")


def _neighbour(message: Any) -> Neighbour | None:
    text = message.get_attr("NDA_DST")
    if message["family"] not in (AF_INET, AF_INET6) or text is None or message["flags"] & _NTF_PROXY:
        return None
    index, address = int(message["ifindex"]), ip_address(text)
    if message["event"] == "RTM_DELNEIGH":
        return Neighbour(index, address)
    return Neighbour(index, address, _mac(message.get_attr("NDA_LLADDR")), NeighbourState(message["state"]))


def _mac(text: str | None) -> bytes:
    """Read `02:00:00:00:00:01`; anything that is not 6 bytes gives none (a tunnel has an IP address there)."""
    try:
        mac = bytes.fromhex((text or "").replace(":", ""))
    except ValueError:
        return b""
    return mac if len(mac) == 6 else b""


def resolve_request(index: int, address: Address) -> bytes:
    """Return the message that makes the kernel act as if it had a packet for the neighbour.

    RTM_NEWNEIGH with NTF_USE (neigh_add in net/core/neighbour.c): no entry or a failed one is resolved at once, a
    stale one is confirmed after delay_first_probe_time (5 s), any other is left alone.
    """
    request = ndmsg()
    request["family"] = AF_INET if address.version == 4 else AF_INET6
    request["ifindex"] = index
    request["state"] = int(NeighbourState.NONE)
    request["flags"] = NTF_USE
    request["attrs"] = [("NDA_DST", str(address))]
    request["header"]["type"] = RTM_NEWNEIGH
    request["header"]["flags"] = NLM_F_REQUEST | NLM_F_CREATE
    request["header"]["sequence_number"] = 0
    request["header"]["pid"] = 0
    request.encode()
    return bytes(request.data)
