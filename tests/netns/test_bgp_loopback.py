"""A router daemon on the balancer itself: it learns the VIPs over the loopback, in both families, and tells others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.lab.addresses import VIP
from tests.lab.daemon import Daemon
from tests.lab.routers import Bird, Frr, Neighbour, Router, Setup, missing_daemons
from tests.lab.routers.terms import prefix_of
from tests.lab.site import VIP6, Site
from tests.netns.bgp_scene import (
    ASES,
    BALANCER,
    FRR,
    OTHER_VIP,
    OTHER_VIP6,
    OWN_AS,
    VIPS,
    add_host,
    document,
    own,
    peers,
    prepare,
    services,
    site_with_vips,
)

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing_daemons((Bird, Frr))), reason=missing_daemons((Bird, Frr)) or "both are there"),
]
HERE = "127.0.0.1"


@dataclass(frozen=True)
class Stage:
    """BIRD beside the daemon, and FRR, which only BIRD speaks with."""

    site: Site
    daemon: Daemon
    bird: Router
    frr: Router

    def text(self, **settings: object) -> str:
        return document(services(self.site), {"as_number": OWN_AS, "loopback": True, **settings})


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with ExitStack() as stack:
        site = stack.enter_context(site_with_vips())
        prepare(site)
        here = Neighbour(HERE, OWN_AS, (4, 6), passive=True, multihop=2)
        there = Neighbour(own(FRR), ASES[FRR], (4, 6))
        bird = Bird(site.balancer, site.directory / "bird", Setup(OWN_AS, own(BALANCER), (here, there), passes_on=True))
        stack.enter_context(bird)
        setup = Setup(ASES[FRR], own(FRR), (Neighbour(own(BALANCER), OWN_AS, (4, 6)),))
        frr = stack.enter_context(Frr(add_host(site, "frr", FRR), site.directory / "frr", setup))
        made = Stage(site, Daemon(site.balancer, site.root(), "services: []\n"), bird, frr)
        made.daemon.configuration_file.write_text(made.text())
        stack.enter_context(made.daemon)
        bird.wait_established()
        wait(bird, set(VIPS))
        wait(frr, set(VIPS))
        yield made


def known(router: Router) -> set[str]:
    """The VIPs that a router has learnt."""
    tables = router.routes(4).keys() | router.routes(6).keys()
    return {vip for vip in VIPS if prefix_of(vip) in tables}


def med_of(router: Router) -> int:
    [route] = router.routes(6)[prefix_of(VIP6)]
    return route.med or 0


def wait(router: Router, vips: set[str]) -> None:
    router.wait(f"{router.name} to know {vips}", lambda: known(router) == vips)


def test_both_families_over_a_session_with_tight_timers(stage: Stage) -> None:
    session = stage.bird.neighbour(HERE)
    assert session.hold_time == 4
    assert {"ipv4", "ipv6"} <= session.capabilities
    [row] = peers(stage.daemon).values()
    assert (row["address"], row["ibgp"], row["advertised"]) == (HERE, True, 4)
    for vip in (VIP, VIP6):
        [route] = stage.frr.routes(vip.version)[prefix_of(vip)]
        assert route.as_path == (OWN_AS,)


def test_reloads_keep_the_session_and_both_families(stage: Stage) -> None:
    since = stage.bird.neighbour(HERE).since
    for med in (7, 8, 0):
        assert stage.daemon.reload(stage.text(med=med)).returncode == 0
        stage.bird.wait("the MED", lambda: med_of(stage.bird) == med)  # noqa: B023
        assert known(stage.bird) == known(stage.frr) == set(VIPS)
    assert stage.bird.neighbour(HERE).since == since


def test_a_vip_that_dies_is_withdrawn_from_the_others_too(stage: Stage) -> None:
    b2 = stage.site.backends["b2"]
    b2.set_alive(False)
    wait(stage.frr, {str(VIP), str(VIP6)})
    b2.set_alive(True)
    wait(stage.frr, {str(VIP), str(VIP6), OTHER_VIP, OTHER_VIP6})


def test_a_router_daemon_that_restarts_has_them_again_at_once(stage: Stage) -> None:
    stage.bird.kill9()
    stage.bird.start()
    wait(stage.bird, set(VIPS))
    wait(stage.frr, set(VIPS))
