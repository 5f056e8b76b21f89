"""Backends behind NAT: how packets change on the way there and back, and which way back there is.

The way to a client is the host's business: `Routes` stands for what its routing and neighbour tables say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from appliance.dataplane.model.errors import Flow
from appliance.dataplane.model.packet import (
    SYN,
    TCP,
    TCP_HEADER,
    UDP,
    Ip,
    Transport,
    adjusted,
    number,
    put,
    put_checksum,
)
from appliance.model import Address

OPTION_END, OPTION_NOTHING, OPTION_MSS = 0, 1, 2
"""TCP options (RFC 9293 section 3.2)."""
MSS_LENGTH = 4


class Way(Enum):
    """What the host's tables say of the way to an address."""

    KNOWN = "known"
    UNRESOLVED = "unresolved"
    """There is a route, but the MAC address of its next hop is not known."""
    LOCAL = "local"
    """The address is the host's own, or no single host's, or no route leads there."""
    NONE = "none"
    """A route that refuses, or one that is too narrow for the packet, or a host that does not forward."""


@dataclass(frozen=True)
class Route:
    """The way to an address: for KNOWN, the interface's index, 12 bytes of destination and source MAC, and the MTU."""

    way: Way
    interface: int = 0
    macs: bytes = b""
    mtu: int = 0xFFFF


Routes = Callable[[Address], Route]


def nowhere(address: Address) -> Route:
    """A host without routes."""
    return Route(Way.LOCAL)


def translated(
    frame: bytes, ip: Ip, transport: Transport, address: Address, port: int, *, source: bool, most: int = 0
) -> bytes:
    """The packet from, or to, another address and port, with the checksums that cover them.

    `most`, if not 0, is the largest segment that SYNs may announce, bytes.
    """
    size = len(address.packed)
    at = ip.start + (12 if ip.family == 4 else 8) + (0 if source else size)
    place = ip.payload + (0 if source else 2)
    old, new = frame[at : at + size], address.packed
    if ip.family == 4:
        frame = put_checksum(frame, ip.start + 10, adjusted(number(frame, ip.start + 10), old, new))
    old, new = old + frame[place : place + 2], new + port.to_bytes(2, "big")
    option = _segment_option(frame, ip, transport) if transport.flags & SYN and most else None
    frame = put(put(frame, at, address.packed), place, port.to_bytes(2, "big"))
    if option is not None and number(frame, option + 2) > most:
        # The words of the sum that hold the option's value, wherever it begins.
        first, last = (option + 2 - ip.payload) // 2 * 2 + ip.payload, option + 4 + (option - ip.payload) % 2
        old += frame[first:last]
        frame = put(frame, option + 2, most.to_bytes(2, "big"))
        new += frame[first:last]
    check = ip.payload + (16 if ip.protocol == TCP else 6)
    if number(frame, check) or ip.protocol == TCP:
        after = adjusted(number(frame, check), old, new)
        frame = put_checksum(frame, check, after or (0xFFFF if ip.protocol == UDP else 0))
    return frame


def readdressed(frame: bytes, ip: Ip, address: Address, *, source: bool) -> bytes:
    """A later fragment from, or to, another address: of checksums it has but that of IPv4's header."""
    size = len(address.packed)
    at = ip.start + (12 if ip.family == 4 else 8) + (0 if source else size)
    if ip.family == 4:
        check = adjusted(number(frame, ip.start + 10), frame[at : at + size], address.packed)
        frame = put_checksum(frame, ip.start + 10, check)
    return put(frame, at, address.packed)


def error_translated(frame: bytes, ip: Ip, about: Flow, address: Address, port: int, *, source: bool) -> bytes:
    """An error that quotes a packet from, or to, another address and port, with all checksums that cover them.

    The error itself goes to that address, or comes from it, if it did so before. The checksum of a quoted TCP header
    may have been cut off.
    """
    size = len(address.packed)
    first = 12 if ip.family == 4 else 8
    at = about.quoted + first + (0 if source else size)
    outer = ip.start + first + (size if source else 0)
    place = ip.start + about.inner + (0 if source else 2)
    old, new = frame[at : at + size], address.packed
    was, now = old, new
    if frame[outer : outer + size] == old:
        frame = put(frame, outer, address.packed)
        if ip.family == 4:
            frame = put_checksum(frame, ip.start + 10, adjusted(number(frame, ip.start + 10), old, new))
        else:
            was, now = was + old, now + new
    if ip.family == 4:
        check = about.quoted + 10
        after = adjusted(number(frame, check), old, new)
        was, now = was + frame[check : check + 2], now + after.to_bytes(2, "big")
        frame = put_checksum(frame, check, after)
    ports = frame[place : place + 2], port.to_bytes(2, "big")
    old, new, was, now = old + ports[0], new + ports[1], was + ports[0], now + ports[1]
    frame = put(put(frame, at, address.packed), place, ports[1])
    udp = about.ip.protocol == UDP
    check = ip.start + about.inner + (6 if udp else 16)
    if check + 2 <= ip.start + ip.length and (number(frame, check) or not udp):
        after = adjusted(number(frame, check), old, new) or (0xFFFF if udp else 0)
        was, now = was + frame[check : check + 2], now + after.to_bytes(2, "big")
        frame = put_checksum(frame, check, after)
    whole = ip.payload + 2
    return put_checksum(frame, whole, adjusted(number(frame, whole), was, now))


def _segment_option(frame: bytes, ip: Ip, transport: Transport) -> int | None:
    """Where the option that announces the largest segment lies, None where there is none before nonsense."""
    at, end = ip.payload + TCP_HEADER, ip.payload + transport.header
    while at + MSS_LENGTH <= end:
        kind, length = frame[at], frame[at + 1]
        if kind == OPTION_MSS and length == MSS_LENGTH:
            return at
        if kind == OPTION_END or (kind != OPTION_NOTHING and length < 2):
            return None
        at += 1 if kind == OPTION_NOTHING else length
    return None
