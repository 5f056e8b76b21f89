"""A node that is drained as a whole, and one that is stopped for good: what a router knows, and when.

BIRD is the router between client and balancer, so it forwards by what it has learnt. The session over IPv4 is eBGP, the
one over IPv6 is iBGP.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from appliance.model_bgp import LARGEST_MED
from tests.lab.addresses import VIP
from tests.lab.capture import BUFFER, ETH_P_ALL, LONGEST, SO_RCVBUFFORCE
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.routers import Bird, Learned, Neighbour, Router, Setup, missing_daemons
from tests.lab.routers.terms import prefix_of
from tests.lab.site import VIP6, Site
from tests.netns.bgp_scene import BALANCER, OWN_AS, document, own, own6, prepare, service, site_with_vips
from tests.netns.scenario_operator import assert_refused, events

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing_daemons([Bird])), reason=missing_daemons([Bird]) or "all are there"),
]

US, US6 = own(BALANCER), own6(BALANCER)
ROUTER, ROUTER_AS = 1, 4200000003
PORT = 4000
USUAL = {US: (50, 100, frozenset({"65001:7"})), US6: (None, 250, frozenset({"65001:7"}))}
"""MED, local preference and communities by who told them; over eBGP BIRD's own preference is 100."""
DRAINED = {
    US: (LARGEST_MED, 100, frozenset({"65001:7", "65535:0"})),
    US6: (LARGEST_MED, 0, frozenset({"65001:7", "65535:0"})),
}


@dataclass(frozen=True)
class Stage:
    """All that runs."""

    site: Site
    daemon: Daemon
    bird: Router

    def wait(self, expected: Mapping[str, tuple[Any, ...]], *vips: object) -> None:
        """Wait until BIRD knows the VIPs so from both sessions, and no route is stale."""
        for vip in vips or (VIP, VIP6):
            self.bird.wait(f"{vip} as {expected}", partial(self._is, vip, expected))

    def _is(self, vip: object, expected: Mapping[str, tuple[Any, ...]]) -> bool:
        return self.of(vip) == expected

    def of(self, vip: object) -> dict[str, tuple[Any, ...]]:
        """What BIRD knows of a VIP, by who told it."""
        wanted = prefix_of(str(vip))
        return {one.neighbour: told(one) for one in self.bird.routes(wanted.version).get(wanted, ()) if not one.stale}


def told(one: Learned) -> tuple[Any, ...]:
    return one.med, one.local_pref, one.communities


def text(site: Site, med: int = 50) -> str:
    """The configuration."""
    checks = [{"type": "http", "port": 80, "path": "/alive"}]
    policy = {"80/tcp": {"checks": checks}, f"{PORT}/udp": {"checks": checks}}
    rows = [
        service(str(VIP), [str(site.address(name, 4)) for name in site.backends], policy=policy),
        service(str(VIP6), [str(site.address(name, 6)) for name in site.backends]),
    ]
    groups = [
        {"name": "outside", "peers": [own(ROUTER)], "remote_as": ROUTER_AS, "med": med},
        {"name": "inside", "peers": [own6(ROUTER)], "as_number": ROUTER_AS, "remote_as": ROUTER_AS, "local_pref": 250},
    ]
    common = {"hold_time": 9, "next_hop_4": US, "next_hop_6": US6, "communities": ["65001:7"]}
    return document(rows, {"as_number": OWN_AS, **common, "groups": groups})


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    neighbours = (
        Neighbour(US, OWN_AS, (4, 6), passive=True),
        Neighbour(US6, ROUTER_AS, (4, 6), passive=True, ipv4_over_ipv6=True),
    )
    with site_with_vips() as site:
        prepare(site)
        with (
            Bird(site.router, site.directory / "bird", Setup(ROUTER_AS, own(ROUTER), neighbours)) as bird,
            Daemon(site.balancer, site.root(), text(site)) as daemon,
        ):
            made = Stage(site, daemon, bird)
            made.wait(USUAL)
            yield made


def fetched(site: Site) -> str:
    """What the service answers, asked by the client."""
    return site.client.run("curl", "-s", "-m", "5", f"http://{VIP}/alive")


def test_a_drained_node_is_a_last_resort_until_it_is_taken_back(stage: Stage) -> None:
    """With traffic that no other node could take, so that it stays one; who does not is in test_bgp_leaving.py."""
    stream = Stream(stage.site)
    try:
        _a_last_resort(stage)
    finally:
        stream.finish()


