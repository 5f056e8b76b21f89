"""ns per packet of the real program on each of its paths, beside the floor in the same run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address

from appliance.dataplane.compile import compile_text
from appliance.dataplane.enums import Reason
from appliance.dataplane.generation import Generation
from appliance.dataplane.kernel import Program, Verdict
from bench.balancer import BACKENDS, MACS, PORT, VIPS, balancer, desired, services
from bench.driver import BATCH, Case, Driver, Timing, source
from bench.report import Row
from bench.traffic import SYN, Traffic, tcp4

FLOWS = (1, 10_000, 100_000, 1_000_000, 10_000_000)
FLOOR_LIMIT = 1.6
"""The budget: steady state, all default features, against the floor; the driver is in both figures."""
FLOWS_LIMIT = 1.15
"""The budget: at 10 M flows against its own figure for one flow."""
LABELS: dict[str, str | int] = {"mode": "simple", "family": 4, "tunnel": "none"}


@dataclass(frozen=True)
class _Pair:
    """The program and its floor on the same traffic."""

    name: str
    flows: int
    floor: Timing
    ours: Timing
    driver: Timing
    decisions: Mapping[str, float]
    """How often per packet the program counted what, where it counts by reason (forwarding it counts by backend)."""

    def row(self, limit: float | None = None) -> Row:
        net = (self.ours.median - self.driver.median) / max(0.1, self.floor.median - self.driver.median)
        more = {
            "spread": [self.ours.low, self.ours.high],
            "floor_spread": [self.floor.low, self.floor.high],
            "driver": self.driver.median,
            "net_ratio": net,
            "decisions": dict(self.decisions),
        }
        labels = {**LABELS, "flows": self.flows}
        return Row(self.name, self.ours.median, "ns", labels, self.floor.median, limit, "ratio", more)


def run() -> list[Row]:
    """Measure every path; returns their rows."""
    with ExitStack() as stack:
        generation, tables = stack.enter_context(balancer())
        bench = _Bench(generation, stack.enter_context(_load("bench_floor")))
        steady = stack.enter_context(Driver(tcp4(VIPS, PORT)))
        pairs = bench.compare(steady, "steady", FLOWS)
        rows = [pair.row(FLOOR_LIMIT) for pair in pairs]
        rows.append(_growth(pairs))
        rows += _elsewhere(bench)
        # Every backend is replaced by another, and the old ones drain: now every slot is tracked.
        tables.apply(desired(services(BACKENDS, draining=range(BACKENDS))))
        rows += [pair.row() for pair in bench.compare(steady, "tracked-hit", FLOWS[:3], warm=True)]
        # As many flows as the table remembers, then more: packets find their set full of others.
        rows += [pair.row() for pair in bench.compare(steady, "tracked-crowded", FLOWS[3:], warm=True)]
        with Driver(tcp4(VIPS, PORT, flags=SYN)) as driver:
            rows += [pair.row() for pair in bench.compare(driver, "tracked-syn", (10_000, 10_000_000), warm=True)]
        grow = stack.enter_context(_load("bench_grow"))
        times = steady.measure([Case("grow", grow, 1)])
        rows.append(Row("adjust-head-floor", times["grow"].median, "ns", LABELS))
        return rows


def _elsewhere(bench: _Bench) -> list[Row]:
    """Measure the paths that lead past the settled slots, on a balancer in steady state."""
    rows: list[Row] = []
    stranger = tuple(IPv4Address("198.51.100.0") + number for number in range(64))
    cases: list[tuple[str, Traffic, Verdict, Verdict, int]] = [
        ("syn", tcp4(VIPS, PORT, flags=SYN), Verdict.TX, Verdict.TX, BATCH),
        ("not-vip", tcp4(stranger, PORT), Verdict.PASS, Verdict.PASS, BATCH),
        # This one leaves by tail call, and a run may make only so many.
        ("unknown-port", tcp4(VIPS, PORT + 1), Verdict.PASS, Verdict.DROP, BATCH // 2),
    ]
    for name, traffic, floor_verdict, verdict, batch in cases:
        with Driver(traffic, batch) as driver:
            pairs = bench.compare(driver, name, (10_000,), verdict=verdict, floor_verdict=floor_verdict)
            rows += [pair.row() for pair in pairs]
    return rows


class _Bench:
    """The program under test beside its floor."""

    def __init__(self, generation: Generation, floor: Program) -> None:
        self._memory = generation.memory
        self._ours = generation.programs["vc5_main"]
        self._floor = floor

    def compare(
        self,
        driver: Driver,
        name: str,
        flows: Sequence[int],
        *,
        verdict: Verdict = Verdict.TX,
        floor_verdict: Verdict = Verdict.TX,
        warm: bool = False,
    ) -> list[_Pair]:
        """Measure driver, floor and program at each number of flows, all interleaved."""
        ours = {count: Case(f"{name} ours {count}", self._ours, count, verdict, warm) for count in flows}
        cases = []
        for count in flows:
            cases.append(Case(f"{name} driver {count}", driver.idle, count))
            cases.append(Case(f"{name} floor {count}", self._floor, count, floor_verdict))
            cases.append(ours[count])
        times = driver.measure(cases)
        pairs = []
        for count in flows:
            floor, mine, alone = (times[f"{name} {what} {count}"] for what in ("floor", "ours", "driver"))
            pairs.append(_Pair(name, count, floor, mine, alone, self._decisions(driver, ours[count])))
        return pairs

    def _decisions(self, driver: Driver, case: Case) -> dict[str, float]:
        """Return what the program counts per packet: it shows that the path meant was the path measured."""
        before = [self._memory.reason(reason) for reason in Reason]
        packets = driver.run_packets(case, 10_000)
        found = {str(reason): self._memory.reason(reason) - was for reason, was in zip(Reason, before, strict=True)}
        return {reason: count / packets for reason, count in found.items() if count}


def _growth(pairs: Sequence[_Pair]) -> Row:
    """Return what the number of flows costs: the figure for most flows against that for one."""
    one, most = pairs[0], pairs[-1]
    labels = {**LABELS, "flows": most.flows, "against": one.flows}
    return Row("steady-growth", most.ours.median, "ns", labels, one.ours.median, FLOWS_LIMIT, "ratio")


def _load(function: str) -> Program:
    """Compile and load one of the floors."""
    high, low = (int.from_bytes(part, sys.byteorder) for part in (MACS[:8], MACS[8:]))
    given = {"VIP": int(VIPS[0]), "VIPS": len(VIPS), "PORT": PORT, "MACS_HIGH": high, "MACS_LOW": low}
    return Program.load(function, compile_text(source("floor.c", given), [function]).code[function])
