"""A whole site: a router with two balancers, equal to it, and the backends behind each.

    client ---- router (FRR or BIRD, AS 65000) ---- balancer  10.1.10.5 ---- b1
                                               \\--- second    10.1.10.6 ---- b2

Each balancer has a backend of its own, so that a service can die on one of them alone, and the client's answers say
which way they came. The balancers' AS is one of four octets.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.lab.addresses import CLIENT_ADDRESSES, VIP
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.routers import Bird, Frr, Neighbour, Router, Setup, missing_daemons
from tests.lab.routers.terms import prefix_of
from tests.lab.site import CLIENT_ADDRESSES6, VIP6, Site
from tests.lab.traffic import RequestReport, Requests
from tests.lab.xdp_pass import XdpPass
from tests.netns.bgp_scene import BALANCER, SECOND, add_host, document, own, own6, prepare, service, site_with_vips

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing_daemons([Bird, Frr])), reason=missing_daemons([Bird, Frr]) or "all are there"),
]

ROUTER, ROUTER_AS, BALANCERS_AS = "10.1.10.1", 65000, 4200000005
BOTH = ((own(BALANCER), own(SECOND)), (own6(BALANCER), own6(SECOND)))
FIRST_ALONE = ((own(BALANCER),), (own6(BALANCER),))


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


def configuration(site: Site, host: int, backend: str) -> str:
    rows = [service(str(vip), [str(site.address(backend, vip.version))]) for vip in (VIP, VIP6)]
    bgp = {
        "as_number": BALANCERS_AS,
        "remote_as": ROUTER_AS,
        "hold_time": 9,
        "next_hop_6": own6(host),
        "peers": [ROUTER],
        "listen": True,
    }
    return document(rows, bgp, host)


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
            BALANCER: Daemon(site.balancer, site.root("first"), configuration(site, BALANCER, "b1")),
            SECOND: Daemon(second, site.root("second"), configuration(site, SECOND, "b2")),
        }
        for daemon in daemons.values():
            stack.enter_context(daemon)
        yield Stage(site, daemons)


def wait_ways(router: Router, ways: tuple[tuple[str, ...], tuple[str, ...]], seconds: float = 20.0) -> None:
    """Wait until the router sends the VIPs of both families these ways."""

    def found() -> bool:
        table = router.kernel_routes()
        return (table.get(prefix_of(str(VIP)), ()), table.get(prefix_of(str(VIP6)), ())) == ways

    router.wait(f"the ways {ways}", found, seconds)


def answered_by(stage: Stage, vip: object = VIP) -> set[str]:
    """Who answers a client now; nobody must fail."""
    sources = CLIENT_ADDRESSES6[:1] if vip == VIP6 else CLIENT_ADDRESSES
    with Requests(stage.site.client, vip=str(vip), count=24, sources=sources) as requests:
        report = requests.finish()
    assert [request.failure for request in report.failed] == []
    return set(report.backends())


def without_failure(requests: Requests) -> RequestReport:
    report = requests.stop()
    assert [request.failure for request in report.failed] == []
    assert len(report.done) > 5
    return report


@pytest.mark.parametrize("kind", [Frr, pytest.param(Bird, marks=pytest.mark.appliance)])
def test_traffic_goes_where_the_service_lives(stage: Stage, kind: type[Router]) -> None:
    b2 = stage.site.backends["b2"]
    with stage.router(kind) as router:
        router.wait_established()
        wait_ways(router, BOTH)
        assert answered_by(stage) == answered_by(stage, VIP6) == {"b1", "b2"}
        route = next(route for route in router.routes(4)[prefix_of(str(VIP))] if route.neighbour == own(SECOND))
        assert (route.as_path, route.next_hop) == ((BALANCERS_AS,), own(SECOND))

        # The service dies on one: its route goes, and no client notices.
        with stage.requests() as requests:
            wait_for("both to answer", lambda: set(requests.status().backends()) == {"b1", "b2"})
            b2.set_alive(False)
            wait_ways(router, FIRST_ALONE)
            assert answered_by(stage) == answered_by(stage, VIP6) == {"b1"}
            b2.set_alive(True)
            wait_ways(router, BOTH)
            assert answered_by(stage) == {"b1", "b2"}
            without_failure(requests)

        # A daemon is killed, and comes back: the routes stay, and packets are forwarded meanwhile.
        daemon, changes = stage.daemons[SECOND], len(router.changes(VIP))
        with stage.requests() as requests:
            daemon.kill9()
            router.wait_down(own(SECOND))
            assert answered_by(stage) == {"b1", "b2"}
            daemon.start()
            router.wait_established(own(SECOND), seconds=20)
            without_failure(requests)
        assert len(router.changes(VIP)) == changes, "no route flap"


def test_a_daemon_that_is_stopped_takes_its_routes_along(stage: Stage) -> None:
    with stage.router(Frr) as router:
        wait_ways(router, BOTH)
        assert stage.daemons[SECOND].stop() == 0
        wait_ways(router, FIRST_ALONE)
        assert answered_by(stage) == {"b1"}
        stage.daemons[SECOND].start()
        wait_ways(router, BOTH)
        assert answered_by(stage) == {"b1", "b2"}
