"""What systemd is told of the daemon (sd_notify(3)); outside systemd nothing happens."""

from __future__ import annotations

import os
import socket
import time

import sdnotify


class Notifier:
    """Sends states to the service manager."""

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        self.heard = bool(os.environ.get("NOTIFY_SOCKET"))
        """Whether there is a service manager that is told."""
        self._status = ""
        self._allowed = _watchdog_usec()
        self.watchdog = self._allowed / 3e6 if self._allowed else None
        """How often to call `alive`: a third of the time that systemd allows; None where it watches nothing."""

    def ready(self, status: str) -> None:
        """Start-up or a reload is complete."""
        self._status = status
        self._notifier.notify(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """A reload has begun."""
        self._status = "reloading"
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reloading")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; said again it is not sent again."""
        if text != self._status:
            self._status = text
            self._notifier.notify(f"STATUS={text}")

    def stopping(self) -> None:
        """The daemon is going to end."""
        self._notifier.notify("STOPPING=1\nSTATUS=stopping")

    def alive(self) -> None:
        """Keep the watchdog quiet."""
        self._notifier.notify("WATCHDOG=1")

    def watch_less(self, seconds: float) -> None:
        """Have the watchdog wait so long: after an exec it is armed, and code has to be read before anyone is alive."""
        if self._allowed:
            self._notifier.notify(f"WATCHDOG=1\nWATCHDOG_USEC={int(seconds * 1e6)}")

    def watch_again(self) -> None:
        """Have the watchdog wait as long as the unit says."""
        if self._allowed:
            self._notifier.notify(f"WATCHDOG=1\nWATCHDOG_USEC={self._allowed}")

    def store(self, name: str, descriptor: int) -> None:
        """Have a copy of a descriptor held under this name, for the next start; what is not held is not missed."""
        place = os.environ.get("NOTIFY_SOCKET", "")
        if not place:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
                end.connect("\0" + place[1:] if place.startswith("@") else place)
                socket.send_fds(end, [f"FDSTORE=1\nFDNAME={name}".encode()], [descriptor])
        except OSError:
            return

    def forget(self, name: str) -> None:
        """Have what is held under this name held no more."""
        self._notifier.notify(f"FDSTOREREMOVE=1\nFDNAME={name}")

    def extend(self, seconds: float) -> None:
        """Ask for so much more time to start or stop."""
        self._notifier.notify(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")


def _watchdog_usec() -> int:
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    return int(usec) if usec.isdigit() and (not pid or pid == str(os.getpid())) else 0
