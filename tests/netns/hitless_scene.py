"""What tests of hitlessness share: routers around the balancer, what they know, and traffic that may not stop.

client -- router, which is FRR -------- balancer      VIP, VIP6: by what FRR has learnt
       -- host, BIRD ------------------               OTHER_VIP: by what BIRD has learnt
       -- host, GoBGP                                 forwards nothing, and has no BFD
"""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from tests.lab.addresses import VIP
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.routers import Bird, Frr, Gobgp, Neighbour, Router, Setup
from tests.lab.routers.terms import Change, prefix_of
from tests.lab.site import CLIENT_ADDRESSES6, VIP6, Site
from tests.lab.traffic import Requests
from tests.netns.bgp_scene import (
    BALANCER,
    BIRD,
    GOBGP,
    OTHER_VIP,
    OTHER_VIP6,
    OWN_AS,
    VIPS,
    document,
    own,
    own6,
    services,
)

US, US6 = own(BALANCER), own6(BALANCER)
FRR = 1
"""The lab's own router."""
ASES = {FRR: 65000, BIRD: 4200000003, GOBGP: 65004}
INTERVAL, MULTIPLIER = 0.3, 3
BFD = {"interval": "300ms", "multiplier": MULTIPLIER}
RATE, LEAST = 70, 50
"""Requests a second to each of three VIPs; how many are to be answered, and none may fail."""
Key = tuple[str, str]
"""A router, and an address of ours or a VIP."""


