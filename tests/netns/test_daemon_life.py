"""The life of a daemon: what it tells its service manager, reloads and refused ones, drains, restarts, its prober."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import pytest

from tests.lab.addresses import SECOND_VIP, mac_of
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.traffic import LongFlows, Requests
from tests.netns.scenario_operator import (
    ECHO_SERVICE,
    SERVICE,
    backends,
    change_mac,
    configuration,
    events,
    fetch,
    links,
    prepared,
    probes,
    running,
    second_interface,
    settled,
    states,
    wait_states,
)

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


def told(daemon: Daemon, since: float = 0.0) -> list[str]:
    """Return the names of all assignments to the service manager since then, STATUS left out."""
    return [n.name for n in tuple(daemon.notifications) if n.at >= since and n.name not in ("STATUS", "WATCHDOG")]


# ---- the service manager


def test_what_the_service_manager_is_told(lab: Lab) -> None:
    with running(lab, "told", WATCHDOG_USEC="1500000") as daemon:
        assert told(daemon)[:2] == ["EXTEND_TIMEOUT_USEC", "READY"]
        wait_for("a status", lambda: "1 of 1 services up" in [n.value for n in daemon.notifications])

        since = time.monotonic()
        assert daemon.reload().returncode == 0
        assert told(daemon, since) == ["RELOADING", "MONOTONIC_USEC", "READY"]
        [sent] = [n for n in daemon.notifications if n.name == "MONOTONIC_USEC"]
        assert since - 1 < int(sent.value) / 1e6 <= sent.at

        since = time.monotonic()
        assert daemon.reload("services: 7\n").returncode == 78
        assert told(daemon, since) == ["RELOADING", "MONOTONIC_USEC", "READY"]
        assert any("reload refused, the old configuration is in force" in n.value for n in daemon.notifications)

        beats = [n.at for n in daemon.notifications if n.name == "WATCHDOG"]
        wait_for("heartbeats", lambda: sum(n.name == "WATCHDOG" for n in tuple(daemon.notifications)) >= len(beats) + 4)
        beats = [n.at for n in daemon.notifications if n.name == "WATCHDOG"]
        gaps = sorted(after - before for before, after in pairwise(beats))
        assert gaps[len(gaps) // 2] < 1.5 / 2, "the watchdog expects one in 1.5 s; a third of that is aimed at"
        since = time.monotonic()
        assert daemon.stop() == 0
        assert told(daemon, since) == ["STOPPING"]
        assert daemon.leftovers() == []


def test_without_a_watchdog_there_are_no_heartbeats(lab: Lab) -> None:
    with running(lab, "no-watchdog") as daemon:
        wait_for("two seconds of life", lambda: daemon.status()["uptime_s"] > 2)
        assert [n for n in daemon.notifications if n.name == "WATCHDOG"] == []
        assert daemon.stop() == 0


# ---- reload


def test_reload_by_signal(lab: Lab) -> None:
    with running(lab, "signal") as daemon:
        daemon.configuration_file.write_text(configuration(servers="10.1.10.11, 10.1.10.12 weight=0"))
        daemon.signal(signal.SIGHUP)
        wait_states(daemon, b11="available", b12="draining")
        daemon.configuration_file.write_text("services: 7\n")
        daemon.signal(signal.SIGHUP)
        wait_for("a refusal", lambda: "reload refused, the old configuration stays in force" in daemon.errors)
        assert "lab.yaml:1:11: services: must be a list" in daemon.errors
        assert states(daemon) == {"11": "available", "12": "draining"}
        assert daemon.stop() == 0


def test_a_reload_adds_and_removes_an_interface(lab: Lab) -> None:
    frames = second_interface(lab, SECOND_VIP)
    two = configuration("[eth0, eth1]", port="80/tcp", service=f"name: both\ndescription: {SECOND_VIP}").replace(
        "virtual: 203.0.113.10", f"virtual: [203.0.113.10, {SECOND_VIP}]"
    )
    with running(lab, "interfaces") as daemon:
        assert daemon.reload(two).returncode == 0
        assert {row["name"]: row["attach"] for row in daemon.status()["interfaces"]} == {
            "eth0": "native",
            "eth1": "native",
        }
        wait_states(daemon, f"{SECOND_VIP}:80/tcp", b11="available", b12="available")
        assert fetch(lab)
        assert fetch(lab, SECOND_VIP)
        with Requests(lab.client, rate=100) as requests:
            assert daemon.reload(configuration("eth0")).returncode == 0
            assert [row["name"] for row in daemon.status()["interfaces"]] == ["eth0"]
            assert dict(links(lab.balancer))["eth1"] == 0
            began = time.monotonic()
            wait_for("requests", lambda: len(requests.status().since(began).done) > 30)
            assert [request.failure for request in requests.stop().failed] == []
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
    frames.close()


# ---- restarts


def test_drains_and_verdicts_outlive_the_daemon(lab: Lab) -> None:
    """Neither a kill nor a restart makes anybody flap: no event of a backend, no slot with another owner."""
    with running(lab, "restarts") as daemon:
        lab.backends["b2"].kill_servers()
        try:
            wait_states(daemon, b11="available", b12="dead")
            assert daemon.vc5("drain", SERVICE, "10.1.10.11").returncode == 0
            expected = {"11": "draining", "12": "dead"}
            assert states(daemon) == expected
            rows = settled(daemon)
            for end in (daemon.kill9, lambda: _leave(daemon), daemon.kill9):
                end()
                began = time.time()
                daemon.start()
                assert states(daemon) == expected
                wait_for("the prober", lambda: "took_ms" in backends(daemon)[0] and backends(daemon)[0]["took_ms"])
                wait_for("a full round of checks", partial(_checked, daemon, began))
                assert settled(daemon) == rows
                assert events(daemon, "backend", began) == []
                assert events(daemon, "service", began) == []
            assert backends(daemon)[0]["drained_by"].startswith("uid 0")
            assert daemon.vc5("undrain", SERVICE, "10.1.10.11").returncode == 0
            assert states(daemon)["11"] == "available"
        finally:
            lab.backends["b2"].start_servers(lab.content)
            lab.backends["b2"].wait_ready()
        wait_states(daemon, b11="available", b12="available")
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def _checked(daemon: Daemon, since: float) -> bool:
    return probes(daemon, since) >= 6


def _leave(daemon: Daemon) -> None:
    daemon.signal(signal.SIGUSR1)
    wait_for("the daemon to leave", lambda: not daemon.running)
    assert daemon.exit_status == 0
    assert daemon.leftovers() != []


# ---- neighbours


def test_a_changed_mac_is_followed_while_connections_live(lab: Lab) -> None:
    with running(lab, "mac", configuration(port="7000/tcp")) as daemon:
        with LongFlows(lab.client, busy=20, idle=0, interval=0.05) as flows:
            wait_for("a minimal age of the entry (locktime in arp(7))", lambda: daemon.status()["uptime_s"] > 2)
            began = time.monotonic()
            change_mac(lab, "b1", "02:00:00:00:bb:01")
            wait_for("the table", lambda: backends(daemon, ECHO_SERVICE)[0]["mac"] == "02:00:00:00:bb:01", 5)
            assert time.monotonic() - began < 3
            spoken = {flow.number: flow.frames for flow in flows.status().flows}
            wait_for("all to talk", lambda: all(f.frames > spoken[f.number] + 2 for f in flows.status().flows))
            assert flows.stop().broken == []
        change_mac(lab, "b1", mac_of(lab.backends["b1"].address))
        assert events(daemon, "alarm") == []
        assert daemon.stop() == 0


def test_forwarding_begins_with_cold_neighbours(lab: Lab) -> None:
    """The daemon asks for what it needs: nobody has talked to the backends when it starts."""
    lab.balancer.run("ip", "neighbour", "flush", "dev", "eth0")
    text = configuration(check="")  # no checks, so that no probe's answer fills the table
    with prepared(lab, "cold", text) as daemon:
        daemon.start()
        wait_for("the neighbours", lambda: all(row["mac"] for row in backends(daemon)), 3)
        assert {fetch(lab) for _ in range(12)} == {"b1", "b2"}
        assert daemon.stop() == 0
