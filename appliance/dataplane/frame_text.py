"""The heads of a frame in one line, much as tcpdump has it: tags, addresses, ports, flags. Pure.

Of a frame only the first bytes need be there, and they may be anything: whatever is wrong or missing is said. All that
is taken from the frame is written as numbers, so the line is harmless wherever it is shown.
"""

from __future__ import annotations

from appliance.dataplane.frame import FLAGS
from appliance.dataplane.model import packet
from appliance.dataplane.model.packet import Ip, number

ARP, LEAST_TYPE = 0x0806, 0x0600
"""An EtherType; below the other it is a length (IEEE 802.3 section 3.2.6)."""
TAGS = 4
"""So many tags are read, at most."""
_ARP_LENGTH = 28
_MORE_FRAGMENTS = 0x2000
_ICMP = {
    0: "echo reply",
    3: "unreachable",
    5: "redirect",
    8: "echo request",
    11: "time exceeded",
    12: "parameter problem",
}
_ICMP6 = {
    1: "unreachable",
    2: "packet too big",
    3: "time exceeded",
    4: "parameter problem",
    128: "echo request",
    129: "echo reply",
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbour solicitation",
    136: "neighbour advertisement",
    137: "redirect",
}
_PROTOCOLS = {
    2: "IGMP",
    4: "IPIP",
    41: "IPv6 inside",
    47: "GRE",
    50: "ESP",
    51: "AH",
    89: "OSPF",
    112: "VRRP",
    132: "SCTP",
}
_SHORT = "cut short"


def line(octets: bytes, length: int) -> str:
    """Return the line of a frame of `length` bytes that begins with `octets`; never raises, whatever they are."""
    if len(octets) < packet.ETHERNET:
        return f"{length} bytes, less than an Ethernet header"
    said: list[str] = []
    at = 12
    kind = number(octets, at)
    while kind in (packet.TAG, packet.SERVICE_TAG) and len(octets) >= at + 6 and len(said) < TAGS:
        said.append(f"{'vlan' if kind == packet.TAG else 'service vlan'} {number(octets, at + 2) & 0x0FFF}")
        at += packet.TAG_LENGTH
        kind = number(octets, at)
    return ", ".join([*said, _of_type(kind, octets, at + 2, length)])


def _of_type(kind: int, octets: bytes, start: int, length: int) -> str:
    if kind == ARP:
        return _arp(octets[start:])
    if kind in (packet.IPV4, packet.IPV6):
        return _packet(octets, start, length - start)
    if kind < LEAST_TYPE:
        return f"no EtherType but a length of {kind}"
    return f"EtherType 0x{kind:04x}, {length - start} bytes"


def _arp(octets: bytes) -> str:
    # RFC 826, for Ethernet and IPv4
    if len(octets) < _ARP_LENGTH or octets[:6] != bytes.fromhex("000108000604"):
        return "ARP"
    sender, target = (".".join(map(str, octets[at : at + 4])) for at in (14, 24))
    asks, answers = f"who has {target}, tell {sender}", f"{sender} is at {octets[8:14].hex(':')}"
    return f"ARP {({1: asks, 2: answers}).get(number(octets, 6), 'of another kind')}"


def _packet(octets: bytes, start: int, room: int, *, quoted: bool = False) -> str:
    """An IP packet, of whose frame there are `room` bytes from here on, kept or not."""
    version = octets[start] >> 4 if len(octets) > start else 0
    if version == 4:
        ip = packet.read_ip(octets, start)
    elif version == 6:
        ip = packet.read_ipv6(octets, start, room=len(octets) - start)
    else:
        return "no IP version" if len(octets) == start else f"IP version {version}"
    if ip is None:
        return f"IPv{version} header {_SHORT}"
    claimed = ip.length if version == 4 else packet.IPV6_HEADER + number(octets, start + 4)
    said = [_ends(octets, ip), *_transport(octets, ip, claimed, quoted=quoted)]
    if version == 4 and ip.header < packet.IP_HEADER:
        said.append(f"header of {ip.header} bytes")
    if claimed > room and not quoted:
        said.append(f"claims {claimed} bytes and has {room}")
    return ", ".join([f"IPv{version} {said[0]}", *said[1:], f"ttl {ip.ttl}"])


