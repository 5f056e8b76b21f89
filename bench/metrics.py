"""What it costs to be measured: the real daemon, with some 10,000 series and with 1,000 services of 10 backends.

A scrape is asked for over HTTP, of the shipped endpoint, which runs in this process and asks the daemon's control
socket for each: so `metrics-scrape` has all in it, from the request to the last byte of the text. Beside it stand its
parts: the snapshot, as this process has it from the daemon, and the text, of that snapshot.

How long the daemon's event loop was busy at a stretch is its own measure, while scrapes come one after the other and
probes go on. By the clock, it counts what else the machine does as well; in processor time, it does not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from ipaddress import IPv4Address

from appliance.cli.client import call
from appliance.control.pulse import WINDOW
from appliance.model_address import Endpoint
from appliance.net.listener import listener
from appliance.telemetry.exposition import exposition
from bench import process
from bench.report import Row
from tests.lab.addresses import ECHO, FIRST_BACKEND, VIP
from tests.lab.bpffs import ensure_bpffs
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.lab.scraping import Serving, asking
from tests.lab.topology import Lab

BACKENDS = 10
SIZES = (125, 1000)
"""Services: 125 make 10,000 series."""
INTERVAL = 10
"""Seconds between two probes of a backend."""
SCRAPES = 20
SCRAPE_LIMIT = 100.0
"""ms for a scrape of 10,000 series."""
TURN_LIMIT = 50.0
"""ms for which the event loop may be busy at a stretch."""


def configuration(services: int) -> str:
    """Return YAML: one service for each port from 1000 on."""
    servers = ", ".join(str(FIRST_BACKEND + number) for number in range(BACKENDS))
    lines = ["interfaces: eth0", "xdp: native", "services:"]
    for port in range(1000, 1000 + services):
        check = f"{{type: syn, port: {ECHO}, interval: {INTERVAL}}}"
        lines.append(f"  - virtual: {VIP}\n    servers: [{servers}]\n    policy: {{{port}/tcp: {{checks: [{check}]}}}}")
    return "\n".join([*lines, ""])


def run() -> list[Row]:
    """Measure each size; returns the rows."""
    ensure_bpffs()
    rows = []
    with Lab(backends=BACKENDS) as lab:
        for services in SIZES:
            with Daemon(lab.balancer, lab.root(f"m{services}"), configuration(services)) as daemon:
                rows += _measure(daemon, services)
                daemon.stop()
    return rows


def _measure(daemon: Daemon, services: int) -> list[Row]:
    wait_for("all backends to be up", lambda: _all_up(daemon), 120.0)
    place = daemon.places
    with Serving(asking(place), listener(Endpoint(IPv4Address("127.0.0.1"), 0))) as serving:
        port = int(serving.address[1])
        with process.preferred(daemon.pid):
            time.sleep(2 * WINDOW + 1)  # so that the start is out of the daemon's measure
            scrapes = [_timed(lambda: _scrape(port)) for _ in range(SCRAPES)]
            snapshots = [_timed(lambda: call(place, "metrics")) for _ in range(SCRAPES)]
            loop = daemon.status()["loop"]
        snapshot = call(place, "metrics")
        body = exposition(snapshot)[0]
        texts = [_timed(lambda: exposition(snapshot)) for _ in range(SCRAPES)]
    series = sum(1 for line in body.splitlines() if not line.startswith(b"#"))
    labels: dict[str, str | int] = {"services": services, "backends": BACKENDS, "series": series}
    limit = SCRAPE_LIMIT if services == SIZES[0] else None
    return [
        Row("metrics-scrape", statistics.median(scrapes), "ms", labels, limit=limit, more=_spread(scrapes)),
        Row("metrics-snapshot", statistics.median(snapshots), "ms", labels, more=_spread(snapshots)),
        Row("metrics-text", statistics.median(texts), "ms", labels, more={**_spread(texts), "bytes": len(body)}),
        Row("metrics-longest-turn", loop["recent_ms"], "ms", {**labels, "of": "clock"}, limit=TURN_LIMIT, more=loop),
        Row("metrics-longest-turn", loop["recent_cpu_ms"], "ms", {**labels, "of": "processor"}, limit=TURN_LIMIT),
    ]


def _all_up(daemon: Daemon) -> bool:
    time.sleep(1.0)  # to ask is work for the daemon
    services = call(daemon.places, "metrics")["services"]
    return all(backend[1] for service in services for backend in service[8])


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return (time.monotonic() - began) * 1e3


def _scrape(port: int) -> None:
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        if answer.status != 200 or not answer.read():
            raise LabError(f"/metrics: status {answer.status}")


def _spread(taken: list[float]) -> dict[str, float | int]:
    return {"worst": max(taken), "samples": len(taken)}
