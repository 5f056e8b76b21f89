"""`vc5 top` and `vc5 status` beside a real daemon with real traffic, over the sudden end of that, too."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.backend import REPOSITORY
from tests.lab.daemon import PROGRAM, Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.traffic import LongFlows
from tests.netns.scenario_operator import ECHO_SERVICE, configuration, wait_states

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def daemon() -> Iterator[tuple[Lab, Daemon]]:
    """A balancer with two backends that echo."""
    text = configuration(port="7000/tcp")
    with Lab(backends=2) as lab, Daemon(lab.balancer, lab.root(), text) as started:
        wait_states(started, ECHO_SERVICE, b11="available", b12="available")
        yield lab, started


def objects(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """Yield what `vc5 top --json` prints."""
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def test_rates_are_those_of_the_traffic_and_go_on_with_the_next_daemon(daemon: tuple[Lab, Daemon]) -> None:
    lab, started = daemon
    command = (*PROGRAM, "--root", str(started.root), "top", "--json", "--interval", "0.2")
    with LongFlows(lab.client, busy=20, idle=0) as flows:
        process = started.namespace.spawn(*command, stdout=subprocess.PIPE, environment={"PYTHONPATH": str(REPOSITORY)})
        with process:
            seen = objects(process)
            busy = next(one for one in seen if one["total"]["packets_s"] and one["total"]["packets_s"] > 20)
            [service] = busy["services"]
            assert service["service"] == ECHO_SERVICE
            assert (service["available"], service["configured"]) == (2, 2)
            assert service["packets_s"] == pytest.approx(sum(one["packets_s"] for one in service["backends"]))
            assert service["bits_s"] > 8 * 54 * service["packets_s"] * 0.9
            started.kill9()
            gone = next(one for one in seen if "error" in one)
            assert "no vc5 daemon answers here" in gone["error"]
            started.start()
            back = next(one for one in seen if "error" not in one and (one["total"]["packets_s"] or 0) > 20)
            assert back["services"][0]["service"] == ECHO_SERVICE
            process.kill()
        assert flows.stop().broken == []


def test_what_an_operator_did_is_in_the_text(daemon: tuple[Lab, Daemon]) -> None:
    _, started = daemon
    assert started.vc5("drain", ECHO_SERVICE, "10.1.10.12").returncode == 0
    text = started.vc5("status", ECHO_SERVICE).stdout
    assert "1 of 2 backends get new flows, 1 needed" in text
    assert "drain by uid 0" in text
    assert text.index("10.1.10.12") < text.index("10.1.10.11"), "what has something to tell comes first"
    frame = started.vc5("top", "--once", "--interval", "0.2", ECHO_SERVICE).stdout
    assert "aside" in frame
    assert started.vc5("undrain", ECHO_SERVICE, "10.1.10.12").returncode == 0
    wait_for("both up", lambda: "2 of 2 backends" in started.vc5("status", ECHO_SERVICE).stdout)
    missing = started.vc5("status", "nowhere")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "no service and no VIP is called nowhere" in missing.stderr
