"""The kernel's routes in a namespace: what they are, and every change of them, in the order in which it came."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address

from tests.lab.namespace import LabError, Namespace
from tests.lab.routers.terms import Change, Prefix, prefix_of

# linux/netlink.h, linux/rtnetlink.h
NETLINK_ROUTE = 0
RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE = 0x40, 0x400
RTM_NEWROUTE, RTM_DELROUTE = 24, 25
RTA_DST, RTA_GATEWAY, RTA_MULTIPATH, RTA_VIA = 1, 5, 9, 18
RT_TABLE_MAIN = 254
RTN_UNICAST = 1
HEADER = struct.Struct("=IHHII")
ROUTE = struct.Struct("=BBBBBBBBI")  # family, bits of destination, of source, tos, table, protocol, scope, type, flags
ATTRIBUTE = struct.Struct("=HH")
HOP = struct.Struct("=HBBi")

EVERYTHING = {"-4": "0.0.0.0/0", "-6": "::/0"}
ROUTING = ("bgp", "bird", "zebra")
"""The protocols (/etc/iproute2/rt_protos) under which routing daemons install; FRR says bgp, BIRD bird."""


def kernel_routes(namespace: Namespace) -> dict[Prefix, tuple[str, ...]]:
    """Return the routes of routing daemons: a prefix and its next hops, sorted."""
    found: dict[Prefix, tuple[str, ...]] = {}
    for family in EVERYTHING:
        for row in json.loads(namespace.run("ip", "-j", family, "route", "show")):
            if row.get("protocol") not in ROUTING:
                continue
            hops = row.get("nexthops", [row])
            via = [hop.get("gateway") or hop.get("via", {}).get("host", "") for hop in hops]
            prefix = prefix_of(EVERYTHING[family] if row["dst"] == "default" else row["dst"])
            found[prefix] = tuple(sorted([*found.get(prefix, ()), *via]))
    return found


def forget_routes(namespace: Namespace) -> None:
    """Remove the routes that killed daemons have left: the next daemon would take them for its own, or for better."""
    lines = [f"{command} route flush proto {name}" for command in ("ip", "ip -6") for name in ROUTING]
    namespace.run("sh", text="\n".join([*lines, ""]))


class KernelWatch:
    """Hears every change of a unicast route of the main table, from the moment it is made.

    The kernel has told of a change before anybody can see it, so whoever asks knows all that he could have seen.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._changes: list[Change] = []
        self._failure = ""
        self._socket = namespace.call(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind((0, RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE))
        self._socket.setblocking(False)
        self._reading = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="kernel routes", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not (self._ending.is_set() or self._failure):
            if select.select([self._socket], [], [], 0.2)[0]:
                self._read()

    def _read(self) -> None:
        with self._reading:
            while True:
                try:
                    data = self._socket.recv(1 << 18)
                except BlockingIOError:
                    return
                except OSError as error:
                    self._failure = f"changes of routes were lost: {error}"
                    return
                self._changes += changes_in(data, time.monotonic())

    def close(self) -> None:
        """Stop listening."""
        self._ending.set()
        self._thread.join()
        self._socket.close()

    def of(self, prefix: Prefix) -> list[Change]:
        """Return the changes of a prefix. Raises LabError if some may be missing."""
        self._read()
        if self._failure:
            raise LabError(self._failure)
        return [change for change in tuple(self._changes) if change.prefix == prefix]


def changes_in(data: bytes, now: float) -> Iterator[Change]:
    """Read the changes out of netlink messages."""
    while len(data) >= HEADER.size:
        length, kind = HEADER.unpack_from(data)[:2]
        body, data = data[HEADER.size : length], data[(length + 3) & ~3 :]
        if kind not in (RTM_NEWROUTE, RTM_DELROUTE):
            continue
        family, bits, _, _, table, _, _, what, _ = ROUTE.unpack_from(body)
        if table != RT_TABLE_MAIN or what != RTN_UNICAST:
            continue
        attributes = list(_attributes(body[ROUTE.size :]))
        zero = bytes(4 if family == socket.AF_INET else 16)
        destination = next((value for name, value in attributes if name == RTA_DST), zero)
        hops = _hops(attributes) if kind == RTM_NEWROUTE else []
        yield Change(now, prefix_of(f"{ip_address(destination)}/{bits}"), tuple(sorted(hops)))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= ATTRIBUTE.size:
        length, name = ATTRIBUTE.unpack_from(data)
        yield name, data[ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


def _hops(attributes: list[tuple[int, bytes]]) -> list[str]:
    found = []
    for name, value in attributes:
        if name == RTA_GATEWAY:
            found.append(str(ip_address(value)))
        elif name == RTA_VIA:
            found.append(str(ip_address(value[2:])))
        elif name == RTA_MULTIPATH:
            while len(value) >= HOP.size:
                length = HOP.unpack_from(value)[0]
                found += _hops(list(_attributes(value[HOP.size : length])))
                value = value[(length + 3) & ~3 :]
    return found


@contextlib.contextmanager
def watching(namespace: Namespace) -> Iterator[KernelWatch]:
    """A watch for the time of the block, for a router that has none of its own."""
    watch = KernelWatch(namespace)
    try:
        yield watch
    finally:
        watch.close()
