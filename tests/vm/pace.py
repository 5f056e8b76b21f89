"""How long a balancer's processor takes for a packet, in a machine in which one of two processors does nothing else.

    client card0 10.1.10.1 -+- hub -+- balancer card1 10.1.10.5      interrupts of card1: processor 1
                                    +- b1       card2 10.1.10.11     everything else:     processor 0
                                    +- b2       card3 10.1.10.12

The client sends datagrams of many flows to the VIP as fast as it can; nobody answers. The time that processor 1 was
busy, over what the backends got, is the cost of a packet: receiving, choosing, sending.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.lab.addresses import VIP
from tests.lab.namespace import LabError, Namespace, run

PORT: Final = 5000
HOSTS: Final = {
    "client": ("card0", "10.1.10.1"),
    "balancer": ("card1", "10.1.10.5"),
    "b1": ("card2", "10.1.10.11"),
    "b2": ("card3", "10.1.10.12"),
}
BACKENDS: Final = ("b1", "b2")
OTHERS, BALANCING = 0, 1
"""Processors."""
FLOWS: Final = 200
PAYLOAD: Final = bytes(64)
TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds; what /proc/stat counts in."""


@dataclass(frozen=True)
class Busy:
    """Seconds of the balancing processor: all but idle ones, and those in software interrupts.

    The kernel measures how long a processor is idle, and the rest is what counts; the share of software interrupts is
    sampled at ticks, and but a hint.
    """

    busy: float
    softirq: float

    @classmethod
    def now(cls) -> Self:
        """Return the seconds since some time."""
        [line] = [line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{BALANCING} ")]
        _user, _nice, _system, idle, wait, _irq, softirq = map(int, line.split()[1:8])
        return cls(time.monotonic() - (idle + wait) * TICK, softirq * TICK)

    def __sub__(self, earlier: Busy) -> Busy:
        return Busy(self.busy - earlier.busy, self.softirq - earlier.softirq)


@dataclass(frozen=True)
class Cost:
    """Of one way of balancing: packets that reached a backend, those that were sent, microseconds of each."""

    sent: int
    packets: int
    busy: float
    softirq: float

    def __str__(self) -> str:
        return f"{self.busy:.1f} us busy, {self.softirq:.1f} us of it softirq ({self.packets} of {self.sent} packets)"


class Range:
    """The four hosts, standing."""

    def __init__(self) -> None:
        self.spaces = {name: Namespace(f"vc5pace-{os.getpid()}-{name}") for name in HOSTS}
        self._stack = ExitStack()
        self._devices = {card: Path("/sys/class/net", card, "device").resolve().name for card, _ in HOSTS.values()}

    def __enter__(self) -> Self:
        os.sched_setaffinity(0, {OTHERS})  # processes started from here on stay there, too
        try:
            for name, (card, address) in HOSTS.items():
                run("ip", "netns", "add", self.spaces[name].name)
                run("ip", "link", "set", card, "netns", self.spaces[name].name)
                lines = [f"address add {address}/24 dev {card}", f"link set {card} up", "link set lo up"]
                if name == "client":
                    lines.append(f"route add {VIP} via {HOSTS['balancer'][1]}")
                if name in BACKENDS:
                    lines.append(f"address add {VIP}/32 dev lo")
                self.spaces[name].run("ip", "-batch", "-", text="\n".join([*lines, ""]))
            for name in BACKENDS:
                self._stack.enter_context(self.spaces[name].call(self._sink))
            self._steer()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the namespaces; the cards come back to where they were."""
        self._stack.close()
        for space in self.spaces.values():
            with suppress(LabError):
                run("ip", "netns", "delete", space.name)

    def _sink(self) -> socket.socket:
        """Take what comes, so that no error messages go back; nobody reads it."""
        taking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        taking.bind((str(VIP), PORT))
        return taking

    def _steer(self) -> None:
        """Give the interrupts of the balancer's card to one processor, and all others and this process to the other."""
        mine = self._devices[HOSTS["balancer"][0]]
        for line in Path("/proc/interrupts").read_text().splitlines():
            if found := re.match(r"\s*(\d+):.*\b(virtio\d+)-", line):
                chosen = BALANCING if found[2] == mine else OTHERS
                with suppress(OSError):  # some cannot be moved
                    Path("/proc/irq", found[1], "smp_affinity").write_text(f"{1 << chosen:x}")

    @contextmanager
    def flows(self) -> Iterator[list[socket.socket]]:
        """Yield sockets of the client, connected to the VIP."""

        def connect() -> socket.socket:
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.connect((str(VIP), PORT))
            return one

        with ExitStack() as stack:
            yield [stack.enter_context(self.spaces["client"].call(connect)) for _ in range(FLOWS)]

    def arrived(self) -> dict[str, int]:
        """Return the frames that each backend's card has taken."""
        return {name: self.spaces[name].statistics()[HOSTS[name][0]]["rx_packets"] for name in BACKENDS}

    def measure(self, seconds: float) -> Cost:
        """Send for so long. Whatever else has the processor meanwhile, in the machine and without, adds to the cost."""
        with self.flows() as flows:
            for flow in flows:  # neighbours, flow tables
                flow.send(PAYLOAD)
            time.sleep(0.5)
            first, before, began, sent = self.arrived(), Busy.now(), time.monotonic(), 0
            while time.monotonic() < began + seconds:
                for flow in flows:
                    flow.send(PAYLOAD)
                sent += len(flows)
            time.sleep(0.3)
            spent, last = Busy.now() - before, self.arrived()
        got = {name: last[name] - first[name] for name in BACKENDS}
        assert min(got.values()) > 0, got
        packets = sum(got.values())
        return Cost(sent, packets, 1e6 * spent.busy / packets, 1e6 * spent.softirq / packets)
