"""What an operator sees of a session with a real router, held against what the router says of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.utils import rdpcap

from tests.lab.addresses import BALANCER, ROUTER, VIP
from tests.lab.backend import REPOSITORY, Server
from tests.lab.daemon import PROGRAM, Daemon
from tests.lab.patience import wait_for
from tests.lab.routers import Bird, Neighbour, Router, Setup, missing_daemons
from tests.lab.scraping import families
from tests.lab.topology import Lab
from tests.netns.scenario_operator import configuration, running

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_daemons((Bird,))), reason=missing_daemons((Bird,)) or "it is there"),
]

OURS, THEIRS = 4200000001, 65000
BGP = f"""
router_id: {BALANCER}
bgp:
  as_number: {OURS}
  remote_as: {THEIRS}
  peers: [{ROUTER}, 10.1.10.200]
  med: 50
  communities: ['65000:10', no-export]
  bfd: {{interval: 100ms, multiplier: 3}}
"""
ROUTE = ip_network(VIP)
MARKER = b"\xff" * 16
"""What every BGP message begins with."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


@pytest.fixture(scope="module")
def router(lab: Lab) -> Iterator[Router]:
    setup = Setup(THEIRS, str(ROUTER), (Neighbour(str(BALANCER), OURS, bfd=0.1),))
    with Bird(lab.router, lab.directory / "bird", setup) as one:
        yield one


@pytest.fixture(scope="module")
def daemon(lab: Lab, router: Router) -> Iterator[Daemon]:
    with running(lab, "seen", configuration(top=BGP)) as started:
        router.wait_established()
        router.wait("the VIP", lambda: ROUTE in router.routes(4))
        yield started


