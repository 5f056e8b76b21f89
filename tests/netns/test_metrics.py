"""What Prometheus is told of a real daemon: by the command, and over HTTP to a Prometheus with the shipped files.

The daemon's control socket is asked for snapshots by the shipped endpoint, and a Prometheus of Debian in the balancer's
namespace scrapes that. What the parts count that send the log elsewhere comes from here.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from appliance.model_address import Endpoint
from appliance.net.listener import listener
from appliance.telemetry.compat import COMPAT
from appliance.telemetry.fleet import fleet_numbers
from appliance.telemetry.metrics import METRICS, OUTLETS
from appliance.telemetry.routing import routing_numbers
from tests.lab.addresses import VIP
from tests.lab.backend import REPOSITORY, Server
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.scraping import Prometheus, Serving, asking, families
from tests.lab.topology import Lab
from tests.netns.scenario_operator import SERVICE, configuration, fetch, prepared, running, wait_states
from tests.unit.fleet.fleets import TROUBLED
from tests.unit.routing.samples import ROUTING

pytestmark = [pytest.mark.root, pytest.mark.slow]

DASHBOARD = REPOSITORY / "packaging/grafana/vc5.json"
TARGET = Endpoint(IPv4Address("127.0.0.1"), 9090)
ELSEWHERE: dict[str, Any] = {
    one.short: {"some": 1} if one.labels else 1 for one in OUTLETS if one.short != "spool_dropped_total"
} | {**routing_numbers(ROUTING), **fleet_numbers(TROUBLED)}
"""What a shipper, a speaker of BGP and a fleet would say."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


def promtool(*arguments: str, text: str | None = None) -> str:
    """Return what Prometheus's own checker has to say of something; nothing of what is good."""
    if shutil.which("promtool") is None:
        pytest.skip("there is no promtool; `tests/setup.sh servers` installs it")
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True)
    return "" if done.returncode == 0 else f"{done.returncode}: {done.stdout}{done.stderr}"


