"""Interfaces that come, go and lose the program under a running daemon, and frames longer than a buffer."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.lab.addresses import BALANCER, ROUTER, VIP, mac_of
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.xdp_pass import XdpPass
from tests.netns.scenario_operator import (
    assert_refused,
    configuration,
    events,
    fetch,
    links,
    prepared,
    running,
    wait_states,
)

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


def plug_in(lab: Lab) -> None:
    """Give the balancer its eth0 anew, as the lab has it."""
    line = f"link add eth0 netns {lab.balancer.name} address {mac_of(BALANCER)} type veth peer name balancer"
    lab.switch.run("ip", "-batch", "-", text=f"{line}\nlink set balancer master br0 up\n")
    lab.balancer.run("ethtool", "-K", "eth0", "tx", "off")
    lines = [f"address add {BALANCER}/24 dev eth0", "link set eth0 up", f"route add default via {ROUTER}"]
    lab.balancer.run("ip", "-batch", "-", text="\n".join([*lines, ""]))
    XdpPass(lab.switch, "balancer").close()


def attach_of(daemon: Daemon) -> dict[str, str]:
    return {row["name"]: row["attach"] for row in daemon.status()["interfaces"]}


def said(daemon: Daemon, kind: str, since: float, words: str) -> bool:
    return any(words in event["message"] for event in events(daemon, kind, since))


def works(lab: Lab, daemon: Daemon) -> None:
    """Wait until both backends serve again."""
    wait_states(daemon, b11="available", b12="available", seconds=20)
    wait_for("answers of both", lambda: {fetch(lab) for _ in range(12)} == {"b1", "b2"}, 20)


def test_an_interface_deleted_and_made_again_forwards_by_itself(lab: Lab) -> None:
    with running(lab, "recreated") as daemon:
        works(lab, daemon)
        since = time.time()
        lab.balancer.run("ip", "link", "delete", "eth0")
        wait_for("the alarm", lambda: said(daemon, "alarm", since, "eth0: the interface does not exist"))
        assert attach_of(daemon) == {"eth0": "missing"}
        text = daemon.vc5("status").stdout
        assert "warning: eth0: the interface does not exist" in text
        assert fetch(lab, seconds=0.3) == ""
        plug_in(lab)
        wait_for("the event", lambda: said(daemon, "daemon", since, "eth0: the program is attached again, native"))
        works(lab, daemon)
        assert attach_of(daemon) == {"eth0": "native"}
        assert "eth0: the interface" not in daemon.vc5("status").stdout
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def test_an_interface_moved_away_and_back_forwards_by_itself(lab: Lab) -> None:
    with running(lab, "moved") as daemon:
        since = time.time()
        lab.balancer.run("ip", "link", "set", "eth0", "netns", lab.client.name, "name", "stolen")
        wait_for("the alarm", lambda: said(daemon, "alarm", since, "eth0: the interface does not exist"))
        wait_for("the program to be off", lambda: dict(links(lab.client))["stolen"] == 0)
        lab.client.run("ip", "link", "set", "stolen", "netns", lab.balancer.name, "name", "eth0")
        lines = [f"address add {BALANCER}/24 dev eth0", "link set eth0 up", f"route add default via {ROUTER}"]
        lab.balancer.run("ip", "-batch", "-", text="\n".join([*lines, ""]))
        works(lab, daemon)
        wait_for("the event", lambda: said(daemon, "daemon", since, "eth0: the program is attached again, native"))
        assert daemon.stop() == 0


def test_a_link_detached_by_somebody_comes_back(lab: Lab) -> None:
    with running(lab, "detached") as daemon:
        since = time.time()
        before = dict(links(lab.balancer))["eth0"]
        pin = daemon.places.pins / "links" / "eth0"
        lab.balancer.run("bpftool", "link", "detach", "pinned", str(pin))
        wait_for("the alarm", lambda: said(daemon, "alarm", since, "eth0: the program is lost: somebody detached it"))
        wait_for("the event", lambda: said(daemon, "daemon", since, "eth0: the program is attached again, native"))
        assert dict(links(lab.balancer))["eth0"] == before
        works(lab, daemon)
        daemon.kill9()
        daemon.start()  # the new pin is as good as the old one
        works(lab, daemon)
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def test_a_member_that_is_dead_at_the_start_is_an_alarm(lab: Lab) -> None:
    text = configuration("[eth0, late]")
    with running(lab, "dead-member", text) as daemon:
        works(lab, daemon)
        assert attach_of(daemon) == {"eth0": "native", "late": "missing"}
        assert said(daemon, "alarm", 0, "late: the interface does not exist; it gets the program when it comes")
        assert daemon.reload(text + "# touched\n").returncode == 0
        refused = daemon.reload(configuration("[eth0, late, misspelt]"))
        assert_refused(refused, 1, "interface misspelt does not exist")
        lab.balancer.run("ip", "link", "add", "late", "type", "veth", "peer", "name", "late-far")
        wait_for("late to have it", lambda: attach_of(daemon) == {"eth0": "native", "late": "native"})
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
    lab.balancer.run("ip", "link", "delete", "late")


def test_an_interface_that_comes_later_may_have_another_mtu(lab: Lab) -> None:
    """What is longer than the way out is to be answered; a program for interfaces of one MTU does not look."""
    with running(lab, "other-mtu", configuration("[eth0, late]")) as daemon:
        since = time.time()
        lab.balancer.run("ip", "link", "add", "late", "mtu", "1400", "type", "veth", "peer", "name", "late-far")
        words = "the program was made anew, for an MTU of 1400 and 1500"
        wait_for("it", lambda: said(daemon, "daemon", since, words), 30)
        works(lab, daemon)
        assert daemon.stop() == 0
    lab.balancer.run("ip", "link", "delete", "late")


def test_reattach(lab: Lab) -> None:
    with running(lab, "reattach") as daemon:
        done = daemon.vc5("reattach", "eth0")
        assert (done.returncode, done.stdout, done.stderr) == (0, "eth0: attached anew, native\n", "")
        found = daemon.ask("reattach", "eth0")
        assert (found["interface"], found["attach"]) == ("eth0", "native")
        assert_refused(daemon.vc5("reattach", "eth9"), 1, "'eth9' is not a configured interface; `interfaces` has eth0")
        assert "eth9" in daemon.vc5("reattach", "eth9", "--json").stdout
        wait_for("the events", lambda: said(daemon, "operator", 0, "eth0: attached anew, native, by uid 0"))
        works(lab, daemon)
        assert daemon.stop() == 0


def test_doctor(lab: Lab) -> None:
    with prepared(lab, "doctor", configuration("[eth0, gone]")) as daemon:
        done = daemon.vc5("doctor", str(daemon.configuration_file))
        assert done.returncode == 1
        assert "PEER gro on" in done.stdout
        assert "gone" in done.stdout
        found = daemon.vc5("doctor", "--json", str(daemon.configuration_file)).stdout
        assert '"severity": "problem"' in found
        daemon.start()
        assert "eth0: its other end may lose what is sent (`vc5 doctor` tells why" in daemon.errors


# ---- frames longer than a buffer

SINK = 9000
UPLOAD = 8 << 20


@pytest.fixture
def jumbo() -> Iterator[Lab]:
    with Lab(backends=1, servers=False, mtu=9000) as standing:
        yield standing


def _upload(lab: Lab) -> int:
    """Send much to the VIP in the largest segments there can be; return their size, after all has arrived whole."""
    data = hashlib.sha256(b"jumbo").digest() * (UPLOAD // 32)
    client = lab.client.call(lambda: socket.create_connection((str(VIP), SINK), timeout=10))
    answers: list[bytes] = []
    with client:
        reader = threading.Thread(target=lambda: answers.append(client.recv(32)))
        reader.start()
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        reader.join()
        size = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    assert answers == [hashlib.sha256(data).digest()]
    return size


def _serve(listener: socket.socket) -> None:
    """Answer each connection with the SHA-256 of what came, until the listener is shut down."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            digest = hashlib.sha256()
            while part := connection.recv(1 << 20):
                digest.update(part)
            connection.sendall(digest.digest())


