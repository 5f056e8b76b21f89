"""The host's interfaces and neighbours, kept up to date by the kernel's own messages; nothing is polled.

Two sockets: one subscribed to the groups, from which everything is read that happens, and one for dumps, at the start,
after messages were lost, and when an interface comes to be watched. The subscription is older than the dump, so what
happens meanwhile is read afterwards; every message says how things are, not what changed, so reading one twice does
no harm. CAP_NET_ADMIN is enough; without it all but `refresh` works.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from pyroute2.iproute import IPRoute
from pyroute2.netlink.rtnl import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_LINK,
    RTMGRP_NEIGH,
)

from appliance.control.nexthop import interface_for
from appliance.errors import KernelError
from appliance.model import Address, Host
from appliance.net.messages import Packet, decode, dump_requests, resolve_request, split
from appliance.net.resolution import Resolution
from appliance.net.view import View

_GROUPS = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; the socket module has no name for it
_RECEIVE_BUFFER = 8 << 20  # some ten thousand messages
_DATAGRAM = 1 << 16
_DATAGRAMS_PER_READ = 256  # some 3 ms, so that a storm of messages does not hold up the event loop
_DUMP_ATTEMPTS = 10
_DUMP_TIMEOUT = 10.0  # seconds; the kernel answers at once, unless it is in deep trouble


class HostWatch:
    """Follows `interfaces`, which need not exist yet; calls `on_change` from `read` when the snapshot has changed."""

    def __init__(
        self, interfaces: Sequence[str], on_change: Callable[[], None], *, receive_buffer: int = _RECEIVE_BUFFER
    ) -> None:
        self._names = tuple(interfaces)
        self._on_change = on_change
        self._addresses: frozenset[Address] = frozenset()
        self._resolution = Resolution()
        self._requests: dict[tuple[int, Address], bytes] = {}
        self.refused = 0
        """How many requests of `refresh` the kernel refused, most often because its neighbour table is full."""
        self.overruns = 0
        """How many times messages were lost and all was asked for anew."""
        self._events: Any = IPRoute()
        self._dumps: Any = IPRoute()
        try:
            with suppress(PermissionError):
                self._events.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer)
            self._events.bind(groups=_GROUPS)
            self._dumps.settimeout(_DUMP_TIMEOUT)
            self._view = self._dump()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the sockets; remove the reader first."""
        self._events.close()
        self._dumps.close()

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when there is something to `read`."""
        return int(self._events.fileno())

    def snapshot(self) -> Host:
        """Return how the host looks; the same object as long as nothing has changed."""
        return self._view.snapshot()

    def read(self) -> None:
        """Take in what the kernel has said, without waiting; then call `on_change` once if the snapshot has changed.

        If messages were lost (the receive buffer overran), all is asked for anew.
        """
        before = self._view.snapshot()
        watched = self._indices()
        lost = False
        for packet in self._packets():
            if packet is None:
                lost = True
            elif packet.error:
                self.refused += 1
            elif (news := decode(packet)) is not None:
                self._view.apply(news)
        if lost:
            self.overruns += 1
            self._discard()
        if lost or not self._indices() <= watched:
            self._view = self._dump()
        after = self._view.snapshot()
        if after is before or after == before:
            return
        if after.interfaces != before.interfaces:
            self._assign()
        self._on_change()

    def want(self, addresses: Iterable[Address]) -> None:
        """Name all addresses that must stay resolved; those in no subnet of the interfaces wait until there is one."""
        self._addresses = frozenset(addresses)
        self._assign()

    def refresh(self, now: float) -> None:
        """Ask the kernel to resolve what is missing and to confirm what is stale; to be called every second.

        `now` is in seconds of a steady clock. The answers come through `read`.
        """
        for neighbour in self._resolution.due(self._view.state, now):
            request = self._requests.get(neighbour)
            if request is None:
                request = self._requests[neighbour] = resolve_request(*neighbour)
            try:
                # No acknowledgement is asked for; a refusal comes back among the events.
                self._events.sendto(request, (0, 0))
            except OSError:
                self.refused += 1  # out of memory; its turn comes again

    def _indices(self) -> set[int]:
        return {interface.index for interface in self._view.interfaces}

    def _assign(self) -> None:
        """Find the interface of every wanted address anew."""
        host = self._view.snapshot()
        wanted = []
        for address in self._addresses:
            interface = interface_for(host, address)
            if interface is not None and interface.up:
                wanted.append((interface.index, address))
        self._resolution.want(wanted)
        kept = set(wanted)
        self._requests = {neighbour: request for neighbour, request in self._requests.items() if neighbour in kept}

    def _packets(self) -> Iterator[Packet | None]:
        """Yield what is waiting, and None where messages were lost."""
        for _ in range(_DATAGRAMS_PER_READ):
            try:
                data = self._events.recv(_DATAGRAM, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise KernelError("read messages of", "rtnetlink", error.errno or errno.EIO) from error
                yield None
                return
            yield from split(data)

    def _discard(self) -> None:
        """Throw away what is waiting: it is older than what was lost, and would undo what a dump says.

        The kernel reports a loss once and then drops in silence until the queue has been empty (netlink_rcv_wake in
        net/netlink/af_netlink.c), so a dump is complete only after that.
        """
        while True:
            try:
                self._events.recv(_DATAGRAM, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise KernelError("read messages of", "rtnetlink", error.errno or errno.EIO) from error

    def _dump(self) -> View:
        """Ask for everything; again if something changed in between, which the kernel tells."""
        for _ in range(_DUMP_ATTEMPTS):
            view = View(self._names)
            if all(self._dump_into(view, request) for request in dump_requests()):
                return view
        raise KernelError(
            "list interfaces and neighbours of", "the host", errno.EAGAIN, "they change all the time; see `ip monitor`"
        )

    def _dump_into(self, view: View, request: bytes) -> bool:
        """Send one request and take the answers in, one datagram at a time; tell whether they are consistent."""
        whole = True
        try:
            self._dumps.sendto(request, (0, 0))
            while True:
                for packet in split(self._dumps.recv(_DATAGRAM)):
                    if packet.error:
                        raise OSError(packet.error, "refused")
                    whole = whole and not packet.interrupted
                    if packet.last:
                        return whole
                    if (news := decode(packet)) is not None:
                        view.apply(news)
        except OSError as error:
            status = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno or errno.EIO
            raise KernelError("list interfaces and neighbours of", "the host", status) from error
