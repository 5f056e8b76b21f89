"""Reloads that are refused, mistaken commands and a dead prober: the daemon goes on as it was."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.cli.client import call
from tests.lab.addresses import SECOND_VIP
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.traffic import Requests
from tests.lab.xdp_pass import XdpPass
from tests.netns.scenario_fault import Fault, faulty_copy
from tests.netns.scenario_operator import (
    SERVICE,
    assert_refused,
    backends,
    change_mac,
    configuration,
    events,
    links,
    probes,
    running,
    settled,
)

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


def _no_change(lab: Lab) -> None:
    return None


def _occupied(lab: Lab) -> None:
    if "taken" not in dict(links(lab.balancer)):
        lab.balancer.run("ip", "link", "add", "taken", "type", "veth", "peer", "name", "far")
        XdpPass(lab.balancer, "taken").close()


def _bare(lab: Lab) -> None:
    if "bare" not in dict(links(lab.balancer)):
        lab.balancer.run("ip", "link", "add", "bare", "type", "bridge")


REFUSED: dict[str, tuple[Callable[[Lab], None], str, int, tuple[str, ...]]] = {
    "mistakes": (
        _no_change,
        "interfaces: {}\nservices: 7\n",
        78,
        ("lab.yaml:1:13: interfaces: must be an interface name", "lab.yaml:2:11: services: must be a list"),
    ),
    "an interface that does not exist": (
        _no_change,
        configuration("[eth0, eth9]"),
        1,
        ("interface eth9 does not exist", "correct `interfaces`"),
    ),
    "an interface in place of another": (_no_change, configuration("eth9"), 1, ("interface eth9 does not exist",)),
    "one more interface, which is taken": (
        _occupied,
        configuration("[eth0, taken]", servers="10.1.10.11", vip=SECOND_VIP),
        1,
        ("taken", "(lab_pass) of another owner"),
    ),
    "a taken interface in place of another": (
        _occupied,
        configuration("taken", servers="10.1.10.11", vip=SECOND_VIP),
        1,
        ("taken", "(lab_pass) of another owner"),
    ),
    "a driver without XDP": (_bare, configuration("[eth0, bare]"), 1, ("native XDP on bare", "`xdp: generic`")),
}


@pytest.fixture(scope="module")
def lasting(lab: Lab) -> Iterator[Daemon]:
    with running(lab, "lasting") as daemon:
        yield daemon
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


@pytest.mark.parametrize(("before", "text", "status", "says"), REFUSED.values(), ids=REFUSED)
def test_a_refused_reload_leaves_all_as_it_was(
    lab: Lab, lasting: Daemon, before: Callable[[Lab], None], text: str, status: int, says: tuple[str, ...]
) -> None:
    before(lab)
    there, rows, wall = links(lab.balancer), settled(lasting), time.time()
    with Requests(lab.client, rate=100) as requests:
        wait_for("requests", lambda: len(requests.status().done) > 10)
        assert_refused(lasting.reload(text), status, *says)
        as_json = lasting.vc5("reload", "--json")
        assert as_json.returncode == status
        assert json.loads(as_json.stdout).keys() == ({"issues"} if status == 78 else {"error"})
        began = time.monotonic()
        wait_for("requests", lambda: len(requests.status().since(began).done) > 50)
        assert [request.failure for request in requests.stop().failed] == []
    assert links(lab.balancer) == there
    assert settled(lasting) == rows
    assert lasting.status()["config"]["generation"] == 1
    wait_for("the log", lambda: [event["outcome"] for event in events(lasting, "reload", wall)] == ["refused"] * 2)
    assert events(lasting, "alarm", wall) == [], "no interface was let go of, not even for a moment"
    # What was in force is in force whole: it follows a neighbour, too.
    change_mac(lab, "b1", "02:00:00:00:aa:01")
    wait_for("the new address", lambda: backends(lasting)[0]["mac"] == "02:00:00:00:aa:01", 3)
    change_mac(lab, "b1", lab.backends["b1"].mac)
    wait_for("the old address", lambda: backends(lasting)[0]["mac"] == lab.backends["b1"].mac, 5)


# ---- the operator's drains

MISTAKEN: dict[str, tuple[tuple[str, str, str], tuple[str, ...]]] = {
    "an unknown service": (
        ("drain", "203.0.113.10:81/tcp", "10.1.10.11"),
        ("there is no service 203.0.113.10:81/tcp; configured: 203.0.113.10:80/tcp",),
    ),
    "an unknown backend": (
        ("drain", SERVICE, "10.1.10.13"),
        (f"{SERVICE} has no backend 10.1.10.13; it has 10.1.10.11, 10.1.10.12",),
    ),
    "not drained": (("undrain", SERVICE, "10.1.10.11"), ("is not drained by an operator; nothing to take back",)),
    "no service": (("drain", "web", "10.1.10.11"), ("'web' is not a service; write VIP:PORT/tcp",)),
    "no address": (("undrain", SERVICE, "b1"), ("'b1' does not appear to be an IPv4 or IPv6 address",)),
}


@pytest.mark.parametrize(("command", "says"), MISTAKEN.values(), ids=MISTAKEN)
def test_a_mistaken_drain(lasting: Daemon, command: tuple[str, ...], says: tuple[str, ...]) -> None:
    rows = settled(lasting)
    done = lasting.vc5(*command)
    assert_refused(done, 1, *says)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert settled(lasting) == rows


# ---- the prober


def _prober(daemon: Daemon) -> int:
    """Return the process id of the prober, 0 if there is none now."""
    for entry in Path("/proc").iterdir():
        try:
            ours = entry.name.isdigit() and f"\nPPid:\t{daemon.pid}\n" in (entry / "status").read_text()
            if ours and b"appliance.health.prober" in (entry / "cmdline").read_bytes():
                return int(entry.name)
        except OSError:
            continue
    return 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_without_a_prober_health_is_frozen(lab: Lab, lasting: Daemon, number: signal.Signals) -> None:
    began, rows = time.time(), settled(lasting)
    restarts = lasting.status()["prober"]["restarts"]
    wait_for("a prober", lambda: not call(lasting.places, "status")["prober"]["frozen"])
    prober = wait_for("a prober", lambda: _prober(lasting))
    with Requests(lab.client, rate=50) as requests:
        os.kill(prober, number)
        frozen = wait_for("frozen health", lambda: _frozen(lasting), 10)
        assert frozen
        assert f"prober {prober}" in frozen["reason"]
        wait_for("another prober", lambda: call(lasting.places, "status")["prober"]["alive"], 10)
        assert _prober(lasting) not in (0, prober)
        status = lasting.status()["prober"]
        assert (status["frozen"], status["reason"], status["restarts"]) == (False, "", restarts + 1)
        began_again = time.time()
        wait_for("probes", lambda: probes(lasting, began_again) >= 4)
        assert [request.failure for request in requests.stop().failed] == []
    assert settled(lasting) == rows
    assert events(lasting, "backend", began) == []
    assert any("health is frozen" in event["message"] for event in events(lasting, "alarm", began))
    assert any("HEALTH FROZEN" in n.value for n in lasting.notifications if n.name == "STATUS")


def _frozen(daemon: Daemon) -> dict[str, Any] | None:
    found: dict[str, Any] = call(daemon.places, "status")["prober"]
    return found if found["frozen"] and not found["alive"] else None


# ---- that these tests would notice

FAULTS: dict[str, tuple[Fault, Callable[[Lab, Daemon], None]]] = {
    "a dead prober changes verdicts": (
        Fault(
            "appliance/control/judging.py",
            "        self._daemon.tell_summary()\n        if alive:\n",
            "        self._daemon.tell_summary()\n"
            "        if not alive:\n"
            "            instance = self._daemon.instance\n"
            "            type(instance.health).__init__(instance.health)\n"
            "            instance.health.configure(instance.state.services(), 0.0)\n"
            "            self._daemon.plan_soon()\n"
            "        if alive:\n",
        ),
        lambda lab, daemon: test_without_a_prober_health_is_frozen(lab, daemon, signal.SIGKILL),
    ),
    "a refused reload leaves only the new interfaces watched": (
        Fault(
            "appliance/control/daemon.py",
            "tuple(dict.fromkeys((*self._watched, *loaded.config.interfaces)))",
            "loaded.config.interfaces",
        ),
        lambda lab, daemon: test_a_refused_reload_leaves_all_as_it_was(
            lab, daemon, *REFUSED["a taken interface in place of another"]
        ),
    ),
    "nothing is rolled back": (
        Fault(
            "appliance/control/instance.py",
            "            self.state, self.seed, self.openings, self.shares = former\n",
            "            raise\n",
        ),
        lambda lab, daemon: test_a_refused_reload_leaves_all_as_it_was(
            lab, daemon, *REFUSED["one more interface, which is taken"]
        ),
    ),
}


@pytest.mark.parametrize(("fault", "story"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_noticed(fault: Fault, story: Callable[[Lab, Daemon], None]) -> None:
    with (
        Lab(backends=2) as place,
        faulty_copy(fault) as environment,
        running(place, "faulty", **environment) as daemon,
        pytest.raises((AssertionError, LabError)),
    ):
        story(place, daemon)