def bgp(groups: dict[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    """The section `bgp`; values of groups replace those that stand here, None takes one away."""
    base: dict[str, dict[str, Any]] = {
        "frr": {"peers": [own(FRR)], "remote_as": ASES[FRR], "bfd": BFD},
        "frr6": {"peers": [own6(FRR)], "remote_as": ASES[FRR], "bfd": BFD},
        "bird": {"peers": [own(BIRD)], "remote_as": ASES[BIRD], "bfd": BFD},
        "bird6": {"peers": [own6(BIRD)], "remote_as": ASES[BIRD], "bfd": BFD},
        "gobgp": {"peers": [own(GOBGP)], "remote_as": ASES[GOBGP]},
    }
    given = {name: (groups or {}).get(name, {}) for name in base}
    rows = [{"name": name, **base[name], **more} for name, more in given.items() if more is not None]
    plain = {"as_number": OWN_AS, "hold_time": 9, "next_hop_6": US6, "groups": rows}
    return {**plain, **top}


def setups() -> dict[int, tuple[type[Router], Setup]]:
    """The routers."""
    over4 = Neighbour(US, OWN_AS, (4, 6), passive=True, bfd=INTERVAL, bfd_multiplier=MULTIPLIER)
    over6 = replace(over4, address=US6, ipv4_over_ipv6=True)
    # FRR forwards IPv4 over IPv6 to link-local next hops alone: it makes a MAC of them.
    without4 = replace(over6, families=(6,), ipv4_over_ipv6=False)
    return {
        FRR: (Frr, Setup(ASES[FRR], own(FRR), (over4, without4), multipath=4)),
        BIRD: (Bird, Setup(ASES[BIRD], own(BIRD), (over4, over6))),
        GOBGP: (Gobgp, Setup(ASES[GOBGP], own(GOBGP), (replace(over4, bfd=0.0),))),
    }


@dataclass(frozen=True)
class Known:
    """What routers know that a change would be a flap of."""

    sinces: dict[Key, float]
    """When each session was established."""
    updates: dict[Key, int]
    """How much each has heard in its session."""
    changes: dict[Key, list[Change]]
    """Every change of a route of the kernel's, or of the table's where the router installs nothing."""
    bfd: dict[Key, Any]
    """How often the sessions of BFD went down, or since when they are up."""


@dataclass(frozen=True)
class Stage:
    """All that runs."""

    site: Site
    daemon: Daemon
    routers: dict[int, Router]

    def text(self, groups: dict[str, Any] | None = None, **top: Any) -> str:
        return document(services(self.site), bgp(groups, **top))

    def reload(self, text: str) -> None:
        done = self.daemon.reload(text)
        assert done.returncode == 0, done.stdout + done.stderr

    def write(self, text: str) -> None:
        """Have another configuration in the file, and not in force."""
        self.daemon.configuration_file.write_text(text)

    @property
    def neighbours(self) -> list[tuple[Router, str]]:
        return [(router, one.address) for router in self.routers.values() for one in router.setup.neighbours]

    @property
    def watched(self) -> list[tuple[Router, str]]:
        """Those with BFD."""
        return [(router, address) for router, address in self.neighbours if router.of(address).bfd]

    def known(self) -> Known:
        sessions = {(router.name, address): router.neighbour(address) for router, address in self.neighbours}
        return Known(
            {key: one.since for key, one in sessions.items()},
            {key: one.updates for key, one in sessions.items()},
            {(router.name, vip): router.changes(vip) for router in self.routers.values() for vip in VIPS},
            {(router.name, address): bfd_history(router, address) for router, address in self.watched},
        )

    def settle(self) -> None:
        """Wait until all sessions are there, and everybody knows everything, and nothing is left from before."""
        for router, address in self.neighbours:
            router.wait_established(address, seconds=30)
        for router, address in self.watched:
            router.wait(f"BFD of {router.name} with {address}", partial(bfd_is_up, router, address), 20)
        for router in self.routers.values():
            for vip in VIPS:
                wait_routes(router, vip, carriers(router, vip))
        for vip in VIPS:
            wait_for(f"{vip} to answer", partial(answered, self.site, vip), 20)


def bfd_history(router: Router, address: str) -> Any:
    """What a router has counted of BFD; it is the same again as long as the session stays up."""
    if isinstance(router, Frr):
        rows = router.vty("bfdd").ask("show bfd peers counters json")
        [row] = [one for one in rows if one["peer"] == address]
        return row["session-up"], row["session-down"]
    assert isinstance(router, Bird)
    found = re.search(rf"^{re.escape(address)} +\S+ +(\w+) +(\S+ \S+) ", router.ask("show bfd sessions"), re.M)
    assert found is not None
    return found[1], pytest.approx(datetime.fromisoformat(found[2]).timestamp(), abs=0.1)


def bfd_is_up(router: Router, address: str) -> bool:
    return router.bfd(address) == "up"


def bfd_is_down(router: Router, address: str) -> bool:
    return not bfd_is_up(router, address)


def answered(site: Site, vip: str) -> bool:
    host = f"[{vip}]" if ":" in vip else vip
    command = site.client.command("curl", "-sf", "-o", "/dev/null", "-m", "1", f"http://{host}/")
    return subprocess.run(command).returncode == 0


def carriers(router: Router, vip: str) -> int:
    """How many sessions tell a router of a VIP."""
    return sum(prefix_of(vip).version in one.carried for one in router.setup.neighbours)


def wait_routes(router: Router, vip: str, count: int, *, stale: bool = False) -> None:
    """Wait until a router knows so many routes to a VIP, all of them stale or none."""
    wanted = prefix_of(vip)

    def look() -> bool:
        found = router.routes(wanted.version).get(wanted, [])
        return len(found) == count and all(one.stale is stale for one in found)

    router.wait(f"{count} routes to {vip} in {router.name}", look, 30)


@contextmanager
def unnoticed(stage: Stage) -> Iterator[None]:
    """No router hears anything of what happens meanwhile."""
    before = stage.known()
    yield
    after = stage.known()
    assert after == before, (before, after)


@contextmanager
def kept(stage: Stage) -> Iterator[Known]:
    """Routers lose sessions, and neither a route nor the way to us."""
    before = stage.known()
    yield before
    after = stage.known()
    flaps = {}
    for (name, vip), found in after.changes.items():
        known = before.changes[name, vip]
        # GoBGP tells of a route that was stale and is heard again.
        same = known[-1].via if name == Gobgp.name else None
        flaps[name, vip] = [change for change in found[len(known) :] if change.via != same]
    assert not any(flaps.values()), (flaps, stage.daemon.errors[-3000:])
    assert after.bfd == before.bfd, (before.bfd, after.bfd)


@contextmanager
def traffic(stage: Stage) -> Iterator[None]:
    """Clients are served all the time, through two routers and in both families."""
    client = stage.site.client
    with (
        Requests(client, rate=RATE) as first,
        Requests(client, rate=RATE, vip=OTHER_VIP) as second,
        Requests(client, rate=RATE, vip=VIP6, sources=CLIENT_ADDRESSES6) as third,
    ):
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        reports = [requests.stop() for requests in (first, second, third)]
        failures = [Counter(request.failure for request in report.failed) for report in reports]
        assert not any(failures), (failures, last_changes(stage), stage.daemon.errors[-6000:])
        rates = [len(report.done) / seconds for report in reports]
        assert min(rates) >= LEAST, rates


def last_changes(stage: Stage) -> dict[tuple[str, str], list[Change]]:
    """The last changes of each VIP's routes, for whoever wonders why requests failed."""
    return {(router.name, vip): router.changes(vip)[-4:] for router in stage.routers.values() for vip in VIPS}


def reexec(stage: Stage) -> None:
    done = stage.daemon.vc5("reexec", timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr + stage.daemon.errors


def lose_and_find(stage: Stage) -> None:
    """The sessions still carry what changes: a VIP goes, and comes back."""
    b2 = stage.site.backends["b2"]
    b2.set_alive(False)
    for router in stage.routers.values():
        router.wait_no_route(OTHER_VIP6)
        assert prefix_of(str(VIP)) in router.routes(4)
    b2.set_alive(True)
    for router in stage.routers.values():
        wait_routes(router, OTHER_VIP6, carriers(router, OTHER_VIP6))
