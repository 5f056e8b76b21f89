"""A network namespace of this thread alone that forwards, with a route to all clients."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.traffic import CLIENTS

CLONE_NEWNET = 0x40000000
NAME = "way0"
COMMANDS = f"""
link set lo up
link add {NAME} type veth peer name way1
link set way1 up
link set {NAME} up
address add 192.168.77.1/24 dev {NAME}
neighbour add 192.168.77.2 lladdr 02:00:00:00:77:02 dev {NAME}
route add {CLIENTS}/8 via 192.168.77.2
"""


@contextmanager
def way() -> Iterator[int]:
    """Move this thread there; yields the index of the interface that leads to the clients, and moves back."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as former:
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            subprocess.run(["ip", "-batch", "-"], input=COMMANDS, text=True, check=True, capture_output=True)
            yield socket.if_nametoindex(NAME)
        finally:
            if libc.setns(former.fileno(), CLONE_NEWNET):
                os._exit(70)
