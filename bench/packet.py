"""ns per packet of the real program on each of its paths, beside the floor in the same run.

    steady            settled slots: nearly all packets, nearly all of the time
    udp-steady        the same with datagrams, on a balancer of UDP services
    nat               the same to backends behind NAT: address and port rewritten
    nat-return        their answers, back to the clients by the host's routes; its floor passes them
    syn               a new connection, in steady state
    not-vip           for the host: passed
    unknown-port      a VIP without a service on this port: dropped, by the second program
    icmp-error        "fragmentation needed" about a flow of a service: to its backend, by the third program
    fragment          the first fragment of a datagram, which is remembered; likewise
    tracked-miss      every backend has been replaced and drains, every packet is the first of an older flow
    tracked-syn       every packet begins a connection, which is remembered
    tracked-hit       the flow is remembered; at 1 M flows the flow table is as good as full
    tracked-full      it is not, and its set is full: it mostly takes the place of a candidate

`decisions` in the JSON is what the program counted for each packet: it shows that the path meant was the path measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address

from appliance.dataplane.desired import Outlet
from appliance.dataplane.enums import Reason
from appliance.dataplane.generation import Generation
from appliance.dataplane.kernel import Program, Verdict
from appliance.model import Protocol
from bench.balancer import BACKEND, BACKENDS, LOOPBACK, MAPPED, PORT, VIPS, balancer, desired, services
from bench.driver import BATCH, ROUNDS, Case, Driver, Timing
from bench.floors import floor_text, load_floor
from bench.report import Row
from bench.traffic import SYN, Traffic, answer4, fragment4, icmp_error4, tcp4, udp4
from bench.way import way

FLOWS = (1, 10_000, 100_000, 1_000_000, 10_000_000)
FLOOR_LIMIT = 1.6
"""The budget: steady state, all default features, against the floor; the driver is in both figures."""
FLOWS_LIMIT = 1.15
"""The budget: at 10 M flows against its own figure for one flow."""
LABELS: dict[str, str | int] = {"mode": "simple", "family": 4, "tunnel": "none"}
ANSWERING = 8
"""Backends that answer from behind NAT, each for another service; a power of two."""
MANY_ROUNDS = 61
"""For the figures that have a limit."""


@dataclass(frozen=True)
class Pair:
    """The program and its floor on the same traffic."""

    name: str
    flows: int
    floor: Timing
    ours: Timing
    driver: Timing
    decisions: Mapping[str, float]
    """How often per packet the program counted what, where it counts by reason (forwarding it counts by backend)."""

    def row(self, limit: float | None = None) -> Row:
        ratio = self.ours.over(self.floor)
        more = {
            "spread": [self.ours.low, self.ours.high],
            "floor_spread": [self.floor.low, self.floor.high],
            "ratio_spread": [ratio.low, ratio.high],
            "driver": self.driver.median,
            "net_ratio": (self.ours.median - self.driver.median) / max(0.1, self.floor.median - self.driver.median),
            "decisions": dict(self.decisions),
        }
        labels = {**LABELS, "flows": self.flows}
        return Row(
            self.name, self.ours.median, "ns", labels, self.floor.median, limit, "ratio", more, paired=ratio.median
        )


def run() -> list[Row]:
    """Measure every path; returns their rows."""
    with ExitStack() as stack:
        generation, tables = stack.enter_context(balancer())
        bench = Bench(generation, stack.enter_context(floor("bench_floor")))
        driver = stack.enter_context(Driver(tcp4(VIPS, PORT)))
        rows = [pair.row(FLOOR_LIMIT) for pair in bench.compare(driver, "steady", FLOWS, rounds=MANY_ROUNDS)]
        rows.append(bench.growth(driver, FLOWS[0], FLOWS[-1]))
        rows += _udp() + _nat() + _remembered()
        rows += _elsewhere(bench)
        # Every backend is replaced by another, and the old ones drain: now every slot is tracked.
        tables.apply(desired(services(BACKENDS, draining=range(BACKENDS))))
        misses = bench.compare(driver, "tracked-miss", FLOWS[-1:])
        _forget(generation)
        with Driver(tcp4(VIPS, PORT, flags=SYN)) as syns:
            begun = bench.compare(syns, "tracked-syn", FLOWS[-1:])
        _forget(generation)
        hits = bench.compare(driver, "tracked-hit", FLOWS[:-1], warm=True)
        full = bench.compare(driver, "tracked-full", FLOWS[-1:], start=FLOWS[-1] // 2)
        rows += [pair.row() for pair in (*misses, *begun, *hits, *full)]
        grow = stack.enter_context(floor("bench_grow"))
        times = driver.measure([Case("grow", grow, 1)])
        rows.append(Row("adjust-head-floor", times["grow"].median, "ns", LABELS))
        return rows


def _forget(generation: Generation) -> None:
    """Empty the flow table."""
    flows = generation.memory.flows
    flows[:] = memoryview(bytes(flows.nbytes)).cast("Q")


def _udp() -> list[Row]:
    """Measure datagrams in steady state."""
    with (
        balancer(Protocol.UDP) as (generation, _),
        floor("bench_floor", Protocol.UDP) as bare,
        Driver(udp4(VIPS, PORT)) as driver,
    ):
        bench = Bench(generation, bare)
        pairs = bench.compare(driver, "udp-steady", FLOWS)
        with Driver(fragment4(VIPS, PORT), BATCH // 4) as pieces:
            pairs += bench.compare(pieces, "fragment", (FLOWS[0], FLOWS[-1]), floor_verdict=Verdict.PASS)
        return [pair.row() for pair in pairs]


def _nat() -> list[Row]:
    """Measure the way to backends behind NAT, and back; it takes a tail call, and a run may make only so many."""
    with (
        balancer(nat=True) as (generation, _),
        floor("bench_floor") as bare,
        Driver(tcp4(VIPS, PORT), BATCH // 2) as driver,
    ):
        pairs = Bench(generation, bare).compare(driver, "nat", (FLOWS[0], FLOWS[-1]))
    answers = answer4([BACKEND + number for number in range(ANSWERING)], MAPPED)
    with (
        way() as interface,
        balancer(nat=True, outlets={interface: Outlet(LOOPBACK)}) as (generation, _),
        floor("bench_floor") as bare,
        Driver(answers, BATCH // 2) as driver,
    ):
        bench = Bench(generation, bare)
        pairs += bench.compare(driver, "nat-return", (FLOWS[0], FLOWS[-1]), floor_verdict=Verdict.PASS)
    return [pair.row() for pair in pairs]


def _remembered() -> list[Row]:
    """Measure a service that remembers every flow: packets of flows that it knows, and of new ones."""
    with (
        balancer(remember_all=True) as (generation, _),
        floor("bench_floor") as bare,
        Driver(tcp4(VIPS, PORT)) as driver,
        Driver(tcp4(VIPS, PORT, flags=SYN)) as syns,
    ):
        bench = Bench(generation, bare)
        begun = bench.compare(syns, "all-syn", FLOWS[-1:])
        _forget(generation)
        return [pair.row() for pair in (*begun, *bench.compare(driver, "all-hit", FLOWS[:-1], warm=True))]


def _elsewhere(bench: Bench) -> list[Row]:
    """Measure the paths that lead past the settled slots, on a balancer in steady state."""
    rows: list[Row] = []
    stranger = tuple(IPv4Address("198.51.100.0") + number for number in range(64))
    cases: list[tuple[str, Traffic, Verdict, Verdict, int]] = [
        ("syn", tcp4(VIPS, PORT, flags=SYN), Verdict.TX, Verdict.TX, BATCH),
        ("not-vip", tcp4(stranger, PORT), Verdict.PASS, Verdict.PASS, BATCH),
        # This one leaves by tail call, and a run may make only so many.
        ("unknown-port", tcp4(VIPS, PORT + 1), Verdict.PASS, Verdict.DROP, BATCH // 2),
        # And this one by two.
        ("icmp-error", icmp_error4(VIPS, PORT), Verdict.PASS, Verdict.TX, BATCH // 4),
    ]
    for name, traffic, floor_verdict, verdict, batch in cases:
        with Driver(traffic, batch) as driver:
            pairs = bench.compare(driver, name, (FLOWS[0], FLOWS[-1]), verdict=verdict, floor_verdict=floor_verdict)
            rows += [pair.row() for pair in pairs]
    return rows


class Bench:
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
        start: int = 0,
        rounds: int = ROUNDS,
    ) -> list[Pair]:
        """Measure driver, floor and program at each number of flows, all interleaved."""
        ours = {count: Case(f"{name} ours {count}", self._ours, count, verdict, warm, start=start) for count in flows}
        cases = []
        for count in flows:
            cases.append(Case(f"{name} driver {count}", driver.idle, count, every=4))
            cases.append(Case(f"{name} floor {count}", self._floor, count, floor_verdict))
            cases.append(ours[count])
        times = driver.measure(cases, rounds=rounds)
        pairs = []
        for count in flows:
            floor, mine, alone = (times[f"{name} {what} {count}"] for what in ("floor", "ours", "driver"))
            pairs.append(Pair(name, count, floor, mine, alone, self._decisions(driver, ours[count])))
        return pairs

    def growth(self, driver: Driver, one: int, most: int) -> Row:
        """Return what the number of flows costs: the program with most flows against itself with one."""
        cases = [Case(f"growth {count}", self._ours, count) for count in (one, most)]
        times = driver.measure(cases, rounds=MANY_ROUNDS)
        few, many = (times[case.label] for case in cases)
        ratio = many.over(few)
        labels = {**LABELS, "flows": most, "against": one}
        more = {"ratio_spread": [ratio.low, ratio.high]}
        return Row(
            "steady-growth", many.median, "ns", labels, few.median, FLOWS_LIMIT, "ratio", more, paired=ratio.median
        )

    def _decisions(self, driver: Driver, case: Case) -> dict[str, float]:
        """Return what the program counts per packet: it shows that the path meant was the path measured."""
        before = [self._memory.reason(reason) for reason in Reason]
        packets = driver.run_packets(case, 10_000)
        found = {str(reason): self._memory.reason(reason) - was for reason, was in zip(Reason, before, strict=True)}
        return {reason: count / packets for reason, count in found.items() if count}


def floor(function: str, protocol: Protocol = Protocol.TCP, growth: int = 20) -> Program:
    """Compile and load one of the floors; `growth` is in bytes."""
    return load_floor(function, floor_text(protocol=protocol, growth=growth))
