"""The sockets of BFD: one for each family and kind to hear with, one for each session to speak with.

RFC 5881 section 4: packets go to port 3784 from a source port of 49152..65535 that is the session's own; RFC 5883: to
port 4784 where routers are between. Every packet leaves with a TTL of 255. Of a single hop, one that arrives with less
comes from further away, and is not believed (section 5).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from appliance.model_address import Address
    from appliance.routing.bfd.messages import BfdSession

SINGLE_HOP, MULTIHOP = 3784, 4784
SOURCE_PORTS = range(49152, 65536)
TTL = 255
TOS = 0xC0
"""CS6, network control (RFC 4594 section 3.1)."""
ROOM = 256
"""Bytes of a datagram that are read; a packet has 24."""
TURN = 512
"""Datagrams that are read from one socket in one turn, more than its buffer holds at most."""
TRIES = 64
IP_RECVTTL = 12
"""linux/in.h; Python's socket has no name for it."""
_INTEGER = struct.Struct("i")
_ANCILLARY = socket.CMSG_SPACE(_INTEGER.size)


class Heard(NamedTuple):
    """A datagram: from whom, and with which TTL or hop limit."""

    data: bytes
    host: str
    zone: int
    """The interface's index where the address is link-local, else 0."""
    hops: int


class Ear(NamedTuple):
    """Where packets of one family and kind arrive."""

    family: int
    multihop: bool
    socket: socket.socket

    def heard(self) -> Iterator[Heard]:
        """Yield what has come; never waits."""
        for _ in range(TURN):
            try:
                data, ancillary, _, address = self.socket.recvmsg(ROOM, _ANCILLARY)
            except OSError:
                return  # nothing more, or an error of an earlier packet, which is then taken off
            hops = next((_INTEGER.unpack_from(value)[0] for _, _, value in ancillary if len(value) >= 4), 0)
            yield Heard(data, address[0], address[3] if self.family == socket.AF_INET6 else 0, hops)


def family_of(address: Address) -> int:
    """Return AF_INET or AF_INET6."""
    return socket.AF_INET6 if address.version == 6 else socket.AF_INET


def ear(family: int, multihop: bool) -> Ear:
    """Begin to listen. Raises OSError that says what an operator can do."""
    port = MULTIHOP if multihop else SINGLE_HOP
    made = _made(family)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        else:
            made.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        made.bind(("", port))
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            text = f"UDP port {port} is used by another program; switch BFD off there (`ss -lunp` shows who it is)"
            raise OSError(error.errno, text) from None
        raise OSError(error.errno, f"cannot listen on UDP port {port}: {error.strerror}") from None
    return Ear(family, multihop, made)


def mouth(wanted: BfdSession) -> socket.socket:
    """Return the socket that a session speaks with. Raises OSError that says what an operator can do."""
    family = family_of(wanted.peer)
    source = str(wanted.source) if wanted.source is not None else ""
    for _ in range(TRIES):
        port = SOURCE_PORTS[int.from_bytes(os.urandom(2), "big") % len(SOURCE_PORTS)]
        made = _made(family)
        try:
            made.bind(_with_zone(family, source, port))
        except OSError as error:
            made.close()
            if error.errno == errno.EADDRINUSE:
                continue
            what = f"{source} is no address of this host" if error.errno == errno.EADDRNOTAVAIL else error.strerror
            raise OSError(error.errno, f"cannot send from {source or 'any address'}: {what}") from None
        return made
    raise OSError(errno.EADDRINUSE, f"no source port is free ({SOURCE_PORTS[0]} to {SOURCE_PORTS[-1]})")


def destination(wanted: BfdSession) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return the peer's address for sendto. Raises OSError where its interface is not there."""
    port = MULTIHOP if wanted.multihop else SINGLE_HOP
    return _with_zone(family_of(wanted.peer), str(wanted.peer), port)


def key(wanted: BfdSession) -> tuple[bool, str, int]:
    """Return by what packets of a peer that does not know our discriminator yet are found: as `Heard` has it."""
    host, _, *rest = destination(wanted)
    family = family_of(wanted.peer)
    return wanted.multihop, socket.inet_ntop(family, socket.inet_pton(family, host)), rest[1] if rest else 0


def _with_zone(family: int, text: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    if family == socket.AF_INET:
        return text, port
    host, _, zone = text.partition("%")
    try:
        index = int(zone) if zone.isdigit() else socket.if_nametoindex(zone) if zone else 0
    except OSError:
        raise OSError(errno.ENODEV, f"there is no interface {zone}") from None
    return host, port, 0, index


def _made(family: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, TTL)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, TOS)
    else:
        made.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, TTL)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, TOS)
    return made
