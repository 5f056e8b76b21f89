"""python3 -m bench: runs the groups that BENCH names (all by default), prints a table, writes build/bench.json.

A figure above its limit is reported, not failed: the exit status is 0 as long as everything could be measured, 1 where
a group could not, 2 for an unknown group.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from appliance.errors import Vc5Error
from bench import packet, reload, report

GROUPS: dict[str, Callable[[], list[report.Row]]] = {
    "packet": packet.run,
    "reload": reload.run,
}


def main() -> int:
    """Run what was asked for."""
    wanted = [word for word in os.environ.get("BENCH", "").replace(",", " ").split() if word] or list(GROUPS)
    unknown = [word for word in wanted if word not in GROUPS]
    if unknown:
        print(f"BENCH={','.join(unknown)}: no such group; choose from {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    rows: list[report.Row] = []
    failed = False
    for group in wanted:
        print(f"measuring {group} ...", file=sys.stderr, flush=True)
        try:
            rows += GROUPS[group]()
        except (Vc5Error, OSError, ValueError) as error:
            failed = True
            print(f"{group}: {error}", file=sys.stderr)
    report.write(rows)
    print(report.table(rows))
    print(f"written to {report.OUTPUT.relative_to(report.ROOT)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
