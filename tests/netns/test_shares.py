"""Who gets how much of real traffic: sticky clients, least connections, slow start."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.lab.addresses import CLIENT_ADDRESSES, ECHO, HTTP, VIP
from tests.lab.backend import Server
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.traffic import LongFlows, Requests
from tests.netns.scenario_operator import ECHO_SERVICE, SERVICE, backends, configuration, prepared, wait_states

pytestmark = [pytest.mark.root, pytest.mark.slow]

THREE = "10.1.10.11, 10.1.10.12, 10.1.10.13"
CHECK = "{type: http, port: 80, path: /alive}"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=3) as standing:
        yield standing


@contextmanager
def running(lab: Lab, name: str, text: str) -> Iterator[Daemon]:
    """Yield a daemon that has started, and see to a clean end."""
    with prepared(lab, name, text) as daemon:
        daemon.start()
        yield daemon
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.errors


def wait_all(daemon: Daemon, service: str = SERVICE) -> None:
    """Wait until all three backends get new flows."""
    wait_states(daemon, service, b11="available", b12="available", b13="available")


def on_all_ports(sticky: bool) -> str:
    """A file with three services of one pool."""
    text = configuration(servers=THREE, service=f"sticky: {'yes' if sticky else 'no'}", port="PORTS")
    policy = f"http: {{checks: [{CHECK}]}}, https: {{checks: [{CHECK}]}}, {ECHO}/tcp: "
    return text.replace("PORTS: ", policy)


def met(lab: Lab, times: int = 2) -> dict[str, Counter[str]]:
    """Which backends each client address meets over HTTP and HTTPS."""
    found: dict[str, Counter[str]] = {}
    for source in map(str, CLIENT_ADDRESSES):
        urls = [f"{scheme}://{VIP}/" for scheme in ("http", "https")] * times
        # A new connection for each, so with a source port of its own.
        body = lab.client.run("curl", "-sk", "-m", "5", "-H", "Connection: close", "--interface", source, *urls)
        found[source] = Counter(body.split())
        assert found[source].total() == 2 * times
    return found


def test_a_sticky_client_meets_the_same_backend_on_all_ports(lab: Lab) -> None:
    with running(lab, "sticky", on_all_ports(sticky=False)) as daemon:
        wait_all(daemon)
        wait_all(daemon, ECHO_SERVICE)
        assert any(len(names) > 1 for names in met(lab, 4).values())
        with LongFlows(lab.client, busy=60, idle=20) as flows:
            assert daemon.reload(on_all_ports(sticky=True)).returncode == 0
            seen = met(lab)
            assert [source for source, names in seen.items() if len(names) > 1] == []
            assert len({next(iter(names)) for names in seen.values()}) > 1
            more = flows.more(40)
            assert more.broken == []
            for flow in more.flows[-40:]:
                assert flow.backend == next(iter(seen[flow.source])), flow
            assert flows.stop().broken == []


def active(daemon: Daemon) -> dict[str, int | None]:
    """The estimate of active flows, by the last number of the address."""
    return {row["address"][-2:]: row["active_flows"] for row in backends(daemon, ECHO_SERVICE)}


def passed(daemon: Daemon, time: int) -> bool:
    """Whether the coarse clock has come so far."""
    return bool(daemon.status()["clock_s"] >= time)


@pytest.mark.appliance
@pytest.mark.parametrize("eject", [False, True])
def test_least_connections_evens_out_unequal_loads(lab: Lab, eject: bool) -> None:
    service = "scheduler: least-connections" + ("\neject_most_loaded: yes" if eject else "")
    text = configuration(servers=THREE, service=service, top="max_flows: 4096", port=f"{ECHO}/tcp")
    with running(lab, "least", text) as daemon:
        wait_all(daemon, ECHO_SERVICE)
        for last in (12, 13):
            assert daemon.vc5("drain", ECHO_SERVICE, f"10.1.10.{last}").returncode == 0
        with LongFlows(lab.client, busy=60, idle=0, interval=0.5) as flows:
            assert {flow.backend for flow in flows.opened.flows} == {"b1"}
            wait_for("the flows to be counted", lambda: active(daemon) == {"11": 60, "12": 0, "13": 0})
            for last in (12, 13):
                assert daemon.vc5("undrain", ECHO_SERVICE, f"10.1.10.{last}").returncode == 0
            if eject:
                wait_for("b1 to be taken out", lambda: backends(daemon, ECHO_SERVICE)[0]["slots"] == 0)
                assert all(flow.backend != "b1" for flow in flows.more(10).flows[60:])
            for _ in range(12 - eject):
                flows.more(10)
                later = daemon.status()["clock_s"] + 3
                wait_for("two looks", partial(passed, daemon, later))
            loads = {name: len(found) for name, found in flows.status().by_backend().items()}
            print(loads, active(daemon))
            assert sum(loads.values()) == 180
            # By weight alone b1 would have 100 of them, and the others 40 each.
            assert max(loads.values()) <= 1.8 * min(loads.values())
            wait_for(
                "the count to be exact", lambda: list(active(daemon).values()) == [loads[n] for n in sorted(loads)]
            )
            assert flows.stop().broken == []


def row(daemon: Daemon, last: int = 13) -> dict[str, Any]:
    """A backend's row in the status."""
    return next(found for found in backends(daemon) if found["address"] == f"10.1.10.{last}")


