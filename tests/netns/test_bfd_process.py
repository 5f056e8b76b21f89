"""The process of BFD without a router: what strangers send, who may be its daemon, and what is in its way."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from appliance import paths
from appliance.routing.bfd.packet import LENGTH, Diagnostic, Packet, State, decode, encode
from tests.lab.patience import wait_for
from tests.netns.bfd_scene import Daemon, Row, Scene, processes

pytestmark = pytest.mark.root
PEER: Row = ("10.9.1.2", 0.3, 3, False, None)
PEER6: Row = ("fd09:1::2", 0.3, 3, False, None)
FAR: Row = ("10.9.99.2", 0.3, 3, True, "10.9.99.1")


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with Scene() as made:
        yield made


@pytest.fixture
def daemon(scene: Scene) -> Iterator[Daemon]:
    with Daemon(scene) as made:
        yield made
        if made.running:
            made.stop(farewell=True)
    wait_for("the process of BFD to end", lambda: not processes(made.root), 10)


class Stranger:
    """A socket in the router's namespace, where no router runs."""

    def __init__(self, scene: Scene, source: str, hops: int = 255) -> None:
        self.family = socket.AF_INET6 if ":" in source else socket.AF_INET
        self.socket = scene.spaces["bird"].call(lambda: socket.socket(self.family, socket.SOCK_DGRAM))
        self.socket.bind((source, 0))
        if self.family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
        else:
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)

    def send(self, data: bytes, target: str = "10.9.1.1", port: int = 3784) -> None:
        self.socket.sendto(data, (target, port))

    def close(self) -> None:
        self.socket.close()


GOOD = encode(Packet(State.DOWN, 77, desired_us=1_000_000, required_us=300_000))


def changed(at: int, value: int) -> bytes:
    return GOOD[:at] + bytes([value]) + GOOD[at + 1 :]


# What is sent, from where, with which TTL, to which port -> the reason it is counted under.
BAD = {
    "short": (b"x", "10.9.1.2", 255, 3784),
    "version": (changed(0, 0), "10.9.1.2", 255, 3784),
    "length": (changed(3, 60), "10.9.1.2", 255, 3784),
    "authenticated": (changed(1, 0x44), "10.9.1.2", 255, 3784),
    "multiplier": (changed(2, 0), "10.9.1.2", 255, 3784),
    "multipoint": (changed(1, 0x41), "10.9.1.2", 255, 3784),
    "discriminator": (GOOD[:4] + bytes(20), "10.9.1.2", 255, 3784),
    "state": (changed(1, 0xC0), "10.9.1.2", 255, 3784),
    "hops": (GOOD, "10.9.1.2", 254, 3784),
    "unknown": (encode(Packet(State.UP, 77, 12345)), "10.9.1.2", 255, 3784),
    "stranger": (GOOD, "10.9.3.2", 255, 3784),
}


def test_bad_packets_are_counted_and_nothing_else(scene: Scene, daemon: Daemon) -> None:
    daemon.follow((PEER, PEER6, FAR))
    wait_for("the sessions", lambda: len(daemon.ask()["states"]) == 3)
    scene.ours.run("ip", "route", "replace", "10.9.3.2", "via", "10.9.1.2")
    for data, source, hops, port in BAD.values():
        with closing(Stranger(scene, source, hops)) as stranger:
            stranger.send(data, port=port)
    wait_for("all of them", lambda: daemon.ask()["drops"] == dict.fromkeys(BAD, 1))
    states = {one["peer"]: one for one in daemon.ask()["states"]}
    assert states["10.9.1.2"]["drops"] == dict.fromkeys(set(BAD) - {"stranger"}, 1)
    assert {one["packets"][0] for one in states.values()} == {0}
    assert {one["states"][0] for one in states.values()} == {State.DOWN}
    # Neither kind speaks for the other, and over several hops any TTL will do.
    with closing(Stranger(scene, "10.9.99.2", 9)) as stranger:
        stranger.send(GOOD, "10.9.99.1", 3784)
        wait_for("a drop", lambda: daemon.ask()["drops"]["hops"] == 2)
        stranger.send(GOOD, "10.9.99.1", 4784)
        wait_for("a session that hears", lambda: daemon.heard("10.9.99.2", "init"))


