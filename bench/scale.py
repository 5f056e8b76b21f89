"""The real daemon with 1,000 services of the same 20 backends: how soon it forwards, how soon its tables follow.

All services share one VIP and are checked on the port of the backends' echo servers, but for the first, which is
checked on that of their web servers: so it can lose a backend alone, and the others lose one all at once. Probes come
every INTERVAL seconds, two thousand a second in all. What `daemon.py` says of times holds here too.

How long the event loop was busy at a stretch is the daemon's own measure (`loop` of `vc5 status --json`): by the clock,
which on a machine that does other things counts those as well, and in processor time, which does not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from appliance.control.pulse import WINDOW
from appliance.model import EventKind, Protocol, ServiceKey
from appliance.telemetry.journal_reader import read
from appliance.telemetry.log_filter import LogFilter
from bench import process
from bench.report import Row
from bench.watch import TableWatch
from tests.lab.addresses import ECHO, FIRST_BACKEND, HTTP, VIP
from tests.lab.backend import Backend, Server
from tests.lab.bpffs import ensure_bpffs
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab

SERVICES, BACKENDS = 1000, 20
LABELS: dict[str, str | int] = {"services": SERVICES, "backends": BACKENDS}
INTERVAL = 10
"""Seconds between two probes of a backend."""
START_LIMIT = 10_000.0
"""ms from the start of the daemon until every service forwards, and until its last backend is up."""
ONE_LIMIT = 50.0
"""ms from the deciding probe of one backend of one service to the table."""
ALL_LIMIT = 1000.0
"""ms from the deciding probe to the table, for a backend of all services."""
TURN_LIMIT = 50.0
"""ms for which the event loop may be busy at a stretch."""
ALONE = 3
"""Backends that the first service loses, one after the other."""
KEYS = tuple(ServiceKey(VIP, 1000 + number, Protocol.TCP) for number in range(SERVICES))


def configuration() -> str:
    """Return YAML: one service for each port from 1000 on."""
    servers = ", ".join(str(FIRST_BACKEND + number) for number in range(BACKENDS))
    lines = ["interfaces: eth0", "xdp: native", "services:"]
    for key in KEYS:
        check = f"{{type: syn, port: {HTTP if key is KEYS[0] else ECHO}, interval: {INTERVAL}}}"
        lines.append(f"  - virtual: {VIP}\n    servers: [{servers}]")
        lines.append(f"    policy: {{{key.port}/tcp: {{checks: [{check}]}}}}")
    return "\n".join([*lines, ""])


def run() -> list[Row]:
    """Measure one daemon; returns the rows."""
    ensure_bpffs()
    with Lab(backends=BACKENDS) as lab:
        daemon = Daemon(lab.balancer, lab.root(), configuration())
        try:
            rows = _start(daemon)
            rows += _memory(daemon)
            backends = [lab.backends[f"b{number}"] for number in range(1, ALONE + 2)]
            with TableWatch(daemon.places.pins) as watch:
                rows += _alone(daemon, watch, backends[:ALONE])
                rows += _together(daemon, watch, backends[ALONE])
            daemon.stop()
        finally:
            daemon.close()
    return rows


def _start(daemon: Daemon) -> list[Row]:
    """The first start, which compiles: until the daemon is ready, all services forward, and all backends are up."""
    began, wall = time.monotonic(), time.time()
    daemon.start(120.0)
    ready = time.monotonic() - began
    said = f"{SERVICES} of {SERVICES} services up"
    up = daemon.wait_notification("STATUS", said, began, 120.0).at - began
    wait_for("all backends to be up", lambda: _all_up(daemon), 120.0)
    time.sleep(2.5)  # so that the log has it all
    events = read(daemon.places.log, LogFilter(kinds=frozenset({EventKind.BACKEND}), outcome="up", since=wall))
    last = max(event["at"] for event in events) - wall
    labels = {**LABELS, "compiles": "yes"}
    return [
        Row("scale-start-to-ready", ready * 1e3, "ms", labels),
        Row("scale-start-to-forwarding", up * 1e3, "ms", labels, limit=START_LIMIT),
        Row("scale-start-to-all-up", last * 1e3, "ms", labels, limit=START_LIMIT),
    ]


def _memory(daemon: Daemon) -> list[Row]:
    """What the two processes hold when every backend is up, two windows of the daemon's stopwatch later."""
    time.sleep(2 * WINDOW + 1)
    pids = {"control": daemon.pid, "prober": process.prober(daemon.places.namespace)}
    found = {name: process.memory(pid) for name, pid in pids.items()}
    return [Row(f"scale-{name}-rss", one.pop("VmRSS"), "MB", LABELS, more=one) for name, one in found.items()]


def _all_up(daemon: Daemon) -> bool:
    time.sleep(1.0)  # to ask is work for the daemon
    services = daemon.status()["services"]
    return all(backend["state"] == "available" for service in services for backend in service["backends"])


def _alone(daemon: Daemon, watch: TableWatch, backends: Sequence[Backend]) -> list[Row]:
    """One service loses a backend."""
    delays = []
    for backend in backends:
        delays += _delays(daemon, watch, KEYS[:1], backend, lambda b=backend: b.kill_servers(Server.NGINX))  # type: ignore[misc]
    more = {"worst": max(delays), "samples": len(delays)}
    labels = {**LABELS, "services_hit": 1}
    return [Row("scale-verdict-to-table", statistics.median(delays), "ms", labels, limit=ONE_LIMIT, more=more)]


def _together(daemon: Daemon, watch: TableWatch, backend: Backend) -> list[Row]:
    """A server that is in all services dies."""
    time.sleep(2 * WINDOW + 1)
    delays = _delays(daemon, watch, KEYS[1:], backend, lambda: backend.kill_servers(Server.ECHO))
    turns = daemon.status()["loop"]
    labels = {**LABELS, "services_hit": SERVICES - 1}
    more = {"median": statistics.median(delays), "samples": len(delays)}
    return [
        Row("scale-verdict-to-table", max(delays), "ms", labels, limit=ALL_LIMIT, more=more),
        Row("scale-longest-turn", turns["recent_ms"], "ms", {**labels, "of": "clock"}, limit=TURN_LIMIT, more=turns),
        Row("scale-longest-turn", turns["recent_cpu_ms"], "ms", {**labels, "of": "processor"}, limit=TURN_LIMIT),
    ]


def _delays(
    daemon: Daemon, watch: TableWatch, services: Sequence[ServiceKey], backend: Backend, kill: Callable[[], None]
) -> list[float]:
    """Let a backend die; returns for each service the ms from the end of the deciding probe to its table."""
    began = time.time()
    written = watch.until_unused(services, backend.address, 60.0, kill)
    time.sleep(2.5)  # so that the log has it all
    last: dict[str, float] = {}
    decided: dict[str, float] = {}
    for event in read(daemon.places.log, LogFilter(backend=backend.address, since=began)):
        if event["kind"] == EventKind.PROBE and event["outcome"] != "ok":
            last[event["service"]] = event["at"]
        elif event["kind"] == EventKind.BACKEND and event["outcome"] == "dead":
            decided[event["service"]] = last[event["service"]]
    missing = [str(key) for key in services if str(key) not in decided]
    if missing:
        raise ValueError(f"the log knows no probe that failed before {missing[0]} lost {backend.address}")
    return [(at - decided[str(key)]) * 1e3 for key, at in written.items()]
