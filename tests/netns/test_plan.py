"""`vc5 plan` before a reload says what the reload then does to the slots, with a real daemon and real tables."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from appliance.model import ServiceKey
from tests.lab.addresses import VIP
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.netns.scenario_operator import (
    SERVICE,
    assert_refused,
    configuration,
    events,
    fetch,
    prepared,
    running,
    settled,
    states,
)
from tests.netns.scenario_slots import Slots

pytestmark = [pytest.mark.root, pytest.mark.slow]

KEY = ServiceKey.parse(SERVICE)
BOTH, ONE, HEAVY, THIRD = (
    "10.1.10.11, 10.1.10.12",
    "10.1.10.11",
    "10.1.10.11 weight=3, 10.1.10.12",
    "10.1.10.11, 10.1.10.12, 10.1.10.13",
)
SEED = "hash_seed: 000102030405060708090a0b0c0d0e0f"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=3) as standing:
        yield standing


def owners(daemon: Daemon) -> list[IPv4Address | None]:
    """Return the backend of each slot of the service, read from the pinned tables."""
    with Slots(daemon.places.pins) as slots:
        return slots.all_owners(KEY)


def tracked(daemon: Daemon) -> int:
    """Return how many slots of the service are tracked, by the status."""
    [row] = [row for row in daemon.status()["services"] if row["service"] == SERVICE]
    found: int = row["tracked_slots"]
    return found


def planned(daemon: Daemon, file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the whole plan, and what it says of the service."""
    body = daemon.ask("plan", str(file))
    [row] = [row for row in body["services"] if row["service"] == SERVICE]
    return body, row


# before, after, whether all slots begin anew, the backends that must be available in the end
STEPS: dict[str, tuple[str, str, bool, str]] = {
    "nothing": (BOTH, configuration(), False, "11 12"),
    "a weight": (BOTH, configuration(servers=HEAVY), False, "11 12"),
    "a backend less": (BOTH, configuration(servers=ONE), False, "11"),
    "a backend back": (ONE, configuration(servers=BOTH), False, "11 12"),
    "a backend more": (BOTH, configuration(servers=THIRD), False, "11 12 13"),
    "sticky": (BOTH, configuration(service="sticky: yes"), True, "11 12"),
    "another seed": (BOTH, configuration(top=SEED), True, "11 12"),
}


@pytest.mark.parametrize(("servers", "text", "anew", "available"), STEPS.values(), ids=STEPS)
def test_the_reload_does_what_the_plan_said(
    lab: Lab, servers: str, text: str, anew: bool, available: str, tmp_path: Path
) -> None:
    file = tmp_path / "new.yaml"
    file.write_text(text)
    with running(lab, "foreseen", configuration()) as daemon:
        if servers != BOTH:
            assert daemon.reload(configuration(servers=servers)).returncode == 0
        generation = daemon.status()["config"]["generation"]
        rows, was, following = settled(daemon), owners(daemon), tracked(daemon)
        body, row = planned(daemon, file)
        assert daemon.vc5("plan", str(file)).returncode == 0
        assert (settled(daemon), owners(daemon), tracked(daemon)) == (rows, was, following), "a plan changes nothing"
        assert daemon.status()["config"]["generation"] == generation
        daemon.configuration_file.write_text(text)
        answer = daemon.ask("reload")
        assert answer["compiled"] == (body["program"] != "running")
        wanted = set(available.split())
        wait_for("the backends", lambda: {n for n, state in states(daemon).items() if state == "available"} == wanted)
        now = owners(daemon)
        if anew:
            assert (row["share"], row["moved_slots"], tracked(daemon)) == (1.0, len(now), len(now))
        else:
            changed = sum(then != to for then, to in zip(was, now, strict=True))
            assert (row["moved_slots"], row["slots"]) == (changed, len(now))
            assert row["share"] == pytest.approx(changed / len(now), abs=1e-6)
            assert tracked(daemon) >= changed
            assert (changed == 0) == (text == configuration(servers=servers))
        assert body["largest_share"] == row["share"]
        assert daemon.stop() == 0


