"""`vc5 drill SERVICE`: flows through every backend while those are taken out and put back, and a verdict."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from appliance.cli.arguments import UsageError
from appliance.cli.client import ask, call
from appliance.cli.overrides import name_of_caller
from appliance.cli.tables import Cell, Column, Screen, Style, count, cut, printable, screen, table
from appliance.errors import EXIT_FAILED, EXIT_OK, ControlError
from appliance.paths import Root

BACKENDS = (
    Column("BACKEND"),
    Column("FLOWS", right=True),
    Column("OPEN", right=True),
    Column("BROKEN", right=True),
    Column("RESETS", right=True),
    Column("FAILED", right=True),
    Column("MOVED", right=True),
    Column("ENDED", right=True, drop=1),
    Column("ANSWERED", right=True),
    Column("WRONG", right=True, drop=2),
)
STEPS = (
    Column("AT", right=True),
    Column("STEP"),
    Column("IN FORCE", right=True),
    Column("CARRIED", right=True),
    Column("OPEN", right=True),
    Column("TROUBLE", least=12),
)
PATIENCE = 15.0
"""Seconds for the daemon to end a drill."""
BETWEEN = 0.1
"""Seconds at least from one question to the next."""

Json = dict[str, Any]


def run(root: Root, arguments: Namespace) -> int:
    """Start a drill, watch it to its end, print the report; interrupted, end it first. 0 where it has passed."""
    given = {
        "seconds": _number(arguments.seconds, "--seconds", float),
        "flows": _number(arguments.flows, "--flows", int),
        "backends": _number(arguments.backends, "--backends", int),
    }
    with _interruptible():
        begun = call(root, "drill", action="start", service=arguments.service, **given, **name_of_caller(os.environ))
        number = _dict(begun).get("drill")
        try:
            body = _watch(root, number, Line(sys.stderr))
        except KeyboardInterrupt:
            body = _end(root, number)
    if arguments.json:
        print(json.dumps(body))
    else:
        print("\n".join(lines(body, screen())))
    return EXIT_OK if body.get("verdict") == "PASS" else EXIT_FAILED


def _watch(root: Root, number: Any, line: Line) -> Json:
    try:
        while True:
            body = _ask(root, "watch", number)
            if isinstance(report := body.get("report"), dict):
                return report
            line.show(_dict(body.get("progress")))
            time.sleep(BETWEEN)  # the answer waits for news; an older or newer daemon's may not
    finally:
        line.clear()


def _end(root: Root, number: Any) -> Json:
    """End the drill; interruptions count no more, so that nothing of it is left."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        if isinstance(report := _ask(root, "end", number).get("report"), dict):
            return report
        time.sleep(BETWEEN)
    raise ControlError(f"the daemon has not ended the drill within {PATIENCE:g} s; `vc5 overrides` shows what is left")


def _ask(root: Root, action: str, number: Any) -> Json:
    try:
        return _dict(ask(root, "drill", action=action, drill=number))
    except ControlError as error:
        told = f"{error}; what a drill overrides does not outlive its daemon, so a new one begins without it"
        raise ControlError(told) from None


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let whatever ends a command be the interruption that ends the drill first."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class Line:
    """How far it is, on a line of a terminal that is written over and over; nothing anywhere else."""

    def __init__(self, to: TextIO) -> None:
        self._to = to
        self._shown = to.isatty()
        self._width = screen(to).width or 80

    def show(self, progress: Json) -> None:
        if self._shown:
            self._to.write(f"\r\x1b[K{cut(progress_text(progress), self._width - 1)}")
            self._to.flush()

    def clear(self) -> None:
        if self._shown:
            self._to.write("\r\x1b[K")
            self._to.flush()


def progress_text(progress: Json) -> str:
    """Return where a drill is, in one line."""
    at, of, steps = progress.get("at_s"), progress.get("of_s"), progress.get("steps")
    place = f"step {steps[0]} of {steps[1]}" if isinstance(steps, list) and len(steps) == 2 else "step"
    parts = [
        f"{at} of {of} s",
        f"{place}: {progress.get('step')}",
        f"{progress.get('flows')} flows open",
        f"{progress.get('broken')} broken",
    ]
    return printable(", ".join(parts))


def lines(body: Json, to: Screen) -> list[str]:
    """Return the lines of a report."""
    verdict = str(body.get("verdict"))
    style = Style.GOOD if verdict == "PASS" else Style.BAD
    asked = body.get("asked") or "nothing (open connections)"
    found = [
        f"drill    {printable(str(body.get('service')))}, {body.get('seconds')} s, by {printable(str(body.get('by')))}",
        f"asked    {printable(str(asked))}",
        *(printable(str(note)) for note in _list(body.get("notes"))),
        "",
        *table(BACKENDS, [_backend(one) for one in _dicts(body.get("backends"))], to),
        "",
        *table(STEPS, [_step(one) for one in _dicts(body.get("steps"))], to),
        "",
        _new(_dict(body.get("new_flows"))),
        to.paint(f"verdict  {printable(verdict)}", style),
    ]
    return [*found, *(f"  - {printable(str(reason))}" for reason in _list(body.get("reasons")))]


def _new(new: Json) -> str:
    there = new.get("to_withdrawn")
    known = "not judged" if there is None else f"{there}"
    return (
        f"new flows while a backend was out: {new.get('opened')} opened, {new.get('refused')} without service, "
        f"to the backend that was out: {known}"
    )


def _backend(one: Json) -> list[Cell | str]:
    cells: list[Cell | str] = [str(one.get("address"))]
    for name in ("flows", "open", "broken", "resets", "failed", "moved", "ended", "answered", "wrong"):
        bad = name in ("broken", "resets", "failed", "moved", "wrong") and one.get(name)
        cells.append(Cell(count(one.get(name)), Style.BAD if bad else Style.PLAIN))
    return cells


def _step(one: Json) -> list[Cell | str]:
    at, in_force, carried = one.get("at_s"), one.get("in_force_ms"), one.get("carried")
    what = f"{one.get('action')} {one.get('backend')}" if one.get("backend") else str(one.get("action"))
    return [
        f"{at:.1f}s" if isinstance(at, int | float) else "",
        what,
        f"{in_force:.1f}ms" if isinstance(in_force, int | float) else "",
        count(carried),
        count(one.get("open")),
        Cell(str(one.get("trouble") or ""), Style.BAD),
    ]


def _number(text: str | None, name: str, kind: type[int] | type[float]) -> int | float | None:
    """Read a number above 0; what is too much, the daemon says. Raises UsageError."""
    if text is None:
        return None
    try:
        value = kind(text)
    except ValueError:
        value = kind(0)
    if not 0 < value < 1e6:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"{name} {printable(text[:40])!r}: write {what} above 0")
    return value


def _dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: object) -> list[Json]:
    return [one for one in _list(value) if isinstance(one, dict)]
