"""python3 -m bench: runs the groups that BENCH names (all by default), prints a table, writes build/bench.json.

    python3 -m bench --readme    measures nothing; puts the figures of build/bench.json into README.md

A figure above its limit is reported, not failed: the exit status is 0 as long as everything could be measured, 1 where
a group could not, 2 for an unknown group.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from appliance.errors import Vc5Error
from bench import (
    appliance,
    bfd,
    console,
    console_server,
    daemon,
    figures,
    fleet,
    fleet_tables,
    health,
    metrics,
    modes,
    packet,
    reload,
    report,
    routing,
    scale,
    shipping,
    sources,
    tracked,
    tunnel,
)
from tests.lab.namespace import LabError

GROUPS: dict[str, Callable[[], list[report.Row]]] = {
    "packet": packet.run,
    "modes": modes.run,
    "tracked": tracked.run,
    "sources": sources.run,
    "tunnel": tunnel.run,
    "reload": reload.run,
    "daemon": daemon.run,
    "scale": scale.run,
    "health": health.run,
    "metrics": metrics.run,
    "console": lambda: console.run() + console_server.run(),
    "routing": lambda: routing.run() + bfd.run(),
    "fleet": lambda: fleet.run() + fleet_tables.run(),
    "appliance": appliance.run,
    "shipping": shipping.run,
}

BUSY = 0.5
"""Load average above which figures are worth little."""


def main(arguments: list[str]) -> int:
    """Run what was asked for."""
    if arguments == ["--readme"]:
        return _readme()
    if arguments:
        print(f"usage: python3 -m bench [--readme]; BENCH chooses among {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    wanted = [word for word in os.environ.get("BENCH", "").replace(",", " ").split() if word] or list(GROUPS)
    unknown = [word for word in wanted if word not in GROUPS]
    if unknown:
        print(f"BENCH={','.join(unknown)}: no such group; choose from {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    load = os.getloadavg()[0]
    if load > BUSY:
        print(f"the machine is busy (load {load:.1f}): what takes time will look slower than it is", file=sys.stderr)
    rows: list[report.Row] = []
    failed = False
    for group in wanted:
        print(f"measuring {group} ...", file=sys.stderr, flush=True)
        try:
            rows += GROUPS[group]()
        except (Vc5Error, LabError, OSError, ValueError) as error:
            failed = True
            print(f"{group}: {error}", file=sys.stderr)
    report.write(rows, load)
    print(report.table(rows))
    print(f"written to {report.OUTPUT.relative_to(report.ROOT)}")
    return 1 if failed else 0


def _readme() -> int:
    try:
        figures.publish(report.OUTPUT, report.ROOT / "README.md")
    except (OSError, ValueError) as error:
        print(f"README.md stays as it is: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