def _has_ports(octets: bytes, ip: Ip) -> bool:
    if ip.offset or ip.protocol not in (packet.TCP, packet.UDP) or ip.header < packet.IP_HEADER:
        return False
    return len(octets) >= ip.payload + 4


def _ends(octets: bytes, ip: Ip) -> str:
    if not _has_ports(octets, ip):
        return f"{ip.source} > {ip.destination}"
    form = "[{}]:{}" if ip.family == 6 else "{}:{}"
    ends = ((ip.source, number(octets, ip.payload)), (ip.destination, number(octets, ip.payload + 2)))
    return " > ".join(form.format(*end) for end in ends)


def _transport(octets: bytes, ip: Ip, claimed: int, *, quoted: bool) -> list[str]:
    name = {packet.TCP: "TCP", packet.UDP: "UDP", packet.ICMP: "ICMP", packet.ICMP6: "ICMPv6"}.get(ip.protocol)
    name = name or _PROTOCOLS.get(ip.protocol) or f"protocol {ip.protocol}"
    said = [name]
    if ip.fragment:
        said.append(_fragment(octets, ip))
    if ip.offset or ip.contradicts or ip.header < packet.IP_HEADER:
        return said
    body, room = octets[ip.payload :], claimed - ip.header
    if ip.protocol == packet.TCP:
        said += _tcp(body, room)
    elif ip.protocol == packet.UDP:
        said.append(_udp(body, room, fragment=ip.fragment))
    elif ip.is_icmp:
        return [f"{name} {_icmp(octets, ip, quoted=quoted)}", *said[1:]]
    else:
        said.append(f"{max(room, 0)} bytes")
    return said


def _udp(body: bytes, room: int, *, fragment: bool) -> str:
    if len(body) < packet.UDP_HEADER:
        return _SHORT
    length = number(body, 4)
    # The first fragment has the length of the whole datagram.
    if length < packet.UDP_HEADER or (length > room and not fragment):
        return f"length field {length} in {max(room, 0)} bytes"
    return f"length {length - packet.UDP_HEADER}"


def _tcp(body: bytes, room: int) -> list[str]:
    if len(body) < packet.TCP_HEADER:
        return [_SHORT]
    flags = "+".join(name for name, bit in FLAGS.items() if body[13] & bit) or "no flags"
    sequence, acknowledged, header = number(body, 4, 4), number(body, 8, 4), (body[12] >> 4) * 4
    said = [flags, f"seq {sequence}"]
    if body[13] & packet.ACK:
        said.append(f"ack {acknowledged}")
    said.append(f"win {number(body, 14)}")
    if header < packet.TCP_HEADER or header > room:
        return [*said, f"header of {header} bytes in {max(room, 0)}"]
    return [*said, f"length {room - header}"]


def _icmp(octets: bytes, ip: Ip, *, quoted: bool) -> str:
    body = octets[ip.payload :]
    if len(body) < packet.ICMP_HEADER:
        return _SHORT
    kind, code = body[0], body[1]
    name = (_ICMP if ip.family == 4 else _ICMP6).get(kind, f"type {kind}")
    if name.startswith("echo"):
        return f"{name}, id {number(body, 4)}, seq {number(body, 6)}"
    said = f"{name}, code {code}" if code else name
    if quoted or not (kind in packet.ICMP_ERRORS if ip.family == 4 else kind < packet.ECHO_REQUEST6):
        return said
    start = ip.payload + packet.ICMP_HEADER
    return f"{said}, about ({_packet(octets, start, len(octets) - start, quoted=True)})"


def _fragment(octets: bytes, ip: Ip) -> str:
    if ip.family == 6:
        return f"fragment of {ip.identification}, {'a later one' if ip.offset else 'the first one'}"
    word = number(octets, ip.start + 6)
    more = "" if word & _MORE_FRAGMENTS else ", the last one"
    return f"fragment of {ip.identification} at {(word & packet.OFFSET) * 8}{more}"
