"""Verdicts that are not acted on: an operator froze them, too many at once, or it is this node that is cut off."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.netns.scenario_operator import (
    assert_refused,
    backends,
    configuration,
    events,
    prepared,
    running,
    states,
    wait_states,
)

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


def seen(daemon: Daemon) -> list[tuple[str, str, str | None]]:
    """Health, state and why it is kept, of the backends of the service."""
    return [(row["health"], row["state"], row["kept_by"]) for row in backends(daemon)]


def test_frozen_health_stands_over_a_restart_until_it_is_thawed(lab: Lab) -> None:
    with running(lab, "freeze") as daemon:
        assert_refused(daemon.vc5("health", "thaw"), 1, "is not frozen by an operator")
        assert daemon.vc5("health", "freeze").returncode == 0
        assert_refused(daemon.vc5("health", "freeze"), 1, "is frozen already, by uid 0 (")
        lab.backends["b2"].kill_servers()
        try:
            frozen = [("up", "available", None), ("dead", "available", "frozen")]
            wait_for("the verdict", lambda: seen(daemon) == frozen)
            assert daemon.status()["prober"]["frozen"]
            assert "health FROZEN by uid 0 (" in daemon.vc5("status").stdout
            daemon.kill9()
            daemon.start()
            assert states(daemon) == {"11": "available", "12": "available"}
            wait_for("the verdict", lambda: seen(daemon) == frozen)
            assert daemon.vc5("health", "thaw").returncode == 0
            assert states(daemon) == {"11": "available", "12": "dead"}
            assert "health live" in daemon.vc5("status").stdout
        finally:
            lab.backends["b2"].start_servers(lab.content)
            lab.backends["b2"].wait_ready()
        wait_states(daemon, b11="available", b12="available")
        assert daemon.stop() == 0


def test_checks_alone_take_out_no_more_than_max_removal(lab: Lab) -> None:
    with running(lab, "removal", configuration(service="max_removal: 50%")) as daemon:
        began = time.time()
        try:
            for name in ("b1", "b2"):
                lab.backends[name].kill_servers()
                number = 0 if name == "b1" else 1
                wait_for("the verdict", lambda number=number: seen(daemon)[number][0] == "dead")  # type: ignore[misc]
            assert seen(daemon) == [("dead", "dead", None), ("dead", "available", "max_removal")]
            wait_for("the alarm", lambda: events(daemon, "alarm", began))
            alarms = [event["message"] for event in events(daemon, "alarm", began)]
            assert alarms == ["kept in service although dead: max_removal is 50%"]
        finally:
            for name in ("b1", "b2"):
                lab.backends[name].start_servers(lab.content)
                lab.backends[name].wait_ready()
        wait_for("both to be up", lambda: seen(daemon) == [("up", "available", None)] * 2)
        assert daemon.stop() == 0


def test_a_node_that_is_cut_off_keeps_its_tables_and_is_demoted(lab: Lab) -> None:
    one = configuration(servers="10.1.10.11", top="hold_down: 0s").replace("timeout: 2s", "timeout: 500ms")
    other = one[one.index("  - virtual") :].replace("80/tcp", "7000/tcp").replace("10.1.10.11", "10.1.10.12")
    with prepared(
        lab, "isolated", one + other.replace("{type: http, port: 80, path: /alive}", "{type: syn}")
    ) as daemon:
        daemon.start()

        def told() -> list[tuple[str, str]]:
            body = daemon.status()
            rows = [row for service in body["services"] for row in service["backends"]]
            return [(row["health"], row["state"]) for row in rows] + [("", vip["announce"]) for vip in body["vips"]]

        wait_for("both services", lambda: told() == [("up", "available")] * 2 + [("", "yes")])
        began = time.time()
        for name in ("b1", "b2"):
            lab.unplug(name)
        try:
            wait_for("the verdict", lambda: told() == [("dead", "available")] * 2 + [("", "demote")], 15)
            assert "is up, and announced as a last resort: most backends" in daemon.vc5("status").stdout
        finally:
            for name in ("b1", "b2"):
                lab.plug(name)
        wait_for("the end of it", lambda: told() == [("up", "available")] * 2 + [("", "yes")], 15)
        wait_for("the alarms", lambda: [one["outcome"] for one in events(daemon, "alarm", began)][-1:] == ["end"])
        alarms = [event["outcome"] for event in events(daemon, "alarm", began) if "cut off" in event["message"]]
        assert alarms == ["begin", "end"]
        assert daemon.stop() == 0