def test_a_discriminator_is_not_enough(scene: Scene, daemon: Daemon) -> None:
    """Who has seen our discriminator, and is not the peer, cannot end a session."""
    daemon.follow((PEER, FAR))
    with closing(Stranger(scene, "10.9.1.2")) as router:
        wait_for("a session", lambda: daemon.ask()["states"])
        router.send(encode(Packet(State.INIT, 77, _ours(daemon, "10.9.1.2"), required_us=300_000)))
        wait_for("up", lambda: daemon.heard("10.9.1.2", "up"))
        with closing(Stranger(scene, "10.9.3.2")) as other:
            other.send(encode(Packet(State.ADMIN_DOWN, 78, _ours(daemon, "10.9.1.2"))))
            wait_for("a drop", lambda: daemon.ask()["drops"].get("stranger") == 1)
        assert daemon.heard("10.9.1.2", "up")
        # The peer alone goes silent: it had said 1 s x 3.
        change = wait_for("silence", lambda: daemon.heard("10.9.1.2", "down"), 6)
        assert change is not None
        assert change["changed"][2] == Diagnostic.SILENCE


def _ours(daemon: Daemon, peer: str) -> int:
    found = [one["discriminators"][0] for one in daemon.ask()["states"] if one["peer"] == peer]
    return int(found[0])


def test_what_goes_out(scene: Scene, daemon: Daemon) -> None:
    """Port 3784 or 4784, a source port of its own, TTL 255, CS6, the C bit, once a second."""
    space = scene.spaces["bird"]
    ears = {port: space.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for port in (3784, 4784)}
    for port, ear in ears.items():
        ear.bind(("", port))
        ear.settimeout(10)
        ear.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL of linux/in.h
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    daemon.follow((PEER, FAR))
    ports = {}
    for port, ear in ears.items():
        data, ancillary, _, address = ear.recvmsg(100, 100)
        packet = decode(data)
        assert (len(data), packet.state, packet.control_independent, packet.demand) == (LENGTH, State.DOWN, True, False)
        assert (packet.desired_us, packet.required_us, packet.echo_us) == (1_000_000, 300_000, 0)
        values = {kind: int.from_bytes(value[:1], "little") for _, kind, value in ancillary}
        # Of several hops one has been passed already.
        assert values == {socket.IP_TTL: 255 if port == 3784 else 254, socket.IP_TOS: 0xC0}
        ports[port] = address[1]
        assert 49152 <= address[1] <= 65535
        again = ear.recvfrom(100)[1]
        assert again[1] == address[1]
        ear.close()
    assert len(set(ports.values())) == 2


def test_a_port_that_another_program_has(scene: Scene, daemon: Daemon) -> None:
    other = scene.ours.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    other.bind(("", 3784))
    daemon.follow((PEER, PEER6))
    said = "UDP port 3784 is used by another program"
    wait_for("what is wrong", lambda: daemon.ask()["trouble"].startswith(said))
    other.close()
    wait_for("that to be over", lambda: daemon.ask()["trouble"] == "", 5)
    with closing(Stranger(scene, "10.9.1.2")) as stranger:
        stranger.send(GOOD)
        wait_for("a session that hears", lambda: daemon.heard("10.9.1.2", "init"))