def said(daemon: Daemon, *words: str) -> str:
    done = daemon.vc5(*words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@contextmanager
def watching(daemon: Daemon, into: Path, *words: str) -> Iterator[None]:
    """Have a command go on, its output in a file, until the block is left and interrupts it."""
    # Whoever runs this in the background ignores interrupts, and so would a child.
    command = daemon.namespace.command("env", "--default-signal=INT", *PROGRAM, "--root", str(daemon.root), *words)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with into.open("wb") as file:
        child = subprocess.Popen(command, env=environment, cwd=daemon.root, stdout=file, stderr=subprocess.PIPE)
        try:
            yield
        finally:
            child.send_signal(signal.SIGINT)
            _, errors = child.communicate(timeout=30)
    assert (child.returncode, errors) == (0, b"")


def peer(daemon: Daemon) -> dict[str, Any]:
    """Return what there is of the router."""
    [found] = json.loads(said(daemon, "bgp", str(ROUTER), "--json"))["peers"]
    return dict(found)


def numbers(daemon: Daemon, name: str) -> dict[tuple[str, ...], float]:
    """Return what a metric says of the router, by its other labels."""
    return {
        tuple(value for label, value in sorted(sample.labels.items()) if label != "peer"): sample.value
        for family in families(said(daemon, "metrics"))
        for sample in family.samples
        if sample.name == name and sample.labels["peer"] == str(ROUTER)
    }


def test_the_session_is_as_the_router_says(daemon: Daemon, router: Router) -> None:
    theirs = router.neighbour(str(BALANCER))
    ours = wait_for("the route to be told", lambda: (one := peer(daemon))["advertised"] == 1 and one)
    assert ours["state"] == "established"
    assert (ours["remote_as"], ours["remote_router_id"], ours["ibgp"]) == (THEIRS, str(ROUTER), False)
    assert ours["local_address"] == theirs.remote_id == str(BALANCER)
    assert ours["hold_time"] == theirs.hold_time
    assert ours["sessions"] == 1
    assert ours["messages"]["sent"]["open"] == ours["messages"]["received"]["open"] == 1
    assert numbers(daemon, "vc5_bgp_session_up") == {(): 1}
    assert numbers(daemon, "vc5_bgp_advertised_routes") == {("ipv4",): 1, ("ipv6",): 0}
    bfd = wait_for("BFD", lambda: (one := peer(daemon)["bfd"])["state"] == "up" and one)
    assert router.bfd(str(BALANCER)) == bfd["remote_state"] == "up"
    assert bfd["interval"] == pytest.approx(0.1)
    assert numbers(daemon, "vc5_bfd_session_up") == {(): 1}
    assert numbers(daemon, "vc5_bfd_packets_total")["received",] > 0
    assert "BGP: 1 of 2 peers established, 1 route; BFD 1 of 2 up" in said(daemon, "status")
    text = said(daemon, "bgp")
    assert any(line.startswith(f"{ROUTER} ") and " established " in line for line in text.splitlines())
    assert "10.1.10.200: " in text, "and why the other one is not there"
    assert f"{THEIRS}, ours {OURS} (eBGP)" in said(daemon, "bgp", str(ROUTER))


def test_routes_are_shown_as_the_router_has_them(daemon: Daemon, router: Router) -> None:
    [learned] = router.routes(4)[ROUTE]
    [route] = peer(daemon)["routes"]
    assert (route["told"], route["vip"], route["next_hop"]) == (True, str(VIP), learned.next_hop)
    assert tuple(route["as_path"]) == learned.as_path == (OURS,)
    assert route["med"] == learned.med == 50
    assert set(route["communities"]) == set(learned.communities)
    assert "65000:10, no-export" in said(daemon, "bgp", "--routes")


def test_messages_can_be_watched(daemon: Daemon, router: Router) -> None:
    text, file = daemon.places.run / "bgp.txt", daemon.places.run / "bgp.pcap"
    words = ("bgp", "capture", str(ROUTER))

    def seen() -> bool:
        router.refresh(str(BALANCER))
        return str(VIP) in text.read_text() and VIP.packed in file.read_bytes()

    with watching(daemon, text, *words), watching(daemon, file, *words, "--pcap", "-"):
        wait_for("what is told again", seen, 30.0)
    lines = [line.split(" ", 1)[1] for line in text.read_text().splitlines()]
    assert any(line.startswith(f"received from {ROUTER} ROUTE-REFRESH send again") for line in lines)
    told = next(line for line in lines if str(VIP) in line)
    assert told.startswith(f"sent to {ROUTER} UPDATE announced {VIP}/32; next hop {BALANCER}")
    # What was written at once is in one packet.
    packets = [(one[IP].src, bytes(one[TCP].payload)) for one in rdpcap(str(file))]
    kinds = {(source, part[2]) for source, data in packets for part in data.split(MARKER)[1:]}
    assert {(str(ROUTER), 5), (str(BALANCER), 2)} <= kinds


def test_why_it_ended_is_told_everywhere(daemon: Daemon, router: Router, lab: Lab) -> None:
    router.shut(str(BALANCER), "upgrade of the router")
    error = wait_for("the end", lambda: (one := peer(daemon))["state"] != "established" and one["last_end"])
    assert (error["direction"], error["code"], error["subcode"]) == ("received", 6, 2)
    assert "upgrade of the router" in error["text"]
    assert bytes.fromhex(error["hex"])[-21:] == b"upgrade of the router"
    assert numbers(daemon, "vc5_bgp_session_up") == {(): 0}
    assert numbers(daemon, "vc5_bgp_errors_total")["6", "received"] == 1
    text = said(daemon, "bgp")
    assert f"{ROUTER}: ended " in text
    assert " ago, it said 6/2: " in text
    assert "upgrade of the router" in text

    def ended() -> list[dict[str, Any]]:
        lines = said(daemon, "log", "--kind", "bgp", "--peer", str(ROUTER), "--outcome", "down", "--json").splitlines()
        return [json.loads(line) for line in lines]

    [event] = wait_for("the event", ended)
    assert event["before"] == "established"
    assert "upgrade of the router" in event["reason"]
    assert {name: event["details"][name] for name in ("direction", "code", "subcode")} == {
        "direction": "received",
        "code": 6,
        "subcode": 2,
    }

    router.unshut(str(BALANCER))
    router.wait_established()
    wait_for("both to know", lambda: peer(daemon)["sessions"] == 2)
    for backend in lab.backends.values():
        backend.kill_servers(Server.NGINX)
    router.wait("the withdrawal", lambda: ROUTE not in router.routes(4))
    [route] = wait_for("why", lambda: [one for one in peer(daemon)["routes"] if not one["told"]])
    assert route["why"]
    assert route["why"] in said(daemon, "bgp", "--routes")
