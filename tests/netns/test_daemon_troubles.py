"""What the host lacks: a warning while it lasts, an alarm when it begins and when it ends, and no restart."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.netns.scenario_operator import backends, configuration, events, fetch, prepared, states

pytestmark = [pytest.mark.root, pytest.mark.slow]

FAR = "10.7.0.1"
SERVERS = f"10.1.10.11, 10.1.10.12, {FAR}"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


def alarms(daemon: Daemon, since: float) -> list[tuple[str, str]]:
    """Outcome and message of the alarms that tell of troubles."""
    return [(one["outcome"], one["message"]) for one in events(daemon, "alarm", since) if one.get("outcome")]


def troubles(daemon: Daemon) -> list[list[str]]:
    """The reasons of each backend."""
    return [[trouble["reason"] for trouble in row["troubles"]] for row in backends(daemon)]


def test_troubles_begin_and_end(lab: Lab) -> None:
    began = time.time()
    with prepared(lab, "troubles", configuration(servers=SERVERS)) as daemon:
        daemon.start()
        wait_for("two backends", lambda: list(states(daemon).values()).count("available") == 2)
        assert troubles(daemon) == [["no-network"], [], []] or troubles(daemon) == [[], [], ["no-network"]]
        way = {"interface": "eth0", "vlan": None, "via": None, "own": "10.1.10.5", "mtu": 1500}
        assert [row["way"] for row in backends(daemon) if row["address"] != FAR] == [way, way]
        wait_for("the first alarm", lambda: len(alarms(daemon, began)) == 1)
        [(outcome, message)] = alarms(daemon, began)
        assert outcome == "began"
        assert FAR in message
        assert "mode simple" in message
        assert message in [warning["message"] for warning in daemon.status()["warnings"]]

        fallen = time.time()
        lab.balancer.run("ip", "link", "set", "eth0", "down")
        wait_for("the alarm", lambda: ("began", "interface eth0 is down (mode simple)") in alarms(daemon, fallen))
        assert ["interface-down"] in troubles(daemon)
        wait_for("no backend", lambda: "available" not in states(daemon).values())

        lab.balancer.run("ip", "link", "set", "eth0", "up")
        wait_for("its end", lambda: ("over", "over: interface eth0 is down (mode simple)") in alarms(daemon, fallen))
        wait_for("two backends", lambda: list(states(daemon).values()).count("available") == 2)
        wait_for("an answer", lambda: fetch(lab) in ("b1", "b2"))

        mended = time.time()
        done = daemon.reload(configuration())
        assert done.returncode == 0, done.stderr
        wait_for("the end", lambda: alarms(daemon, mended) == [("over", f"over: {message}")])
        assert message not in [warning["message"] for warning in daemon.status()["warnings"]]
        assert daemon.stop() == 0
