"""What the tools against floods cost: ns per packet beside the same program without them, in the same run.

steady-counted          settled, packets are counted by prefix of the source
steady-blocked-list     settled, 10,000 prefixes are blocked, of which none is a client's, nor in a client's /20
suspect                 a client that is not blocked, in the /20 of one that is: looked up, then forwarded
blocked                 dropped
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from random import Random

from appliance.dataplane.kernel import Verdict
from appliance.model import Network
from bench.balancer import PORT, VIPS, balancer
from bench.driver import BATCH, Case, Driver
from bench.report import Row
from bench.traffic import CLIENTS, tcp4

FLOWS = (1, 1_000_000, 10_000_000)
PREFIXES = 10_000
LIMIT = 1.1
"""The budget: either feature against the program without it."""
ROUNDS = 41
LABELS: dict[str, str | int] = {"mode": "simple", "family": 4, "tunnel": "none"}


def drop_list(*more: str) -> tuple[Network, ...]:
    """Return prefixes of 24 to 32 bits all over the address space, but for the clients' first octet, and some more."""
    random, found = Random(1), {IPv4Network(text) for text in more}
    while len(found) < PREFIXES:
        address = random.randrange(1 << 24, 224 << 24)
        if address >> 24 != int(CLIENTS) >> 24:
            found.add(IPv4Network((address, random.choice((24, 24, 28, 32))), strict=False))
    return tuple(found)


def run() -> list[Row]:
    """Measure; returns the rows."""
    neighbour = f"{IPv4Address(int(CLIENTS) | 0xF00)}/24"
    with (
        balancer() as (plain, _),
        balancer(counts_sources=True) as (counted, _),
        balancer(blocked=drop_list()) as (listed, _),
        balancer(blocked=drop_list(neighbour)) as (suspecting, _),
        balancer(blocked=drop_list("10.0.0.0/8")) as (dropping, _),
        Driver(tcp4(VIPS, PORT)) as driver,
        # These leave by tail call, and a run may make only so many.
        Driver(tcp4(VIPS, PORT), BATCH // 2) as tails,
    ):
        mains = {"plain": plain, "steady-counted": counted, "steady-blocked-list": listed}
        cases = [
            Case(f"{name} {count}", generation.programs["vc5_main"], count)
            for count in FLOWS
            for name, generation in mains.items()
        ]
        times = driver.measure(cases, rounds=ROUNDS)
        rows = []
        for name in ("steady-counted", "steady-blocked-list"):
            for count in FLOWS:
                ours, floor = times[f"{name} {count}"], times[f"plain {count}"]
                ratio = ours.over(floor)
                more = {"ratio_spread": [ratio.low, ratio.high]}
                labels = {**LABELS, "flows": count}
                rows.append(
                    Row(name, ours.median, "ns", labels, floor.median, LIMIT, "ratio", more, paired=ratio.median)
                )
        rare = [
            Case("plain", plain.programs["vc5_main"], 1),
            Case("suspect", suspecting.programs["vc5_main"], 1),
            Case("blocked", dropping.programs["vc5_main"], FLOWS[-1], Verdict.DROP),
        ]
        times = tails.measure(rare)
        for case in rare[1:]:
            labels = {**LABELS, "flows": case.flows, "prefixes": PREFIXES}
            ratio = times[case.label].over(times["plain"])
            rows.append(
                Row(case.label, times[case.label].median, "ns", labels, times["plain"].median, paired=ratio.median)
            )
        return rows
