"""A node that goes out of service under traffic, and comes back: what routers know, where packets go, and who notices.

    client ---- router (BIRD, AS 65000) ---- balancer  10.1.10.5 ---- b1, b2
                                        \\--- second    10.1.10.6 ---- b1, b2

Both have the same services and the same seed, so no client's connection depends on the way. A stop that waits (`leave`)
goes the same way.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from appliance.model_bgp import LARGEST_MED
from tests.lab.addresses import VIP
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.routers import Bird, Neighbour, Router, Setup, missing_daemons
from tests.lab.routers.terms import prefix_of
from tests.lab.site import VIP6, Site
from tests.lab.traffic import Requests
from tests.lab.xdp_pass import XdpPass
from tests.netns.bgp_scene import BALANCER, SECOND, add_host, document, own, own6, prepare, service, site_with_vips
from tests.netns.scenario_operator import events, links

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing_daemons([Bird])), reason=missing_daemons([Bird]) or "all are there"),
]

ROUTER, ROUTER_AS, BALANCERS_AS = "10.1.10.1", 65000, 65001
SEED = "8d969eef6ecad3c29a3a629280e686cf"
FIRST, BOTH = (own(BALANCER),), (own(BALANCER), own(SECOND))
DEMOTED = (LARGEST_MED, frozenset({"65535:0"}))
MARK = "65001:99"
LAST = (LARGEST_MED, frozenset({"65535:0", MARK}))
LEAVE, SHORT = 120, 4


@dataclass
class Stage:
    """All that runs."""

    site: Site
    first: Daemon
    second: Daemon
    bird: Router

    def requests(self) -> Requests:
        """Requests of the client, a hundred in a second."""
        return Requests(self.site.client, rate=100.0)

    def wait_ways(self, *ways: str) -> None:
        """Wait until the router sends both VIPs these ways."""
        wanted = {prefix_of(str(VIP)): ways, prefix_of(str(VIP6)): tuple(SIX[way] for way in ways)}
        self.bird.wait(f"the ways {ways}", lambda: self.bird.kernel_routes() == wanted)

    def told(self) -> tuple[Any, ...] | None:
        """How the router has the first balancer's route; None: it has none."""
        routes = self.bird.routes(4).get(prefix_of(str(VIP)), ())
        return next(((one.med, one.communities) for one in routes if one.neighbour == own(BALANCER)), None)

    def drained(self) -> dict[str, Any]:
        """What the first daemon says of its drain; empty for none."""
        return dict(self.first.ask("bgp")["drained"] or {})

    def wait_stage(self, stage: str) -> dict[str, Any]:
        """Wait until the first balancer has gone so far."""
        wait_for(f"the stage {stage}", lambda: self.drained().get("stage") == stage, 40.0)
        return self.drained()

    def attached(self) -> bool:
        """Whether the first balancer's program is on its interface."""
        return bool(dict(links(self.site.balancer))["eth0"])

    def allow(self, leave: int) -> None:
        """Put a configuration with another `leave` in force."""
        text = configuration(self.site, BALANCER, leave=leave)
        assert self.first.reload(text).returncode == 0


SIX = {own(host): own6(host) for host in (BALANCER, SECOND)}


def configuration(site: Site, host: int, leave: int = 0, **settings: Any) -> str:
    """The configuration; `settings` are those of both services."""
    rows = []
    for vip in (VIP, VIP6):
        servers = [str(site.address(name, vip.version)) for name in site.backends]
        rows.append(service(str(vip), servers, **settings))
    bgp = {"as_number": BALANCERS_AS, "remote_as": ROUTER_AS, "hold_time": 9, "next_hop_6": own6(host)}
    bgp |= {"peers": [ROUTER], "listen": True, "last_communities": [MARK]}
    return document(rows, bgp, host, hash_seed=SEED, leave=leave)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with ExitStack() as stack:
        site = stack.enter_context(site_with_vips())
        prepare(site)
        # By addresses alone a client's packets would all go one way.
        for family in ("ipv4", "ipv6"):
            site.router.run("sh", text=f"echo 1 > /proc/sys/net/{family}/fib_multipath_hash_policy")
        other = add_host(site, "second", SECOND)
        stack.callback(XdpPass(site.switch, "second").close)
        neighbours = tuple(Neighbour(own(host), BALANCERS_AS, (4, 6), restart_time=60) for host in (BALANCER, SECOND))
        setup = Setup(ROUTER_AS, ROUTER, neighbours, multipath=8)
        bird = stack.enter_context(Bird(site.router, site.directory / "bird", setup))
        first = stack.enter_context(Daemon(site.balancer, site.root("first"), configuration(site, BALANCER)))
        second = stack.enter_context(Daemon(other, site.root("second"), configuration(site, SECOND)))
        made = Stage(site, first, second, bird)
        made.wait_ways(*BOTH)
        yield made


