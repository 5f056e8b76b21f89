"""What a start and a change cost: compiling, loading, filling the tables, moving one backend."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from appliance.dataplane import maglev
from appliance.dataplane.compile import compile_text
from appliance.dataplane.generation import Generation
from appliance.dataplane.render import FUNCTIONS, render, text_digest
from appliance.dataplane.tables import Tables
from appliance.paths import TEMPLATES
from bench.balancer import BACKENDS, VIPS, balancer, compiled, desired, services, shape
from bench.report import Row

REPEAT = 5


def run() -> list[Row]:
    """Measure each step of a reload; returns their rows."""
    labels: dict[str, str | int] = {"services": len(VIPS), "backends": BACKENDS}
    wanted = shape()
    text = render(wanted, TEMPLATES)
    child = [compile_text(text, FUNCTIONS) for _ in range(3)]
    code = compiled(wanted).code

    def load() -> None:
        Generation.load(wanted, text_digest(text), code).close()

    rows = [
        Row("render", _seconds(lambda: render(wanted, TEMPLATES)) * 1e3, "ms"),
        Row("compile", statistics.median(one.seconds for one in child) * 1e3, "ms"),
        Row("compile-memory", max(one.child_rss for one in child) / 1e6, "MB"),
        Row("load", _seconds(load) * 1e3, "ms"),
    ]

    def fill() -> None:
        with balancer():
            pass

    rows.append(Row("load-and-fill", _seconds(fill) * 1e3, "ms", labels))
    with balancer() as (_, tables):
        rows.append(Row("drain-one-backend", _drain(tables) * 1e3, "ms", labels))
    members = [(member.address, 1) for member in services()[0].members]
    for slots in (1021, 8191, 65521):
        once = _seconds(lambda slots=slots: maglev.table(members, slots))  # type: ignore[misc]
        rows.append(Row("maglev", once * 1e3, "ms", {"slots": slots, "backends": BACKENDS}))
    return rows


def _drain(tables: Tables) -> float:
    """Return the seconds that it takes to drain one backend of every service (and to take it back, not counted)."""
    full, less = desired(services()), desired(services(1, BACKENDS - 1, draining=(0,)))
    samples = []
    for _ in range(REPEAT):
        began = time.perf_counter()
        tables.apply(less)
        samples.append(time.perf_counter() - began)
        tables.apply(full)
    return statistics.median(samples)


def _seconds(act: Callable[[], object]) -> float:
    """Return the median time of an act."""
    samples = []
    for _ in range(REPEAT):
        began = time.perf_counter()
        act()
        samples.append(time.perf_counter() - began)
    return statistics.median(samples)
