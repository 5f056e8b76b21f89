"""The daemon and real routers: what it announces is what they learn, and their words are heard.

One daemon speaks with three routers (bgp_three.py); every test leaves them as it found them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from tests.lab.addresses import VIP
from tests.lab.patience import wait_for
from tests.lab.routers import KINDS, Learned, Router, missing_daemons
from tests.lab.routers.terms import prefix_of
from tests.lab.site import VIP6
from tests.netns.bgp_scene import ASES, BIRD, FRR, GOBGP, OTHER_VIP, OTHER_VIP6, OWN_AS, VIPS, own, own6, peers
from tests.netns.bgp_three import (
    ELSEWHERE,
    ELSEWHERE6,
    UNWANTED,
    US,
    US6,
    Stage,
    learned,
    settled,
    standing,
    wait_learned,
    wait_routes,
    wait_updates,
)

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing_daemons(KINDS)), reason=missing_daemons(KINDS) or "all are there"),
]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with standing() as made:
        yield made


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
        (GOBGP, VIP, US6): told(US6, ELSEWHERE, local_pref=100),
        (GOBGP, VIP6, US6): told(US6, ELSEWHERE6, local_pref=100),
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
    for router in (stage.bird, stage.gobgp):
        for vip in (OTHER_VIP, OTHER_VIP6):
            router.wait_no_route(vip)
        wait_routes(router, str(VIP), 2)
    for vip in (OTHER_VIP, OTHER_VIP6):
        wait_routes(stage.frr, vip, 1)
        assert "65535:0" in learned(stage.frr, vip, US6).communities, "the last resort, where that is asked for"
    b2.set_alive(True)
    settled(stage)
    assert stage.sinces() == sinces
    for router in (stage.frr, stage.bird):
        assert [change.via for change in router.changes(VIP) if not change.via] == []
    ways = [change.via for change in stage.bird.changes(OTHER_VIP6)]
    assert ways.count(()) == 1
    assert ways[-1]
    # FRR takes an IPv6 route out of the kernel to change it.
    assert [change.via for change in stage.frr.changes(OTHER_VIP) if not change.via] == []


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
        said = wait_end(stage, own(host), "new firmware")
        assert (said["direction"], said["code"], said["subcode"]) == ("received", 6, 2)
        router.unshut(US)
    for router in (stage.frr, stage.bird):
        router.wait_established(US, seconds=20)
    settled(stage)


def wait_end(stage: Stage, peer: str, words: str) -> dict[str, Any]:
    """Wait until the daemon says with these words why a session has ended, and return the whole."""

    def end() -> dict[str, Any] | None:
        last: dict[str, Any] | None = peers(stage.daemon)[peer]["last_end"]
        return last if last and words in last["text"] else None

    found = wait_for(f"the words of {peer}", end)
    assert found
    return found


def test_routes_outlive_a_daemon_that_is_killed(stage: Stage) -> None:
    before = {(router.name, vip): router.changes(vip) for router in (stage.frr, stage.bird) for vip in VIPS}
    stage.daemon.kill9()
    for router in (stage.frr, stage.bird):
        router.wait_down(US)
        wait_learned(router, lambda route: route.stale)
    wait_learned(stage.gobgp, lambda route: route.stale)
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
