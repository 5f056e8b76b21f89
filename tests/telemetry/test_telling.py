"""What the telemetry process of a real daemon does beside shipping: tells people, offers metrics, keeps secrets."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.lab.recorder import Recorder, Reply
from tests.lab.topology import Lab
from tests.netns.scenario_operator import configuration, events, wait_states

pytestmark = [pytest.mark.root, pytest.mark.slow]

SECRET = "T0SECRET"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


def hook(lab: Lab) -> Recorder:
    """Return a stand-in for Slack on the balancer's loopback."""
    return lab.balancer.call(lambda: Recorder({f"POST /services/{SECRET}": Reply(200, b"ok")}))


def telling(recorder: Recorder, more: str = "") -> str:
    """Return a configuration that has it told of every change."""
    return configuration(top=f"logging: {{alert: 6, slack: '{recorder.url}/services/{SECRET}'}}\nlearn: 0s\n{more}")


def telemetry(daemon: Daemon) -> int:
    """Return the process id of the daemon's telemetry process, 0 for none."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            words = status.with_name("cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if lines.get("PPid") == str(daemon.pid) and b"appliance.telemetry.process" in words:
            return int(lines["Pid"])
    return 0


def texts(recorder: Recorder) -> str:
    """Return all that was said."""
    return "\n".join(json.dumps(request.json(), ensure_ascii=False) for request in list(recorder.asked))


def scraped(daemon: Daemon, where: str = "127.0.0.1:9090") -> str:
    """Return what is offered there; nothing where nobody is."""
    try:
        return daemon.namespace.run("curl", "-sS", "--max-time", "5", f"http://{where}/metrics")
    except LabError:
        return ""


def test_people_are_told_even_if_who_tells_them_is_killed(lab: Lab) -> None:
    with hook(lab) as slack, Daemon(lab.balancer, lab.root("told"), telling(slack)) as daemon:
        wait_states(daemon, b11="available", b12="available")
        wait_for("a message", lambda: "started" in texts(slack), 30)
        lab.unplug("b1")
        wait_for("its death", lambda: [one for one in events(daemon, "backend") if one.get("outcome") == "dead"])
        os.kill(wait_for("the process", lambda: telemetry(daemon)), signal.SIGKILL)
        wait_for("the news", lambda: "10.1.10.11" in texts(slack), 60)
        lab.plug("b1")
        wait_states(daemon, seconds=40, b11="available", b12="available")

        done = daemon.vc5("alert", "test")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "slack   sent" in done.stdout
        assert "test message" in texts(slack)
        kept = b"".join(path.read_bytes() for path in daemon.places.log.iterdir() if path.is_file())
        for said in (kept, json.dumps(daemon.status()).encode(), daemon.errors.encode()):
            assert SECRET.encode() not in said
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def test_the_process_holds_nothing(lab: Lab) -> None:
    with hook(lab) as slack, Daemon(lab.balancer, lab.root("held"), telling(slack)) as daemon:
        pid = wait_for("the process", lambda: telemetry(daemon))
        process = Path(f"/proc/{pid}")
        wait_for("it to have begun", lambda: "started" in texts(slack), 30)
        status = dict(line.split(":\t", 1) for line in process.joinpath("status").read_text().splitlines())
        assert status["Uid"].split() == ["65534"] * 4
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, name
        assert status["NoNewPrivs"].strip() == "1"
        for name in ("cmdline", "environ"):
            assert SECRET.encode() not in process.joinpath(name).read_bytes()
        assert daemon.stop() == 0
        wait_for("its end", lambda: not process.exists())


def test_metrics_are_offered_where_the_configuration_says(lab: Lab) -> None:
    with Daemon(lab.balancer, lab.root("offered"), configuration(), metrics=True) as daemon:
        wait_states(daemon, b11="available", b12="available")
        text = wait_for("metrics", lambda: scraped(daemon))
        names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
        told = daemon.vc5("metrics").stdout
        assert names == {line.split()[2] for line in told.splitlines() if line.startswith("# TYPE")}
        assert 'vc5_service_up{service="203.0.113.10:80/tcp"} 1.0' in text

        taken = lab.balancer.call(lambda: socket.create_server(("127.0.0.1", 9191)))
        with taken:
            moved = configuration(top="webserver: '127.0.0.1:9191'")
            assert daemon.reload(moved).returncode == 0
            wait_for("the reason", lambda: [one for one in _warnings(daemon) if "127.0.0.1:9191: cannot listen" in one])
        wait_for("metrics there", lambda: scraped(daemon, "127.0.0.1:9191"), 30)
        assert scraped(daemon) == ""
        wait_for("the end of the trouble", lambda: not [one for one in _warnings(daemon) if "listen" in one])
        assert daemon.stop() == 0


def _warnings(daemon: Daemon) -> list[Any]:
    return [one["message"] for one in daemon.status()["warnings"]]


@pytest.mark.appliance
def test_what_a_service_carries_is_written_down(lab: Lab) -> None:
    """Each minute: the first half of it may be over when this looks."""
    with Daemon(lab.balancer, lab.root("carried"), configuration()) as daemon:
        wait_states(daemon, b11="available", b12="available")
        began = time.monotonic()
        [carried] = wait_for("a minute", lambda: events(daemon, "traffic")[:1], 90)
        assert time.monotonic() - began > 30
        assert carried["outcome"] == "up"
        assert carried["details"]["backends"] == {"up": 2, "total": 2}
        assert carried["details"]["traffic"]["packets"] >= 0
        assert daemon.stop() == 0
