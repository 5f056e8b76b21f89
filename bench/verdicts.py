"""One service of 1,000 backends, half of them dead, all probed at once by the real daemon: is any verdict wrong?

The addresses of the living share the MAC of b1, which has the VIP and a web server; those of the dead share that of b2,
which has not, so that packets vanish there. All probes go through the data plane to one VIP and port: there a mistake
in keeping them apart would let the answer of the living vouch for the dead.

The web server sends half of its answer at once and the rest a second later. All checks are due within the first half
second: after that, every probe is under way.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address
from itertools import accumulate
from typing import Any

from appliance.model import EventKind
from appliance.telemetry.log_filter import LogFilter
from appliance.telemetry.spool_reader import read
from bench.report import Row
from bench.targets import web_server
from tests.lab.addresses import HTTP, VIP
from tests.lab.bpffs import ensure_bpffs
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab

BACKENDS = 1000
FIRST = IPv4Address("10.2.0.1")
NETWORK = "10.2.0.0/16"
PATH = "/slow"
BODY, RATE = 1500, 1000
"""Bytes of the answer, and bytes a second."""
INTERVAL, TIMEOUT = 2.0, 1.9
WATCHED = 12.0
"""Seconds for which the verdicts have to stay as they are."""
LABELS: dict[str, str | int] = {"backends": BACKENDS, "dead": BACKENDS // 2}
ALIVE, DEAD = "available", "dead"


def verdicts() -> list[Row]:
    """Measure one daemon; returns the rows."""
    ensure_bpffs()
    with Lab(backends=2, servers=False) as lab:
        truth = _backends(lab)
        (lab.directory / PATH.lstrip("/")).write_text("x" * BODY)
        location = f"root {lab.directory}; limit_rate {RATE};"
        server = lab.backends["b1"].namespace.spawn(*web_server(lab.directory, location))
        daemon = Daemon(lab.balancer, lab.root(), _configuration(truth))
        try:
            daemon.start()
            wait_for("a verdict on every backend", lambda: _decided(daemon), 60.0)
            time.sleep(WATCHED)
            states = _states(daemon)
            daemon.stop()
            events = list(read(daemon.places.log, LogFilter()))
        finally:
            daemon.close()
            server.kill()
            server.wait()
    return _rows(events, truth, states)


def _backends(lab: Lab) -> dict[str, str]:
    """Let the balancer know where each address is; returns what the state of each should be."""
    truth = {str(FIRST + number): DEAD if number % 2 else ALIVE for number in range(BACKENDS)}
    macs = {ALIVE: lab.backends["b1"].mac, DEAD: lab.backends["b2"].mac}
    lines = [f"address add {FIRST + (1 << 16) - 3}/16 dev eth0"]
    lines += [f"neigh replace {address} lladdr {macs[state]} dev eth0" for address, state in truth.items()]
    lab.balancer.run("ip", "-batch", "-", text="\n".join([*lines, ""]))
    lab.backends["b1"].namespace.run("ip", "route", "add", NETWORK, "dev", "eth0")
    lab.backends["b2"].namespace.run("ip", "address", "delete", f"{VIP}/32", "dev", "lo")
    return truth


def _configuration(addresses: Iterable[str]) -> str:
    check = f"{{type: http, port: {HTTP}, path: {PATH}, interval: {INTERVAL}, timeout: {TIMEOUT}}}"
    return (
        "interfaces: eth0\nxdp: native\nservices:\n"
        f"  - virtual: {VIP}\n    servers: [{', '.join(addresses)}]\n"
        f"    policy: {{{HTTP}/tcp: {{checks: [{check}]}}}}\n"
    )


def _states(daemon: Daemon) -> dict[str, str]:
    (service,) = daemon.status()["services"]
    return {backend["address"]: backend["state"] for backend in service["backends"]}


def _decided(daemon: Daemon) -> bool:
    return set(_states(daemon).values()) <= {ALIVE, DEAD}


def _rows(events: Sequence[dict[str, Any]], truth: dict[str, str], states: dict[str, str]) -> list[Row]:
    """Compare with the truth what was said at any time, and how it is in the end."""
    probes = [event for event in events if event["kind"] == EventKind.PROBE]
    told = [event for event in events if event["kind"] == EventKind.BACKEND]
    first: dict[str, float] = {}
    for event in told:
        first.setdefault(event["backend"], event["at"])
    wrong = sum((event["outcome"] == "up") is not (truth[event["backend"]] == ALIVE) for event in told)
    wrong += sum(states[address] != state for address, state in truth.items())
    wrong_probes = sum((event["outcome"] == "ok") is not (truth[event["backend"]] == ALIVE) for event in probes)
    began = min(map(_begin, probes))
    more = {"probes": len(probes), "probes_wrong": wrong_probes}
    return [
        Row("health-probes-at-once", float(most_at_once(probes)), "probes", LABELS),
        Row("health-wrong-verdicts", float(wrong), "verdicts", LABELS, limit=0.0, more=more),
        Row("health-all-verdicts", (max(first.values()) - began) * 1e3, "ms", LABELS, more={"timeout_s": TIMEOUT}),
    ]


def _begin(probe: dict[str, Any]) -> float:
    at: float = probe["at"] - probe["details"]["total_ns"] / 1e9
    return at


def most_at_once(probes: Sequence[dict[str, Any]]) -> int:
    """Return how many probes were under way at the same time, at most, by their events."""
    edges = [*((probe["at"], -1) for probe in probes), *((_begin(probe), 1) for probe in probes)]
    return max(accumulate(change for _, change in sorted(edges)))
