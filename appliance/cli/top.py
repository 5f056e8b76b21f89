"""`vc5 top`: rates by service and backend, again and again; on a terminal, as one frame, or as JSON."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from typing import TYPE_CHECKING

from appliance.cli.arguments import UsageError
from appliance.cli.client import ask
from appliance.cli.tables import printable, screen
from appliance.errors import ControlError, Vc5Error
from appliance.paths import Root

if TYPE_CHECKING:
    from appliance.cli.top_keys import View
    from appliance.cli.top_rates import Snapshot

INTERVAL = 2.0
SHORTEST, LONGEST = 0.2, 3600.0


def run(root: Root, arguments: Namespace) -> int:
    """`vc5 top [SERVICE]`."""
    interval = _interval(arguments.interval)
    if not (arguments.once or arguments.json or (sys.stdin.isatty() and sys.stdout.isatty())):
        raise UsageError("this needs a terminal; --once prints one frame, --json an object in each interval")
    from appliance.cli.top_keys import View

    view = View(opened=_service(root, arguments.service)) if arguments.service else View()
    if arguments.once:
        return _once(root, interval, view, as_json=arguments.json)
    if arguments.json:
        return _follow(root, interval)
    from appliance.cli.top_watch import watch

    return watch(lambda: _ask(root), interval, view, colour=screen().colour, blocks=_blocks())


def _interval(text: str | None) -> float:
    try:
        seconds = INTERVAL if text is None else float(text.removesuffix("s"))
    except ValueError:
        seconds = -1.0
    if not SHORTEST <= seconds <= LONGEST:
        raise UsageError(f"--interval {printable(str(text)[:40])!r}: write seconds, from {SHORTEST:g} to {LONGEST:g}")
    return seconds


def _service(root: Root, name: str) -> str:
    """Return the service that is called so. Raises ControlError."""
    from appliance.cli.status_view import found

    rows = [{"service": row[0], "name": row[1], "vip": _vip(str(row[0]))} for row in _ask(root)["services"]]
    if not (called := found({"services": rows}, name)):
        raise ControlError(f"no service and no VIP is called {printable(name[:80])}; `vc5 status --all` lists them")
    return str(called[0]["service"])


def _vip(service: str) -> str:
    return service.rpartition(":")[0].removeprefix("[").removesuffix("]")


def _ask(root: Root) -> Snapshot:
    """Return a snapshot that can be read."""
    from appliance.cli.top_rates import reading

    snapshot: Snapshot = ask(root, "metrics")
    reading(None, snapshot)
    return snapshot


def _once(root: Root, interval: float, view: View, *, as_json: bool) -> int:
    from appliance.cli import top_rates, top_view

    before = _ask(root)
    time.sleep(interval)
    found = top_rates.reading(before, _ask(root))
    if as_json:
        print(json.dumps(top_rates.as_json(found)))
    else:
        print("\n".join(top_view.frame(found, view, screen(), None, blocks=_blocks())))
    return 0


def _follow(root: Root, interval: float) -> int:
    """Print an object a line, until interrupted, which is its regular end; what went wrong meanwhile is one, too."""
    from appliance.cli.top_rates import as_json, reading

    before = _ask(root)
    try:
        while True:
            time.sleep(interval)
            try:
                now = _ask(root)
            except Vc5Error as error:
                print(json.dumps({"error": str(error)}), flush=True)
                continue
            print(json.dumps(as_json(reading(before, now))), flush=True)
            before = now
    except KeyboardInterrupt:
        return 0


def _blocks() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