def test_slow_start_without_a_state_file(lab: Lab) -> None:
    """Somebody who cannot keep what has begun can still steer."""
    text = configuration(servers=THREE, service="slow_start: 12s")
    with running(lab, "unkept", text) as daemon:
        wait_all(daemon)
        lab.backends["b3"].kill_servers()
        wait_for("b3 to be dead", lambda: row(daemon)["state"] == "dead")
        kept = daemon.places.state_file
        wait_for("that to be put down", kept.is_file)
        kept.unlink()
        kept.mkdir()
        (kept / "in-the-way").touch()
        lab.backends["b3"].start_servers(lab.content, *Server)
        wait_for("b3 to gain its share", lambda: row(daemon)["share"] > 0.1)
        wait_for("the trouble to be told", lambda: str(kept) in daemon.errors)
        assert "cannot follow" not in daemon.errors
        (kept / "in-the-way").unlink()
        kept.rmdir()
        wait_for("the state to be put down again", kept.is_file)


def test_slow_start_through_a_crash(lab: Lab) -> None:
    text = configuration(servers=THREE, service="slow_start: 12s")
    with running(lab, "slow", text) as daemon:
        wait_all(daemon)
        assert row(daemon)["share"] > 0.3
        assert row(daemon)["active_flows"] is None
        with Requests(lab.client, port=HTTP, rate=100) as requests:
            lab.backends["b3"].kill_servers()
            wait_for("b3 to be dead", lambda: row(daemon)["state"] == "dead")
            lab.backends["b3"].start_servers(lab.content, *Server)
            wait_for("b3 to return", lambda: row(daemon)["state"] == "available")
            began, crashed = time.monotonic(), False
            samples: list[tuple[float, int, int]] = []
            while not samples or samples[-1][0] < 0.32:
                rows = backends(daemon)
                samples.append((rows[2]["share"], rows[2]["flows"], sum(each["flows"] for each in rows)))
                if not crashed and samples[-1][0] > 0.12:
                    crashed = True
                    daemon.kill9()
                    daemon.start()
                    assert samples[-1][0] - 0.01 <= row(daemon)["share"] < 0.3
                time.sleep(0.25)
                assert time.monotonic() < began + 60
            shares = [share for share, _, _ in samples]
            assert shares[0] < 0.2
            assert shares == sorted(shares)
            assert len(set(shares)) >= 4
            first, last = samples[0], samples[-1]
            middle = next(sample for sample in samples if sample[0] > 0.16)
            early, late = ((to[1] - of[1]) / (to[2] - of[2]) for of, to in ((first, middle), (middle, last)))
            print(f"{len(set(shares))} steps seen, {early:.0%} of new flows at first, {late:.0%} then")
            assert early < late < 0.4
            report = requests.stop()
            ended = [one for one in report.failed if one.began > began]
            assert ended == []
