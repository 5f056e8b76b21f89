"""Measures ns per packet of loaded programs, each packet of another flow.

A plain test run repeats its *own output*: the TTL falls, the packet grows, the flow stays the same. And the kernel's
loop around each run costs about 26 ns, twice the floor. So a driver program (driver.c) stands in front: in one run it
writes fresh headers 32 times and calls the program under test on them, which spreads the loop to under 1 ns a packet.

How a BPF program calls another that does not know of it: by tail call from a *subprogram*. The called program ends in
the subprogram's caller (kernel 5.10 on x86-64, 6.0 on arm64), so the driver gets the frame back and goes on. A run may
make 33 tail calls (MAX_TAIL_CALL_CNT), hence 32 packets; a program that makes one itself is measured with 16. bcc
builds no subprograms, so they are put together here: driver and subprogram are compiled apart, laid one behind the
other, and the call gets the distance (a BPF_PSEUDO_CALL).

What else was considered: `freplace` needs BTF and measures a program that is compiled as a subprogram, not the one that
will be attached; live frames (BPF_F_TEST_XDP_LIVE_FRAMES) measure the page pool and a device; a tail call from the main
program is one packet for each run, 26 ns of loop included.

The driver's own cost (with a program that only answers XDP_TX) is measured beside the others and reported. The ratios
of the budget have it in both figures; the net ratio has it in neither, and says little where the floor is so short that
the processor runs it beside the driver.

Against noise: on a shared machine the clock and the neighbours change within tenths of a second, by more than what is
measured. So cases are measured in many short rounds, one behind the other, some 20 ms apart; and every second round
goes backwards, so that none always has the warmer machine. A ratio is taken in each round, from two samples of that
round, and the median of these ratios counts: what slows both for a while cancels out, and a round in which only one was
hit is one outlier among many.
"""

from __future__ import annotations

import statistics
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from appliance.dataplane.compile import compile_text
from appliance.dataplane.kernel import Map, Program, Verdict
from appliance.dataplane.spec import BPF_F_MMAPABLE, MapKind, MapSpec, relocate
from bench.traffic import CLIENTS, MAX_FLOWS, Traffic

BATCH = 32
ROUNDS = 21
ROUND_NS = 3_000_000
"""How long one case runs in one round, about. Each run costs some 15 ms more: for the time of a run, the kernel enters
the program into the XDP dispatcher, and waits for all CPUs to see that."""
AREA, PROGRAMS = 1, 2
COMMON = 64
"""Where the headers begin in the table, bytes; what is each one's own lies behind what all have in common."""
TYPES = {4: "u32", 8: "u64"}
STEP = 0x00B5_7E95
"""A helper number that no kernel has; the call becomes one of the subprogram."""
_INSTRUCTION = 8
_CALL = 0x85
_PSEUDO_CALL = 1


@dataclass(frozen=True)
class Case:
    """One thing to measure: a loaded program, the flows that it meets, the verdict that it must give.

    `warm` sends every flow through once before the first round. `label` keeps cases apart. A case that is no side of a
    ratio need not run in every round but only in `every` so many.
    """

    label: str
    program: Program
    flows: int
    verdict: Verdict = Verdict.TX
    warm: bool = False
    every: int = 1
    start: int = 0
    """The flow that comes first."""


@dataclass(frozen=True)
class Timing:
    """ns per packet over all rounds, or how many times another's in the same round: the median and the quartiles."""

    median: float
    low: float
    high: float
    samples: tuple[float, ...]

    def over(self, floor: Timing) -> Timing:
        """Return how many times the floor: the ratio of each round, of which again the median counts."""
        pairs = zip(self.samples, floor.samples, strict=True)
        return timing([ours / max(theirs, 1e-3) for ours, theirs in pairs])