@pytest.fixture
def sink(jumbo: Lab) -> Iterator[None]:
    listener = jumbo.backends["b1"].namespace.call(lambda: socket.create_server((str(VIP), SINK)))
    server = threading.Thread(target=_serve, args=(listener,))
    server.start()
    yield
    listener.shutdown(socket.SHUT_RDWR)
    server.join()
    listener.close()


JUMBO = configuration(servers="10.1.10.11", port=f"{SINK}/tcp", check=f"{{type: tcp, port: {SINK}}}")


def _wait_up(daemon: Daemon) -> None:
    wait_states(daemon, f"{VIP}:{SINK}/tcp", b11="available")


@pytest.mark.usefixtures("sink")
@pytest.mark.parametrize("xdp", ["native", "generic"])
def test_jumbo_frames_are_forwarded(jumbo: Lab, xdp: str) -> None:
    text = JUMBO.replace("xdp: native", f"xdp: {xdp}")
    with Daemon(jumbo.balancer, jumbo.root("jumbo"), text) as daemon:
        _wait_up(daemon)
        assert _upload(jumbo) > 8900
        [service] = daemon.status()["services"]
        [row] = service["backends"]
        assert row["octets"] >= UPLOAD
        assert row["octets"] / row["packets"] > 3600, "most frames were longer than a page"
        assert attach_of(daemon) == {"eth0": xdp}
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def test_a_far_end_with_a_larger_mtu_is_refused_with_the_reason(jumbo: Lab) -> None:
    jumbo.balancer.run("ip", "link", "set", "eth0", "mtu", "1500")
    with pytest.raises(LabError, match="the MTU, on a veth that of its other end, is more than one buffer takes"):
        Daemon(jumbo.balancer, jumbo.root("refused"), JUMBO).__enter__()


@pytest.mark.usefixtures("sink")
def test_an_mtu_that_grows_gets_another_program(jumbo: Lab) -> None:
    jumbo.switch.run("ip", "link", "set", "balancer", "mtu", "1500")
    jumbo.balancer.run("ip", "link", "set", "eth0", "mtu", "1500")
    with Daemon(jumbo.balancer, jumbo.root("growing"), JUMBO) as daemon:
        _wait_up(daemon)
        since = time.time()
        jumbo.balancer.run("ip", "link", "set", "eth0", "mtu", "9000")
        wait_for("it", lambda: said(daemon, "daemon", since, "the program was made anew, for an MTU of 9000"), 30)
        # A veth keeps the limit that the first program set for its other end until it is attached to anew.
        assert daemon.vc5("reattach", "eth0").returncode == 0
        jumbo.switch.run("ip", "link", "set", "balancer", "mtu", "9000")
        _wait_up(daemon)
        assert _upload(jumbo) > 8900
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
