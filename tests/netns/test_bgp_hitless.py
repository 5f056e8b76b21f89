"""What routers notice of a daemon that is replaced, killed, or told something new: nothing, or as little as can be.

No service manager holds anything here (tests/systemd/test_bgp.py), so a daemon that is killed leaves its routes to
routers that restart gracefully with it, and its BFD to the process that outlives it. The scene is in hitless_scene.py.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.lab.addresses import VIP
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.routers import KINDS, Frr, Router, missing_daemons
from tests.lab.routers.terms import prefix_of
from tests.lab.site import VIP6
from tests.netns.bgp_scene import (
    BIRD,
    OTHER_VIP,
    OTHER_VIP6,
    VIPS,
    add_host,
    document,
    own,
    peers,
    prepare,
    services,
    site_with_vips,
)
from tests.netns.hitless_scene import (
    FRR,
    US,
    US6,
    Stage,
    bfd_is_down,
    bgp,
    carriers,
    kept,
    lose_and_find,
    reexec,
    setups,
    traffic,
    unnoticed,
    wait_routes,
)

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_daemons(KINDS)), reason=missing_daemons(KINDS) or "all are there"),
]

ROUNDS = 10


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


@pytest.mark.appliance
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
    # What it tells of last may be that BFD is over as well.
    assert "peer_2001_db8_10__5: Received: Peer de-configured" in bird.log
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


@pytest.mark.appliance
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


@pytest.mark.appliance
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
        wait_for("BFD to be down", partial(bfd_is_down, router, address), 20)
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
