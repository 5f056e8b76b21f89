"""How long a packet takes, as a console tells it: measured without a packet of anybody's being counted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab.addresses import VIP
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.netns.scenario_operator import configuration, fetch, wait_states

pytestmark = [pytest.mark.root, pytest.mark.slow]


def status(daemon: Daemon) -> dict[str, Any]:
    text = daemon.namespace.run("curl", "-sS", "--max-time", "9", "http://127.0.0.1:9090/status.json")
    found: dict[str, Any] = json.loads(text)
    return found


def carried(told: dict[str, Any]) -> tuple[int, int, dict[str, int]]:
    [service] = told["services"][str(VIP)]
    reasons = {name: count for name, count in told["reasons"].items() if not name.startswith(("probe-", "not-ip"))}
    return service["packets"], service["flows"], reasons


def test_a_packet_is_timed_while_somebody_looks() -> None:
    with Lab(backends=2) as lab, Daemon(lab.balancer, lab.root("timed"), configuration(), metrics=True) as daemon:
        wait_states(daemon, b11="available", b12="available")
        assert fetch(lab) in ("b1", "b2")
        before = carried(wait_for("console", lambda: _there(daemon), 20))
        told = wait_for("a measurement", lambda: (found := status(daemon))["latency_of"] and found, 20)
        assert told["latency_of"] == "test-run"
        # What a kernel with its timers takes for one run of a program, on any machine.
        assert 1 < told["latency_ns"] < 100_000
        # Readers of upstream's fields take no fractions, which a median of an even number has.
        assert told["summary"]["latency_ns"] == int(told["latency_ns"])
        assert carried(told) == before
        # Once the kernel measures programs itself, that is told, of the packets that there are.
        daemon.namespace.run("sysctl", "-w", "kernel.bpf_stats_enabled=1")
        try:
            wait_for("traffic", lambda: fetch(lab) and status(daemon)["latency_of"] == "traffic", 20)
        finally:
            daemon.namespace.run("sysctl", "-w", "kernel.bpf_stats_enabled=0")
        assert daemon.stop() == 0


def _there(daemon: Daemon) -> dict[str, Any]:
    try:
        return status(daemon)
    except (LabError, ValueError):
        return {}
