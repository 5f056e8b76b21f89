"""A sign of life for the service manager (sd_notify(3), WatchdogSec=): a process that hangs is started anew.

Without a service manager that listens, nothing happens.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def alive() -> None:
    """Tell that this process works; never waits, and it is no fault if nobody takes it."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
        end.setblocking(False)
        end.sendto(b"READY=1\nWATCHDOG=1", address)  # who is alive is ready; said again, that is nothing new
