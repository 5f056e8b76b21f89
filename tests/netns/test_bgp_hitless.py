"""What routers notice of a daemon that is replaced, killed, or told something new: nothing, or as little as can be.

No service manager holds anything here (tests/systemd/test_bgp.py), so a daemon that is killed leaves its routes to
routers that restart gracefully with it, and its BFD to the process that outlives it.

    client -- router, which is FRR -------- balancer      VIP, VIP6: by what FRR has learnt
                         \\-- host, BIRD --/               OTHER_VIP: by what BIRD has learnt
                          \\- host, GoBGP                  forwards nothing, and has no BFD
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.lab.addresses import VIP
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.routers import KINDS, Bird, Frr, Gobgp, Neighbour, Router, Setup, missing_daemons
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
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_daemons(KINDS)), reason=missing_daemons(KINDS) or "all are there"),
]

US, US6 = own(BALANCER), own6(BALANCER)
FRR = 1
"""The lab's own router."""
ASES = {FRR: 65000, BIRD: 4200000003, GOBGP: 65004}
INTERVAL, MULTIPLIER = 0.3, 3
BFD = {"interval": "300ms", "multiplier": MULTIPLIER}
RATE, LEAST = 70, 50
"""Requests a second to each of three VIPs; how many are to be answered, and none may fail."""
ROUNDS = 10
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
            router.wait(f"BFD of {router.name} with {address}", lambda r=router, a=address: r.bfd(a) == "up", 20)
        for router in self.routers.values():
            for vip in VIPS:
                wait_routes(router, vip, carriers(router, vip))
        for vip in VIPS:
            wait_for(f"{vip} to answer", lambda vip=vip: answered(self.site, vip), 20)


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


@pytest.fixture(scope="module")
def scene() -> Iterator[Stage]:
    with ExitStack() as stack:
        site = stack.enter_context(site_with_vips())
        prepare(site)
        site.router.run("ip", "route", "add", OTHER_VIP, "via", own(BIRD))
        routers: dict[int, Router] = {}
        for host, (kind, setup) in setups().items():
            namespace = site.router if host == FRR else add_host(site, kind.name, host, forwards=True)
            routers[host] = stack.enter_context(kind(namespace, site.directory / kind.name, setup))
        daemon = Daemon(site.balancer, site.root(), document(services(site), bgp()))
        stack.enter_context(daemon)
        yield Stage(site, daemon, routers)


@pytest.fixture
def stage(scene: Stage) -> Stage:
    """The same for each test, whatever the last one has left."""
    if not scene.daemon.running:
        scene.daemon.start()
    scene.site.backends["b2"].set_alive(True)
    scene.reload(scene.text())
    scene.settle()
    return scene


@contextmanager
def unnoticed(stage: Stage) -> Iterator[None]:
    """No router hears anything of what happens meanwhile."""
    before = stage.known()
    yield
    assert stage.known() == before


@contextmanager
def kept(stage: Stage) -> Iterator[Known]:
    """Routers lose sessions, and neither a route nor the way to us."""
    before = stage.known()
    yield before
    after = stage.known()
    assert (after.changes, after.bfd) == (before.changes, before.bfd)


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
        assert [Counter(request.failure for request in report.failed) for report in reports] == [Counter()] * 3
        assert min(len(report.done) for report in reports) >= LEAST * seconds


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


# ---- nobody notices


def test_no_router_notices_a_reexecution(stage: Stage) -> None:
    ours = {address: (peer["since"], peer["sessions"]) for address, peer in peers(stage.daemon).items()}
    sinces = stage.known().sinces
    with unnoticed(stage), traffic(stage):
        for _ in range(3):
            reexec(stage)
    after = {address: (peer["since"], peer["sessions"]) for address, peer in peers(stage.daemon).items()}
    assert {key: count for key, (_, count) in after.items()} == {key: count for key, (_, count) in ours.items()}
    assert {key: since for key, (since, _) in after.items()} == pytest.approx(
        {key: since for key, (since, _) in ours.items()}, abs=0.1
    )
    lose_and_find(stage)
    assert stage.known().sinces == sinces


def test_no_router_notices_reloads_of_everything_else(stage: Stage) -> None:
    """Every service, every check, and what is told of VIPs that are not there yet."""
    with unnoticed(stage), traffic(stage):
        for number in range(5):
            rows = services(stage.site)
            for row in rows:
                row["policy"]["80/tcp"]["checks"] = [{"type": "http", "port": 80, "path": f"/alive?{number}"}]
            rows.append({**rows[0], "virtual": f"203.0.113.{100 + number}", "announce": "no"})
            stage.reload(document(rows, bgp(), interval=f"{100 + 10 * number}ms"))