def told(daemon: Daemon, *options: str) -> str:
    done = daemon.vc5("metrics", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def value(daemon: Daemon, name: str, **labels: str) -> float | None:
    """Return what one series says, None where there is none."""
    for family in families(told(daemon)):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


def counters(daemon: Daemon) -> dict[tuple[str, ...], float]:
    """Return what must never become smaller: counters and histograms by name and labels."""
    return {
        (sample.name, *map(str, sorted(sample.labels.items()))): sample.value
        for family in families(told(daemon))
        if family.type in ("counter", "histogram")
        for sample in family.samples
        if family.name not in ("vc5_event_loop_stalls", "vc5_prober_restarts", "vc5_spool_dropped")
    }


def test_promtool_has_nothing_to_say_of_what_a_daemon_tells(lab: Lab) -> None:
    with running(lab, "told") as daemon:
        assert [fetch(lab) for _ in range(10)].count("") == 0
        text = told(daemon)
        assert promtool("check", "metrics", text=text) == ""
        assert value(daemon, "vc5_service_flows_total", service=SERVICE) == 10
        assert value(daemon, "vc5_backend_up", service=SERVICE, backend="10.1.10.11") == 1
        known = {metric.name.removesuffix("_total").removesuffix("_info") for metric in METRICS}
        assert {family.name.removesuffix("_info") for family in families(text)} <= known
        assert families(told(daemon, "--openmetrics"), openmetrics=True)
        assert json.loads(told(daemon, "--json"))["services"][0][0] == SERVICE

        assert daemon.reload(configuration(top="compat_metrics: yes")).returncode == 0
        text = told(daemon)
        assert promtool("check", "metrics", text=text) == ""
        name = 'service="203.0.113.10:tcp:80",name=""'
        assert f"vc5_service_sessions_total{{{','.join(sorted(name.split(',')))}}} 10.0" in text
        earlier = {metric.name for metric in COMPAT}
        unsaid = {"vc5_latency", "xvs_global_latency", "xvs_destination_current"}
        unsaid |= {name for name in earlier if name.endswith("sessions")}
        assert {family.name for family in families(text)} >= earlier - unsaid
        assert families(told(daemon, "--openmetrics"), openmetrics=True)

        assert daemon.reload(configuration(top="backend_metrics: no")).returncode == 0
        text = told(daemon)
        assert "10.1.10.11" not in text
        assert f'vc5_service_flows_total{{service="{SERVICE}"}} 10.0' in text


def test_counters_go_on_over_ends_of_the_daemon(lab: Lab) -> None:
    with running(lab, "counted") as daemon:
        assert [fetch(lab) for _ in range(8)].count("") == 0
        lab.backends["b2"].set_alive(False)
        wait_states(daemon, b11="available", b12="draining")
        lab.backends["b2"].set_alive(True)
        wait_states(daemon, b11="available", b12="available")
        assert daemon.reload().returncode == 0
        assert daemon.reload("services: 7\n").returncode == 78
        daemon.reload(configuration())
        wait_for("the state file to tell", lambda: '"transitions":2' in daemon.places.state_file.read_text())
        before = counters(daemon)
        assert before["vc5_config_reloads_total", "('outcome', 'refused')"] == 1
        moved = "vc5_backend_transitions_total", "('backend', '10.1.10.12')", f"('service', '{SERVICE}')"
        assert before[moved] == 2
        for end in ("kill", "leave", "reexec"):
            if end == "kill":
                daemon.kill9()
                daemon.start()
            elif end == "leave":
                daemon.signal(signal.SIGUSR1)
                wait_for("its end", lambda: not daemon.running)
                daemon.start()
            else:
                assert daemon.vc5("reexec", timeout=120.0).returncode == 0
            after = counters(daemon)
            assert {key: (count, after.get(key)) for key, count in before.items() if after.get(key, -1) < count} == {}
            assert after["vc5_service_flows_total", f"('service', '{SERVICE}')"] == 8
            assert after[moved] == 2
            before = after
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def expressions() -> list[tuple[str, str]]:
    """Return every expression of the shipped dashboard with the title of its panel, as Grafana would send it."""
    found = []
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"].replace("$__rate_interval", "20s")
            found.append((panel["title"], text.replace("$instance", ".*").replace("$service", ".*")))
    return found


def test_a_prometheus_with_the_shipped_files(lab: Lab, tmp_path: Path) -> None:
    if shutil.which("prometheus") is None:
        pytest.skip("there is no prometheus; `tests/setup.sh servers` installs it")
    with (
        prepared(lab, "scraped", configuration(top="webserver: '127.0.0.1:9099'")) as daemon,
        Serving(asking(daemon.places, ELSEWHERE), lab.balancer.call(lambda: listener(TARGET))) as serving,
        Prometheus(lab.balancer, tmp_path, str(TARGET)) as prometheus,
    ):
        wait_for("a scrape that fails", lambda: [one["value"][1] for one in prometheus.query("up")] == ["0"], 20.0)
        daemon.start()
        wait_states(daemon, b11="available", b12="available")
        wait_for("a scrape", lambda: prometheus.query("vc5_build_info"), 20.0)
        wait_for("requests to count", lambda: fetch(lab) and prometheus.query("vc5_flows_total > 4"), 20.0)
        # Something of everything: a service that loses a backend, packets that go nowhere.
        lab.backends["b2"].kill_servers(Server.NGINX)
        wait_states(daemon, b11="available", b12="dead")
        subprocess.run(lab.client.command("curl", "-s", "-m", "0.3", f"http://{VIP}:81/"))

        empty = dict(enumerate(expressions()))
        assert len(empty) > 25

        def answered() -> bool:
            fetch(lab)
            for number, (_, text) in list(empty.items()):
                if prometheus.query(text):
                    del empty[number]
            return not empty

        try:
            wait_for("answers to all expressions", answered, 30.0)
        finally:
            assert empty == {}
        [group] = prometheus.ask("rules")["groups"]
        assert {rule["name"]: rule["health"] for rule in group["rules"] if rule["health"] != "ok"} == {}

        def firing() -> set[str]:
            return {alert["labels"]["alertname"] for alert in prometheus.ask("alerts")["alerts"]}

        # The rules are looked at once in a while.
        wait_for("the backend's alert", lambda: "Vc5BackendDown" in firing(), 60.0)
        assert serving.scrapes > 1
        [target] = prometheus.ask("targets")["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")
