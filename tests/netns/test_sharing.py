"""Checks that are one on the wire, VIPs that lean on each other, and a checker that finds itself broken; with nginx."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.addresses import SECOND_VIP, VIP
from tests.lab.backend import Backend
from tests.lab.daemon import Daemon
from tests.lab.namespace import Namespace
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.netns.scenario_operator import SERVICE, backends, events, prepared, wait_states

pytestmark = [pytest.mark.root, pytest.mark.slow]

SECOND = f"{SECOND_VIP}:80/tcp"
TLS = f"{VIP}:443/tcp"
HEAD = """\
interfaces: eth0
xdp: native
interval: 300ms
timeout: 300ms
rise: 1
fall: 2
drain_timeout: 0
services:
"""
CHECK = "checks: [{type: http, port: 80, host: lab, path: /alive}]"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        standing.add_vip(SECOND_VIP)
        yield standing


def service(vip: object, *ports: int) -> str:
    policies = ", ".join(f"{port}/tcp: {{{CHECK}}}" for port in ports)
    return f"  - {{virtual: {vip}, servers: [10.1.10.11, 10.1.10.12], policy: {{{policies}}}}}\n"


def asked(backend: Backend) -> int:
    """How many checks the web server of a backend has answered."""
    return (backend.directory / "access.log").read_text().count('"vc5"')


def results(daemon: Daemon, name: str, since: float, backend: str = "10.1.10.11") -> list[dict[str, Any]]:
    """The results of a service's checks of one backend."""
    return [
        event for event in events(daemon, "probe", since) if (event["service"], event["backend"]) == (name, backend)
    ]


def changes(daemon: Daemon, name: str, since: float) -> list[str]:
    """What was said of changed verdicts of a service since then."""
    return [event["message"] for event in events(daemon, "backend", since) if event["service"] == name]


def diagnostic(daemon: Daemon, name: str) -> str:
    """The words about the first backend in the status."""
    return str(backends(daemon, name)[0].get("diagnostic"))


def test_equal_checks_of_two_services_are_asked_once_and_told_to_both(lab: Lab) -> None:
    first = lab.backends["b1"]
    before = asked(first)
    with prepared(lab, "once", HEAD + service(VIP, 80, 443)) as daemon:
        daemon.start()
        began = time.time() - 60
        for name in (SERVICE, TLS):
            wait_states(daemon, name, b11="available", b12="available")
        wait_for("results", lambda: len(results(daemon, TLS, began)) >= 10)
        first.set_alive(False)
        try:
            for name in (SERVICE, TLS):
                wait_states(daemon, name, b11="draining", b12="available")
        finally:
            first.set_alive(True)
        for name in (SERVICE, TLS):
            wait_states(daemon, name, b11="available", b12="available")
        assert daemon.stop() == 0
        told = [results(daemon, name, began) for name in (SERVICE, TLS)]
        assert len(told[0]) == len(told[1]) >= 10
        assert [event["at"] for event in told[0]] == [event["at"] for event in told[1]]
        # One may have been under way at the end.
        assert len(told[0]) <= asked(first) - before <= len(told[0]) + 1


