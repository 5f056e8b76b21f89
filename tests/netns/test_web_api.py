"""What a real daemon tells over HTTP is what `/openapi.json` says, judged by schemathesis and by the schemas."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.web.api import ENDPOINTS, By, description
from appliance.web.schema_events import EVENTS
from tests.lab.daemon import Daemon
from tests.lab.described import problems, strict
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.web import Looking
from tests.netns.scenario_operator import configuration, wait_states

pytestmark = [pytest.mark.root, pytest.mark.slow]

TOP = """
router_id: 10.1.10.5
learn: 0s
count_prefixes: yes
webserver: '127.0.0.1:9090'
bgp: {as_number: 65001, peers: [10.1.10.252], bfd: yes, password: hush}
logging: {slack: 'https://hooks.example.com/hush'}
"""
SETTINGS = """
warnings = false
continue-on-failure = true
[generation]
deterministic = true
max-examples = 10
[phases.stateful]
enabled = false
[phases.coverage]
unexpected-methods = ["put", "post", "delete", "options", "patch", "trace"]
"""
"""Of schemathesis. Methods that the parser of HTTP has never heard of are no requests at all: 400."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[Daemon]:
    with Daemon(lab.balancer, lab.root("api"), configuration(top=TOP)) as standing:
        wait_states(standing, b11="available", b12="available")
        yield standing


@pytest.fixture
def looking(lab: Lab, daemon: Daemon) -> Looking:
    found = Looking(lab.balancer)
    wait_for("the web server", found.there)
    return found


@pytest.mark.usefixtures("looking")
def test_schemathesis_finds_nothing(lab: Lab, tmp_path: Path) -> None:
    """A stream never ends, which it cannot judge: the test of the events does."""
    (tmp_path / "openapi.json").write_text(json.dumps(strict()))
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    judge = Path(sys.executable).with_name("st")
    where = ("openapi.json", "--url", "http://127.0.0.1:9090", "--exclude-path", "/events", "--no-color")
    command = lab.balancer.command(str(judge), "run", *where)
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    operations = 2 * (len(description()["paths"]) - 1)
    assert f"Tested: {operations}" in done.stdout, done.stdout


@pytest.mark.usefixtures("looking")
def test_schemathesis_would_find_something(lab: Lab, tmp_path: Path) -> None:
    """With a field described that there is not, and one that there is left out."""
    wrong = strict()
    fields = wrong["components"]["schemas"]["Status"]["properties"]
    fields["colour"] = {"type": "string"}
    wrong["components"]["schemas"]["Status"]["required"].append("colour")
    ready = wrong["components"]["schemas"]["Ready"]
    del ready["properties"]["why"]
    ready["required"].remove("why")
    (tmp_path / "openapi.json").write_text(json.dumps(wrong))
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    judge = Path(sys.executable).with_name("st")
    where = ("openapi.json", "--url", "http://127.0.0.1:9090", "--no-color", "--include-path", "/status.json")
    command = lab.balancer.command(str(judge), "run", *where, "--include-path", "/readyz")
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    assert '"colour" is a required property' in done.stdout, done.stdout
    assert "('why' was unexpected)" in done.stdout, done.stdout


def told(looking: Looking, path: str) -> Any:
    status, body, answer = looking.fetch(path)
    assert (status, answer.headers["Content-Type"]) == (200, "application/json"), body
    return json.loads(body)


def test_the_status_in_every_state(looking: Looking, daemon: Daemon) -> None:
    """Operators, a trial, a backend that is gone: each brings fields that are not always there."""
    service = "203.0.113.10:80/tcp"
    assert daemon.vc5("drain", service, "10.1.10.11").returncode == 0
    assert daemon.vc5("weight", service, "10.1.10.12", "7").returncode == 0
    wait_states(daemon, b11="draining", b12="available")
    wait_for("a router that refuses", lambda: told(looking, "/status.json")["routing"]["peers"][0]["last_error"])
    body = wait_for("fresh news", lambda: _with_override(told(looking, "/status.json")))
    assert problems("Status", body) == []
    [service_body] = body["services"]["203.0.113.10"]
    assert [one["override"] for row in service_body["destinations"] for one in row["overrides"]] == ["drain", "weight"]
    assert body["bgp"]["10.1.10.252"]["state"] in ("IDLE", "CONNECT", "ACTIVE")
    assert body["rib"] == ["203.0.113.10"]
    shown = json.loads(daemon.vc5("status", "--json").stdout)
    assert problems("Status", shown) == []
    assert shown.keys() == body.keys()
    assert shown["services"].keys() == body["services"].keys()
    for path in ("/config.json", "/status.json", "/log", "/metrics"):
        assert b"hush" not in looking.fetch(path)[1]
    for undo in (("undrain", service, "10.1.10.11"), ("weight", service, "10.1.10.12", "default")):
        assert daemon.vc5(*undo).returncode == 0
    wait_states(daemon, b11="available", b12="available")


def _with_override(body: Any) -> Any:
    [[service]] = body["services"].values()
    return body if all(row["overrides"] for row in service["destinations"]) else None


def test_events_are_as_described(looking: Looking, daemon: Daemon, lab: Lab) -> None:
    seen: dict[str, int] = {}
    for kind, data in looking.events():
        assert problems(f"Event{kind.capitalize()}", data) == [], (kind, data)
        if not seen:
            assert kind == "hello"
        if kind == "numbers" and "numbers" not in seen:
            assert daemon.vc5("drain", "203.0.113.10:80/tcp", "10.1.10.11").returncode == 0
        if kind == "services" and data["complete"] and "numbers" in seen:
            [backend, _] = data["changed"][0]["backends"]
            if backend["state"] == "draining":
                break
        seen[kind] = seen.get(kind, 0) + 1
    assert {"hello", "overview", "services", "numbers", "log"} <= seen.keys() <= EVENTS.keys()
    assert daemon.vc5("undrain", "203.0.113.10:80/tcp", "10.1.10.11").returncode == 0
    wait_states(daemon, b11="available", b12="available")


def test_other_bodies_and_what_is_not_there(looking: Looking) -> None:
    for one in ENDPOINTS:
        if one.by is By.ANSWERS and one.schema:
            assert problems(one.schema, told(looking, one.path.removesuffix(".gz"))) == [], one.path
    assert problems("Log", told(looking, "/log?limit=5000")) == []
    status, body, answer = looking.fetch("/prefixes.json", **{"Accept-Encoding": "gzip"})
    assert (status, answer.headers["Content-Encoding"]) == (200, "gzip")
    assert len(body) < 10_000
    assert looking.fetch("/status.json.gz")[2].headers["Content-Encoding"] == "gzip"
    for path in ("/status", "/config", "/var/lib/vc5/state.json", "/build.json"):
        assert looking.fetch(path)[0] == 404
