"""Frames in words: what a packet is, and what was written into it on the way through. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from appliance.dataplane.frame import FLAGS, vlan_of
from appliance.dataplane.model import packet
from appliance.dataplane.model.packet import ICMP, TCP, UDP, Ip

ETHERTYPES = {
    0x0806: "ARP",
    packet.SERVICE_TAG: "a service tag (802.1ad)",
    0x88CC: "LLDP",
    0x8809: "LACP or another slow protocol",
    0x8863: "PPPoE discovery",
    0x8864: "PPPoE",
}
"""IEEE 802 numbers."""
PROTOCOLS = {
    2: "IGMP",
    4: "IP in IP",
    41: "IPv6 in IP",
    47: "GRE",
    50: "ESP",
    51: "AH",
    89: "OSPF",
    112: "VRRP",
    132: "SCTP",
}
"""IANA protocol numbers, but for those that are looked into."""
ICMP_TYPES = {
    4: {0: "echo reply", 3: "destination unreachable", 5: "redirect", 8: "echo request", 11: "time exceeded"}
    | {12: "parameter problem"},
    6: {1: "destination unreachable", 2: "packet too big", 3: "time exceeded", 4: "parameter problem"}
    | {128: "echo request", 129: "echo reply", 133: "router solicitation", 134: "router advertisement"}
    | {135: "neighbour solicitation", 136: "neighbour advertisement", 137: "redirect"},
}
"""RFC 792, RFC 4443, RFC 4861."""
BEHIND = {4: ("IP in IP", (0,)), 41: ("IP in IP", (0,)), 47: ("GRE", (4,)), UDP: ("UDP", (8, 12))}
"""Of the protocols of tunnels: what they are called, and how much may be between the outer and the inner header."""
GUE = 12
DSCP_SHIFT = 2


def words(frame: bytes) -> str:
    """Return what a frame is: `TCP SYN from 198.51.100.7:4242 to 203.0.113.10:443`; never raises."""
    if len(frame) < packet.ETHERNET:
        return f"{len(frame)} bytes, less than an Ethernet header"
    ip = _ip(frame)
    if ip is not None:
        return _packet(frame, ip)
    start = _start(frame)
    kind = packet.number(frame, start - 2)
    if kind in (packet.IPV4, packet.IPV6):
        return f"IPv{4 if kind == packet.IPV4 else 6}, cut off in its header"
    if kind == packet.TAG:
        return "a VLAN tag behind another"
    return ETHERTYPES.get(kind, "something") + f", EtherType 0x{kind:04x}"


def written(before: bytes, after: bytes) -> list[str]:
    """Return what differs in a frame that was sent on, from the outside to the inside; never raises."""
    if min(len(before), len(after)) < packet.ETHERNET:
        return []
    found = [
        f"{name} MAC {after[at : at + 6].hex(':')}"
        for name, at in (("destination", 0), ("source", 6))
        if after[at : at + 6] != before[at : at + 6]
    ]
    had, has = vlan_of(before), vlan_of(after)
    if had != has:
        found.append(f"VLAN tag {has}" if had is None else "no VLAN tag" if has is None else f"VLAN {has} for {had}")
    old, new = _ip(before), _ip(after)
    if old is None or new is None:
        return found
    inner = _inner(after, new, old) if len(after) > len(before) else None
    if inner is not None:
        found.append(_tunnel(after, new, inner))
    return [*found, *_header(before, old, after, inner or new)]


def _header(before: bytes, old: Ip, after: bytes, new: Ip) -> Iterator[str]:
    """Yield what differs in the packet itself."""
    for name, was, is_ in (("source", old.source, new.source), ("destination", old.destination, new.destination)):
        if was != is_:
            yield f"{name} {is_} for {was}"
    if old.family != new.family:
        return
    ports = old.protocol == new.protocol and old.protocol in (TCP, UDP) and not old.offset
    if ports and len(before) >= old.payload + 4 and len(after) >= new.payload + 4:
        for name, at in (("source port", 0), ("destination port", 2)):
            had, has = packet.number(before, old.payload + at), packet.number(after, new.payload + at)
            if had != has:
                yield f"{name} {has} for {had}"
    had, has = _class(before, old) >> DSCP_SHIFT, _class(after, new) >> DSCP_SHIFT
    if had != has:
        yield f"DSCP {has} for {had}"
    if old.ttl != new.ttl:
        yield f"{'time to live' if new.family == 4 else 'hop limit'} {new.ttl} for {old.ttl}"


def _class(frame: bytes, ip: Ip) -> int:
    """The traffic class, which IPv4 calls type of service (RFC 2474)."""
    return frame[ip.start + 1] if ip.family == 4 else packet.number(frame, ip.start) >> 4 & 0xFF


def _tunnel(frame: bytes, outer: Ip, inner: Ip) -> str:
    between = inner.start - outer.payload
    name = BEHIND[outer.protocol][0]
    if outer.protocol == UDP:
        name = f"{'GUE' if between == GUE else 'FOU'} to UDP port {packet.number(frame, outer.payload + 2)}"
    return f"in front, {name} over IPv{outer.family} from {outer.source} to {outer.destination}"


def _inner(frame: bytes, outer: Ip, wanted: Ip) -> Ip | None:
    """The packet inside, if it is that which came."""
    for length in BEHIND.get(outer.protocol, ("", ()))[1]:
        at = outer.payload + length
        read = packet.read_ip if wanted.family == 4 else packet.read_ipv6
        found = read(frame, at)
        if (
            found
            and found.version == wanted.family
            and (found.source, found.destination)
            == (
                wanted.source,
                wanted.destination,
            )
        ):
            return found
    return None


def _start(frame: bytes) -> int:
    return packet.ETHERNET + (packet.TAG_LENGTH if vlan_of(frame) is not None else 0)


def _ip(frame: bytes) -> Ip | None:
    start = _start(frame)
    readers = {packet.IPV4: packet.read_ip, packet.IPV6: packet.read_ipv6}
    read = readers.get(packet.number(frame, start - 2))
    return read(frame, start) if read else None


def _packet(frame: bytes, ip: Ip) -> str:
    if not ip.fits(frame):
        return f"IPv{ip.family} from {ip.source} to {ip.destination}, whose lengths contradict the frame"
    if ip.offset:
        name = {TCP: "TCP segment", UDP: "UDP datagram"}.get(ip.protocol, "datagram")
        return f"a later fragment of a {name} from {ip.source} to {ip.destination}"
    if ip.is_icmp:
        return _icmp(frame, ip)
    if ip.protocol in (TCP, UDP):
        return _ports(frame, ip) + (", the first fragment" if ip.fragment else "")
    name = PROTOCOLS.get(ip.protocol, "another protocol")
    return f"{name} ({ip.protocol}) from {ip.source} to {ip.destination}"


def _ports(frame: bytes, ip: Ip) -> str:
    name = "TCP" if ip.protocol == TCP else "UDP"
    if len(frame) < ip.payload + 4:
        return f"{name} from {ip.source} to {ip.destination}, cut off in its header"
    ports = packet.number(frame, ip.payload), packet.number(frame, ip.payload + 2)
    ends = f"from {_end(ip, 0, ports[0])} to {_end(ip, 1, ports[1])}"
    if ip.protocol == TCP and len(frame) > ip.payload + 13:
        bits = frame[ip.payload + 13]
        name += " " + (",".join(flag for flag, bit in FLAGS.items() if bits & bit) or "without flags")
    return f"{name} {ends}"


def _end(ip: Ip, which: int, port: int) -> str:
    address = ip.destination if which else ip.source
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _icmp(frame: bytes, ip: Ip) -> str:
    name = "ICMP" if ip.protocol == ICMP else "ICMPv6"
    if ip.room < packet.ICMP_HEADER:
        return f"{name} from {ip.source} to {ip.destination}, cut off in its header"
    kind, code = frame[ip.payload], frame[ip.payload + 1]
    known = ICMP_TYPES[ip.family].get(kind, "of another kind")
    text = f"{name} {known} (type {kind}, code {code}) from {ip.source} to {ip.destination}"
    at = ip.payload + packet.ICMP_HEADER
    is_error = kind in (3, 11, 12) if ip.family == 4 else kind < 128
    inner = (packet.read_ip if ip.family == 4 else packet.read_ipv6)(frame, at) if is_error else None
    if inner is None or inner.version != ip.family:
        return text
    # What is quoted may be cut; its own length is that of the packet that was sent.
    quoted = replace(inner, length=len(frame) - at)
    if quoted.protocol in (TCP, UDP) and not quoted.offset and not quoted.contradicts:
        protocol = "TCP" if quoted.protocol == TCP else "UDP"
        if len(frame) >= quoted.payload + 4:
            ports = packet.number(frame, quoted.payload), packet.number(frame, quoted.payload + 2)
            return f"{text}, about {protocol} from {_end(quoted, 0, ports[0])} to {_end(quoted, 1, ports[1])}"
    return f"{text}, about a packet from {quoted.source} to {quoted.destination}"