def well(requests: Requests) -> None:
    """End the requests; none must have failed."""
    report = requests.stop()
    assert [request.failure for request in report.failed] == []
    assert len(report.done) > 100


def flowing(stage: Stage) -> None:
    """Wait until the first balancer sees the requests, and has counted them for some seconds."""
    stage.wait_ways(*BOTH)
    more_packets(stage.first, 1500)


def more_packets(daemon: Daemon, number: int) -> None:
    """Wait until so many more packets were forwarded."""
    seen = packets(daemon)
    wait_for(f"{number} more packets", lambda: packets(daemon) >= seen + number, 60.0)


def test_a_drained_node_leaves_step_by_step_and_comes_back(stage: Stage) -> None:
    first = stage.first
    with stage.requests() as requests:
        flowing(stage)
        done = first.vc5("drain", "--all")
        assert done.returncode == 0, done.stderr
        assert "1 of 1 routers told of its routes as last resorts" in done.stdout
        stage.bird.wait("a last resort", lambda: stage.told() == DEMOTED)
        began = stage.drained()
        assert began["stage"] == "demoted"
        assert began["packets_per_second_before"] > 100
        stage.wait_ways(own(SECOND))
        assert stage.attached()

        stage.wait_stage("withdrawn")
        stage.bird.wait("no route", lambda: stage.told() is None)
        assert {(row["announce"], row["reason"]) for row in first.status()["vips"]} == {
            ("no", "this node is drained, and its routes are withdrawn")
        }
        assert "its routes are withdrawn" in first.vc5("status").stdout

        found = stage.wait_stage("detached")
        assert (found["packets_per_second_calm"], found["who"]) == (None, began["who"])
        assert not stage.attached()
        assert [one["attach"] for one in first.status()["interfaces"]] == ["none"]
        assert "the program is detached from the interfaces" in first.vc5("bgp").stdout
        metrics = first.vc5("metrics").stdout
        assert all(f"vc5_node_{word} 1" in metrics for word in ("drained", "withdrawn", "detached"))
        said = [event["message"] for event in events(first, "operator")]
        assert any("routes are withdrawn; what still comes is forwarded" in message for message in said)
        assert any("the program is detached from the interfaces" in message for message in said)
        refused = first.vc5("reattach", "eth0")
        assert refused.returncode == 1
        assert "drained and detached" in refused.stderr

        # That outlives the daemon, however it ends, and a reload.
        first.kill9()
        first.start()
        assert (stage.drained()["stage"], stage.attached()) == ("detached", False)
        assert first.reload(configuration(stage.site, BALANCER)).returncode == 0
        assert not stage.attached()
        assert first.stop() == 0
        first.start()
        assert (stage.drained()["stage"], stage.attached()) == ("detached", False)
        stage.bird.wait_established(own(BALANCER))
        assert stage.told() is None

        done = first.vc5("undrain", "--all")
        assert done.returncode == 0, done.stderr
        assert stage.attached()
        stage.bird.wait("the usual route", lambda: stage.told() == (None, frozenset()))
        stage.wait_ways(*BOTH)
        more_packets(first, 100)
        assert "vc5_node_drained 0" in first.vc5("metrics").stdout
        well(requests)


def packets(daemon: Daemon) -> int:
    """How many packets the daemon's services have forwarded."""
    rows = [backend for one in daemon.status()["services"] for backend in one["backends"]]
    return sum(int(row["packets"]) for row in rows)


def test_who_waits_is_told_of_each_step(stage: Stage) -> None:
    with stage.requests() as requests:
        flowing(stage)
        done = stage.first.vc5("drain", "--all", "--wait", timeout=90)
        assert done.returncode == 0, done.stderr
        told, withdrawn, detached = done.stdout.splitlines()
        assert "the whole node is drained" in told
        assert "the routes are withdrawn" in withdrawn
        assert "the program is detached" in detached
        assert not stage.attached()
        assert stage.first.vc5("undrain", "--all").returncode == 0
        stage.wait_ways(*BOTH)
        well(requests)


