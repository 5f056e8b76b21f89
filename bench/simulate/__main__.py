"""python3 -m bench.simulate: what becomes of connections at a site of many balancers, as tables and pictures.

Exit status: 0; 2 where an argument or a file makes no sense.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from bench.report import ROOT
from bench.simulate import report
from bench.simulate.churn import SCENARIOS, BackendEvent
from bench.simulate.history import History
from bench.simulate.lifetimes import SimulationError, read
from bench.simulate.results import Result, run
from bench.simulate.site import Site

OUTPUT = ROOT / "build" / "simulate"
PAGE = ROOT / "docs" / "planning.md"
EVERY = 5.0
"""Seconds between two lines of progress where there is no terminal to write on again."""


class Progress:
    """One line that is written over on a terminal; elsewhere a line now and then."""

    def __init__(self) -> None:
        self._started = self._last = time.monotonic()

    def __call__(self, text: str) -> None:
        """Say how far it is."""
        now = time.monotonic()
        line = f"[{now - self._started:4.0f} s] {text}"
        if sys.stderr.isatty():
            print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)
        elif now - self._last >= EVERY:
            self._last = now
            print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if sys.stderr.isatty():
            print(file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """The command line; every number of a site is an option."""
    made = argparse.ArgumentParser(prog="python3 -m bench.simulate", description=(__doc__ or "").partition("\n")[0])
    for one in fields(Site):
        if one.name != "kinds":
            kind = type(one.default)
            text = f"{one.metadata['help']} (default {one.default:,})"
            made.add_argument(
                f"--{one.name}", type=kind, default=one.default, metavar="N", help=text.replace("%", "%%")
            )
    made.add_argument("--classes", type=Path, metavar="FILE", help="classes of connections, as docs/planning.md shows")
    made.add_argument("--scenarios", default=",".join(SCENARIOS), help="of: %(default)s", metavar="NAME,...")
    made.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR", help="default: build/simulate")
    made.add_argument("--publish", action="store_true", help="put tables and pictures into docs/planning.md")
    return made


def simulate(site: Site, names: Sequence[str], progress: Callable[[str], None]) -> list[Result]:
    """Run scenarios. Those with the same events share what these do to the tables."""
    results, histories = [], dict[tuple[BackendEvent, ...], History]()
    for name in names:
        churn = SCENARIOS[name].churn(site)
        history = histories.get(churn.backends)
        if history is None or history.churn.balancers != churn.balancers:
            history = histories[churn.backends] = History(site, churn, progress)
        results.append(run(name, history, churn, progress))
    return results


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for."""
    options = parser().parse_args(arguments)
    try:
        kinds = read(options.classes) if options.classes else Site.kinds
        given = {one.name: getattr(options, one.name) for one in fields(Site) if one.name != "kinds"}
        site = Site(**given, kinds=kinds)
        names = [name for name in options.scenarios.split(",") if name]
        unknown = [name for name in names if name not in SCENARIOS]
        if unknown or not names:
            raise SimulationError(f"scenarios: {','.join(unknown)!r}; wanted: some of {', '.join(SCENARIOS)}")
        _ = site.table
    except SimulationError as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 2
    progress = Progress()
    results = simulate(site, names, progress)
    progress.end()
    report.write(results, options.output)
    from bench.simulate import (
        plots,
    )  # matplotlib takes a second to load, and may be missing where only --help is wanted

    plots.write(results, options.output)
    if options.publish:
        plots.write(results, PAGE.parent / "planning")
        PAGE.write_text(report.replaced(PAGE.read_text(encoding="utf-8"), report.tables(results)), encoding="utf-8")
    print(report.tables(results))
    print(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
