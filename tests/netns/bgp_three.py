"""The daemon with three routers, over IPv4 and over IPv6 with each.

The settings are spread over the peers so that each is judged by one router at least:

    FRR      eBGP; TCP-MD5; MED, prepending
             over IPv6: multihop; what is down is announced as a last resort
    BIRD     eBGP, an AS of four octets; it connects, we listen; a filter; packets from next to it only
             over IPv6: TCP-MD5
    GoBGP    iBGP; local preference
             over IPv6: next hops of our own choice
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tests.lab.addresses import VIP
from tests.lab.daemon import Daemon
from tests.lab.routers import Announced, Bird, Frr, Gobgp, Learned, Neighbour, Router, Setup
from tests.lab.routers.terms import prefix_of
from tests.lab.site import Site
from tests.netns.bgp_scene import (
    ASES,
    BALANCER,
    BIRD,
    FRR,
    GOBGP,
    OTHER_VIP,
    OWN_AS,
    VIPS,
    add_host,
    document,
    own,
    own6,
    prepare,
    services,
    site_with_vips,
)

US, US6 = own(BALANCER), own6(BALANCER)
KEY, KEY6 = "frr-has-this-key", "bird-has-this-one"
ELSEWHERE, ELSEWHERE6 = "10.1.10.99", "2001:db8:10::99"
UNWANTED = ("198.18.0.0/15", "2001:db8:bad::/48")


def bgp(**groups: dict[str, Any]) -> dict[str, Any]:
    """The section `bgp`; values of groups replace those that stand here, None takes one away."""
    base = {
        "frr": {"peers": [own(FRR)], "remote_as": ASES[FRR], "password": KEY, "med": 50, "prepend": 2},
        "frr6": {"peers": [own6(FRR)], "remote_as": ASES[FRR], "multihop": 2, "on_vip_down": "demote"},
        "bird": {
            "peers": [own(BIRD)],
            "remote_as": ASES[BIRD],
            "passive": True,
            "reject": OTHER_VIP,
            "ttl_security": True,
        },
        "bird6": {"peers": [own6(BIRD)], "remote_as": ASES[BIRD], "passive": True, "password": KEY6},
        "gobgp": {"peers": [own(GOBGP)], "remote_as": OWN_AS, "local_pref": 250},
        "gobgp6": {"peers": [own6(GOBGP)], "remote_as": OWN_AS, "next_hop_4": ELSEWHERE, "next_hop_6": ELSEWHERE6},
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
        FRR: (
            Frr,
            Setup(
                ASES[FRR],
                own(FRR),
                (replace(listening4, password=KEY), replace(listening6, multihop=2)),
                unwanted,
                multipath=4,
            ),
        ),
        BIRD: (
            Bird,
            Setup(ASES[BIRD], own(BIRD), (replace(over4, ttl_security=1), replace(over6, password=KEY6)), unwanted),
        ),
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


@contextmanager
def standing() -> Iterator[Stage]:
    """Everything, with all sessions established and all routes told."""
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
