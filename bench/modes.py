"""ns per packet in steady state in each mode and family, beside the floor of its kind, and IPv6 beside IPv4.

The floor of mode vlan reads and rewrites a tag, that of multi-nic redirects through a device map. In mode vlan packets
come with another tag than they leave with.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

from appliance.dataplane.kernel import Map, Verdict
from appliance.dataplane.spec import MapKind, MapSpec
from appliance.model import Mode
from bench.balancer import LOOPBACK, PORT, VIPS, VIPS6, balancer
from bench.driver import Case, Driver, Timing
from bench.floors import DOORS, floor_text, load_floor
from bench.report import Row
from bench.traffic import tagged, tcp4, tcp6

FLOWS = (1, 100_000)
MODE_LIMIT = 1.7
"""The budget: every mode's steady state against the floor of its kind; the driver is in both figures."""
FAMILY_LIMIT = 1.3
"""The budget: IPv6 against IPv4."""
ARRIVING = 20
ROUNDS = 41


def run() -> list[Row]:
    """Measure every mode; returns their rows."""
    rows: list[Row] = []
    for mode in Mode:
        with ExitStack() as stack:
            times: dict[tuple[int, int], Timing] = {}
            drivers: dict[int, tuple[Driver, list[Case]]] = {}
            for family in (4, 6):
                drivers[family] = _prepare(stack, mode, family)
            for family, (driver, cases) in drivers.items():
                found = driver.measure(cases, rounds=ROUNDS)
                for flows in FLOWS:
                    ours, floor = found[f"ours {flows}"], found[f"floor {flows}"]
                    times[family, flows] = ours
                    labels: dict[str, str | int] = {
                        "mode": str(mode),
                        "family": family,
                        "tunnel": "none",
                        "flows": flows,
                    }
                    rows.append(_row("steady-mode", ours, floor, labels, MODE_LIMIT))
            for flows in FLOWS:
                labels = {"mode": str(mode), "family": 6, "against": "family 4", "flows": flows}
                rows.append(_row("steady-ipv6", times[6, flows], times[4, flows], labels, FAMILY_LIMIT))
    return rows


def _row(name: str, ours: Timing, floor: Timing, labels: dict[str, str | int], limit: float) -> Row:
    ratio = ours.over(floor)
    more = {"ratio_spread": [ratio.low, ratio.high]}
    return Row(name, ours.median, "ns", labels, floor.median, limit, "ratio", more, paired=ratio.median)


def _prepare(stack: ExitStack, mode: Mode, family: int) -> tuple[Driver, list[Case]]:
    """Load the program and its floor, and a driver with packets for both."""
    generation, _ = stack.enter_context(balancer(mode=mode, family=family))
    doors = stack.enter_context(Map.create(MapSpec("bench_doors", MapKind.DEVMAP, 4, 4, 1)))
    doors.update(bytes(4), LOOPBACK.to_bytes(4, sys.byteorder))
    floor = stack.enter_context(load_floor("bench_floor", floor_text(mode=mode, family=family), {DOORS: doors.fd}))
    traffic = tcp4(VIPS, PORT) if family == 4 else tcp6(VIPS6, PORT)
    if mode is Mode.VLAN:
        traffic = tagged(traffic, ARRIVING)
    verdict = Verdict.REDIRECT if mode is Mode.MULTI_NIC else Verdict.TX
    cases = []
    for flows in FLOWS:
        cases.append(Case(f"floor {flows}", floor, flows, verdict))
        cases.append(Case(f"ours {flows}", generation.programs["vc5_main"], flows, verdict))
    return stack.enter_context(Driver(traffic)), cases
