"""Fallbacks, and ports that are added to a VIP in service, with real servers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.addresses import VIP
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.netns.scenario_operator import SERVICE, configuration, events, fetch, prepared, running, wait_states

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


def vip(daemon: Daemon) -> dict[str, Any]:
    """The row of the VIP in the status."""
    [row] = daemon.status()["vips"]
    found: dict[str, Any] = row
    return found


def test_a_fallback_serves_while_the_server_does_not(lab: Lab) -> None:
    text = configuration(servers="10.1.10.11", service="fallback: [10.1.10.12]")
    with prepared(lab, "fallback", text) as daemon:
        daemon.start()
        wait_states(daemon, b11="available", b12="standby")
        assert {fetch(lab) for _ in range(8)} == {"b1"}
        lab.backends["b1"].kill_servers()
        try:
            wait_states(daemon, b11="dead", b12="available")
            assert {fetch(lab) for _ in range(8)} == {"b2"}
            assert vip(daemon)["up"]
        finally:
            lab.backends["b1"].start_servers(lab.content)
            lab.backends["b1"].wait_ready()
        wait_states(daemon, b11="available", b12="standby")
        assert {fetch(lab) for _ in range(8)} == {"b1"}
        assert daemon.stop() == 0


def test_a_new_port_of_a_vip_in_service(lab: Lab) -> None:
    """A bad one withdraws the VIP with its first verdict, and one that is not critical does not."""
    with running(lab, "port") as daemon:
        assert vip(daemon)["up"]
        began = time.time()
        checks = "{checks: [{type: tcp, port: 9}]}"
        for critical, up in (("{critical: no, checks: [{type: tcp, port: 9}]}", True), (checks, False)):
            old = "policy: {80/tcp: {checks: [{type: http, port: 80, path: /alive}]}"
            text = configuration().replace(old, f"{old}, 9/tcp: {critical}")
            assert daemon.reload(text).returncode == 0
            wait_for("verdicts", lambda: not any(row["pending"] for row in daemon.status()["services"]))
            wait_for("the VIP", lambda up=up: vip(daemon)["up"] is up)  # type: ignore[misc]
            services = {row["service"]: row["up"] for row in daemon.status()["services"]}
            assert services == {SERVICE: True, f"{VIP}:9/tcp": False}
        assert [event["message"] for event in events(daemon, "service", began) if event["service"] == SERVICE] == []
        assert daemon.reload(configuration()).returncode == 0
        wait_for("the VIP", lambda: vip(daemon)["up"])
        assert daemon.stop() == 0
