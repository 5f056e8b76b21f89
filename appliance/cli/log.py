"""`vc5 log`: reads the log store directly, so that it also tells why a daemon that is gone is gone."""

from __future__ import annotations

import ipaddress
import json
import os
import time
from argparse import Namespace
from collections.abc import Iterable
from datetime import datetime
from itertools import chain
from typing import Any

from appliance.cli.arguments import UsageError
from appliance.cli.progress import progress
from appliance.cli.tables import Screen, Style, cut, printable, screen
from appliance.errors import HostError
from appliance.model import EventKind, Health, Outcome, ServiceKey
from appliance.paths import Root

DEFAULT_COUNT = 100
RELOAD_REFUSED = "refused"
OTHER_OUTCOMES = ("down", "established", "malformed", "began", "over", "lost")
"""Of services and VIPs, of routers, and of alarms."""
"""The outcome of a reload that left the old configuration in force; one in force is `ok`."""
STYLES = {"alarm": Style.BAD, "reload": Style.HEAD, "operator": Style.HEAD, "daemon": Style.HEAD}
OUTCOME_STYLES: dict[str, Style] = {Outcome.OK: Style.GOOD, Outcome.WRONG: Style.WORRY, Outcome.NONE: Style.BAD}


def run(root: Root, arguments: Namespace) -> int:
    """`vc5 log`; with --follow until interrupted, which is its regular end."""
    from appliance.telemetry import spool_reader

    wanted = _filter(arguments)
    count = _count(arguments)
    if not root.log.is_dir() or not os.access(root.log, os.R_OK | os.X_OK):
        reason = "permission denied; run this as root" if root.log.exists() else "no daemon has kept a log here yet"
        raise HostError(f"{root.log}: {reason}; another instance's log is found with --root DIR or VC5_ROOT")
    to = screen()
    place = spool_reader.end(root.log)
    try:
        if count is None:
            _print(spool_reader.read(root.log, wanted, place), arguments.json, to)
        else:
            _print(spool_reader.tail(root.log, count, wanted, place), arguments.json, to)
        if arguments.follow:
            _write(spool_reader.follow(root.log, place, wanted), arguments.json, to, flush=True)
    except KeyboardInterrupt:
        if not arguments.follow:
            raise
    return 0


def line(event: dict[str, Any], to: Screen) -> str:
    """Return one event as a line: local time, kind, what it is about, outcome, message."""
    kind, outcome = str(event.get("kind", "")), str(event.get("outcome", ""))
    parts = [
        to.paint(_time(event.get("at")), Style.FAINT),
        to.paint(f"{printable(kind):8}", STYLES.get(kind, Style.PLAIN)),
        *(printable(str(event[name])) for name in ("service", "backend", "peer") if event.get(name)),
    ]
    if outcome:
        parts.append(to.paint(printable(outcome), OUTCOME_STYLES.get(outcome, Style.PLAIN)))
    parts.append(printable(str(event.get("message", ""))))
    text = "  ".join(part for part in parts if part)
    # Cutting would count the colours' bytes as columns; a terminal wraps a long line by itself.
    return text if to.colour or to.width is None else cut(text, to.width)


def _time(at: object) -> str:
    try:
        moment = datetime.fromtimestamp(float(at))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return "-" * 23
    return moment.isoformat(" ", "milliseconds")


def _print(events: Iterable[dict[str, Any]], as_json: bool, to: Screen) -> None:
    """Print what is in the store already, which may have to be searched for a while before there is anything."""
    found = iter(events)
    with progress("searching the log"):
        first = next(found, None)
    if first is not None:
        _write(chain((first,), found), as_json, to)


def _write(events: Iterable[dict[str, Any]], as_json: bool, to: Screen, *, flush: bool = False) -> None:
    for event in events:
        print(json.dumps(event) if as_json else line(event, to), flush=flush)


def _filter(arguments: Namespace) -> Any:
    from appliance.telemetry.log_filter import LogFilter, parse_since

    try:
        service = ServiceKey.parse(arguments.service) if arguments.service else None
        backend, peer = (ipaddress.ip_address(word) if word else None for word in (arguments.backend, arguments.peer))
        now = time.time()
        since, until = (parse_since(text, now) if text else None for text in (arguments.since, arguments.until))
    except ValueError as error:
        raise UsageError(str(error)) from None
    kinds: frozenset[EventKind] = frozenset()
    if arguments.probes:
        kinds = frozenset({EventKind.PROBE})
    elif arguments.events:
        kinds = frozenset(EventKind) - {EventKind.PROBE}
    outcomes = [*map(str, Outcome), *map(str, Health), RELOAD_REFUSED, *OTHER_OUTCOMES]
    if arguments.outcome and arguments.outcome not in outcomes:
        raise UsageError(f"--outcome {arguments.outcome!r}: choose one of {', '.join(outcomes)}")
    if arguments.kind:
        kinds = frozenset({EventKind(arguments.kind)})
    return LogFilter(service, backend, since, until, kinds, arguments.outcome or "", peer)


def _count(arguments: Namespace) -> int | None:
    """Return how many events to print, None for all."""
    if arguments.n is None:
        return None if arguments.since else DEFAULT_COUNT
    if not (arguments.n.isascii() and arguments.n.isdigit() and len(arguments.n) < 10):
        raise UsageError(f"-n {arguments.n!r}: write a whole number of events")
    return int(arguments.n)
