"""The daemon and real routers: what it announces is what they learn, and their words are heard.

One daemon speaks with three routers, over IPv4 and over IPv6 with each; every test leaves them as it found them. The
settings are spread over the peers so that each is judged by one router at least:

    FRR      eBGP; TCP-MD5 over IPv4; MED, prepending
    BIRD     eBGP, an AS of four octets; it connects, we listen; TCP-MD5 over IPv6; a filter
    GoBGP    iBGP; local preference
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any

import pytest

from tests.lab.addresses import VIP
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.routers import KINDS, Announced, Bird, Frr, Gobgp, Learned, Neighbour, Router, Setup, missing_daemons
from tests.lab.routers.terms import prefix_of
from tests.lab.site import VIP6, Site
from tests.netns.bgp_scene import (
    ASES,
    BALANCER,
    BIRD,
    FRR,
    GOBGP,
    OTHER_VIP,
    OTHER_VIP6,
    OWN_AS,
    VIPS,
    add_host,
    document,
    own,
    own6,
    peers,
    prepare,
    services,
    site_with_vips,
)

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing_daemons(KINDS)), reason=missing_daemons(KINDS) or "all are there"),
]

US, US6 = own(BALANCER), own6(BALANCER)
KEY, KEY6 = "frr-has-this-key", "bird-has-this-one"
UNWANTED = ("198.18.0.0/15", "2001:db8:bad::/48")


def bgp(**groups: dict[str, Any]) -> dict[str, Any]:
    """The section `bgp`; values of groups replace those that stand here, None takes one away."""
    base = {
        "frr": {"peers": [own(FRR)], "remote_as": ASES[FRR], "password": KEY, "med": 50, "prepend": 2},
        "frr6": {"peers": [own6(FRR)], "remote_as": ASES[FRR]},
        "bird": {"peers": [own(BIRD)], "remote_as": ASES[BIRD], "passive": True, "reject": OTHER_VIP},
        "bird6": {"peers": [own6(BIRD)], "remote_as": ASES[BIRD], "passive": True, "password": KEY6},
        "gobgp": {"peers": [own(GOBGP)], "remote_as": OWN_AS, "local_pref": 250},
        "gobgp6": {"peers": [own6(GOBGP)], "remote_as": OWN_AS},
    }
    rows = []
    for name, values in base.items():
        given = groups.get(name, {})
        if given is not None:
            rows.append(
                {"name": name, **{key: value for key, value in {**values, **given}.items() if value is not None}}
            )
    return {
        "as_number": OWN_AS,
        "hold_time": 9,
        "next_hop_6": US6,
        "communities": ["65001:7", "65001:1:2"],
        "listen": True,
        "groups": rows,
    }


def setups() -> dict[int, tuple[type[Router], Setup]]:
    """The routers."""
    unwanted = tuple(Announced(prefix) for prefix in UNWANTED)
    over4, over6 = Neighbour(US, OWN_AS, (4, 6)), Neighbour(US6, OWN_AS, (4, 6), ipv4_over_ipv6=True)
    listening4, listening6 = replace(over4, passive=True), replace(over6, passive=True)
    return {
        FRR: (Frr, Setup(ASES[FRR], own(FRR), (replace(listening4, password=KEY), listening6), unwanted, multipath=4)),
        BIRD: (Bird, Setup(ASES[BIRD], own(BIRD), (over4, replace(over6, password=KEY6)), unwanted)),
        GOBGP: (Gobgp, Setup(OWN_AS, own(GOBGP), (listening4, listening6), unwanted)),
    }


@dataclass(frozen=True)
class Stage:
    """All that runs."""

    site: Site
    daemon: Daemon
    routers: dict[int, Router]

    def text(self, groups: dict[str, Any] | None = None, **settings: Any) -> str:
        """A configuration."""
        return document(services(self.site, **settings), bgp(**(groups or {})))

    def reload(self, groups: dict[str, Any] | None = None, **settings: Any) -> None:
        """Reload with these differences from the usual configuration."""
        done = self.daemon.reload(self.text(groups, **settings))
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def frr(self) -> Router:
        return self.routers[FRR]

    @property
    def bird(self) -> Router:
        return self.routers[BIRD]

    @property
    def gobgp(self) -> Router:
        return self.routers[GOBGP]

    def sinces(self) -> dict[tuple[str, str], float]:
        """When each session was established, by what the routers know."""
        return {
            (router.name, address): router.neighbour(address).since
            for router in self.routers.values()
            for address in (US, US6)
        }


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with ExitStack() as stack:
        site = stack.enter_context(site_with_vips())
        prepare(site)
        routers: dict[int, Router] = {}
        for host, (kind, setup) in setups().items():
            namespace = add_host(site, kind.name, host)
            routers[host] = stack.enter_context(kind(namespace, site.directory / kind.name, setup))
        daemon = Daemon(site.balancer, site.root(), document(services(site), bgp()))
        stack.enter_context(daemon)
        made = Stage(site, daemon, routers)
        settled(made)
        yield made


def settled(stage: Stage) -> None:
    """Wait until all sessions are there, and everybody knows what it should."""
    for router in stage.routers.values():
        router.wait_established()
        for vip in VIPS:
            count = 1 if router is stage.bird and vip == OTHER_VIP else 2
            wait_routes(router, vip, count)


def wait_routes(router: Router, vip: str, count: int, seconds: float = 15.0) -> None:
    """Wait until a router knows so many routes to a VIP."""
    wanted = prefix_of(vip)
    found = lambda: len(router.routes(wanted.version).get(wanted, ())) == count  # noqa: E731
    router.wait(f"{count} routes to {vip} in {router.name}", found, seconds)


def learned(router: Router, vip: object, neighbour: str) -> Learned:
    """The route that a neighbour has told."""
    wanted = prefix_of(str(vip))
    [found] = [each for each in router.routes(wanted.version)[wanted] if each.neighbour == neighbour]
    return found


def wait_learned(router: Router, look: Callable[[Learned], object]) -> None:
    """Wait until the route to VIP over the IPv4 session is as it should be."""
    router.wait(f"the route of {router.name}", lambda: look(learned(router, VIP, US)))


def wait_updates(router: Router, count: int) -> None:
    """Wait until a router has heard so many updates over the IPv4 session."""
    router.wait(f"{count} updates", lambda: router.neighbour(US).updates >= count)


def told(neighbour: str, next_hop: str, *, prepended: int = 0, med: int | None = None, local_pref: int = 0) -> Learned:
    """A route as it should be in a router; with a local preference over iBGP."""
    path = () if local_pref else (OWN_AS,) * (1 + prepended)
    plain, large = frozenset({"65001:7"}), frozenset({"65001:1:2"})
    return Learned(neighbour, next_hop, path, med, local_pref or None, plain, large)


def test_routers_learn_what_is_configured(stage: Stage) -> None:
    expected = {
        (FRR, VIP, US): told(US, US, prepended=2, med=50),
        (FRR, VIP6, US): told(US, US6, prepended=2, med=50),
        (FRR, VIP, US6): told(US6, US6),
        (FRR, VIP6, US6): told(US6, US6),
        (BIRD, VIP, US): told(US, US),
        (BIRD, VIP6, US): told(US, US6),
        (BIRD, VIP, US6): told(US6, US6),
        (BIRD, VIP6, US6): told(US6, US6),
        (GOBGP, VIP, US): told(US, US, local_pref=250),
        (GOBGP, VIP6, US): told(US, US6, local_pref=250),
        (GOBGP, VIP, US6): told(US6, US6, local_pref=100),
        (GOBGP, VIP6, US6): told(US6, US6, local_pref=100),
    }
    found = {}
    for host, vip, neighbour in expected:
        route = learned(stage.routers[host], vip, neighbour)
        # Over eBGP the local preference is the router's own.
        route = replace(route, best=False, local_pref=route.local_pref if host == GOBGP else None)
        found[host, vip, neighbour] = route
    assert found == expected


def test_both_agree_on_what_was_negotiated(stage: Stage) -> None:
    common = {"ipv4", "ipv6", "four-octet-as", "route-refresh", "enhanced-route-refresh", "graceful-restart"}
    ours = peers(stage.daemon)
    for host, router in stage.routers.items():
        for address, peer in ((US, own(host)), (US6, own6(host))):
            session = router.neighbour(address)
            assert common <= session.capabilities
            assert (session.remote_id, session.hold_time, session.ups) == (US, 9, 1)
            assert (ours[peer]["state"], ours[peer]["remote_as"]) == ("established", ASES[host])
        assert "extended-next-hop" in router.neighbour(US6).capabilities


def test_routers_forward_by_it(stage: Stage) -> None:
    for router in (stage.frr, stage.bird):
        table = router.kernel_routes()
        assert set(table) == {prefix_of(vip) for vip in VIPS}, "and nothing else"
    assert US6 in stage.frr.kernel_routes()[prefix_of(OTHER_VIP6)]
    assert stage.bird.kernel_routes()[prefix_of(OTHER_VIP)] == (US6,), "an IPv4 route over IPv6"


def test_what_routers_say_is_counted_and_not_installed(stage: Stage) -> None:
    def ignored() -> list[int]:
        return [peers(stage.daemon)[own(host)]["received_routes_ignored"] for host in stage.routers]

    wait_for("the routes of routers", lambda: min(ignored()) >= 2)
    text = stage.site.balancer.run("ip", "route") + stage.site.balancer.run("ip", "-6", "route")
    assert [prefix for prefix in UNWANTED if prefix in text] == []


def test_a_vip_that_dies_is_withdrawn_everywhere_and_comes_back(stage: Stage) -> None:
    b2 = stage.site.backends["b2"]
    sinces = stage.sinces()
    b2.set_alive(False)
    for router in stage.routers.values():
        for vip in (OTHER_VIP, OTHER_VIP6):
            router.wait_no_route(vip)
        wait_routes(router, str(VIP), 2)
    b2.set_alive(True)
    settled(stage)
    assert stage.sinces() == sinces
    for router in (stage.frr, stage.bird):
        assert [change.via for change in router.changes(VIP) if not change.via] == []
        assert [bool(change.via) for change in router.changes(OTHER_VIP6)][-2:] == [False, True]


def test_a_refresh_brings_everything_again_and_changes_nothing(stage: Stage) -> None:
    for router in (stage.frr, stage.bird):
        before = {vip: router.changes(vip) for vip in VIPS}
        updates = router.neighbour(US).updates
        router.refresh(US)
        wait_updates(router, updates + 2)
        assert {vip: router.changes(vip) for vip in VIPS} == before
    assert stage.bird.neighbour(US).established


def test_a_change_of_attributes_is_told_at_once_and_to_no_one_else(stage: Stage) -> None:
    sinces = stage.sinces()
    updates = stage.bird.neighbour(US6).updates
    changed = {"frr": {"med": 70, "prepend": None, "communities": ["65001:8"]}, "gobgp": {"local_pref": 90}}
    stage.reload(changed, vip={"bgp": {"med": 5, "communities": ["65001:1:3"]}})
    stage.frr.wait("the new MED", lambda: learned(stage.frr, OTHER_VIP, US).med == 70)
    stage.frr.wait("the VIP's own MED", lambda: learned(stage.frr, VIP, US6).med == 5)
    route = learned(stage.frr, VIP, US)
    assert (route.med, route.as_path) == (5, (OWN_AS,))
    assert (set(route.communities), set(route.large_communities)) == ({"65001:8"}, {"65001:1:3"})
    stage.gobgp.wait("the new preference", lambda: learned(stage.gobgp, VIP, US).local_pref == 90)
    stage.bird.wait("the VIP's own MED", lambda: learned(stage.bird, VIP, US).med == 5)
    assert learned(stage.bird, VIP6, US).med is None
    assert stage.bird.neighbour(US6).updates == updates + 1
    stage.reload()
    stage.frr.wait("the old MED", lambda: learned(stage.frr, VIP, US).med == 50)
    stage.gobgp.wait("the old preference", lambda: learned(stage.gobgp, VIP, US).local_pref == 250)
    assert stage.sinces() == sinces


def test_filters_decide_what_a_router_learns(stage: Stage) -> None:
    sinces = stage.sinces()
    stage.reload({"bird": {"reject": "any", "accept": [OTHER_VIP, str(VIP6)]}})
    stage.bird.wait("one route less", lambda: set(told_by(stage.bird, US)) == {OTHER_VIP, str(VIP6)})
    assert set(told_by(stage.bird, US6)) == set(VIPS)
    stage.reload()
    settled(stage)
    assert stage.sinces() == sinces


def told_by(router: Router, neighbour: str) -> list[str]:
    """The VIPs that a neighbour has told."""
    rows = {**router.routes(4), **router.routes(6)}
    return [
        str(prefix.network_address)
        for prefix, routes in rows.items()
        if neighbour in [route.neighbour for route in routes]
    ]


def test_a_vip_can_be_the_last_resort_or_kept_silent(stage: Stage) -> None:
    stage.reload(vip={"announce": "demote"}, vip6={"announce": "no"})
    for router in stage.routers.values():
        router.wait_no_route(VIP6)
        wait_learned(router, lambda route: "65535:0" in route.communities)
        assert learned(router, VIP, US).med == 2**32 - 1
    assert learned(stage.gobgp, VIP, US).local_pref == 0
    stage.reload()
    settled(stage)


def test_a_peer_that_is_removed_hears_why_and_the_others_nothing(stage: Stage) -> None:
    sinces = stage.sinces()
    stage.reload({"frr": None, "bird6": None})
    for router, address in ((stage.frr, US), (stage.bird, US6)):
        router.wait_down(address)
        # RFC 9003 has words for shutdowns only; that the peer was removed says the subcode.
        assert "peer de-configured" in router.neighbour(address).last_error.lower()
        wait_routes(router, str(VIP), 1)
    stage.reload()
    settled(stage)
    after = stage.sinces()
    changed = {key for key in sinces if sinces[key] != after[key]}
    assert changed == {("frr", US), ("bird", US6)}


def test_a_wrong_key_is_no_session_and_the_right_one_is(stage: Stage) -> None:
    stage.reload({"frr": {"password": "no-such-key"}, "bird6": {"password": None}})
    for router, address in ((stage.frr, US), (stage.bird, US6)):
        router.wait_down(address)
    wait_for("a refused packet", lambda: refused(stage), 10)
    assert not stage.frr.neighbour(US).established
    assert not stage.bird.neighbour(US6).established
    stage.reload()
    settled(stage)


def refused(stage: Stage) -> bool:
    """Whether packets with a wrong key, and some with none, have come to the routers or to us."""
    counts = {"TCPMD5NotFound": 0, "TCPMD5Unexpected": 0, "TCPMD5Failure": 0}
    for namespace in (stage.site.balancer, *(router.namespace for router in stage.routers.values())):
        names, values = (line.split() for line in namespace.run("cat", "/proc/net/netstat").splitlines()[:2])
        row = dict(zip(names[1:], map(int, values[1:]), strict=True))
        counts = {name: count + row[name] for name, count in counts.items()}
    return counts["TCPMD5Failure"] > 0 and counts["TCPMD5NotFound"] + counts["TCPMD5Unexpected"] > 0


def test_a_router_that_shuts_down_is_heard_and_comes_back(stage: Stage) -> None:
    for router, host in ((stage.frr, FRR), (stage.bird, BIRD)):
        router.shut(US, "new firmware")
        said = wait_error(stage, own(host))
        assert (said["direction"], said["code"], said["subcode"]) == ("received", 6, 2)
        assert "new firmware" in said["text"]
        router.unshut(US)
    for router in (stage.frr, stage.bird):
        router.wait_established(US, seconds=20)
    settled(stage)


def wait_error(stage: Stage, peer: str) -> dict[str, Any]:
    """Wait until the daemon knows that a session has ended, and return why."""
    wait_for(f"{peer} to be down", lambda: peers(stage.daemon)[peer]["state"] != "established", 10)
    error: dict[str, Any] = peers(stage.daemon)[peer]["last_error"]
    return error


def test_routes_outlive_a_daemon_that_is_killed(stage: Stage) -> None:
    before = {(router.name, vip): router.changes(vip) for router in (stage.frr, stage.bird) for vip in VIPS}
    stage.daemon.kill9()
    for router in (stage.frr, stage.bird):
        router.wait_down(US)
        wait_learned(router, lambda route: route.stale)
    stage.daemon.start()
    for router in (stage.frr, stage.bird):
        router.wait_established(seconds=20)
        wait_learned(router, lambda route: not route.stale)
    after = {(router.name, vip): router.changes(vip) for router in (stage.frr, stage.bird) for vip in VIPS}
    assert after == before, "no route flap"


def test_a_daemon_that_is_stopped_says_so(stage: Stage) -> None:
    for router in (stage.frr, stage.bird):
        router.wait_established()
    assert stage.daemon.stop() == 0
    for router in (stage.frr, stage.bird):
        router.wait_down(US)
        router.wait_no_route(VIP)
        assert "the load balancer was stopped" in router.neighbour(US).last_error
    assert ip_network(f"{VIP}/32") not in stage.frr.kernel_routes()
