"""The real daemon in a lab, with 100 services of 10 backends: start, memory, reloads, probes, how soon tables follow.

All services share one VIP, and nearly all are checked on the port of the backends' echo servers. The first is checked
on that of their web servers instead: so it can lose a backend alone, and the others lose one all at once.

From verdict to table: the verdict is the end of the probe that decided, by the prober's own clock, as the log has it;
the table is written when no slot of the service names the backend any more, as seen by this process, which has the
pinned map in its own memory and looks every 0.2 ms (watch.py). Both are wall-clock times of one machine. On the way lie
the 10 ms for which the prober gathers results, the daemon's judgement (`judged` in the JSON, by its log), and planning.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from appliance import config
from appliance.control.requirements import read_possible_cpus
from appliance.dataplane.compile import compile_text
from appliance.dataplane.shape import shape_for
from appliance.dataplane.text import FUNCTIONS, rendered
from appliance.model import EventKind, Protocol, ServiceKey
from appliance.paths import TEMPLATES
from appliance.telemetry.log_filter import LogFilter
from appliance.telemetry.spool_reader import Position, end, read
from bench import process
from bench.report import Row
from bench.watch import TableWatch
from tests.lab.addresses import ECHO, FIRST_BACKEND, HTTP, VIP
from tests.lab.backend import Server
from tests.lab.bpffs import ensure_bpffs
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.lab.topology import Lab

SERVICES, BACKENDS = 100, 10
LABELS: dict[str, str | int] = {"services": SERVICES, "backends": BACKENDS}
MEMORY_LIMIT = 60.0
"""MB resident in the control process."""
RELOAD_LIMIT = 200.0
"""ms for a reload that keeps the shape."""
VERDICT_LIMIT = 50.0
"""ms from the last failed probe to the table."""
SETTLED = 3.0
"""Seconds of rest before memory is read."""
WINDOW = 8.0
"""Seconds over which the cost of probes is taken: 800 clock ticks."""
REPEAT = 5
DEATHS = 5
"""Backends that one service loses, one after the other."""
MASS_DEATHS = 2
"""Backends that all services lose."""
KEYS = tuple(ServiceKey(VIP, 1000 + number, Protocol.TCP) for number in range(SERVICES))
CHECKS = {
    "syn": "{type: syn, port: %d}",
    "tcp": "{type: tcp, port: %d}",
    "http": "{type: http, port: %d, path: /alive}",
}


def configuration(services: int = SERVICES, *, check: str = "syn", weight: int = 1, more: str = "") -> str:
    """Return YAML: one service for each port from 1000 on. `weight` is that of every first backend."""
    addresses = [str(FIRST_BACKEND + number) for number in range(BACKENDS)]
    servers = ", ".join([f"{addresses[0]} weight={weight}", *addresses[1:]])
    lines = ["interfaces: eth0", "xdp: native", "services:"]
    for key in KEYS[:services]:
        port = HTTP if key is KEYS[0] or check == "http" else ECHO
        lines.append(f"  - virtual: {VIP}\n    servers: [{servers}]")
        lines.append(f"    policy: {{{key.port}/tcp: {{checks: [{CHECKS[check] % port}]{more}}}}}")
    return "\n".join([*lines, ""])


def run() -> list[Row]:
    """Measure one daemon from its start to its end; returns the rows."""
    ensure_bpffs()
    with Lab(backends=BACKENDS) as lab:
        daemon = Daemon(lab.balancer, lab.root(), configuration())
        try:
            bench = _Bench(lab, daemon)
            rows = bench.start()
            rows += bench.memory("start")
            rows += bench.deaths()
            rows += bench.reloads()
            rows += bench.shape_changes()
            rows += bench.probes()
            rows += bench.memory("reloads")
            daemon.stop()
        finally:
            daemon.close()
    return rows


@dataclass(frozen=True)
class _Delay:
    """ms from the end of the deciding probe: until the daemon had judged, until the table was written."""

    judged: float
    written: float


class _Bench:
    """One daemon and the lab around it."""

    def __init__(self, lab: Lab, daemon: Daemon) -> None:
        self._lab = lab
        self._daemon = daemon
        self._log = daemon.places.log

    def start(self) -> list[Row]:
        """Measure the first start, which compiles, until every backend of every service is up."""
        wall, began = time.time(), time.monotonic()
        self._daemon.start()
        ready = time.monotonic() - began
        self._all_up()
        ups = [event["at"] for event in self._events(EventKind.BACKEND, wall, outcome="up")]
        if len(ups) < SERVICES * BACKENDS:
            raise ValueError(f"the log knows of {len(ups)} backends that came up, not {SERVICES * BACKENDS}")
        labels = {**LABELS, "compiles": "yes"}
        child = compile_text(self._text(), FUNCTIONS)
        return [
            Row("start-to-ready", ready * 1e3, "ms", labels),
            Row("start-to-all-up", (max(ups) - wall) * 1e3, "ms", labels),
            Row("compile-child-rss", child.child_rss / 1e6, "MB", {**LABELS, "field": "ru_maxrss"}),
        ]

    def memory(self, after: str) -> list[Row]:
        """Measure what the two processes hold when they have come to rest."""
        time.sleep(SETTLED)
        rows = []
        pids = {"control": self._daemon.pid, "prober": process.prober(self._daemon.places.namespace)}
        for name, pid in pids.items():
            found = process.memory(pid)
            labels = {**LABELS, "field": "VmRSS", "after": after}
            limit = MEMORY_LIMIT if name == "control" else None
            rows.append(Row(f"{name}-rss", found.pop("VmRSS"), "MB", labels, limit=limit, more=found))
        return rows

    def reloads(self) -> list[Row]:
        """Measure reloads that keep the shape."""
        changes: list[tuple[str, Callable[[int], str]]] = [
            ("nothing", lambda number: configuration()),
            ("one service more or less", lambda number: configuration(SERVICES - (number + 1) % 2)),
            ("a weight in every service", lambda number: configuration(weight=1 + (number + 1) % 2)),
        ]
        rows = []
        for what, text in changes:
            inside, outside = [], []
            for number in range(2 * REPEAT):
                answer, wall = self._reload(text(number))
                if answer["compiled"]:
                    raise ValueError(f"a reload that changes {what} compiled, so the shape was not kept")
                inside.append(answer["seconds"] * 1e3)
                outside.append(wall * 1e3)
            labels = {**LABELS, "changes": what}
            for name, samples in (("reload", inside), ("reload-command", outside)):
                more = {"least": min(samples), "worst": max(samples), "samples": len(samples)}
                rows.append(Row(name, statistics.median(samples), "ms", labels, limit=RELOAD_LIMIT, more=more))
        return rows

    def shape_changes(self) -> list[Row]:
        """Measure reloads that need another program: compiled, and found in the cache."""
        cache = self._daemon.places.state / "programs"
        kept = {file.name: file.read_bytes() for file in cache.glob("*.json")}
        times: dict[str, list[float]] = {"yes": [], "no, in the cache": []}
        compiling = []
        for _ in range(3):
            for file in cache.glob("*.json"):
                file.unlink()
            answer, _ = self._reload(configuration(more=", on_dead: reset"))
            if not answer["compile_seconds"]:
                raise ValueError("a program of another shape was not compiled")
            times["yes"].append(answer["seconds"] * 1e3)
            compiling.append(answer["compile_seconds"] * 1e3)
            # The daemon keeps only the newest program; give it back the one before.
            for name, code in kept.items():
                (cache / name).write_bytes(code)
            answer, _ = self._reload(configuration())
            if not answer["compiled"] or answer["compile_seconds"]:
                raise ValueError("the program of the former shape was not taken from the cache")
            times["no, in the cache"].append(answer["seconds"] * 1e3)
        more: dict[str, dict[str, float]] = {"yes": {"compile": statistics.median(compiling)}}
        rows = []
        for how, samples in times.items():
            labels = {**LABELS, "compiles": how}
            rows.append(Row("reload-shape", statistics.median(samples), "ms", labels, more=more.get(how, {})))
        return rows

    def probes(self) -> list[Row]:
        """Measure what a thousand probes a second take of a processor, in each process."""
        rows = []
        for check in CHECKS:
            self._reload(configuration(check=check))
            self._all_up()
            time.sleep(SETTLED)
            pids = {"control": self._daemon.pid, "prober": process.prober(self._daemon.places.namespace)}
            start, before = time.time(), {name: process.cpu_seconds(pid) for name, pid in pids.items()}
            time.sleep(WINDOW)
            used = {name: process.cpu_seconds(pid) - before[name] for name, pid in pids.items()}
            seconds = time.time() - start
            wait_for("the log", lambda until=start + seconds: self._written(until))  # type: ignore[misc]
            ended = [event for event in self._events(EventKind.PROBE, start) if event["at"] <= start + seconds]
            wrong = sum(event["outcome"] != "ok" for event in ended)
            rate = len(ended) / seconds
            for name, cpu in used.items():
                value = cpu / seconds / (rate / 1000) * 100
                more = {"failed": wrong, "cpu": cpu, "seconds": seconds}
                labels: dict[str, str | int] = {"check": check, "probes_per_second": round(rate)}
                rows.append(Row(f"{name}-cpu", value, "% of a core", labels, more=more))
        return rows

    def deaths(self) -> list[Row]:
        """Measure from the probe that decides to the table, for one service and for all at once."""
        alone: list[_Delay] = []
        together: list[_Delay] = []
        backends = [self._lab.backends[f"b{number}"] for number in range(1, DEATHS + 1)]
        with TableWatch(self._daemon.places.pins) as watch:
            for backend in backends:
                alone += self._death(watch, KEYS[:1], backend.address, lambda b=backend: b.kill_servers(Server.NGINX))  # type: ignore[misc]
            for backend in backends[:MASS_DEATHS]:
                together += self._death(
                    watch,
                    KEYS[1:],
                    backend.address,
                    lambda b=backend: b.kill_servers(Server.ECHO),  # type: ignore[misc]
                )
        for number, backend in enumerate(backends):
            backend.start_servers(self._lab.content, *(Server if number < MASS_DEATHS else (Server.NGINX,)))
        for backend in backends:
            backend.wait_ready()
        self._all_up()
        rows = []
        for services, delays in ((1, alone), (SERVICES - 1, together)):
            samples = [delay.written for delay in delays]
            more = {"least": min(samples), "judged": statistics.median(delay.judged for delay in delays)}
            for name, value in (("median", statistics.median(samples)), ("worst", max(samples))):
                labels = {**LABELS, "services_hit": services, "verdicts": len(samples)}
                rows.append(Row(f"verdict-to-table-{name}", value, "ms", labels, limit=VERDICT_LIMIT, more=more))
        return rows

    def _death(
        self, watch: TableWatch, services: tuple[ServiceKey, ...], backend: IPv4Address, kill: Callable[[], None]
    ) -> list[_Delay]:
        """Let a backend die; returns what passed for each service."""
        since, began = end(self._log), time.time()
        written = watch.until_unused(services, backend, 15.0, kill)
        wait_for("the log", lambda: self._written(max(written.values())))
        decided = self._deciding_probes(since, backend)
        missing = [str(key) for key in services if str(key) not in decided]
        if missing:
            raise ValueError(f"the log knows no probe that failed before {missing[0]} lost {backend}")
        delays = []
        for key, at in written.items():
            probe, verdict = decided[str(key)]
            if not began <= probe <= verdict <= at:
                raise ValueError(f"{key} lost {backend} in the wrong order; has the clock been set?")
            delays.append(_Delay((verdict - probe) * 1e3, (at - probe) * 1e3))
        return delays

    def _deciding_probes(self, since: Position, backend: IPv4Address) -> dict[str, tuple[float, float]]:
        """Return for each service when the last probe before the verdict "dead" ended, and when the verdict fell."""
        last: dict[str, float] = {}
        decided: dict[str, tuple[float, float]] = {}
        for event in self._read(since, LogFilter(backend=backend)):
            if event["kind"] == EventKind.PROBE and event["outcome"] != "ok":
                last[event["service"]] = event["at"]
            elif event["kind"] == EventKind.BACKEND and event["outcome"] == "dead":
                decided[event["service"]] = last[event["service"]], event["at"]
        return decided

    def _read(self, since: Position, wanted: LogFilter) -> list[dict[str, Any]]:
        """Return the events behind a place, in the order in which they were recorded."""
        first = next((event["sequence"] for event in reversed(list(read(self._log, until=since)))), 0)
        return [event for event in read(self._log, wanted) if event["sequence"] > first]

    def _events(self, kind: EventKind, since: float, outcome: str = "") -> list[dict[str, Any]]:
        return list(read(self._log, LogFilter(kinds=frozenset({kind}), since=since, outcome=outcome)))

    def _written(self, until: float) -> bool:
        """Whether the log on disk has come to that moment; the daemon writes it once a second."""
        return any(event["at"] > until for event in read(self._log, LogFilter(since=until)))

    def _all_up(self) -> None:
        def up() -> bool:
            services = self._daemon.status()["services"]
            states = [backend["state"] for service in services for backend in service["backends"]]
            return len(states) == SERVICES * BACKENDS and set(states) == {"available"}

        wait_for(f"{SERVICES * BACKENDS} backends to be available", up, 30.0)
        time.sleep(1.2)  # so that the log has it all

    def _reload(self, text: str) -> tuple[dict[str, Any], float]:
        """Put a configuration in force; returns the daemon's answer, and the seconds that the command took."""
        self._daemon.configuration_file.write_text(text)
        began = time.monotonic()
        done = self._daemon.vc5("reload", "--json")
        wall = time.monotonic() - began
        if done.returncode:
            raise LabError(f"vc5 reload: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer, wall

    def _text(self) -> str:
        """The program text of the configuration."""
        loaded = config.load(Path(self._daemon.configuration_file))
        return rendered(shape_for(loaded.config, read_possible_cpus()), TEMPLATES)
