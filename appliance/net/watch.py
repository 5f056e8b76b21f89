"""The host's interfaces, neighbours and routes, kept up to date by the kernel's own messages; nothing is polled.

Two sockets: one subscribed to the groups, from which everything is read that happens, and one for dumps, at the start,
after messages were lost, and when an interface comes to be watched. The subscription is older than the dump, so what
happens meanwhile is read afterwards; every message says how things are, not what changed, so reading one twice does
no harm. CAP_NET_ADMIN is enough; without it all but `refresh` works.

Routes are an exception: some go without a message, together with links, addresses or nexthop objects. After such an
event the routes are asked for anew, and once more with the next `refresh`, since the kernel speaks of a link before it
has put its routes right (__dev_notify_flags in net/core/dev.c); so it is when a replaced route may have been another
than is thought.
"""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from pyroute2.iproute import IPRoute
from pyroute2.netlink.rtnl import (
    RTM_NEWROUTE,
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_LINK,
    RTMGRP_NEIGH,
)

from appliance.control.subnets import Subnets
from appliance.errors import KernelError
from appliance.model import Address, Host
from appliance.net.messages import decode, dump_requests, resolve_request
from appliance.net.resolution import Resolution
from appliance.net.route_messages import RTMGRP_NEXTHOP, is_default, route_requests
from appliance.net.routes import MOST
from appliance.net.view import View
from appliance.net.wire import Packet, split

_GROUPS = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR
_ROUTE_GROUPS = RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE | RTMGRP_NEXTHOP
_SOL_NETLINK = 270  # linux/socket.h
_NETLINK_GET_STRICT_CHK = 12  # linux/netlink.h
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; the socket module has no name for it
_RECEIVE_BUFFER = 8 << 20  # some ten thousand messages
_DATAGRAM = 1 << 16
_DATAGRAMS_PER_READ = 256  # some 3 ms, so that a storm of messages does not hold up the event loop
_DUMP_ATTEMPTS = 10
_PAUSE_PER_ROUTE = 0.001  # seconds; reading one takes 5 us, so that looking twice costs half a percent of the time
_DUMP_TIMEOUT = 10.0  # seconds; the kernel answers at once, unless it is in deep trouble


