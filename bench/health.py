"""The prober under load: does it start its probes in time, and what does a probe cost beside a client that just asks?

The prober is the real process, started as the daemon starts it; the bench stands in for the daemon and only keeps what
it says. What it probes is described in targets.py; the processor time of that server is a row of its own.

In time: a probe is due one interval, give or take the jitter, after the start of the one before. The prober counts by
how much each start is late, from when it was due to the probe's first step, and its heartbeats carry the counts. They
are cross-checked from outside: a report tells when its probe began, so between two starts of one check no more may lie
than the longest interval and 200 ms; where one and a half intervals lie, a round was skipped.

A machine that does other things makes probes late that the prober would have started in time. So prober and server get
the processors before others, where the kernel can do that (process.py). For how long they were ready to run and had no
processor is in the rows of their processor time (`waited`, %), and so is the load average afterwards (`load`).

Cost: prober and streams (streams.py) ask the same addresses as often, in turns. Counted is the processor time of the
process, by the kernel. That includes what the kernel does for it, to the far end of the cable: it is the same for both.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from subprocess import Popen

from appliance.health.lateness import STEPS
from appliance.health.messages import Heartbeat, Probe, Report
from appliance.health.schedule import JITTER
from appliance.model import Check, CheckKind, Outcome
from bench import process
from bench.probing import Probing
from bench.report import Row
from bench.targets import FIRST, Targets
from bench.verdicts import verdicts
from tests.lab.addresses import HTTP, VIP
from tests.lab.topology import Lab

CHECKS = 10_000
INTERVAL = 2.0
TIMEOUT = 1.5
KINDS = (CheckKind.SYN, CheckKind.TCP, CheckKind.HTTP)
PER_VIP = 100
"""Probes of one VIP."""
WARM_UP, WINDOW = 5.0, 60.0
"""Seconds from the start until it is measured, and for how long. At the start all checks are due within half a second:
what cannot be done in that time is done as soon as possible, and no check is early or late."""
LATE = 0.2
"""Seconds after its time at which a start counts as late."""
LATE_LIMIT = 0.1
"""% of the starts."""
COMPARED = 2_000
"""HTTP checks in the comparison."""
ROUNDS, ROUND = 4, 6.0
"""Turns of each side, and seconds that one is measured."""
SLICES = 4
"""Parts in which the compared checks are given to the prober, so that they are spread over the interval."""
COST_LIMIT = 1.5
"""Times the cost of streams."""


def run() -> list[Row]:
    """Measure the prober, then a daemon with one large service."""
    with Lab(backends=1, servers=False) as lab, Targets(lab) as targets:
        rows = asyncio.run(_load(targets))
        rows += asyncio.run(_cost(targets))
    return rows + verdicts()


def _probes(count: int, kinds: Sequence[CheckKind]) -> list[Probe]:
    checks = {
        CheckKind.SYN: Check(CheckKind.SYN, HTTP, interval=INTERVAL, timeout=TIMEOUT, expect=()),
        CheckKind.TCP: Check(CheckKind.TCP, HTTP, interval=INTERVAL, timeout=TIMEOUT, expect=()),
        CheckKind.HTTP: Check(CheckKind.HTTP, HTTP, path="/alive", interval=INTERVAL, timeout=TIMEOUT),
    }
    return [
        Probe(number, VIP + number // PER_VIP, FIRST + number, checks[kinds[number % len(kinds)]])
        for number in range(count)
    ]


async def _load(targets: Targets) -> list[Row]:
    async with Probing(targets.root) as probing:
        with process.preferred(probing.pid, targets.pid) as preferred:
            return await _loaded(targets, probing, preferred=preferred)


async def _loaded(targets: Targets, probing: Probing, *, preferred: bool) -> list[Row]:
    given = time.time()
    await probing.schedule(_probes(CHECKS, KINDS))
    await asyncio.sleep(WARM_UP)
    first, beats = probing.said()
    labels: dict[str, str | int] = {"checks": CHECKS, "interval_s": round(INTERVAL)}
    rows = _beginning(first, beats, given, labels)
    pids = (probing.pid, targets.pid)
    began, before = time.time(), [process.cpu_seconds(pid) for pid in pids]
    waited = [process.waited_seconds(pid) for pid in pids]
    await asyncio.sleep(WINDOW)
    ended, after = time.time(), [process.cpu_seconds(pid) for pid in pids]
    waited = [process.waited_seconds(pid) - one for pid, one in zip(pids, waited, strict=True)]
    load = os.getloadavg()[0]
    _, beats = kept = probing.said()
    await asyncio.sleep(TIMEOUT)  # for what was under way
    reports = kept[0] + probing.said()[0]
    seconds = ended - began
    starts = starts_of([*first, *reports], range(CHECKS), began, ended)
    count = sum(len(moments) for moments in starts.values())
    rows += lateness_rows(beats, labels)
    rows += gap_rows(starts, began, ended, sum(beat.unsent for beat in beats), labels)
    rows.append(_wrong(reports, labels))
    for name, one, other, wait in zip(("prober", "targets"), before, after, waited, strict=True):
        share, each = (other - one) / seconds * 100, (other - one) / max(count, 1) * 1e6
        more = {"us_per_probe": each, "probes_per_second": count / seconds}
        more |= {"waited": wait / seconds * 100, "load": load, "preferred": preferred}
        rows.append(Row(f"health-{name}-cpu", share, "% of a core", labels, more=more))
    return rows


def _beginning(
    reports: Sequence[Report], beats: Sequence[Heartbeat], given: float, labels: Mapping[str, str | int]
) -> list[Row]:
    """How soon every check has its first result."""
    known: dict[int, float] = {}
    for report in reports:
        known.setdefault(report.number, report.at)
    if len(known) < CHECKS:
        raise ValueError(f"{CHECKS - len(known)} of {CHECKS} checks have no result after {WARM_UP:g} s")
    more = {"late_ms": max(beat.late_ms for beat in beats)}
    return [Row("health-first-results", (max(known.values()) - given) * 1e3, "ms", labels, more=more)]


def lateness_rows(beats: Sequence[Heartbeat], labels: Mapping[str, str | int]) -> list[Row]:
    """What the prober itself says."""
    counts = [sum(column) for column in zip(*(beat.starts for beat in beats), strict=True)]
    late = sum(counts[STEPS.index(LATE) + 1 :]) / max(sum(counts), 1) * 100
    steps = [*(f"{step * 1e3:g}" for step in STEPS), "more"]
    more = {"starts": sum(counts), "late_by_ms_at_most": dict(zip(steps, counts, strict=True))}
    worst = max(beat.late_ms for beat in beats)
    return [
        Row("health-late-starts", late, "%", {**labels, "late_ms": round(LATE * 1e3)}, limit=LATE_LIMIT, more=more),
        Row("health-worst-lateness", float(worst), "ms", labels),
    ]


def starts_of(reports: Iterable[Report], checks: Iterable[int], began: float, ended: float) -> dict[int, list[float]]:
    """Return for each check when its probes within the window began, in wall-clock seconds."""
    starts: dict[int, list[float]] = {number: [] for number in checks}
    for report in reports:
        at = report.at - report.answer.total_ns / 1e9
        if began <= at <= ended:
            starts[report.number].append(at)
    return {number: sorted(moments) for number, moments in starts.items()}


def gap_rows(
    starts: Mapping[int, Sequence[float]], began: float, ended: float, unsent: int, labels: Mapping[str, str | int]
) -> list[Row]:
    """What the reports say: how much lies between the starts of one check; the edges of the window count as starts."""
    gaps: list[float] = []
    for moments in starts.values():
        edges = [began, *moments, ended]
        gaps += [after - before for before, after in itertools.pairwise(edges)]
    longest = INTERVAL * (1 + JITTER) + LATE
    long = sum(gap > longest for gap in gaps) / len(gaps) * 100
    skipped = unsent + sum(round(gap / INTERVAL) - 1 for gap in gaps if gap > INTERVAL * 1.5)
    numbers = sorted(len(moments) for moments in starts.values())
    more = {
        "longest_s": max(gaps),
        "starts_of_a_check": {"least": numbers[0], "median": statistics.median(numbers), "most": numbers[-1]},
    }
    long_labels = {**labels, "longer_than_ms": round(longest * 1e3)}
    return [
        Row("health-long-gaps", long, "%", long_labels, limit=LATE_LIMIT, more=more),
        Row("health-skipped-starts", float(skipped), "probes", labels, limit=0.0, more={"unsent": unsent}),
    ]


def _wrong(reports: Sequence[Report], labels: Mapping[str, str | int]) -> Row:
    """Every target is alive."""
    failed = [report.answer.diagnostic for report in reports if report.answer.outcome is not Outcome.OK]
    return Row("health-failed-probes", float(len(failed)), "probes", labels, limit=0.0, more={"said": failed[:3]})


async def _cost(targets: Targets) -> list[Row]:
    """Prober and streams in turns; the median of the quotients of each round counts."""
    probes = _probes(COMPARED, (CheckKind.HTTP,))
    client = targets.python("bench.streams", str(FIRST), str(COMPARED), str(INTERVAL))
    ours: list[float] = []
    theirs: list[float] = []
    try:
        async with Probing(targets.root) as probing:
            for _ in range(ROUNDS):
                ours.append(await _prober_round(probing, probes))
                theirs.append(await _streams_round(client))
    finally:
        client.kill()
        client.communicate()
    quotients = [one / other for one, other in zip(ours, theirs, strict=True)]
    more = {"us": ours, "streams_us": theirs, "ratios": quotients}
    labels: dict[str, str | int] = {"checks": COMPARED, "interval_s": round(INTERVAL), "floor": "asyncio streams"}
    floor, ratio = statistics.median(theirs), statistics.median(quotients)
    value = statistics.median(ours)
    return [
        Row(
            "health-http-cpu",
            value,
            "us",
            labels,
            floor=floor,
            limit=COST_LIMIT,
            limit_on="ratio",
            paired=ratio,
            more=more,
        )
    ]


async def _prober_round(probing: Probing, probes: Sequence[Probe]) -> float:
    """Return the us of processor time for each probe."""
    for part in range(1, SLICES + 1):
        await probing.schedule(probes[: len(probes) * part // SLICES])
        await asyncio.sleep(INTERVAL / SLICES)
    probing.said()
    before = process.run_seconds(probing.pid)
    await asyncio.sleep(ROUND)
    used = process.run_seconds(probing.pid) - before
    reports, _ = probing.said()
    await probing.schedule([])
    await asyncio.sleep(1.0)
    if failed := sum(report.answer.outcome is not Outcome.OK for report in reports):
        raise ValueError(f"{failed} of {len(reports)} probes failed")
    return used / len(reports) * 1e6


async def _streams_round(client: Popen[str]) -> float:
    """Return the us of processor time for each request."""
    _say(client, "run")
    await asyncio.sleep(INTERVAL)
    asked, before = _told(client), process.run_seconds(client.pid)
    await asyncio.sleep(ROUND)
    asked, used = _told(client) - asked, process.run_seconds(client.pid) - before
    _say(client, "rest")
    await asyncio.sleep(1.0)
    return used / asked * 1e6


def _say(client: Popen[str], word: str) -> None:
    assert client.stdin is not None
    client.stdin.write(f"{word}\n")
    client.stdin.flush()


def _told(client: Popen[str]) -> int:
    """Return how much the streams have asked so far; raises ValueError where one was not answered."""
    _say(client, "tell")
    assert client.stdout is not None
    asked, failed = map(int, client.stdout.readline().split())
    if failed:
        raise ValueError(f"{failed} requests by streams failed")
    return asked