def _a_last_resort(stage: Stage) -> None:
    daemon, bird, began = stage.daemon, stage.bird, time.time()
    sinces = {address: bird.neighbour(address).since for address in USUAL}
    done = daemon.vc5("drain", "--all")
    assert done.returncode == 0, done.stderr
    assert "the whole node is drained: 2 of 2 routers told of its routes as last resorts" in done.stdout
    stage.wait(DRAINED)
    assert {address: bird.neighbour(address).since for address in USUAL} == sinces
    fetched(stage.site)

    node = daemon.ask("overrides")["node"]
    assert node["who"].startswith("uid 0 (")
    assert node["stage"] == "demoted"
    for drained in (daemon.ask("bgp")["drained"], daemon.status()["bgp"]["drained"]):
        assert {name: drained[name] for name in node} == node
    assert {(row["announce"], row["reason"]) for row in daemon.status()["vips"]} == {("demote", "this node is drained")}
    for verb in ("status", "bgp"):
        assert "this node is DRAINED, by uid 0 (" in daemon.vc5(verb).stdout
    assert "vc5_node_drained 1" in daemon.vc5("metrics").stdout
    assert "(the whole node)" in daemon.vc5("overrides").stdout
    whys = {row["why"] for row in daemon.ask("bgp", own(ROUTER))["peers"][0]["routes"]}
    assert whys == {"a last resort: this node is drained"}

    # Said twice, it is still the first who said it; and a reload says nothing of it.
    assert daemon.ask("drain", "--all")["node"] == node
    assert daemon.reload(text(stage.site, med=60)).returncode == 0
    time_of_reload = [event["message"] for event in events(daemon, "operator", began)]
    assert any(message.startswith("the whole node is drained, by uid 0") for message in time_of_reload)
    stage.wait(DRAINED)

    done = daemon.vc5("reexec", timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert daemon.ask("overrides")["node"] == node
    stage.wait(DRAINED)
    assert {address: bird.neighbour(address).since for address in USUAL} == sinces

    # Neither does it end with the daemon, however that ends.
    for number in (signal.SIGKILL, signal.SIGUSR1):
        seen = bird.neighbour(US).ups
        daemon.signal(number)
        wait_for("its end", lambda: not daemon.running)
        daemon.start()
        bird.wait("another session", partial(another, bird, seen))
        stage.wait(DRAINED)
        assert daemon.ask("overrides")["node"] == node

    done = daemon.vc5("undrain", "--all")
    assert "the whole node is drained no more: 2 of 2 routers told of its routes as usual" in done.stdout
    stage.wait({**USUAL, US: (60, *USUAL[US][1:])})
    assert daemon.ask("overrides")["node"] is None
    assert "vc5_node_drained 0" in daemon.vc5("metrics").stdout
    assert_refused(daemon.vc5("undrain", "--all"), 1, "this node is not drained; nothing to take back")
    assert daemon.reload(text(stage.site)).returncode == 0
    stage.wait(USUAL)


def another(bird: Router, seen: int) -> bool:
    return bird.neighbour(US).ups > seen


class Stream:
    """Datagrams to the VIP, one each millisecond, and where they were seen."""

    def __init__(self, site: Site) -> None:
        self.sent = 0
        self._socket = site.client.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._from_router = tap(site, "router10")
        self._to_backends = {backend.mac: tap(site, backend.name) for backend in site.backends.values()}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        while not self._ending.wait(0.001):
            with contextlib.suppress(OSError):
                self._socket.sendto(self.sent.to_bytes(8), (str(VIP), PORT))
            self.sent += 1

    def finish(self) -> tuple[set[int], set[int]]:
        """Return the numbers of those that the router sent to the balancer, and of those that reached a backend."""
        self._ending.set()
        self._thread.join()
        self._socket.close()
        asked = numbers(self._from_router)
        got: set[int] = set()
        for mac, end in self._to_backends.items():
            got |= numbers(end, mac)
        return asked, got


def tap(site: Site, port: str) -> socket.socket:
    """See what goes over a port of the switch."""

    def opened() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        made.bind((port, ETH_P_ALL))
        made.setblocking(False)
        return made

    return site.switch.call(opened)


def numbers(end: socket.socket, mac: str = "") -> set[int]:
    """Return the numbers of the datagrams to the VIP that were seen, to this MAC address if one is given."""
    found = set()
    wanted = bytes.fromhex(mac.replace(":", ""))
    with end, contextlib.suppress(BlockingIOError):
        while True:
            frame = end.recv(LONGEST)
            to_vip = frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_UDP and frame[30:34] == VIP.packed
            if to_vip and int.from_bytes(frame[36:38]) == PORT and frame.startswith(wanted):
                found.add(int.from_bytes(frame[42:50]))
    return found


def test_the_router_sends_nothing_more_before_nothing_is_forwarded_any_more(stage: Stage) -> None:
    stream = Stream(stage.site)
    stage.bird.wait("datagrams", lambda: stream.sent > 200)
    assert stage.daemon.stop() == 0
    ended = stream.sent
    stage.bird.wait("more datagrams", lambda: stream.sent > ended + 100)
    asked, got = stream.finish()
    assert len(got) > 200
    assert asked - got == set(), f"{len(asked - got)} of {len(asked)} datagrams went to a balancer that had stopped"
    assert max(asked) < ended
    for address in USUAL:
        said = stage.bird.neighbour(address).last_error
        assert "the load balancer was stopped" in said, said
    assert prefix_of(str(VIP)) not in stage.bird.kernel_routes()
    stage.daemon.start()
    stage.wait(USUAL)


def test_a_router_that_hangs_does_not_hold_up_the_stop(stage: Stage) -> None:
    stage.bird.pause()
    try:
        assert stage.daemon.stop(within=8.0) == 0  # its hold time is 9 s
        said = [event for event in events(stage.daemon, "bgp") if event["peer"] == own(ROUTER)]
        assert "the load balancer was stopped" in json.dumps(said[-1])
        since = next(one.at for one in reversed(stage.daemon.notifications) if one.name == "STOPPING")
        print(f"stopped within {time.monotonic() - since:.2f} s of its signal")
        assert stage.daemon.leftovers() == []
    finally:
        stage.bird.resume()
