"""A whole site: a router with two balancers, equal to it, and their backends.

    client ---- router (FRR or BIRD, AS 65000) ---- balancer  10.1.10.5 ---- b1, b2
                                               \\--- second    10.1.10.6 ---- b1, b2

Both have the same services and the same seed, so that a packet that comes by the other way finds the same backend, and
no client notices anything. The other VIPs have one backend at each, b1 at the balancer and b2 at the second, so that
answers say which way they came. The second looks for the echo servers, which nobody else uses: without them its
services are dead, and those of the first live. The balancers' AS is one of four octets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.lab.addresses import CLIENT_ADDRESSES, VIP
from tests.lab.backend import Server
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.routers import Bird, Frr, Neighbour, Router, Setup, missing_daemons
from tests.lab.routers.terms import Prefix, prefix_of
from tests.lab.site import CLIENT_ADDRESSES6, Site
from tests.lab.traffic import Requests
from tests.lab.xdp_pass import XdpPass
from tests.netns.bgp_scene import (
    BALANCER,
    OTHER_VIP,
    OTHER_VIP6,
    SECOND,
    VIPS,
    add_host,
    document,
    own,
    own6,
    prepare,
    service,
    site_with_vips,
)

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing_daemons([Bird, Frr])), reason=missing_daemons([Bird, Frr]) or "all are there"),
]

ROUTER, ROUTER_AS, BALANCERS_AS = "10.1.10.1", 65000, 4200000005
BOTH = {4: (own(BALANCER), own(SECOND)), 6: (own6(BALANCER), own6(SECOND))}
FIRST_ALONE = {4: (own(BALANCER),), 6: (own6(BALANCER),)}
SEED = "8d969eef6ecad3c29a3a629280e686cf"
CHECKS = {BALANCER: {"type": "http", "port": 80, "path": "/alive"}, SECOND: {"type": "syn", "port": 7000}}
ALONE = {BALANCER: "b1", SECOND: "b2"}
ROUNDS = 6


@dataclass
class Stage:
    """All that runs but the router."""

    site: Site
    daemons: dict[int, Daemon]

    def router(self, kind: type[Router]) -> Router:
        """The router of the site, with equal routes."""
        neighbours = tuple(Neighbour(own(host), BALANCERS_AS, (4, 6), restart_time=60) for host in (BALANCER, SECOND))
        setup = Setup(ROUTER_AS, ROUTER, neighbours, multipath=8)
        return kind(self.site.router, self.site.directory / kind.name, setup)

    def requests(self) -> Requests:
        """Requests of the client, fifty in a second."""
        return Requests(self.site.client, rate=50.0)


def configuration(site: Site, host: int) -> str:
    policy = {"80/tcp": {"checks": [CHECKS[host]]}}
    rows = []
    for vip in VIPS:
        names = [ALONE[host]] if vip in (OTHER_VIP, OTHER_VIP6) else list(site.backends)
        servers = [str(site.address(name, prefix_of(vip).version)) for name in names]
        # What one takes for dead lives for the other: it is not to send its flows elsewhere.
        rows.append(service(vip, servers, policy=policy, on_dead="drop"))
    bgp = {
        "as_number": BALANCERS_AS,
        "remote_as": ROUTER_AS,
        "hold_time": 9,
        "next_hop_6": own6(host),
        "peers": [ROUTER],
        "listen": True,
    }
    return document(rows, bgp, host, hash_seed=SEED)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with ExitStack() as stack:
        site = stack.enter_context(site_with_vips())
        prepare(site)
        # By addresses alone a client's packets would all go one way.
        for family in ("ipv4", "ipv6"):
            site.router.run("sh", text=f"echo 1 > /proc/sys/net/{family}/fib_multipath_hash_policy")
        second = add_host(site, "second", SECOND)
        stack.callback(XdpPass(site.switch, "second").close)
        daemons = {
            BALANCER: Daemon(site.balancer, site.root("first"), configuration(site, BALANCER)),
            SECOND: Daemon(second, site.root("second"), configuration(site, SECOND)),
        }
        for daemon in daemons.values():
            stack.enter_context(daemon)
        yield Stage(site, daemons)


def wait_ways(router: Router, ways: Mapping[int, tuple[str, ...]], seconds: float = 20.0) -> None:
    """Wait until the router sends all VIPs these ways."""
    router.wait(f"the ways {ways}", lambda: router.kernel_routes() == ways_of(ways), seconds)


def ways_of(ways: Mapping[int, tuple[str, ...]]) -> dict[Prefix, tuple[str, ...]]:
    """The routes of all VIPs, by the ways of a family."""
    return {prefix_of(vip): ways[prefix_of(vip).version] for vip in VIPS}


def answered_by(stage: Stage, vip: str = OTHER_VIP) -> set[str]:
    """Who answers a client now, which tells the way; nobody must fail."""
    sources = CLIENT_ADDRESSES6[:1] if ":" in vip else CLIENT_ADDRESSES
    with Requests(stage.site.client, vip=vip, count=24, sources=sources) as requests:
        report = requests.finish()
    assert [request.failure for request in report.failed] == []
    return set(report.backends())


def end(requests: Requests) -> None:
    """End the requests; none must have failed."""
    report = requests.stop()
    assert [request.failure for request in report.failed] == []
    assert len(report.done) > 5


@pytest.mark.appliance
def test_who_is_killed_when_it_has_just_come_back_tells_nothing_else(stage: Stage) -> None:
    """Its successor knows that it is not cut off any more: what routers were told was saved at once."""
    backends, daemon = stage.site.backends.values(), stage.daemons[SECOND]
    with stage.router(Bird) as router:
        router.wait_established()
        for _ in range(ROUNDS):
            wait_ways(router, BOTH)
            for backend in backends:
                backend.kill_servers(Server.ECHO)
            wait_for(
                "it to be cut off", lambda: any("cut off" in row["message"] for row in daemon.status()["warnings"])
            )
            wait_ways(router, FIRST_ALONE)
            for backend in backends:
                backend.start_servers(stage.site.content, Server.ECHO)
            wait_ways(router, BOTH)
            assert answered_by(stage) == {"b1", "b2"}
            changes = len(router.changes(VIP))
            daemon.kill9()
            router.wait_down(own(SECOND))
            daemon.start()
            router.wait_established(own(SECOND), seconds=20)
            assert answered_by(stage) == {"b1", "b2"}
            more = router.changes(VIP)[changes:]
            assert not more, (more, daemon.errors[-6000:])


@pytest.mark.parametrize("kind", [Frr, pytest.param(Bird, marks=pytest.mark.appliance)])
def test_traffic_goes_where_the_service_lives(stage: Stage, kind: type[Router]) -> None:
    backends = stage.site.backends.values()
    with stage.router(kind) as router:
        router.wait_established()
        wait_ways(router, BOTH)
        assert answered_by(stage) == answered_by(stage, OTHER_VIP6) == {"b1", "b2"}
        route = next(route for route in router.routes(4)[prefix_of(VIP)] if route.neighbour == own(SECOND))
        assert (route.as_path, route.next_hop) == ((BALANCERS_AS,), own(SECOND))

        # The services die on one, all at once: its routes go, or are the last resort once it takes itself to be cut off
        # from them; no client notices.
        with stage.requests() as requests:
            wait_for("both to answer", lambda: set(requests.status().backends()) == {"b1", "b2"})
            for backend in backends:
                backend.kill_servers(Server.ECHO)
            wait_ways(router, FIRST_ALONE)
            assert answered_by(stage) == answered_by(stage, OTHER_VIP6) == {"b1"}
            ways = [change.via for change in router.changes(OTHER_VIP)]
            assert ways[-1] == (own(BALANCER),) != ways[-2], "nor do they come back for a moment"
            for backend in backends:
                backend.start_servers(stage.site.content, Server.ECHO)
            wait_ways(router, BOTH)
            assert answered_by(stage) == {"b1", "b2"}
            end(requests)

        # A daemon is killed, and comes back: the routes stay, and packets are forwarded meanwhile.
        daemon, changes = stage.daemons[SECOND], len(router.changes(VIP))
        with stage.requests() as requests:
            daemon.kill9()
            router.wait_down(own(SECOND))
            assert answered_by(stage) == {"b1", "b2"}
            daemon.start()
            router.wait_established(own(SECOND), seconds=20)
            end(requests)
        more = router.changes(VIP)[changes:]
        assert not more, f"no route flap\n{more}\n{daemon.errors[-6000:]}"


@pytest.mark.appliance
def test_a_daemon_that_is_stopped_takes_its_routes_along(stage: Stage) -> None:
    with stage.router(Frr) as router:
        wait_ways(router, BOTH)
        assert stage.daemons[SECOND].stop() == 0
        wait_ways(router, FIRST_ALONE)
        assert answered_by(stage) == {"b1"}
        stage.daemons[SECOND].start()
        wait_ways(router, BOTH)
        assert answered_by(stage) == {"b1", "b2"}
