"""A network namespace of this thread alone, with the routes that answers from behind NAT are to take."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

from appliance.dataplane.model.nat import Route, Routes, Way
from appliance.model import Address

CLONE_NEWNET = 0x40000000
NAME = "way0"
NEAR, FAR = bytes.fromhex("020000007701"), bytes.fromhex("020000007702")
NARROW = 600
"""The MTU of one route, bytes."""
WAYS = {
    "198.51.100.7": Way.KNOWN,
    "198.51.100.8": Way.UNRESOLVED,
    "198.51.100.9": Way.NONE,
    "198.51.100.10": Way.KNOWN,
    "10.77.0.1": Way.LOCAL,
    "2001:db8:9::7": Way.KNOWN,
    "2001:db8:9::8": Way.UNRESOLVED,
    "2001:db8:9::9": Way.NONE,
    "2001:db8:9::a": Way.KNOWN,
    "fd77::1": Way.LOCAL,
}
NARROWED = "198.51.100.10"
"""The route to it takes no more than NARROW."""


def _mac(mac: bytes) -> str:
    return mac.hex(":")


COMMANDS = f"""
link set lo up
link add {NAME} address {_mac(NEAR)} mtu 9000 type veth peer name way1
link set way1 up
link set {NAME} up
address add 10.77.0.1/24 dev {NAME}
address add fd77::1/64 dev {NAME} nodad
neighbour add 10.77.0.2 lladdr {_mac(FAR)} dev {NAME}
neighbour add fd77::2 lladdr {_mac(FAR)} dev {NAME}
route add 198.51.100.7 via 10.77.0.2
route add 198.51.100.8 via 10.77.0.3
route add blackhole 198.51.100.9
route add {NARROWED} via 10.77.0.2 mtu lock {NARROW}
route add 2001:db8:9::7 via fd77::2
route add 2001:db8:9::8 via fd77::3
route add blackhole 2001:db8:9::9
route add 2001:db8:9::a via fd77::2
"""


@contextmanager
def routed() -> Iterator[Routes]:
    """Move this thread into a namespace with these routes; yields what they say, and moves back."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as former:
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
            subprocess.run(["ip", "-batch", "-"], input=COMMANDS, text=True, check=True, capture_output=True)
            yield _routes(socket.if_nametoindex(NAME))
        finally:
            if libc.setns(former.fileno(), CLONE_NEWNET):
                os._exit(70)


def _routes(interface: int) -> Routes:
    table: dict[Address, Route] = {}
    for text, way in WAYS.items():
        known = way is Way.KNOWN
        mtu = NARROW if text == NARROWED else 9000
        table[ip_address(text)] = Route(way, interface if known else 0, FAR + NEAR if known else b"", mtu)
    return lambda address: table.get(address, Route(Way.LOCAL))
