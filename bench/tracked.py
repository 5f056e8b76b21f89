"""What remembering costs, and that nothing is remembered where nothing has changed.

tracked-hit-line    every slot is tracked and every flow remembered, beside the floor with one cache line of a table of
                    the same size: where a flow is remembered only its hash tells, so that line is the least there is
tracked-some        a twentieth of the slots is tracked, beside the same program with none
fleet-settled       settled flows in a program that tells a fleet of what it remembers, beside one that does not
fleet-hit           remembered flows, likewise
flood-established   settled flows, each round after a round of SYNs from random sources, beside rounds without
flood-writes        words of the flow table that the flood has changed
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from appliance.dataplane.abi import WAYS
from appliance.dataplane.enums import Reason
from appliance.dataplane.kernel import Map, Program
from appliance.dataplane.spec import BPF_F_MMAPABLE, MapKind, MapSpec
from bench.balancer import BACKENDS, PORT, VIPS, balancer, desired, services
from bench.driver import Case, Driver, Timing, timing
from bench.floors import TABLE, floor_text, load_floor
from bench.report import Row
from bench.traffic import MAX_FLOWS, SYN, tcp4

FLOWS = (10_000, 100_000, 1_000_000)
MANY = 1_000_000
LINE_LIMIT = 1.35
SOME_LIMIT = 1.6
FLOOD_LIMIT = 1.1
FLEET_LIMIT = 1.1
"""The budgets, as ratios; what is unchanged is so within a tenth."""
WEIGHT = 3
"""Of every backend; with one less for one of ten, a twentieth of the slots is tracked."""
ROUNDS = 41
REPEAT = 4_000
"""Batches of a round of the flood, and of the flows beside it."""
LABELS: dict[str, str | int] = {"mode": "simple", "family": 4, "tunnel": "none"}
WAY = 8
"""Bytes of a way of the flow table."""


def run() -> list[Row]:
    """Measure; returns the rows."""
    with Driver(tcp4(VIPS, PORT)) as driver, Driver(tcp4(VIPS, PORT, flags=SYN)) as syns:
        return [*_hits(driver), *_some(driver), *_fleet(driver), *_flood(driver, syns)]


def _hits(driver: Driver) -> list[Row]:
    with balancer() as (generation, tables):
        tables.apply(desired(services(BACKENDS, draining=range(BACKENDS))))
        ours, lines = generation.programs["vc5_main"], generation.memory.flows.nbytes // (WAY * WAYS)
        with _line(lines) as line:
            cases = [
                Case(f"{name} {count}", program, count, warm=True)
                for count in FLOWS
                for name, program in (("line", line), ("ours", ours))
            ]
            times = driver.measure(cases, rounds=ROUNDS)
        hits = _hit_share(driver, cases[-1], generation.memory.reason)
        rows = []
        for count in FLOWS:
            labels: dict[str, str | int] = {"flows": count, "lines": lines}
            more = {"hits": hits} if count == FLOWS[-1] else {}
            rows.append(
                _row("tracked-hit-line", times[f"ours {count}"], times[f"line {count}"], labels, LINE_LIMIT, more)
            )
        return rows


def _hit_share(driver: Driver, case: Case, reason: Callable[[int], int]) -> float:
    """Return for which part of the packets the program found what it remembers."""
    before = reason(Reason.TRACKED_HIT)
    packets = driver.run_packets(case, 10_000)
    return (reason(Reason.TRACKED_HIT) - before) / packets


def _some(driver: Driver) -> list[Row]:
    even = dict.fromkeys(range(BACKENDS), WEIGHT)
    with balancer(weights=even) as (settled, _), balancer(weights=even) as (changed, tables):
        tables.apply(desired(services(weights=even | {0: WEIGHT - 1})))
        slots = sum(table.slot_count for one in services() if (table := tables.entry(one.key)))
        share = sum(tables.tracked().values()) / slots
        cases = [
            Case("settled", settled.programs["vc5_main"], MANY),
            Case("some", changed.programs["vc5_main"], MANY, warm=True),
        ]
        times = driver.measure(cases, rounds=ROUNDS)
        labels: dict[str, str | int] = {"flows": MANY, "tracked_percent": round(100 * share)}
        return [_row("tracked-some", times["some"], times["settled"], labels, SOME_LIMIT)]


def _fleet(driver: Driver) -> list[Row]:
    with balancer() as (alone, one), balancer(fleet=True) as (telling, other):
        programs = {"alone": alone.programs["vc5_main"], "telling": telling.programs["vc5_main"]}
        settled = driver.measure([Case(name, program, MANY) for name, program in programs.items()], rounds=ROUNDS)
        for tables in (one, other):
            tables.apply(desired(services(BACKENDS, draining=range(BACKENDS))))
        cases = [Case(name, program, FLOWS[0], warm=True) for name, program in programs.items()]
        hits = driver.measure(cases, rounds=ROUNDS)
        return [
            _row("fleet-settled", settled["telling"], settled["alone"], {"flows": MANY}, FLEET_LIMIT),
            _row("fleet-hit", hits["telling"], hits["alone"], {"flows": FLOWS[0]}, FLEET_LIMIT),
        ]


def _flood(driver: Driver, syns: Driver) -> list[Row]:
    """Settled flows in pairs of rounds, of which one follows a round of the flood."""
    with balancer() as (generation, _):
        ours, flows = generation.programs["vc5_main"], generation.memory.flows
        before = flows.tobytes()
        calm, after = (Case(name, ours, MANY) for name in ("calm", "after"))
        flood = Case("flood", ours, MAX_FLOWS)
        samples: dict[str, list[float]] = {case.label: [] for case in (calm, after)}
        driver.run(calm, REPEAT)
        for _ in range(ROUNDS):
            samples[calm.label].append(driver.run(calm, REPEAT))
            syns.run(flood, REPEAT)
            samples[after.label].append(driver.run(after, REPEAT))
        changed = sum(one != other for one, other in zip(memoryview(before).cast("Q"), flows, strict=True))
    row = _row(
        "flood-established", timing(samples[after.label]), timing(samples[calm.label]), {"flows": MANY}, FLOOD_LIMIT
    )
    writes = Row("flood-writes", changed, "words", {**LABELS, "flows": MAX_FLOWS}, limit=0)
    return [row, writes]


def _row(
    name: str,
    ours: Timing,
    floor: Timing,
    labels: dict[str, str | int],
    limit: float,
    more: dict[str, float] | None = None,
) -> Row:
    ratio = ours.over(floor)
    found = {"ratio_spread": [ratio.low, ratio.high], **(more or {})}
    return Row(name, ours.median, "ns", {**LABELS, **labels}, floor.median, limit, "ratio", found, paired=ratio.median)


@contextmanager
def _line(lines: int) -> Iterator[Program]:
    """Load the floor that reads one of so many cache lines."""
    with Map.create(MapSpec("bench_lines", MapKind.ARRAY, 4, lines * WAY * WAYS, 1, BPF_F_MMAPABLE)) as table:
        yield load_floor("bench_line", floor_text(lines=lines), {TABLE: table.fd})
