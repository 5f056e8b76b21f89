"""What the steps of a start and of a change cost: compile, load, fill the tables, move a backend, build the lookup.

Without a daemon; what an operator sees of all this is measured in daemon.py.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from ipaddress import IPv4Address

from appliance.dataplane import maglev
from appliance.dataplane.compile import compile_text
from appliance.dataplane.generation import Generation
from appliance.dataplane.hashing import direct_hash, perfect_hash
from appliance.dataplane.lookup import key_word
from appliance.dataplane.render import FUNCTIONS, render
from appliance.dataplane.shape import DIRECT_LIMIT, direct_positions, power_of_two
from appliance.dataplane.tables import Tables
from appliance.dataplane.text import digest, rendered
from appliance.model import Protocol, ServiceKey
from appliance.paths import TEMPLATES
from bench.balancer import BACKENDS, VIPS, balancer, compiled, desired, services, shape
from bench.report import Row

REPEAT = 5
COMPILES = 3
MAGLEV = ((1021, 10), (8191, 10), (65521, 10), (65521, 100))
"""Slots and backends."""
MANY = 1024
"""Services whose lookup table is built, beside the most that need no displacements."""


def run() -> list[Row]:
    """Measure each step of a reload; returns their rows."""
    labels: dict[str, str | int] = {"services": len(VIPS), "backends": BACKENDS}
    wanted = shape()
    text = render(wanted, TEMPLATES)
    child = [compile_text(text, FUNCTIONS) for _ in range(COMPILES)]
    code = compiled(wanted).code

    def load() -> None:
        Generation.load(wanted, digest(wanted, TEMPLATES), code).close()

    def fill() -> None:
        with balancer():
            pass

    rows = [
        Row("render", _seconds(lambda: rendered(wanted, TEMPLATES)) * 1e3, "ms", {"in": "child"}),
        Row("compile", statistics.median(one.seconds for one in child) * 1e3, "ms", {"in": "child"}),
        Row("compile-memory", max(one.child_rss for one in child) / 1e6, "MB", {"in": "child"}),
        Row("load", _seconds(load) * 1e3, "ms", {"programs": len(FUNCTIONS)}),
        Row("load-and-fill", _seconds(fill) * 1e3, "ms", labels),
    ]
    with balancer() as (_, tables):
        rows.append(Row("drain-one-backend", _drain(tables) * 1e3, "ms", labels))
    return rows + _lookups() + _maglev()


def _lookups() -> list[Row]:
    """Measure finding a place for every service, with displacements and without."""
    rows = []
    wanted = (
        (DIRECT_LIMIT, direct_hash, direct_positions(DIRECT_LIMIT)),
        (MANY, perfect_hash, power_of_two(2 * MANY, 1024)),
    )
    for number, build, size in wanted:
        keys = [key_word(key) for key in _keys(number)]
        once = _seconds(lambda build=build, keys=keys, size=size: build(keys, size))  # type: ignore[misc]
        rows.append(Row("lookup-build", once * 1e3, "ms", {"services": number, "positions": size}))
    return rows


def _keys(number: int) -> list[ServiceKey]:
    """Return so many services, sixteen to a VIP."""
    first = IPv4Address("203.0.113.0")
    return [ServiceKey(first + at // 16, 8000 + at % 16, Protocol.TCP) for at in range(number)]


def _maglev() -> list[Row]:
    rows = []
    for slots, backends in MAGLEV:
        members = [(IPv4Address("192.0.2.10") + number, 1) for number in range(backends)]
        once = _seconds(lambda members=members, slots=slots: maglev.table(members, slots))  # type: ignore[misc]
        rows.append(Row("maglev", once * 1e3, "ms", {"slots": slots, "backends": backends}))
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
