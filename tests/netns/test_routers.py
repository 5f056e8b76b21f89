"""The routers of the lab, judged against each other: what one says of itself, another must have heard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

import pytest

from tests.lab.routers import (
    KINDS,
    Announced,
    Bird,
    Frr,
    Gobgp,
    Learned,
    Neighbour,
    Restarting,
    Router,
    Setup,
    missing_daemons,
)
from tests.lab.site import Network, Site

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing_daemons(KINDS)), reason=missing_daemons(KINDS) or "all are there"),
]

NETWORK = Network(10)
NEAR, NEAR6 = "10.1.10.1", "2001:db8:10::1"
FAR, FAR6 = "10.1.10.5", "2001:db8:10::5"
NEAR_AS, FAR_AS = 65001, 4200000005
"""One that fits 16 bits, and one that does not."""
KEY = "a-secret"
OWN4, OWN6 = "192.0.2.1/32", "2001:db8:9::1/128"
WORDS = ("65001:7", "65535:0", "65001:1:2")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site([NETWORK], backends=0) as made:
        yield made


def run(site: Site, kind: type[Router], setup: Setup, far: bool = False) -> Router:
    """A router on one of both ends."""
    namespace = site.balancer if far else site.router
    return kind(namespace, site.directory / f"{kind.name}-{'far' if far else 'near'}", setup)


def near(*neighbours: Neighbour, **values: object) -> Setup:
    return replace(Setup(NEAR_AS, NEAR, neighbours), **values)  # type: ignore[arg-type]


def back(neighbour: Neighbour) -> Neighbour:
    """What the far end has for what the near end has."""
    return replace(neighbour, address=NEAR if neighbour.version == 4 else NEAR6, remote_as=NEAR_AS)


def far(*neighbours: Neighbour, **values: object) -> Setup:
    return replace(Setup(FAR_AS, FAR, neighbours), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("one", "other"), [(Frr, Bird), (Gobgp, Frr), (Bird, Gobgp)])
def test_what_one_announces_the_other_has_learnt(site: Site, one: type[Router], other: type[Router]) -> None:
    routes = (
        Announced(OWN4, med=50, communities=WORDS, prepended=2),
        Announced(OWN6, med=60),
    )
    over4 = Neighbour(FAR, FAR_AS, (4, 6), password=KEY, restarting=Restarting.FULL, restart_time=33)
    over6 = Neighbour(FAR6, FAR_AS, (4, 6), ipv4_over_ipv6=True)
    # GoBGP takes its time to connect, and longer if both do.
    telling = near(*(replace(each, passive=one is Gobgp) for each in (over4, over6)), announced=routes)
    hearing = far(*(replace(back(each), passive=one is not Gobgp) for each in (over4, over6)))
    judge, speaker = run(site, other, hearing, far=True), run(site, one, telling)
    first, second = (speaker, judge) if one is Gobgp else (judge, speaker)
    with first, second:
        judge.wait_established()
        speaker.wait_established()
        judge.wait(
            "all routes",
            lambda: (
                [len(judge.routes(version).get(ip_network(own), ())) for version, own in ((4, OWN4), (6, OWN6))]
                == [2, 2]
            ),
        )

        session4, session6 = (judge.neighbour(address) for address in (NEAR, NEAR6))
        assert session4.remote_id == session6.remote_id == NEAR
        assert (session4.hold_time, session4.ups, session6.ups) == (9, 1, 1)
        assert abs(session4.uptime) < 60
        assert {"ipv4", "ipv6", "four-octet-as", "route-refresh", "graceful-restart"} <= session4.capabilities
        assert "extended-next-hop" in session6.capabilities

        learned = {route.neighbour: route for route in judge.routes(4)[ip_network(OWN4)]}
        expected = Learned(
            NEAR,
            NEAR,
            as_path=(NEAR_AS,) * 3,
            med=50,
            local_pref=learned[NEAR].local_pref,
            communities=frozenset({"65001:7", "65535:0"}),
            large_communities=frozenset({"65001:1:2"}),
            best=learned[NEAR].best,
        )
        if speaker.name == "gobgp":
            expected = replace(expected, as_path=learned[NEAR].as_path)
        assert learned[NEAR] == expected
        assert learned[NEAR6].next_hop == NEAR6
        assert sum(route.best for route in learned.values()) == 1
        assert {route.med for route in judge.routes(6)[ip_network(OWN6)]} == {60}

        judge.wait("a change", lambda: judge.changes(OWN4))
        if judge.installs:
            assert judge.kernel_routes()[ip_network(OWN4)] == (NEAR,)
            before, changes = judge.neighbour(NEAR).updates, judge.changes(OWN4)
            judge.refresh(NEAR)
            judge.wait("the routes again", lambda: judge.neighbour(NEAR).updates > before)
            assert judge.changes(OWN4) == changes, "the same routes are no change"

        speaker.shut(FAR, "on holiday")
        judge.wait_down(NEAR)
        assert judge.neighbour(NEAR6).established
        judge.wait("its words", lambda: "on holiday" in judge.neighbour(NEAR).last_error)
        if Gobgp not in (one, other):  # it waits for five seconds
            speaker.unshut(FAR)
            speaker.wait_established()
            assert judge.neighbour(NEAR).ups == 2
    assert not judge._processes


def test_bfd_between_bird_and_frr_ends_the_session_at_once(site: Site) -> None:
    over4 = Neighbour(FAR, FAR_AS, bfd=0.1, hold_time=90, password=KEY, restarting=Restarting.OFF)
    watched = (over4, replace(over4, address=FAR6))
    telling = near(*watched, announced=(Announced(OWN4),))
    hearing = far(*map(back, watched))
    with run(site, Frr, hearing, far=True) as frr, run(site, Bird, telling) as bird:
        frr.wait_established()
        bird.wait_established()
        frr.wait("BFD", lambda: {frr.bfd(address) for address in (NEAR, NEAR6)} == {"up"})
        bird.wait("BFD", lambda: {bird.bfd(address) for address in (FAR, FAR6)} == {"up"})
        frr.wait("the route", lambda: frr.changes(OWN4))
        bird.pause()
        frr.wait_down(NEAR, 10)
        frr.wait("the route to go", lambda: [change.via for change in frr.changes(OWN4)] == [(NEAR,), ()])
        assert frr.bfd(NEAR) == "down"
        bird.resume()
        frr.wait_established()


@pytest.mark.parametrize(
    ("one", "other"),
    [(Frr, Bird), (Bird, Frr), pytest.param(Bird, Gobgp, marks=pytest.mark.appliance)],
)
def test_graceful_restart_keeps_the_routes_of_a_router_that_was_killed(
    site: Site, one: type[Router], other: type[Router]
) -> None:
    restarting = Neighbour(FAR, FAR_AS, restarting=Restarting.FULL, restart_time=60)
    telling = near(restarting, announced=(Announced(OWN4),))
    hearing = far(Neighbour(NEAR, NEAR_AS, passive=True))
    with run(site, other, hearing, far=True) as judge, run(site, one, telling) as speaker:
        assert judge.wait_route(OWN4)[0].stale is False
        speaker.wait_established()
        speaker.kill9()
        judge.wait("a stale route", lambda: judge.routes(4)[ip_network(OWN4)][0].stale)
        speaker.start()
        judge.wait("the route anew", lambda: not judge.routes(4)[ip_network(OWN4)][0].stale)
        assert judge.neighbour(NEAR).ups == 2
        assert len(judge.changes(OWN4)) == 1


def test_a_wrong_key_lets_nobody_in_and_another_configuration_touches_only_what_changed(site: Site) -> None:
    wrong = Neighbour(NEAR, NEAR_AS, password="another-secret")
    right = replace(wrong, password=KEY)
    other = Neighbour(NEAR6, NEAR_AS)
    telling = near(Neighbour(FAR, FAR_AS, password=KEY), Neighbour(FAR6, FAR_AS))
    with run(site, Bird, telling) as bird:
        for kind in (Frr, Bird):
            with run(site, kind, far(wrong, other), far=True) as judge:
                judge.wait_established(NEAR6)
                judge.wait("a packet with a wrong key", lambda: refused(site))
                since = judge.neighbour(NEAR6).since
                assert not judge.neighbour(NEAR).established
                judge.reconfigure(far(right, other))
                judge.wait_established(NEAR)
                assert judge.neighbour(NEAR6).since == since
                assert bird.neighbour(FAR).established


def refused(site: Site) -> bool:
    """Whether a packet with a wrong key has come."""
    rows = [site.balancer.run("cat", "/proc/net/netstat"), site.router.run("cat", "/proc/net/netstat")]
    counts = 0
    for text in rows:
        names, values = (line.split() for line in text.splitlines()[:2])
        counts += int(dict(zip(names, values, strict=True))["TCPMD5Failure"])
    return counts > 0
