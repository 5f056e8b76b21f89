"""BGP and BFD under a booted systemd: it holds the sockets, so a router notices no end of the daemon but a stop.

The router is the lab's own. It speaks over IPv4 with a key (RFC 2385) and connects itself, and over IPv6 with packets
that have come over no hop (RFC 5082), where the daemon connects; both are watched by BFD.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from tests.lab.addresses import BALANCER, ROUTER, VIP
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.lab.routers import Bird, Neighbour, Setup, missing_daemons
from tests.lab.routers.terms import prefix_of
from tests.lab.traffic import Requests
from tests.netns.scenario_operator import fetch
from tests.systemd.conftest import Site
from tests.systemd.test_handover import DIES, changed, overridden, stored
from tests.systemd.test_units import available, pid

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.appliance,
    pytest.mark.skipif(bool(missing_daemons([Bird])), reason=missing_daemons([Bird]) or "all are there"),
]

US, US6, ROUTER6 = str(BALANCER), "2001:db8:10::5", "2001:db8:10::1"
KEY = "a-key-of-the-router"
AS, ITS_AS = 65001, 65000
INTERVAL, MULTIPLIER = 0.3, 3
OTHER_VIP = "203.0.113.20"
HELD = 4
"""Two connections, what is told of them, and which VIPs were announced."""
SETUP = Setup(
    ITS_AS,
    str(ROUTER),
    (
        Neighbour(US, AS, password=KEY, bfd=INTERVAL, bfd_multiplier=MULTIPLIER),
        Neighbour(
            *(US6, AS, (4,)),
            passive=True,
            ttl_security=1,
            ipv4_over_ipv6=True,
            bfd=INTERVAL,
            bfd_multiplier=MULTIPLIER,
        ),
    ),
)


def configuration(vips: tuple[object, ...] = (VIP, OTHER_VIP), **other: Any) -> str:
    """A configuration; `other` are values of the peer of IPv4, None: there is none."""
    bfd = {"interval": f"{round(INTERVAL * 1000)}ms", "multiplier": MULTIPLIER}
    groups = [{"name": "six", "peers": [ROUTER6], "remote_as": ITS_AS, "ttl_security": True, "bfd": bfd}]
    if other.get("hold_time", 0) is not None:
        own = {"name": "four", "peers": [str(ROUTER)], "remote_as": ITS_AS, "password": KEY, "bfd": bfd}
        groups.append({**own, "passive": True, **other})
    check = {"type": "http", "port": 80, "path": "/alive"}
    rows = [
        {"virtual": str(vip), "servers": ["10.1.10.11", "10.1.10.12"], "policy": {"80/tcp": {"checks": [check]}}}
        for vip in vips
    ]
    quick = {"interval": "100ms", "timeout": "2s", "rise": 1, "fall": 2, "hold_down": 0, "learn": 0}
    top = {"interfaces": ["eth0"], "xdp": "native", "router_id": US, "listen": True}
    return json.dumps({**top, **quick, "bgp": {"as_number": AS, "hold_time": 9, "groups": groups}, "services": rows})


@pytest.fixture
def bird(site: Site) -> Iterator[Bird]:
    """The router, with both sessions established, and the VIPs by what it has learnt alone."""
    lab = site.lab
    for namespace, address, device in ((lab.router, ROUTER6, "lan"), (lab.balancer, US6, "eth0")):
        namespace.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{device}/disable_ipv6")
        namespace.run("ip", "address", "replace", f"{address}/64", "dev", device, "nodad")
    for backend in lab.backends.values():
        backend.namespace.run("ip", "address", "replace", f"{OTHER_VIP}/32", "dev", "lo")
    lab.router.run("sh", "-c", f"ip route delete {VIP} || true")
    site.system.configure(configuration())
    with Bird(lab.router, lab.directory / "bird", SETUP) as bird:
        try:
            started_with(site, bird)
            yield bird
            assert "Traceback" not in site.system.journal("vc5*")
        except LabError as error:
            raise AssertionError(f"{error}\n{site.system.journal('vc5*')[-6000:]}") from None
    lab.route_vip(VIP, BALANCER)


def started_with(site: Site, bird: Bird) -> None:
    site.system.run("systemctl", "start", "vc5")
    settled(bird)
    wait_for("all backends", lambda: len(available(site.system)) == 4, 20)
    assert {fetch(site.lab) for _ in range(12)} == {"b1", "b2"}


def settled(bird: Bird, *vips: str) -> None:
    bird.wait_established(seconds=30)
    for vip in vips or (str(VIP), OTHER_VIP):
        bird.wait(f"{vip}", partial(two_routes, bird, vip), 30)
    for address in (US, US6):
        bird.wait(f"BFD with {address}", partial(bfd_is_up, bird, address), 30)


def two_routes(bird: Bird, vip: str) -> bool:
    return len(bird.routes(4).get(prefix_of(vip), ())) == 2


def bfd_is_up(bird: Bird, address: str) -> bool:
    return bird.bfd(address) == "up"


def known(bird: Bird) -> dict[str, Any]:
    """What no router may have to change."""
    text = bird.ask("show bfd sessions")
    rows = re.findall(r"^([0-9a-f.:]+) +\S+ +(\w+) +(\S+ \S+) ", text, re.M)
    bfd = {one: (state, pytest.approx(datetime.fromisoformat(at).timestamp(), abs=0.1)) for one, state, at in rows}
    sessions = {address: bird.neighbour(address) for address in (US, US6)}
    return {
        "sessions": {address: (one.state, one.since, one.ups) for address, one in sessions.items()},
        "changes": {vip: bird.changes(vip) for vip in (VIP, OTHER_VIP)},
        "bfd": bfd,
    }


@contextmanager
def unnoticed(site: Site, bird: Bird) -> Iterator[None]:
    """No session, no route and no request is lost."""
    before = known(bird)
    with Requests(site.lab.client, rate=70) as requests:
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        report = requests.stop()
    assert [request.failure for request in report.failed] == []
    assert len(report.done) >= 50 * seconds
    assert known(bird) == before


def updates(bird: Bird) -> list[int]:
    return [bird.neighbour(address).updates for address in (US, US6)]


def told_again(bird: Bird, before: list[int]) -> bool:
    return min(now - then for now, then in zip(updates(bird), before, strict=True)) >= 2


def killed(site: Site, signal: str = "KILL") -> None:
    """End the daemon, and wait for the next one to have its sessions."""
    system, before = site.system, pid(site.system)
    system.run("systemctl", "kill", f"--signal={signal}", "--kill-whom=main", "vc5")
    wait_for("another process", lambda: pid(system) not in (0, before), 30)
    wait_for("it to work", lambda: peers(site) == {str(ROUTER): "established", ROUTER6: "established"}, 30)


def peers(site: Site) -> dict[str, str]:
    done = site.system.attempt("vc5", "bgp", "--json")
    return {one["address"]: one["state"] for one in json.loads(done.stdout)["peers"]} if done.returncode == 0 else {}


def connections(site: Site) -> int:
    """TCP connections of BGP that are open at the balancer, whoever holds them."""
    text = site.lab.balancer.run("ss", "-tnH", "state", "established", "( sport = :179 or dport = :179 )")
    return len(text.splitlines())


# ---- nobody notices


def test_a_session_outlives_every_sudden_end(site: Site, bird: Bird) -> None:
    assert stored(site.system) == HELD
    with unnoticed(site, bird):
        for number in range(3):
            before = updates(bird)
            killed(site)
            # All is told again, and is no change.
            bird.wait("it all again", partial(told_again, bird, before))
            assert stored(site.system) == HELD, number
            assert connections(site) == 2
    assert site.system.journal("vc5").count("the session goes on after a sudden end") >= 6


def test_nothing_is_told_again_by_who_left_or_was_replaced(site: Site, bird: Bird) -> None:
    before = updates(bird)
    with unnoticed(site, bird):
        killed(site, "USR1")
        assert "runs in place of" in site.system.run("vc5", "reexec")
        killed(site, "USR1")
        assert "runs in place of" in site.system.run("vc5", "reexec")
    assert updates(bird) == before
    assert stored(site.system) == HELD
    assert "goes on after a sudden end" not in site.system.journal("vc5").rpartition("Stopped vc5.service")[2]


def test_a_hold_time_too_short_to_be_waited_for_is_left_to_graceful_restart(site: Site, bird: Bird) -> None:
    """The router would end a connection that is held, and drop the routes with it."""
    system, hold_time = site.system, 3
    quick = json.loads(configuration())
    quick["bgp"]["hold_time"] = hold_time
    system.configure(json.dumps(quick))
    system.run("vc5", "reload")
    settled(bird)
    before = known(bird)
    with overridden(system, f"RestartSec={2 * hold_time}"), Requests(site.lab.client, rate=70) as requests:
        killed(site)
        settled(bird)
        report = requests.stop()
    after = known(bird)
    assert [request.failure for request in report.failed] == []
    assert (after["changes"], after["bfd"]) == (before["changes"], before["bfd"])
    # It was no session that outlived the daemon.
    assert all(after["sessions"][one] != before["sessions"][one] for one in (US, US6))


def test_a_version_that_dies_at_its_start_costs_no_session(site: Site, bird: Bird) -> None:
    system, before = site.system, pid(site.system)
    with unnoticed(site, bird), changed(system, "appliance/__init__.py", DIES):
        assert system.attempt("vc5", "reexec").returncode == 1
        wait_for("another process", lambda: pid(system) not in (0, before), 30)
        wait_for("it to work", lambda: set(peers(site).values()) == {"established"}, 30)
    assert stored(system) == HELD


# ---- what has changed meanwhile


def test_what_died_meanwhile_is_withdrawn(site: Site, bird: Bird) -> None:
    sessions = known(bird)["sessions"]
    site.system.configure(configuration(vips=(VIP,)))
    killed(site)
    bird.wait_no_route(OTHER_VIP)
    assert known(bird)["sessions"] == sessions
    # Nobody knows of it any more, and it can come back.
    site.system.configure(configuration())
    killed(site)
    settled(bird)
    assert known(bird)["sessions"] == sessions


@pytest.mark.parametrize(
    ("other", "says"),
    [({"hold_time": None}, "peer de-configured"), ({"hold_time": 12}, "other configuration change")],
    ids=["removed", "changed"],
)
def test_a_peer_whose_session_is_another_now_hears_so(site: Site, bird: Bird, other: dict[str, Any], says: str) -> None:
    before = known(bird)["sessions"]
    site.system.configure(configuration(**other))
    site.system.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "vc5")
    bird.wait("the end of the session", lambda: f"received: {says}" in bird.log.lower(), 30)
    assert known(bird)["sessions"][US6] == before[US6]
    if other["hold_time"] is None:
        wait_for("nothing to be held of it", lambda: stored(site.system) == HELD - 1, 10)
        assert connections(site) == 1
    else:
        settled(bird)
        assert (stored(site.system), connections(site)) == (HELD, 2)


def test_what_is_over_is_held_no_more(site: Site, bird: Bird) -> None:
    """Else a router would see a connection that nobody serves."""
    bird.shut(US, "for now")
    wait_for("nothing to be held of it", lambda: stored(site.system) == HELD - 1, 20)
    assert connections(site) == 1
    bird.unshut(US)
    settled(bird)
    assert (stored(site.system), connections(site)) == (HELD, 2)
    bird.kill9()
    wait_for("nothing to be held of either", lambda: stored(site.system) <= HELD - 2, 20)
    assert connections(site) == 0
    bird.start()
    settled(bird)
    assert (stored(site.system), connections(site)) == (HELD, 2)


# ---- an end that is meant


def ends(bird: Bird) -> None:
    for address in (US, US6):
        bird.wait_down(address)
    for vip in (VIP, OTHER_VIP):
        bird.wait_no_route(vip)


ENDS = {
    "stop": ("stop", "vc5"),
    "restart": ("restart", "vc5"),
    # As when the package is removed, or the machine is switched off.
    "all at once": ("stop", "vc5", "vc5-prober", "vc5-netns", "vc5-bfd.socket", "vc5-bfd.service"),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_stop_is_told_and_leaves_nothing(site: Site, bird: Bird, end: str) -> None:
    system = site.system
    began = time.monotonic()
    system.run("systemctl", *ENDS[end])
    print(f"{end}: {time.monotonic() - began:.2f} s")
    # What it tells of last may be that BFD is over as well.
    assert bird.log.count("the load balancer was stopped") >= 2
    if end != "restart":
        ends(bird)
        assert connections(site) == 0
        assert stored(system) == 0
        bird.wait("BFD to be over", lambda: {bird.bfd(US), bird.bfd(US6)} <= {"", "down", "admindown"})
        wait_for("vc5-bfd to end", lambda: system.show("vc5-bfd.service", "ActiveState") == "inactive", 10)
        system.run("systemctl", "start", "vc5")
    settled(bird)
    assert stored(system) == HELD