@pytest.mark.appliance
def test_alone_it_withdraws_at_the_deadline_and_forwards_what_still_comes(stage: Stage) -> None:
    """The router keeps a last resort while it knows no other route; a static one is left, as a slow router is."""
    first = stage.first
    assert stage.second.stop() == 0
    stage.wait_ways(*FIRST)
    route = ["ip", "route", "add", f"{VIP}/32", "via", own(BALANCER), "metric", "4000"]
    stage.site.router.run(*route)
    try:
        with stage.requests() as requests:
            more_packets(first, 1500)
            assert first.vc5("drain", "--all").returncode == 0
            stage.bird.wait("a last resort", lambda: stage.told() == DEMOTED)
            more_packets(first, 5000)
            assert stage.drained()["stage"] == "demoted"
            done = first.vc5("drain", "--all", "--wait", "--deadline", "1s", timeout=60)
            assert done.returncode == 0, done.stderr
            stage.wait_stage("withdrawn")
            stage.bird.wait("no route", lambda: stage.told() is None)
            more_packets(first, 5000)
            assert (stage.drained()["stage"], stage.attached()) == ("withdrawn", True)
            assert first.vc5("undrain", "--all").returncode == 0
            stage.bird.wait("the usual route", lambda: stage.told() == (None, frozenset()))
            well(requests)
    finally:
        stage.site.router.run(*(word.replace("add", "delete") for word in route))
        stage.second.start()
    stage.wait_ways(*BOTH)


def test_a_stop_waits_until_the_traffic_has_gone_elsewhere(stage: Stage) -> None:
    first = stage.first
    stage.allow(LEAVE)
    with stage.requests() as requests:
        flowing(stage)
        begun = len(first.notifications)
        first.signal(signal.SIGTERM)
        stage.bird.wait("a last resort", lambda: stage.told() == DEMOTED)
        assert "NODE DRAINED" not in stage.drained().get("who", "")
        assert stage.drained()["who"] == "a stop (leave)"
        wait_for("its end", lambda: not first.running, 60.0)
        assert first.exit_status == 0
        assert first.leftovers() == []
        stage.wait_ways(own(SECOND))
        said = [one for one in first.notifications[begun:] if one.name in ("STOPPING", "EXTEND_TIMEOUT_USEC")]
        assert said[0].name == "STOPPING"
        assert sum(one.name == "EXTEND_TIMEOUT_USEC" for one in said) > 5
        # Nobody remembers that: it comes back as if it had never left.
        first.start()
        assert stage.drained() == {}
        stage.wait_ways(*BOTH)
        well(requests)


@pytest.mark.appliance
def test_a_stop_waits_no_longer_than_it_may_and_the_second_one_does_not_wait(stage: Stage) -> None:
    first = stage.first
    assert stage.second.stop() == 0
    stage.wait_ways(*FIRST)
    with stage.requests() as requests:
        more_packets(first, 1500)
        stage.allow(SHORT)
        begun = len(first.notifications)
        first.signal(signal.SIGTERM)
        stage.bird.wait("a last resort", lambda: stage.told() == DEMOTED)
        wait_for("its end", lambda: not first.running, SHORT + 15.0)
        said = [one.name for one in first.notifications[begun:]]
        assert said.count("EXTEND_TIMEOUT_USEC") >= SHORT - 1, "one at the beginning, and one in each second"
        first.configuration_file.write_text(configuration(stage.site, BALANCER, leave=LEAVE))
        first.start()
        stage.wait_ways(*FIRST)
        first.signal(signal.SIGTERM)
        stage.bird.wait("a last resort", lambda: stage.told() == DEMOTED)
        first.signal(signal.SIGTERM)
        wait_for("its end", lambda: not first.running, 15.0)
        assert first.exit_status == 0
        requests.stop()
    stage.second.start()
    first.configuration_file.write_text(configuration(stage.site, BALANCER))
    first.start()
    stage.wait_ways(*BOTH)


def test_the_last_route_to_a_vip_that_is_down_is_kept_and_marked(stage: Stage) -> None:
    """Without a fleet nothing is known of others, so that each node takes itself for the last one."""
    first, more_than_there_are = stage.first, len(stage.site.backends) + 1
    down = configuration(stage.site, BALANCER, need=more_than_there_are, last_announcer="keep")
    assert first.reload(down).returncode == 0
    stage.bird.wait("a marked route", lambda: stage.told() == LAST)
    stage.wait_ways(own(SECOND))
    assert {(row["up"], row["announce"]) for row in first.status()["vips"]} == {(False, "last")}
    said = f"vip {VIP} is announced as a last resort, by this node alone"
    assert said in first.vc5("status").stdout
    assert first.reload(configuration(stage.site, BALANCER, need=more_than_there_are)).returncode == 0
    stage.bird.wait("no route", lambda: stage.told() is None)
    assert first.reload(configuration(stage.site, BALANCER)).returncode == 0
    stage.wait_ways(*BOTH)