class HostWatch:
    """Follows `interfaces`, which need not exist yet; calls `on_change` from `read` when the snapshot has changed."""

    def __init__(
        self, interfaces: Sequence[str], on_change: Callable[[], None], *, receive_buffer: int = _RECEIVE_BUFFER
    ) -> None:
        self._names = tuple(interfaces)
        self._on_change = on_change
        self._addresses: frozenset[Address] = frozenset()
        self._on: frozenset[tuple[int, Address]] = frozenset()
        self._resolution = Resolution()
        self._requests: dict[tuple[int, Address], bytes] = {}
        self.refused = 0
        """How many requests of `refresh` the kernel refused, most often because its neighbour table is full."""
        self.overruns = 0
        """How many times messages were lost and all was asked for anew."""
        self._ask_again = False
        self._next_asking = -math.inf
        self._events: Any = IPRoute()
        self._dumps: Any = IPRoute()
        try:
            with suppress(PermissionError):
                self._events.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer)
            self._events.bind(groups=_GROUPS | _ROUTE_GROUPS)
            with suppress(OSError):  # before Linux 4.20 it gives more than is asked for
                self._dumps.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
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

    @property
    def routes_left_out(self) -> int:
        """About how many routes through these interfaces are not in the snapshot, because there are too many."""
        return self._view.routes.left_out

    def notes(self) -> tuple[str, ...]:
        """Return what an operator should know of the snapshot, in sentences; most often nothing."""
        if not self.routes_left_out:
            return ()
        text = (
            f"{self.routes_left_out} routes of the main table through the configured interfaces are left out, because "
            f"only {MOST} are followed: a remote backend behind one of them is sent to by a wider route; keep a full "
            "BGP table out of the main table, or name the gateway in `vlans`"
        )
        return (text,)

    def read(self) -> None:
        """Take in what the kernel has said, without waiting; then call `on_change` once if the snapshot has changed.

        If messages were lost (the receive buffer overran), all is asked for anew.
        """
        before = self._view.snapshot()
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
        self._view.snapshot()
        if lost or self._view.lacking:
            self._view, self._ask_again = self._dump(), True
        elif self._view.routes.stale:
            self._ask_for_routes()
            self._ask_again = True
        self._tell(before)

    def want(self, addresses: Iterable[Address], on: Iterable[tuple[int, Address]] = ()) -> None:
        """Name all addresses that must stay resolved; those in no subnet of the interfaces wait until there is one.

        `on` names some with the index of the interface on which to ask for them, whatever its subnets.
        """
        self._addresses, self._on = frozenset(addresses), frozenset(on)
        self._assign()

    def refresh(self, now: float) -> None:
        """Ask the kernel to resolve what is missing and to confirm what is stale; to be called every second.

        `now` is in seconds of a steady clock. The answers come through `read`. Calls `on_change` as `read` does, if the
        routes are not as they were.
        """
        if (self._ask_again or self._view.routes.doubtful) and now >= self._next_asking:
            self._ask_again = False
            self._next_asking = now + self._view.routes.size * _PAUSE_PER_ROUTE
            before = self._view.snapshot()
            self._ask_for_routes()
            self._tell(before)
        for neighbour in self._resolution.due(self._view.state, now):
            request = self._requests.get(neighbour)
            if request is None:
                request = self._requests[neighbour] = resolve_request(*neighbour)
            try:
                # No acknowledgement is asked for; a refusal comes back among the events.
                self._events.sendto(request, (0, 0))
            except OSError:
                self.refused += 1  # out of memory; its turn comes again

    def _tell(self, before: Host) -> None:
        """Call `on_change` if the snapshot is another."""
        after = self._view.snapshot()
        if after is before or after == before:
            return
        if after.interfaces != before.interfaces or after.routes != before.routes:
            self._assign()
        self._on_change()

    def _assign(self) -> None:
        """Find the interfaces of every wanted address anew: that in whose subnet it is, and those of which it is a
        gateway, which alone tell where a link-local one is.
        """
        host = self._view.snapshot()
        reached: dict[Address, set[int]] = {address: set() for address in self._addresses}
        for index, address in self._on:
            reached.setdefault(address, set()).add(index)
        for route in host.routes:
            if route.gateway in reached:
                reached[route.gateway].add(route.interface)
        up = {interface.index for interface in host.interfaces if interface.up}
        subnets = Subnets(host)
        for address, indices in reached.items():
            if (interface := subnets.interface_for(address)) is not None:
                indices.add(interface.index)
        wanted = [(index, address) for address, indices in reached.items() for index in sorted(indices & up)]
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
            if all(self._dump_into(view, request) for request in dump_requests()) and self._dump_routes(view):
                view.lacking = False
                return view
        raise KernelError(
            "list interfaces and neighbours of", "the host", errno.EAGAIN, "they change all the time; see `ip monitor`"
        )

    def _ask_for_routes(self) -> None:
        """Ask for the routes alone; an interface that vanished meanwhile is left to the message that says so."""
        self._dump_routes(self._view)

    def _dump_routes(self, view: View) -> bool:
        """Ask for the routes of the interfaces that are in the view; tell whether those are still there."""
        view.forget_routes()
        whole = True
        for request in route_requests(view.indices):
            try:
                self._dump_into(view, request)
            except KernelError as error:
                # A table is made with its first route (fib_new_table); a device may just have gone.
                if error.errno not in (errno.ENOENT, errno.ENODEV):
                    raise
                whole = whole and error.errno == errno.ENOENT
        return whole

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
                    if packet.kind == RTM_NEWROUTE and view.routes.full and not is_default(packet):
                        view.routes.leave_out()
                    elif (news := decode(packet)) is not None:
                        view.apply(news)
        except OSError as error:
            status = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno or errno.EIO
            raise KernelError("list interfaces, neighbours and routes of", "the host", status) from error
