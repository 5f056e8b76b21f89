"""`vc5 drill` in the lab: a good site passes, a bad one fails for its own reason, and nothing is ever left of it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from appliance.cli.client import call
from appliance.health.ports import DRILL_PORTS
from tests.lab.addresses import BALANCER, ECHO, VIP
from tests.lab.backend import REPOSITORY, Server
from tests.lab.daemon import PROGRAM, Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.wire import DATA, Frame
from tests.netns.scenario_operator import (
    SERVICE,
    assert_refused,
    configuration,
    events,
    prepared,
    running,
    states,
    wait_states,
)

pytestmark = [pytest.mark.root, pytest.mark.slow]

B1, B2 = "10.1.10.11", "10.1.10.12"
LONG = 120.0
"""Seconds that a drill in a busy lab may take."""
SHORT = ("--seconds", "20")
QUESTION = Frame(DATA, 0, b"drill").encode().hex()
KINDS = f"""\
interfaces: eth0
xdp: native
interval: 200ms
timeout: 2s
rise: 1
fall: 2
webserver: no
services:
  - virtual: {VIP}
    servers: [{B1}, {B2}]
    policy:
      https: {{host: lab, path: /alive}}
      {ECHO}/tcp: {{checks: [{{type: tcp}}]}}
      {ECHO}/udp: {{checks: [{{type: udp, send: "hex:{QUESTION}", receive: data}}]}}
      53/udp: {{checks: [{{type: tcp, port: {ECHO}}}]}}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