def test_a_vip_that_dies_meanwhile_is_withdrawn_after_it(stage: Stage) -> None:
    b2, daemon = stage.site.backends["b2"], stage.daemon
    sinces = stage.known().sinces
    thread = threading.Thread(target=reexec, args=(stage,))
    former = program_of(daemon.pid)
    thread.start()
    while program_of(daemon.pid) == former:
        time.sleep(0.001)
    daemon.signal(signal.SIGSTOP)  # the next program has not read its own code yet
    b2.set_alive(False)
    for router in stage.routers.values():
        assert prefix_of(OTHER_VIP6) in router.routes(6)
    daemon.signal(signal.SIGCONT)
    thread.join()
    for router in stage.routers.values():
        router.wait_no_route(OTHER_VIP6)
        router.wait_no_route(OTHER_VIP)
        assert prefix_of(str(VIP)) in router.routes(4)
    assert stage.known().sinces == sinces


def program_of(pid: int) -> str:
    """What changes when a process executes another program: where its arguments lie."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[45]


# ---- only those notice who are told something


def test_a_reexecution_puts_another_configuration_in_force(stage: Stage) -> None:
    before = stage.known()
    longer = {"frr6": {"hold_time": 12}}
    stage.write(stage.text({"bird6": None, **longer}))
    reexec(stage)
    frr, bird = stage.routers[FRR], stage.routers[BIRD]
    bird.wait_down(US6)
    assert "peer de-configured" in bird.neighbour(US6).last_error.lower()
    frr.wait("a new session", lambda: frr.neighbour(US6).since > before.sinces["frr", US6], 20)
    assert "other configuration change" in frr.neighbour(US6).last_error.lower()
    after = stage.known()
    same = set(before.sinces) - {("frr", US6), ("bird", US6)}
    assert {key: (after.sinces[key], after.updates[key]) for key in same} == {
        key: (before.sinces[key], before.updates[key]) for key in same
    }
    wait_routes(frr, str(VIP6), 2)
    wait_routes(bird, str(VIP6), 1)
    assert [change.via for change in frr.changes(VIP6) if not change.via] == [], "there was another way all the time"


# ---- routers that restart gracefully keep what they know


def killed(stage: Stage) -> None:
    stage.daemon.kill9()


def left(stage: Stage) -> None:
    stage.daemon.signal(signal.SIGUSR1)
    wait_for("the daemon to end", lambda: not stage.daemon.running, 20)
    assert stage.daemon.exit_status == 0, stage.daemon.errors


@pytest.mark.parametrize("ends", [killed, left])
def test_routers_forward_while_there_is_no_daemon(stage: Stage, ends: Any) -> None:
    with kept(stage) as before, traffic(stage):
        ends(stage)
        for router in stage.routers.values():
            router.wait_down(US)
            for vip in VIPS:
                wait_routes(router, vip, carriers(router, vip), stale=True)
        stage.daemon.start()
        for router, address in stage.neighbours:
            router.wait_established(address, seconds=30)
            assert router.neighbour(address).since > before.sinces[router.name, address]
            assert "forwarding-kept" in router.neighbour(address).capabilities or router.name == "gobgp"
        for router in stage.routers.values():
            for vip in VIPS:
                wait_routes(router, vip, carriers(router, vip))
    lose_and_find(stage)


def test_a_vip_that_died_with_the_daemon_is_not_kept(stage: Stage) -> None:
    """The end of the RIB says what is not there any more."""
    b2 = stage.site.backends["b2"]
    stage.daemon.kill9()
    b2.set_alive(False)
    stage.daemon.start()
    for router, address in stage.neighbours:
        router.wait_established(address, seconds=30)
    for router in stage.routers.values():
        router.wait_no_route(OTHER_VIP6)
        wait_routes(router, str(VIP), carriers(router, str(VIP)))


def test_it_can_be_killed_again_and_again(stage: Stage) -> None:
    with kept(stage), traffic(stage):
        for number in range(ROUNDS):
            stage.daemon.kill9()
            stage.daemon.start()
            # Now and then before routers have it back.
            for router, address in stage.neighbours if number % 2 or number == ROUNDS - 1 else ():
                router.wait_established(address, seconds=30)
        for router in stage.routers.values():
            for vip in VIPS:
                wait_routes(router, vip, carriers(router, vip))


def test_who_never_comes_back_is_forgotten_after_the_stated_time(stage: Stage) -> None:
    stage.reload(stage.text(restart_time=3))
    stage.settle()
    frr = stage.routers[FRR]
    assert isinstance(frr, Frr)
    stage.daemon.kill9()
    for router, address in stage.watched:
        assert router.bfd(address) == "up"
    for router in stage.routers.values():
        for vip in VIPS:
            router.wait_no_route(vip, seconds=20)
    for router, address in stage.watched:
        router.wait("BFD to be down", lambda r=router, a=address: r.bfd(a) != "up", 20)
    rows = frr.vty("bfdd").ask("show bfd peers json")
    assert {row["remote-diagnostic"] for row in rows} <= {"administratively down"}
    wait_for("the process to end", lambda: not bfd_processes(stage), 10)


def bfd_processes(stage: Stage) -> list[int]:
    """Those of BFD in the balancer's namespace."""
    place, found = os.fsencode(stage.daemon.places.bfd_socket), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            found += [int(entry.name)] if place in words else []
    return found