class Driver:
    """The driver program, its table, and the place where the program under test goes."""

    def __init__(self, traffic: Traffic, batch: int = BATCH) -> None:
        self._traffic = traffic
        self._batch = batch
        self._next: dict[str, int] = {}
        with ExitStack() as stack:
            common = -(-traffic.headers // 8) * 8
            own = [(at, size) for at, size in traffic.stores if traffic.differs(at, size)]
            size = COMMON + common + 8 * max(1, len(own)) * len(traffic.frames)
            area = stack.enter_context(Map.create(MapSpec("bench_area", MapKind.ARRAY, 4, size, 1, BPF_F_MMAPABLE)))
            self._slot = stack.enter_context(Map.create(MapSpec("bench_program", MapKind.PROG_ARRAY, 4, 4, 1)))
            self._memory = area.memory()
            self._memory[COMMON : COMMON + common] = traffic.frames[0][:common]
            for number, frame in enumerate(traffic.frames):
                for index, (at, length) in enumerate(own):
                    place = COMMON + common + 8 * (number * len(own) + index)
                    self._memory[place : place + length] = frame[at : at + length]
            code = compile_text(self._text(), ["bench_driver", "bench_step", "bench_idle"]).code
            linked = link(code["bench_driver"], code["bench_step"])
            fds = {AREA: area.fd, PROGRAMS: self._slot.fd}
            functions = {"bench_driver": 0, "bench_step": len(code["bench_driver"]) // _INSTRUCTION}
            program = Program.load("bench_driver", relocate(linked, fds), functions=functions)
            self._driver = stack.enter_context(program)
            self.idle = stack.enter_context(Program.load("bench_idle", code["bench_idle"]))
            """Answers XDP_TX and nothing else."""
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.release()
        self._stack.close()

    def measure(self, cases: Sequence[Case], *, rounds: int = ROUNDS, round_ns: int = ROUND_NS) -> dict[str, Timing]:
        """Measure all cases in interleaved rounds; returns their timings by label.

        Raises ValueError when a program does not answer with the verdict that its case promises: a benchmark of the
        wrong path is worse than none.
        """
        repeats = {case.label: self._prepare(case, round_ns) for case in cases}
        samples: dict[str, list[float]] = {case.label: [] for case in cases}
        for number in range(rounds):
            for case in reversed(cases) if number % 2 else cases:
                if number % case.every == 0:
                    samples[case.label].append(self.run(case, repeats[case.label]))
        return {label: timing(values) for label, values in samples.items()}

    def run(self, case: Case, repeat: int) -> float:
        """Send `repeat` batches through a case's program, where its flows left off; returns ns per packet."""
        if not 0 < case.flows <= MAX_FLOWS:
            raise ValueError(f"{case.label}: {case.flows} flows; the driver tells 1 to {MAX_FLOWS} apart")
        self._slot.update(bytes(4), case.program.fd.to_bytes(4, sys.byteorder))
        flow = self._next.get(case.label, case.start)
        struct.pack_into("=IIII", self._memory, 0, flow, case.flows, int(CLIENTS), self._traffic.sum())
        result = self._driver.test_run(self._traffic.frames[0], repeat=repeat)
        self._next[case.label] = struct.unpack_from("=I", self._memory)[0]
        if result.verdict is not case.verdict:
            raise ValueError(f"{case.label}: the program answers {result.verdict.name}, not {case.verdict.name}")
        return result.ns / self._batch

    def run_packets(self, case: Case, packets: int) -> int:
        """Send at least so many packets through a case's program; returns how many they were."""
        repeat = -(-packets // self._batch)
        self.run(case, repeat)
        return repeat * self._batch

    def _prepare(self, case: Case, round_ns: int) -> int:
        """Bring caches and tables into the state that is measured; returns how many batches fill a round."""
        if case.warm:
            self.run_packets(case, case.flows)
        ns = self.run(case, 2_000)
        return max(1, int(round_ns / (ns * self._batch)))

    def _text(self) -> str:
        traffic = self._traffic
        given: dict[str, int | str] = {
            "BATCH": self._batch,
            "LENGTH": len(traffic.frames[0]),
            "WORDS": -(-traffic.headers // 8),
            "FRAMES": len(traffic.frames),
            "OWN": max(1, sum(traffic.differs(*store) for store in traffic.stores)),
            "SOURCE": traffic.source,
            "CHECK": traffic.check or 0,
            "STEP": STEP,
            "STORES": "; ".join(_stores(traffic)),
        }
        return source("driver.c", given)


def _stores(traffic: Traffic) -> Iterator[str]:
    """Yield the statements that write a header."""
    own = 0
    for at, size in traffic.stores:
        if traffic.differs(at, size):
            yield f"BENCH_ITS({at}, {TYPES[size]}, {own})"
            own += 1
        else:
            yield f"BENCH_COMMON({at}, {TYPES[size]})"


def source(name: str, given: Mapping[str, int | str]) -> str:
    """Return the text of a C file of this directory behind its constants."""
    lines = [
        f"#define BENCH_{key} {value:#x}ULL"
        if isinstance(value, int) and value >> 31
        else f"#define BENCH_{key} {value}"
        for key, value in given.items()
    ]
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return "\n".join([*lines, f'#line 1 "{name}"', text])


def link(main: bytes, step: bytes) -> bytes:
    """Lay a subprogram behind the main program and point the marked calls at it."""
    linked = bytearray(main + step)
    calls = 0
    for offset in range(0, len(main), _INSTRUCTION):
        opcode, immediate = linked[offset], int.from_bytes(linked[offset + 4 : offset + 8], sys.byteorder)
        if opcode == _CALL and immediate == STEP:
            calls += 1
            linked[offset + 1] = _PSEUDO_CALL << 4 if sys.byteorder == "little" else _PSEUDO_CALL
            distance = (len(main) - offset) // _INSTRUCTION - 1
            linked[offset + 4 : offset + 8] = distance.to_bytes(4, sys.byteorder)
    if not calls:
        raise ValueError("the driver calls no subprogram")
    return bytes(linked)


def timing(values: list[float]) -> Timing:
    """Sum up the samples of all rounds."""
    if len(values) < 2:
        return Timing(values[0], values[0], values[0], tuple(values))
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Timing(median, low, high, tuple(values))
