"""`vc5 drain --all` in a terminal: how the traffic of a node ebbs, until it is out of service.

What happens is the daemon's doing; this looks on, and whatever ends it, the drain goes on.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from typing import Any, TextIO

from appliance.cli.arguments import UsageError
from appliance.cli.client import ask
from appliance.cli.tables import count, cut, duration, printable, screen
from appliance.errors import EXIT_FAILED, EXIT_OK
from appliance.paths import Root

BETWEEN = 0.5
"""Seconds between two looks."""
LONGEST = 24 * 3600
BAR = 24
"""Columns of the bar."""
GOES_ON = "the drain goes on: `vc5 status` shows how far it is, `vc5 undrain --all` takes it back"
TAKEN_BACK = "somebody has taken the drain back (`vc5 undrain --all`)"
REACHED = {
    "withdrawn": "the routes are withdrawn; what still comes is forwarded",
    "detached": "nothing has come any more: the program is detached from the interfaces",
}

Json = Mapping[str, Any]


def given(arguments: Namespace) -> dict[str, Any]:
    """Return what the request says beside `all`. Raises UsageError."""
    if arguments.wait and arguments.no_wait:
        raise UsageError("--wait and --no-wait contradict each other")
    if arguments.deadline is None:
        return {}
    from appliance.config.findings import Invalid
    from appliance.config.kinds import Duration

    kind = Duration(0, LONGEST)
    try:
        return {"deadline": kind.parse(arguments.deadline)}
    except Invalid:
        raise UsageError(f"--deadline must be {kind.words()}, not {printable(arguments.deadline)!r}") from None


def waits(arguments: Namespace, result: object) -> bool:
    """Return whether to look on: where that is asked for, and in a terminal, unless there is no router to be told."""
    if arguments.no_wait or not (isinstance(result, dict) and result.get("peers")):
        return False
    terminal = sys.stdout.isatty() and sys.stderr.isatty() and not arguments.json
    return bool(arguments.wait) or terminal


def follow(root: Root, result: dict[str, Any] | None = None) -> int:
    """Look on until the node is out of service, or its time is over; returns the exit status.

    Each stage is a line on standard output; with a `result` it gets a member `drained` instead.
    """
    line, stage = _Line(sys.stderr), "demoted"
    try:
        while True:
            body = ask(root, "bgp")
            drained = body.get("drained") if isinstance(body, dict) else None
            if not isinstance(drained, dict):
                line.clear()
                print(TAKEN_BACK, file=sys.stderr)
                return EXIT_FAILED
            if result is not None:
                result["drained"] = drained
            now, before = time.time(), stage
            stage = str(drained.get("stage"))
            if stage != before:
                line.clear()
                if result is None:
                    print(printable(REACHED.get(stage, stage)), flush=True)
            if _over(drained, stage, now):
                return EXIT_OK
            line.show(progress_text(drained, now))
            time.sleep(BETWEEN)
    except KeyboardInterrupt:
        line.clear()
        print(GOES_ON, file=sys.stderr)
        if result is not None:
            print(json.dumps(result))
        raise
    finally:
        line.clear()


def _over(drained: Json, stage: str, now: float) -> bool:
    """Whether there is nothing more to wait for: with a deadline nobody waits for the last packets either."""
    until = _number(drained.get("until"))
    return stage == "detached" or (stage == "withdrawn" and until is not None and now >= until)


class _Line:
    """A line of a terminal that is written over and over; nothing anywhere else."""

    def __init__(self, to: TextIO) -> None:
        self._to = to
        self._shown = to.isatty()

    def show(self, text: str) -> None:
        if self._shown:
            self._to.write(f"\r\x1b[K{cut(text, (screen(self._to).width or 80) - 1)}")
            self._to.flush()

    def clear(self) -> None:
        if self._shown:
            self._to.write("\r\x1b[K")
            self._to.flush()


def progress_text(drained: Json, now: float) -> str:
    """Return how far a drain is, in one line: a bar that empties as the traffic ebbs, and what is waited for."""
    rate, before = _number(drained.get("packets_per_second")), _number(drained.get("packets_per_second_before"))
    calm, until = _number(drained.get("packets_per_second_calm")), _number(drained.get("until"))
    if rate is None:
        return "counting packets ..."
    share = min(1.0, rate / before) if before else float(rate > 0)
    filled = min(BAR, -int(-share * BAR // 1))
    parts = [f"[{'#' * filled}{'.' * (BAR - filled)}] {count(rate)} packets/s"]
    parts[0] += f" of {count(before)}" if before is not None else ""
    if drained.get("stage") == "withdrawn":
        parts.append("withdrawn; detaches when nothing comes any more")
    elif calm is not None:
        parts.append(f"routes are withdrawn at {count(calm)}")
        if until is not None:
            parts.append(f"or in {duration(max(0.0, until - now))}")
    return ", ".join(parts)


def _number(value: object) -> float | None:
    """Return a number that can be shown; None for what is none, or is below 0 or larger than any count."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**64
    return float(value) if known else None  # type: ignore[arg-type]
