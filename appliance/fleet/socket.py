"""The sockets of the exchange: UDP, unicast and multicast, IPv4 and IPv6, in the loop of whoever opens them.

One socket for each family hears and sends, from the configured port. It hears the group as well where it can; where it
is bound to an address, or the group has another port, the group has a socket of its own. Multicast has a hop limit of
1, and is not given back to this host.

The group is joined on the interface that has `source`; without one, on that of the route to the group (ip(7),
IP_ADD_MEMBERSHIP). A membership ends with its interface: `rejoin` after interfaces have changed.

What cannot be sent is counted and lost, as on the way; the exchange asks for it again.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from asyncio import AbstractEventLoop
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

from appliance.fleet.envelope import MOST
from appliance.model_address import Address, Endpoint
from appliance.model_fleet import Fleet

BUDGET = 64
"""Datagrams that are read in one turn of the loop; the others wait, so that a flood leaves time for all else."""
BUFFER = 4 << 20
"""Octets of the kernel's buffer in either direction: a second of the usual rate."""
SOURCES = 4096
"""Addresses of senders that are remembered, at most."""
IP_MULTICAST_ALL, IPV6_MULTICAST_ALL = 49, 29
"""linux/in.h, linux/in6.h; Python's socket has no names for these, nor for the two below (asm-generic/socket.h)."""
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_SCOPES = Path("/proc/thread-self/net/if_inet6")

SocketAddress = tuple[Any, ...]


class FleetSocket:
    """Gives each datagram to `take`, and calls `done` after each turn in which there were some."""

    def __init__(
        self, fleet: Fleet, loop: AbstractEventLoop, take: Callable[[bytes, Endpoint], None], done: Callable[[], None]
    ) -> None:
        self._fleet, self._loop, self._take, self._done = fleet, loop, take, done
        self._unicast: dict[int, socket.socket] = {}
        self._group: socket.socket | None = None
        self._joined: tuple[socket.socket, int, int, bytes] | None = None
        self._sources: dict[SocketAddress, Endpoint] = {}
        self._targets: dict[Endpoint, tuple[socket.socket, SocketAddress]] = {}
        self.errors: Counter[str] = Counter()
        """Datagrams that could not be sent, by the name of the error."""

    def open(self) -> None:
        """Begin to hear. Raises OSError that says what an operator can do; nothing is open then."""
        ends = [*self._fleet.peers, *([self._fleet.group] if self._fleet.group is not None else [])]
        try:
            for version in sorted({end.address.version for end in ends if end.address is not None}):
                self._unicast[version] = self._opened(version)
            if self._fleet.group is not None:
                self._open_group(self._fleet.group)
        except OSError:
            self.close()
            raise
        for end in self._all():
            self._loop.add_reader(end, self._hear, end)

    def close(self) -> None:
        """Hear no more."""
        for end in self._all():
            self._loop.remove_reader(end)
            end.close()
        self._unicast.clear()
        self._targets.clear()
        self._group = self._joined = None

    def send(self, data: bytes, to: Endpoint | None) -> None:
        """Send a datagram; `to` None: to the group, and to each peer. Never raises, and never waits."""
        if to is not None:
            self._send(data, to)
            return
        if self._fleet.group is not None:
            self._send(data, self._fleet.group)
        for peer in self._fleet.peers:
            self._send(data, peer)

    def rejoin(self) -> None:
        """Join the group again, on the interface that is now the right one. Raises OSError as `open` does."""
        if self._fleet.group is None or self._joined is None:
            return
        end, level, _, membership = self._joined
        leave = socket.IP_DROP_MEMBERSHIP if level == socket.IPPROTO_IP else socket.IPV6_LEAVE_GROUP
        try:
            end.setsockopt(level, leave, membership)
        except OSError:
            pass  # it ended with its interface
        self._join(end, self._fleet.group)

    @property
    def buffer(self) -> int:
        """Octets that the kernel keeps for us at least; BUFFER unless this process lacks CAP_NET_ADMIN."""
        return min((end.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2 for end in self._all()), default=0)

    def _all(self) -> list[socket.socket]:
        return [*self._unicast.values(), *([self._group] if self._group is not None else [])]

    # ---- opening

    def _source(self, version: int) -> Address | None:
        source = self._fleet.source
        return source if source is not None and source.version == version else None

    def _opened(self, version: int) -> socket.socket:
        source, port = self._source(version), self._fleet.port
        made = _made(version)
        try:
            if version == 6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
            else:
                made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
                made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
            made.bind(_socket_address(Endpoint(source, port), version))
        except OSError as error:
            made.close()
            raise OSError(error.errno, _bind_words(error, source, port)) from None
        return made

    def _open_group(self, group: Endpoint) -> None:
        address = group.address
        assert address is not None
        end = self._unicast[address.version]
        hears = end
        if group.port != self._fleet.port or self._source(address.version) is not None:
            hears = _made(address.version)
            try:
                hears.bind(_socket_address(group, address.version))
            except OSError as error:
                hears.close()
                raise OSError(error.errno, _bind_words(error, address, group.port)) from None
            self._group = hears
        level, _, membership = self._join(hears, group)
        # What joins a group and what sends to it name the interface alike.
        if level == socket.IPPROTO_IPV6:
            end.setsockopt(level, socket.IPV6_MULTICAST_IF, membership[16:])
        else:
            end.setsockopt(level, socket.IP_MULTICAST_IF, membership)

    def _join(self, end: socket.socket, group: Endpoint) -> tuple[int, int, bytes]:
        address = group.address
        assert address is not None
        source = self._source(address.version)
        try:
            if isinstance(address, IPv6Address):
                level, option = socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP
                index = _zone(address) or (_interface_of(source) if isinstance(source, IPv6Address) else 0)
                membership = address.packed + struct.pack("@I", index)
            else:
                level, option = socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP
                membership = address.packed + (source.packed if source is not None else bytes(4)) + bytes(4)
            end.setsockopt(level, option, membership)
        except OSError as error:
            where = f"the interface that has {source}" if source is not None else "the interface of the route to it"
            text = f"cannot join multicast group {address} on {where}: {error.strerror}; `ip route get {address}` "
            text += "shows the route, and fleet.source chooses another interface"
            raise OSError(error.errno, text) from None
        self._joined = (end, level, option, membership)
        return level, option, membership

    # ---- hearing and sending

    def _hear(self, end: socket.socket) -> None:
        heard = False
        for _ in range(BUDGET):
            try:
                data, address = end.recvfrom(MOST + 1)
            except OSError:
                break  # nothing more, or an error of an earlier datagram, which is then taken off
            heard = True
            self._take(data, self._endpoint(address))
            if end.fileno() < 0:
                return  # closed by what was heard
        if heard:
            self._done()

    def _endpoint(self, address: SocketAddress) -> Endpoint:
        found = self._sources.get(address)
        if found is None:
            if len(self._sources) >= SOURCES:
                self._sources.clear()
            found = self._sources[address] = Endpoint(ip_address(address[0]), address[1])
        return found

    def _send(self, data: bytes, to: Endpoint) -> None:
        try:
            target = self._targets.get(to)
            if target is None:
                assert to.address is not None
                version = to.address.version
                if version not in self._unicast:
                    raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
                if len(self._targets) >= SOURCES:
                    self._targets.clear()
                target = self._targets[to] = (self._unicast[version], _socket_address(to, version))
            target[0].sendto(data, target[1])
        except OSError as error:
            self.errors[errno.errorcode.get(error.errno or 0, "unknown")] += 1