def test_another_vip_leans_on_good_news_and_finds_its_own_broken_path(lab: Lab) -> None:
    first = lab.backends["b1"]
    before = asked(first)
    with prepared(lab, "lean", HEAD + service(VIP, 80) + service(SECOND_VIP, 80)) as daemon:
        daemon.start()
        began = time.time() - 60
        for name in (SERVICE, SECOND):
            wait_states(daemon, name, b11="available", b12="available")
        wait_for("results", lambda: len(results(daemon, SECOND, began)) >= 10)
        leaning = f"HTTP 200 at {VIP}, path {SECOND_VIP}: SYN-ACK"
        wait_for("words", lambda: any(leaning in str(one) for one in results(daemon, SECOND, began)))
        told = [len(results(daemon, name, began)) for name in (SERVICE, SECOND)]
        assert asked(first) - before < sum(told) * 0.75, told  # both would have asked for themselves

        since = time.time()
        first.namespace.run("ip", "address", "del", f"{SECOND_VIP}/32", "dev", "lo")
        try:
            wait_states(daemon, SECOND, b11="dead", b12="available")
            words = f"path {SECOND_VIP}: timeout"
            wait_for("the words", lambda: any(words in str(one) for one in results(daemon, SECOND, since)))
            wait_for("more results", lambda: len(results(daemon, SERVICE, since)) >= 8)
            assert changes(daemon, SERVICE, since) == []
        finally:
            first.namespace.run("ip", "address", "add", f"{SECOND_VIP}/32", "dev", "lo")
        wait_states(daemon, SECOND, b11="available", b12="available")

        # The path of the one that leads: it alone is dead, and the other asks for itself.
        since = time.time()
        first.namespace.run("ip", "address", "del", f"{VIP}/32", "dev", "lo")
        try:
            wait_states(daemon, SERVICE, b11="dead", b12="available")
            wait_for("its own answer", lambda: diagnostic(daemon, SECOND).endswith(": HTTP 200"))
            wait_for("more results", lambda: len(results(daemon, SECOND, since)) >= 8)
            assert changes(daemon, SECOND, since) == []
        finally:
            first.namespace.run("ip", "address", "add", f"{VIP}/32", "dev", "lo")
        wait_states(daemon, SERVICE, b11="available", b12="available")

        first.set_alive(False)  # bad news is true for both
        try:
            for name in (SERVICE, SECOND):
                wait_states(daemon, name, b11="draining", b12="available")
        finally:
            first.set_alive(True)
        for name in (SERVICE, SECOND):
            wait_states(daemon, name, b11="available", b12="available")

        since = time.time()
        assert daemon.reload(HEAD + service(SECOND_VIP, 80)).returncode == 0
        wait_for("its own answers", lambda: len(results(daemon, SECOND, since)) >= 5)
        wait_for("its own answer", lambda: diagnostic(daemon, SECOND).endswith(": HTTP 200"))
        assert changes(daemon, SECOND, since) == []
        assert daemon.stop() == 0


def test_a_checker_that_is_broken_freezes_health_and_recovers(lab: Lab) -> None:
    first = lab.backends["b1"]
    with prepared(lab, "broken", HEAD + service(VIP, 80)) as daemon:
        daemon.start()
        wait_states(daemon, b11="available", b12="available")
        inside = Namespace(daemon.places.namespace)
        since = time.time()
        inside.run("ip", "link", "set", "lo", "down")
        reason = "the checker itself is broken: the known-good target fails: timeout (connect)"
        wait_for("the finding", lambda: daemon.status()["prober"]["reason"].startswith(reason))
        assert daemon.status()["prober"]["frozen"]
        shown = daemon.vc5("status").stdout
        assert "health FROZEN as the checker itself is broken: the last verdicts stand" in shown
        assert f"warning: {reason}" in shown
        assert "restarted" not in shown
        [alarm] = wait_for("the alarm", lambda: events(daemon, "alarm", since))
        assert alarm["message"].startswith(f"health is frozen, all verdicts stand: {reason}")

        first.kill_servers()
        try:
            killed = time.time()
            wait_for("some intervals", lambda: time.time() > killed + 1.5)
            assert [row["health"] for row in backends(daemon)] == ["up", "up"]
            assert changes(daemon, SERVICE, since) == []
            assert results(daemon, SERVICE, killed) == []
            inside.run("ip", "link", "set", "lo", "up")
            wait_states(daemon, b11="dead", b12="available")
            assert daemon.status()["prober"]["reason"] == ""
            [recovered] = wait_for("the end of it", lambda: events(daemon, "daemon", killed))
            assert recovered["message"].startswith("the prober works")
        finally:
            first.start_servers(lab.content)
            first.wait_ready()
        wait_states(daemon, b11="available", b12="available")
        assert daemon.stop() == 0