def test_a_reload_that_moves_too_much_is_refused(lab: Lab) -> None:
    with running(lab, "limited") as daemon:
        rows, was = settled(daemon), owners(daemon)
        daemon.configuration_file.write_text(configuration(servers=ONE))
        assert {fetch(lab) for _ in range(20)} <= {"b1", "b2"}
        row = planned(daemon, daemon.configuration_file)[1]
        share = row["share"]
        assert (row["flows"] > 0, row["flows_counted"]) == (True, False)
        done = daemon.vc5("reload", "--max-disruption", "5%")
        assert_refused(done, 1, SERVICE, f"{share * 100:.1f} %", "--max-disruption 5 %", "nothing was changed")
        assert (settled(daemon), owners(daemon)) == (rows, was)
        assert daemon.status()["config"]["generation"] == 1
        wait_for("the log", lambda: [event["outcome"] for event in events(daemon, "reload")] == ["refused"])
        assert daemon.vc5("reload", "--max-disruption", f"{share * 100 + 1:.1f}").returncode == 0
        assert set(owners(daemon)) == {IPv4Address("10.1.10.11")}
        daemon.configuration_file.write_text(configuration(servers=ONE).replace(str(VIP), f'"{VIP}*"'))
        body, row = planned(daemon, daemon.configuration_file)
        assert (row["share"], row["disruption"], row["disrupted_by"]) == (0.0, 1.0, "VIP withdrawn")
        assert (row["flows"] > 0, body["largest_disruption"], body["vips"]["withdraw"]) == (True, 1.0, [str(VIP)])
        done = daemon.vc5("reload", "--max-disruption", "99%")
        assert_refused(done, 1, f"{SERVICE} 100 % (VIP withdrawn)")
        daemon.configuration_file.write_text("interfaces: eth0\nxdp: native\n")
        done = daemon.vc5("reload", "--max-disruption", "99%")
        assert_refused(done, 1, f"{SERVICE} 100 % (service removed)")
        assert [row["up"] for row in daemon.status()["services"]] == [True]
        assert_refused(daemon.vc5("plan", "/nowhere.yaml"), 78, "/nowhere.yaml: does not exist")
        assert daemon.stop() == 0


def test_a_port_more_on_a_vip_in_service_disturbs_nobody(lab: Lab) -> None:
    more = configuration().replace("policy: {", "policy: {8080/tcp: {checks: [{type: tcp, port: 80}]}, ")
    with running(lab, "widened") as daemon:
        settled(daemon)
        daemon.configuration_file.write_text(more)
        body = daemon.ask("plan")
        assert (body["services_added"], body["largest_disruption"]) == (1, 0.0)
        assert body["vips"] == {"announce": [], "withdraw": []}
        assert daemon.vc5("reload", "--max-disruption", "0%").returncode == 0
        wait_for("both ports", lambda: [row["up"] for row in daemon.status()["services"]] == [True, True])
        assert [(vip["up"], vip["since_s"] > 0) for vip in daemon.status()["vips"]] == [(True, True)]
        assert not [event for event in events(daemon, "service") if "down" in event["message"]]
        assert daemon.stop() == 0


SERVICES, BACKENDS = 1000, 20


def crowd(weight: int = 1) -> str:
    """Return a configuration with so many services of the same backends, which nobody checks."""
    servers = ", ".join(f"10.1.10.{11 + number}" for number in range(BACKENDS - 1))
    lines = ["interfaces: eth0", "xdp: native", "services:"]
    for number in range(SERVICES):
        lines.append(f"  - virtual: {VIP}\n    servers: [{servers}, 10.1.10.40 weight={weight}]")
        lines.append(f"    policy: {{{1000 + number}/tcp: {{checks: []}}}}")
    return "\n".join([*lines, ""])


def test_a_large_plan_holds_nobody_up(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    file.write_text(crowd(weight=3))
    with prepared(lab, "crowded", crowd()) as daemon:
        daemon.start(120.0)
        wait_for("all services", lambda: all(row["up"] for row in daemon.status()["services"]))
        before = daemon.status()["loop"]["stalls_cpu"]
        body = daemon.ask("plan", str(file))
        assert len(body["services"]) == SERVICES
        assert all(0.05 < row["share"] < 0.3 for row in body["services"])
        assert daemon.status()["loop"]["stalls_cpu"] == before, "a turn of the loop took more than 50 ms"
        assert daemon.stop() == 0
