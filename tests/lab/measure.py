"""What the loaded program costs, counted by the kernel.

While somebody holds the descriptor of BPF_ENABLE_STATS the kernel counts the runs of all programs and the time in them
(what the sysctl kernel.bpf_stats_enabled does, but it ends with the descriptor, however this process ends).
The kernel reads its clock around every run, and that is in the figure; so an empty program is measured beside it.
"""

from __future__ import annotations

import ctypes
import os
import socket
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.dataplane.kernel import Link, Program, Verdict
from tests.lab import xdp
from tests.lab.namespace import Namespace
from tests.lab.xdp import Instruction, checked, libbpf

RUN_TIME = 0  # enum bpf_stats_type in include/uapi/linux/bpf.h
EMPTY = (Instruction(xdp.MOVE, 0, 0, 0, xdp.XDP_PASS), Instruction(xdp.EXIT, 0, 0, 0, 0))
EMPTY_RUNS = 20_000
ROUNDS = 50
REPEAT = 200
"""Runs in one round of `warm`: each meets the frame that the one before left, so the TTL must outlast them."""


@dataclass(frozen=True)
class Cost:
    """Nanoseconds a packet, and those of an empty program measured in the same way."""

    packets: int
    ns: float
    empty_ns: float


@contextmanager
def counting() -> Iterator[None]:
    """Have the kernel count runs for the time of the block. Raises LabError where it is not allowed (CAP_SYS_ADMIN)."""
    libbpf().bpf_enable_stats.argtypes = (ctypes.c_int,)
    descriptor = checked(libbpf().bpf_enable_stats(RUN_TIME), "have the kernel count the runs of programs")
    try:
        yield
    finally:
        os.close(descriptor)


def attached_program(pins: Path, interface: str = "eth0") -> Program:
    """Open the program that the daemon with these pins has on an interface. Raises KernelError or FileNotFoundError."""
    with Link.open(pins / "links" / interface) as link:
        wanted = link.info().program_id
    for path in sorted(pins.glob("*/*/vc5_main")):
        program = Program.open(path)
        if program.info().id == wanted:
            return program
        program.close()
    raise FileNotFoundError(f"{pins}: the program on {interface} is none of those that are pinned")


@contextmanager
def _empty_program() -> Iterator[Program]:
    with Program.load("empty", b"".join(bytes(instruction) for instruction in EMPTY)) as program:
        yield program


class Meter:
    """Counts the runs of a program between two moments; use inside `counting`."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._before = program.run_statistics()

    def cost(self) -> Cost:
        """Return the mean cost of the runs since the beginning; 0 ns where there was none."""
        after = self._program.run_statistics()
        packets = after.runs - self._before.runs
        ns = (after.nanoseconds - self._before.nanoseconds) / packets if packets else 0.0
        with _empty_program() as empty:
            empty.test_run(bytes(64), repeat=EMPTY_RUNS)
            clock = empty.run_statistics()
        return Cost(packets, ns, clock.nanoseconds / max(1, clock.runs))


def warm(program: Program, frame: bytes, namespace: Namespace, interface: str = "eth0") -> Cost | None:
    """Return the median cost of a frame of one flow that the program forwards, by test runs, caches warm.

    The program's own counters count these runs. None where it does something else than send the frame out again.
    """

    def rounds() -> Cost | None:
        index = socket.if_nametoindex(interface)
        runs = [program.test_run(frame, repeat=REPEAT, ingress_ifindex=index) for _ in range(ROUNDS)]
        if any(run.verdict is not Verdict.TX for run in runs):
            return None
        with _empty_program() as empty:
            floor = [empty.test_run(frame, repeat=REPEAT).ns for _ in range(ROUNDS)]
        return Cost(ROUNDS * REPEAT, statistics.median(run.ns for run in runs), statistics.median(floor))

    return namespace.call(rounds)