def without_own(fleet: Fleet) -> Fleet:
    """Return the configuration without those peers that are this node, so that one file fits all nodes."""
    return replace(fleet, peers=tuple(peer for peer in fleet.peers if not _is_own(peer, fleet.port)))


def _is_own(peer: Endpoint, port: int) -> bool:
    """Return whether packets to an address would leave from this address: so does the kernel route to its own."""
    address = peer.address
    if address is None or peer.port != port:
        return False
    with socket.socket(_FAMILIES[address.version], socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(_socket_address(peer, address.version))
        except OSError:
            return False  # there is no way to it, so it is not here
        return ip_address(asked.getsockname()[0]) == address


def _made(version: int) -> socket.socket:
    made = socket.socket(_FAMILIES[version], socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    if version == 6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0)
    else:
        made.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
    for force, option in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            made.setsockopt(socket.SOL_SOCKET, force, BUFFER)
        except OSError:
            made.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    return made


def _socket_address(end: Endpoint, version: int) -> SocketAddress:
    if version == 4:
        return (str(end.address or "0.0.0.0"), end.port)
    address = end.address
    if not isinstance(address, IPv6Address):
        return ("::", end.port)
    return (str(IPv6Address(address.packed)), end.port, 0, _zone(address))


def _zone(address: IPv6Address) -> int:
    zone = address.scope_id
    if zone is None:
        return 0
    return int(zone) if zone.isdigit() else socket.if_nametoindex(zone)


def _interface_of(address: IPv6Address) -> int:
    """Return the index of the interface that has an address. Raises OSError."""
    for line in _SCOPES.read_text(encoding="ascii").splitlines():
        words = line.split()
        if bytes.fromhex(words[0]) == address.packed:
            return int(words[1], 16)
    raise OSError(errno.EADDRNOTAVAIL, "no interface has this address")


def _bind_words(error: OSError, address: Address | None, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"UDP port {port} is used by another program (`ss -lunp` shows who it is); give fleet.port another one"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"fleet.source {address} is no address of this host"
    return f"cannot open UDP port {port} of {address or 'any address'}: {error.strerror}"