@contextmanager
def drilling(daemon: Daemon, *argv: str, errors: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """Yield a drill that runs; at the end it is killed, if it still does."""
    process = daemon.namespace.spawn(
        *(*PROGRAM, "--root", str(daemon.root), "drill", SERVICE, "--json", *argv),
        stdout=subprocess.PIPE,
        stderr=errors,
        environment={"PYTHONPATH": str(REPOSITORY)},
        directory=daemon.root,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, Any]:
    output, errors = process.communicate(timeout=LONG)
    assert output, errors
    return process.returncode, json.loads(output)


def drill(daemon: Daemon, *argv: str, service: str = SERVICE) -> tuple[int, Any]:
    done = daemon.vc5("drill", service, "--json", *argv, timeout=LONG)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def overrides(daemon: Daemon) -> list[Any]:
    found: list[Any] = call(daemon.places, "overrides")["overrides"]
    return found


def wait_disabled(daemon: Daemon, backend: str) -> None:
    wait_for(f"{backend} to be disabled", lambda: [one["backend"] for one in overrides(daemon)] == [backend], 30)


def wait_back(daemon: Daemon) -> None:
    """Wait until both backends get new flows, and nobody overrides anything."""
    wait_for("nothing to be overridden", lambda: overrides(daemon) == [], 15)
    wait_states(daemon, b11="available", b12="available")


def kept(daemon: Daemon) -> Any:
    """What the state file says of overrides."""
    return json.loads(daemon.places.state_file.read_text())["overrides"]


def connections(lab: Lab) -> dict[str, int]:
    """How many of a drill's connections each backend's kernel knows."""
    found = {}
    for name, backend in lab.backends.items():
        lines = backend.namespace.run("ss", "-Htn", "state", "established").splitlines()
        peers = [line.split()[-1].rpartition(":") for line in lines]
        found[name] = sum(host.endswith(str(BALANCER)) and int(port) in DRILL_PORTS for host, _, port in peers)
    return found


def assert_passed(status: int, body: Any, flows: Sequence[int]) -> None:
    assert (status, body["verdict"], body["reasons"]) == (0, "PASS", [])
    assert [(one["flows"], one["open"], one["broken"], one["moved"]) for one in body["backends"]] == [
        (count, count, 0, 0) for count in flows
    ]


# ---- what passes


def test_a_good_site_passes(lab: Lab) -> None:
    with running(lab, "good") as daemon:
        with drilling(daemon, "--seconds", "45", "--flows", "11") as process:
            wait_disabled(daemon, B1)
            [row] = overrides(daemon)
            assert (row["override"], row["who"][:11]) == ("disable", "a drill of ")
            assert kept(daemon) == []
            # The backends' kernels say where the flows are; 4 new ones are elsewhere than the disabled one.
            wait_for("all flows, and new ones", lambda: connections(lab) == {"b1": 6, "b2": 5 + 4})
            status, body = ended(process)
        assert_passed(status, body, (6, 5))
        assert all(one["answered"] >= one["flows"] * 10 for one in body["backends"])
        assert body["new_flows"] == {"opened": 12, "refused": 0, "to_withdrawn": 0}
        withdrawn = [step for step in body["steps"] if step["carried"] is not None]
        assert [(step["action"], step["backend"], step["carried"]) for step in withdrawn] == [
            ("disable", B1, 6),
            ("disable", B2, 5),
            ("drain", B1, 6),
        ]
        waits = [step["in_force_ms"] for step in body["steps"] if step["action"] not in ("open flows", "settle")]
        assert all(wait is not None for wait in waits)
        wait_back(daemon)
        wait_for("the flows to be closed", lambda: connections(lab) == {"b1": 0, "b2": 0})
        wait_for("the end to be told", lambda: any("drill ended, PASS" in text for text in told(daemon)))
        assert daemon.stop() == 0


@pytest.mark.appliance
def test_all_kinds_of_services(lab: Lab) -> None:
    with prepared(lab, "kinds", KINDS) as daemon:
        daemon.start()
        wait_for(
            "all backends", lambda: all(set(states(daemon, f"{VIP}:{end}").values()) == {"available"} for end in ENDS)
        )
        for end, asked in ENDS.items():
            if asked != "refused":
                status, body = drill(daemon, *SHORT, service=f"{VIP}:{end}")
                assert body["asked"] == asked, end
                assert_passed(status, body, (4, 4))
        assert_refused(
            daemon.vc5("drill", f"{VIP}:53/udp"),
            1,
            "no check of it says which datagram may be sent",
            "nothing was done",
        )
        assert daemon.stop() == 0


ENDS = {"443/tcp": "https", f"{ECHO}/tcp": None, f"{ECHO}/udp": "udp", "53/udp": "refused"}


# ---- what fails


@pytest.mark.appliance
def test_flows_that_are_not_remembered_break_and_are_told(lab: Lab) -> None:
    """The fault is a real one: without tracking, what a disabled backend had goes to the other one, which resets it."""
    with running(lab, "untracked", configuration(service="tracking: none")) as daemon:
        status, body = drill(daemon, *SHORT)
        assert (status, body["verdict"]) == (1, "FAIL")
        text = "; ".join(body["reasons"])
        assert f"4 flows through {B1} broke during `disable {B1}`: connection reset" in text
        assert f"a flow of {B1} was sent to {B2}" in text
        assert body["backends"][0]["resets"] == 4
        wait_back(daemon)
        done = daemon.vc5("drill", SERVICE, *SHORT, timeout=LONG)
        assert done.returncode == 1
        assert "verdict  FAIL" in done.stdout
        assert daemon.stop() == 0


def test_a_server_that_dies_fails_and_the_drill_takes_no_more_away(lab: Lab) -> None:
    with running(lab, "dies") as daemon:
        with drilling(daemon) as process:
            wait_disabled(daemon, B2)
            lab.backends["b1"].kill_servers(Server.NGINX)
            status, body = ended(process)
        try:
            text = "; ".join(body["reasons"])
            assert (status, body["verdict"]) == (1, "FAIL")
            assert f"{B1} went out of the service after" in text
            assert "the drill was ended early: too few backends are available any more for one to be out" in text
            wait_for("nothing to be overridden", lambda: overrides(daemon) == [])
            assert states(daemon)["12"] == "available"
            assert_refused(daemon.vc5("drill", SERVICE), 1, "has fewer than 2 available backends (10.1.10.12)")
        finally:
            lab.backends["b1"].start_servers(lab.content, Server.NGINX)
            lab.backends["b1"].wait_ready()
        assert daemon.stop() == 0


# ---- what ends one


def test_interrupted_on_a_terminal_it_puts_everything_back(lab: Lab) -> None:
    with running(lab, "interrupted") as daemon:
        before = connections(lab)  # a connection that was reset from elsewhere, its backend takes for established
        ours, theirs = pty.openpty()
        try:
            with drilling(daemon, errors=theirs) as process:
                wait_disabled(daemon, B1)
                process.send_signal(signal.SIGINT)
                status, body = ended(process)
            # At once, and not because nobody watches any more.
            assert overrides(daemon) == []
            shown = os.read(ours, 1 << 16).decode()
        finally:
            os.close(ours)
            os.close(theirs)
        assert (status, body["verdict"]) == (1, "FAIL")
        assert "the drill was ended early: interrupted" in body["reasons"]
        assert "step 1 of 10: open flows, 8 flows open, 0 broken" in shown
        wait_back(daemon)
        wait_for("the flows to be closed", lambda: all(now <= before[name] for name, now in connections(lab).items()))
        assert daemon.stop() == 0


def test_a_killed_client_leaves_nothing(lab: Lab) -> None:
    with running(lab, "killed") as daemon:
        with drilling(daemon) as process:
            wait_disabled(daemon, B1)
            process.kill()
        wait_back(daemon)
        wait_for("the end to be told", lambda: any("nobody has watched" in text for text in told(daemon)))
        assert daemon.stop() == 0


def told(daemon: Daemon) -> list[str]:
    return [event["message"] for event in events(daemon, "operator")]


def test_a_killed_daemon_leaves_nothing_to_the_next(lab: Lab) -> None:
    with running(lab, "daemon-killed") as daemon:
        with drilling(daemon) as process:
            wait_disabled(daemon, B1)
            daemon.kill9()
            output, errors = process.communicate(timeout=LONG)
            assert process.returncode == 1
            assert "does not outlive its daemon" in errors, output
        daemon.start()
        wait_back(daemon)
        assert daemon.stop() == 0


def test_a_daemon_that_leaves_puts_the_tables_back_first(lab: Lab) -> None:
    with running(lab, "leaves") as daemon:
        with drilling(daemon):
            wait_disabled(daemon, B1)
            daemon.signal(signal.SIGUSR1)
            wait_for("the daemon to end", lambda: not daemon.running)
        daemon.start()
        wait_back(daemon)
        assert daemon.stop() == 0


def test_an_operator_goes_first(lab: Lab) -> None:
    with running(lab, "operator") as daemon:
        with drilling(daemon) as process:
            wait_disabled(daemon, B1)
            assert daemon.vc5("disable", SERVICE, B2).returncode == 0
            status, body = ended(process)
        assert status == 1
        assert any(f"said `disable` of {B2}" in reason for reason in body["reasons"])
        assert [(one["backend"], one["override"]) for one in overrides(daemon)] == [(B2, "disable")]
        assert states(daemon) == {"11": "available", "12": "draining"}
        assert daemon.vc5("enable", SERVICE, B2).returncode == 0
        with drilling(daemon) as process:
            wait_disabled(daemon, B1)
            # What is refused ends it as well, and the backend is back all the same.
            assert_refused(daemon.vc5("enable", SERVICE, B2), 1, "is not disabled")
            wait_back(daemon)
            status, body = ended(process)
        assert any(f"said `enable` of {B2}" in reason for reason in body["reasons"])
        with drilling(daemon) as process:
            wait_disabled(daemon, B1)
            assert daemon.reload().returncode == 0
            status, body = ended(process)
        assert any("a reload was asked for" in reason for reason in body["reasons"])
        wait_back(daemon)
        assert daemon.stop() == 0


# ---- what is refused


def test_refusals(lab: Lab) -> None:
    with running(lab, "refusals") as daemon:
        assert_refused(daemon.vc5("drill", f"{VIP}:81/tcp"), 1, "no service of the running configuration")
        assert_refused(daemon.vc5("drill", "nonsense"), 1, "nonsense")
        assert_refused(daemon.vc5("drill", SERVICE, "--seconds", "3"), 1, "takes 17 to 3600 seconds, not 3")
        assert_refused(daemon.vc5("drill", SERVICE, "--flows", "1001"), 1, "has 2 to 1000 flows, not 1001")
        assert_refused(daemon.vc5("drill", SERVICE, "--flows", "many"), 2, "write a whole number above 0")

        assert daemon.vc5("weight", SERVICE, B1, "3").returncode == 0
        assert_refused(daemon.vc5("drill", SERVICE), 1, f"weight 3 of {B1} by uid 0", "take it back first")
        assert daemon.vc5("weight", SERVICE, B1, "default").returncode == 0

        assert daemon.vc5("health", "freeze").returncode == 0
        assert_refused(daemon.vc5("drill", SERVICE), 1, "health is frozen (by uid 0", "vc5 health thaw")
        assert daemon.vc5("health", "thaw").returncode == 0

        with drilling(daemon) as process:
            wait_disabled(daemon, B1)
            assert_refused(daemon.vc5("drill", SERVICE), 1, f"a drill of {SERVICE} is on, by uid 0")
            process.send_signal(signal.SIGTERM)
            assert ended(process)[0] == 1

        written = daemon.configuration_file.read_text()
        daemon.configuration_file.write_text(written.replace("fall: 2", "fall: 3"))
        assert_refused(daemon.vc5("drill", SERVICE), 1, "says something else than what is in force", "vc5 plan")

        for line, why in {"sticky: yes": "is sticky", "need: 2": "fewer than 3 available backends"}.items():
            assert daemon.reload(configuration(service=line)).returncode == 0
            wait_states(daemon, b11="available", b12="available")
            assert_refused(daemon.vc5("drill", SERVICE), 1, why, "nothing was done")
        assert overrides(daemon) == []
        assert daemon.stop() == 0
