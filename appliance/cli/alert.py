"""`vc5 alert test`: whether those arrive who are to be told of what happens."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from appliance.cli.client import call
from appliance.cli.tables import Cell, Column, Screen, Style, screen, table
from appliance.errors import EXIT_FAILED, EXIT_OK, ControlError
from appliance.paths import Root

COLUMNS = (Column("OUTLET"), Column("RESULT"), Column("TOOK", right=True, drop=1), Column("WHY", least=20))
NOBODY = "no outlet is configured: set `slack`, `teams` or `syslog` of `logging`, and `vc5 reload`"


def alert(root: Root, arguments: Namespace) -> int:
    """`vc5 alert test`; the exit status tells whether all have got the message."""
    wanted = [arguments.outlet] if arguments.outlet else []
    results = _results(call(root, "alert", outlets=wanted))
    if arguments.json:
        print(json.dumps({"results": results}))
    else:
        print("\n".join(told(results, screen())))
    return EXIT_OK if results and all(one.get("ok") is True for one in results) else EXIT_FAILED


def told(results: Sequence[dict[str, Any]], to: Screen) -> list[str]:
    """Return the lines of the answer."""
    if not results:
        return [NOBODY]
    rows = []
    for one in results:
        good = one.get("ok") is True
        seconds = one.get("seconds")
        took = f"{seconds:.2f}s" if isinstance(seconds, int | float) and seconds else ""
        result = Cell("sent" if good else "failed", Style.GOOD if good else Style.BAD)
        rows.append((str(one.get("outlet")), result, took, str(one.get("reason") or "")))
    return table(COLUMNS, rows, to)


def _results(answer: Any) -> list[dict[str, Any]]:
    found = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ControlError("the daemon's answer has no results; are daemon and command of one version?")
    return found
