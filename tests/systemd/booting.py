"""From a boot to forwarding, without emulation: how long a client waits after the interface is up.

The balancer of the lab is a whole system that boots. Its interface is down until a unit sets it up, as a network
manager does. The service has no checks, and the program has been compiled in an earlier life, as after every stop. All
clocks are one: CLOCK_MONOTONIC of this machine.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from tests.lab.addresses import VIP
from tests.lab.namespace import Namespace, enter
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.netns.scenario_operator import configuration
from tests.systemd.booted import CODE, Booted

CONFIGURATION: Final = configuration(check="")
LIMIT: Final = 60.0
"""Seconds."""
CABLE: Final = """\
[Unit]
Description=The interface, set up as a network manager does
After=network-pre.target
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/ip link set eth0 up
[Install]
WantedBy=multi-user.target
"""


class Client:
    """Asks for a connection to the VIP every few milliseconds, until there is one."""

    def __init__(self, space: Namespace) -> None:
        self.answered = 0.0
        """When there was one."""
        self._space = space
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        enter(self._space.path)
        while not self._over.is_set():
            with suppress(OSError), socket.create_connection((str(VIP), 80), timeout=0.1):
                self.answered = time.monotonic()
                return
            time.sleep(0.005)


@dataclass(frozen=True)
class Boot:
    """Moments of a boot, in seconds since the power came."""

    interface: float
    """It is up."""
    ground: float
    """vc5-netns.service begins."""
    daemon: float
    """vc5.service begins."""
    ready: float
    """The daemon says that it is ready."""
    answered: float
    """The client has its connection."""

    def __str__(self) -> str:
        return (
            f"forwarding {self.answered - self.interface:.2f} s after the interface was up; after the power came: "
            f"interface {self.interface:.2f} s, vc5-netns {self.ground:.2f} s, vc5 {self.daemon:.2f} s, "
            f"ready {self.ready:.2f} s, answer {self.answered:.2f} s"
        )


@contextmanager
def enabled(lab: Lab, system: Booted) -> Iterator[None]:
    """Have the daemon start at boots, as it is installed, with a program from an earlier start."""
    system.configure(CONFIGURATION)
    system.run("python3", "-m", "compileall", "-q", f"/{CODE}")  # the package's postinst does that
    system.file("/etc/systemd/system/cable.service").write_text(CABLE)
    system.run("systemctl", "enable", "cable.service", "vc5.service")
    system.run("systemctl", "start", "vc5.service")
    system.run("systemctl", "stop", "vc5.service")
    try:
        yield
    finally:
        system.run("systemctl", "disable", "--now", "cable.service", "vc5.service")
        lab.balancer.run("ip", "link", "set", "eth0", "up")


def boot(lab: Lab, system: Booted) -> Boot:
    """Boot once, and wait until the client is answered. Raises LabError."""
    system.power_off()
    lab.balancer.run("ip", "link", "set", "eth0", "down")
    with Client(lab.client) as client:
        began = time.monotonic()
        system.boot()
        wait_for("an answer", lambda: client.answered, LIMIT)

    def moment(unit: str, name: str) -> float:
        return int(system.show(unit, f"{name}TimestampMonotonic")) / 1e6 - began

    return Boot(
        moment("cable.service", "ExecMainExit"),
        moment("vc5-netns.service", "ExecMainStart"),
        moment("vc5.service", "ExecMainStart"),
        moment("vc5.service", "ActiveEnter"),
        client.answered - began,
    )
