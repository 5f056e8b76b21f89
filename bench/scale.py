"""The real daemon with 1,000 services of the same 20 backends: how soon it forwards, how soon its tables follow.

Besides, how long it takes to validate a file of as many services whose backends are all different (`validate`: in this
process; `validate-command`: `vc5 check`, from its start to its end), and for how long at a stretch `vc5 plan` keeps the
daemon from anything else.

All services share one VIP and are checked on the port of the backends' echo servers, but for the first, which is
checked on that of their web servers: so it can lose a backend alone, and the others lose one all at once. Probes come
every INTERVAL seconds, two thousand a second in all. What `daemon.py` says of times holds here too.

How long the event loop was busy at a stretch is the daemon's own measure (`loop` of `vc5 status --json`): by the clock,
which on a machine that does other things counts those as well, and in processor time, which does not.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance import config
from appliance.control.pulse import WINDOW
from appliance.model import EventKind, Protocol, ServiceKey
from appliance.telemetry.log_filter import LogFilter
from appliance.telemetry.spool_reader import read
from bench import process
from bench.report import Row
from bench.watch import TableWatch
from tests.lab.addresses import ECHO, FIRST_BACKEND, HTTP, VIP
from tests.lab.backend import Backend, Server
from tests.lab.bpffs import ensure_bpffs
from tests.lab.daemon import PROGRAM, Daemon
from tests.lab.namespace import LabError
from tests.lab.namespace import run as run_command
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
VALIDATE_LIMIT = 2.0
"""s to read, validate and expand a file."""
REPEAT = 5
PLANS = 3
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


def fleet() -> str:
    """Return YAML: every service has a VIP and backends of its own."""
    lines = ["interfaces: [eth0]", "services:"]
    for number in range(SERVICES):
        place = f"{number // 256}.{number % 256}"
        lines += [f"- name: service-{number}", f"  virtual: 203.0.{place}", "  servers:"]
        lines += [f"  - 10.{place}.{last} weight={last}" for last in range(1, BACKENDS + 1)]
        lines += ["  policy:", "    https: {host: www.example.com, path: /alive}"]
    return "\n".join([*lines, ""])


def run() -> list[Row]:
    """Measure one daemon; returns the rows."""
    ensure_bpffs()
    rows = _validate()
    with Lab(backends=BACKENDS) as lab:
        daemon = Daemon(lab.balancer, lab.root(), configuration())
        try:
            rows += _start(daemon)
            rows += _memory(daemon)
            rows += _plan(daemon)
            backends = [lab.backends[f"b{number}"] for number in range(1, ALONE + 2)]
            with TableWatch(daemon.places.pins) as watch:
                rows += _alone(daemon, watch, backends[:ALONE])
                rows += _together(daemon, watch, backends[ALONE])
            daemon.stop()
        finally:
            daemon.close()
    return rows


def _validate() -> list[Row]:
    """Validate a file, in this process and by the command."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "fleet.yaml"
        file.write_text(fleet())
        size = file.stat().st_size / 1e6
        inside, outside, cpu = [], [], []
        for _ in range(REPEAT):
            began, used = time.monotonic(), time.process_time()
            loaded = config.load(file)
            config.expand(loaded)
            inside.append(time.monotonic() - began)
            cpu.append(time.process_time() - used)
            began = time.monotonic()
            run_command(*PROGRAM, "check", "--json", str(file), timeout=60.0)
            outside.append(time.monotonic() - began)
    if sum(len(service.backends) for service in loaded.config.services) != SERVICES * BACKENDS:
        raise ValueError("the file has fewer backends than it should")
    labels = {**LABELS, "file_kB": round(size * 1e3)}
    more = {"worst": max(inside), "cpu": statistics.median(cpu), "samples": REPEAT}
    worst = {"worst": max(outside), "samples": REPEAT}
    return [
        Row("validate", statistics.median(inside), "s", labels, limit=VALIDATE_LIMIT, more=more),
        Row("validate-command", statistics.median(outside), "s", labels, limit=VALIDATE_LIMIT, more=worst),
    ]


def _plan(daemon: Daemon) -> list[Row]:
    """Ask what it would do to put in force a file in which everything is different; right after `_memory`'s rest.

    What else the machine does should not be measured: the daemon gets the processors first, where the kernel can do so.
    """
    different = daemon.root / "different.yaml"
    different.write_text(fleet())
    taken: list[float] = []
    turns: list[dict[str, float]] = []
    with process.preferred(daemon.pid):
        for _ in range(PLANS):
            began = time.monotonic()
            planned = daemon.vc5("plan", str(different), "--json", timeout=120.0)
            taken.append(time.monotonic() - began)
            if planned.returncode:
                raise LabError(f"vc5 plan: exit status {planned.returncode}\n{planned.stdout}{planned.stderr}")
            turns.append(daemon.status()["loop"])
    labels = {**LABELS, "during": "plan"}
    clock, processor = (max(turn[f"recent_{of}"] for turn in turns) for of in ("ms", "cpu_ms"))
    more = {"worst": max(taken), "samples": PLANS}
    return [
        Row("plan-command", statistics.median(taken), "s", LABELS, more=more),
        Row("scale-longest-turn", clock, "ms", {**labels, "of": "clock"}, limit=TURN_LIMIT, more=turns[-1]),
        Row("scale-longest-turn", processor, "ms", {**labels, "of": "processor"}, limit=TURN_LIMIT),
    ]


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