def test_addresses_and_interfaces_that_come_later(scene: Scene, daemon: Daemon) -> None:
    rows: tuple[Row, ...] = (
        ("10.9.1.2", 0.3, 3, False, "10.9.1.77"),
        ("fe80::12%later0", 0.3, 3, False, None),
        ("192.0.2.1", 0.3, 3, True, None),
    )
    daemon.follow(rows)

    def troubles() -> set[str]:
        return {one["trouble"] for one in daemon.ask()["states"]}

    wanted = {
        "cannot send from 10.9.1.77: 10.9.1.77 is no address of this host",
        "there is no interface later0",
        "cannot send to 192.0.2.1: Network is unreachable",
    }
    wait_for("what is in the way", lambda: troubles() == wanted)
    scene.ours.run("ip", "address", "add", "10.9.1.77/24", "dev", "up1")
    scene.ours.run("ip", "link", "add", "later0", "type", "veth", "peer", "name", "later1")
    for name in ("later0", "later1"):
        scene.ours.run("ip", "link", "set", name, "up")
    scene.ours.run("ip", "route", "add", "192.0.2.1", "via", "10.9.1.2")
    wait_for("all of that to be over", lambda: troubles() == {""}, 10)
    scene.ours.run("ip", "link", "delete", "later0")


def test_the_newest_daemon_wins(scene: Scene, daemon: Daemon) -> None:
    daemon.follow((PEER,))
    process = daemon.bfd
    with Daemon(scene) as newer:
        newer.follow((PEER, PEER6))
        assert newer.bfd == process
        wait_for("both sessions", lambda: len(newer.ask()["states"]) == 2)
        daemon.close()
        newer.stop(farewell=True)


def hostile(scene: Scene, daemon: Daemon, act: Callable[[socket.socket], None]) -> None:
    place = str(paths.root(str(daemon.root)).bfd_socket)
    with closing(socket.socket(socket.AF_UNIX)) as end:
        end.connect(place)
        end.settimeout(10)
        act(end)


def test_a_daemon_that_talks_nonsense_or_does_not_listen(scene: Scene, daemon: Daemon) -> None:
    daemon.follow((PEER,))
    process = daemon.bfd

    def nonsense(end: socket.socket) -> None:
        end.sendall(b"nonsense\n")
        while end.recv(1 << 16):
            pass

    def deaf(end: socket.socket) -> None:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(OSError, match=r"pipe|reset"):  # noqa: PT012
            while True:
                end.sendall(b'{"wanted": [], "grace": 60}\n' * 100)

    hostile(scene, daemon, nonsense)
    hostile(scene, daemon, deaf)
    # Ours comes back by itself, and has what it wants.
    wait_for("our daemon's return", lambda: daemon.ask()["hello"].get("pid") == process, 10)
    wait_for("its session", lambda: len(daemon.ask()["states"]) == 1)


def test_one_that_hangs_is_replaced(scene: Scene, daemon: Daemon) -> None:
    daemon.follow((PEER,))
    process = daemon.bfd
    os.kill(process, signal.SIGSTOP)
    began = time.monotonic()
    wait_for("another process", lambda: daemon.ask()["hello"].get("pid", process) != process, 15)
    assert time.monotonic() - began > 1
    assert process not in processes(daemon.root)


def test_signals(scene: Scene) -> None:
    """SIGTERM is a farewell."""
    with closing(Stranger(scene, "10.9.1.2")) as router, Daemon(scene) as daemon:
        daemon.follow((PEER,))
        process = daemon.bfd
        wait_for("a session", lambda: daemon.ask()["states"])
        router.send(encode(Packet(State.INIT, 77, _ours(daemon, "10.9.1.2"), required_us=300_000)))
        wait_for("up", lambda: daemon.heard("10.9.1.2", "up"))
        ear = scene.spaces["bird"].call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        ear.bind(("10.9.1.2", 3784))
        ear.settimeout(5)
        os.kill(process, signal.SIGTERM)
        while (packet := decode(ear.recv(100))).state is not State.ADMIN_DOWN:
            pass
        assert (packet.diagnostic, packet.yours) == (Diagnostic.ADMINISTRATIVELY_DOWN, 77)
        assert [decode(ear.recv(100)).state for _ in range(2)] == [State.ADMIN_DOWN] * 2
        ear.close()
        wait_for("another process, for it is still wanted", lambda: daemon.bfd != process, 10)
        daemon.stop(farewell=True)
        wait_for("the end", lambda: not processes(daemon.root), 10)
