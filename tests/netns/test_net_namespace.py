"""The probe namespace, made and repaired in a scratch namespace that stands for the host.

root.veth of the host (scratch) <-- veth --> root.veth_peer in root.namespace
front of the host <-- veth, XDP redirects -- back of the client (scratch)
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from appliance import paths
from appliance.errors import HostError, KernelError
from appliance.net import namespace, netns, offload
from appliance.net.namespace import (
    HOST_MAC,
    LAST_NAT_INDEX,
    PEER_ADDRESS,
    PEER_ADDRESS6,
    PEER_MAC,
    ProbeLink,
    nat_address,
)
from tests.lab.namespace import Namespace
from tests.lab.patience import wait_for
from tests.lab.xdp import CALL, EXIT, MOVE, Instruction, checked, libbpf

ETH_P_ALL = 3
XDP_PASS = 2
XDP_FLAGS_DRV_MODE = 4
BPF_REDIRECT = 23


@dataclass(frozen=True)
class Place:
    """A scratch host and the instance in it."""

    host: Namespace
    root: paths.Root

    @property
    def inside(self) -> Namespace:
        return Namespace(self.root.namespace)

    def ensure(self) -> ProbeLink:
        return self.host.call(lambda: namespace.ensure(self.root))

    def remove(self) -> None:
        self.host.call(lambda: namespace.remove(self.root))

    def listen(self, interface: str = "") -> socket.socket:
        """Return a packet socket on one interface of the host, or on all."""

        def make() -> socket.socket:
            capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            if interface:
                capture.bind((interface, ETH_P_ALL))
            return capture

        return self.host.call(make)


def scratch(name: str) -> Namespace:
    with netns.lock():
        netns.create(name)
    return Namespace(name)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(scratch(f"vc5host{os.getpid()}"), paths.root(str(tmp_path)))
    try:
        yield made
    finally:
        made.remove()
        netns.remove(made.host.name)


def frame_of_probe(place: Place, kind: int, to: str = "10.0.0.5") -> Any:
    """Send one packet from inside and return the frame that reaches the balancer's end."""
    with place.listen(place.root.veth) as capture:

        def send() -> None:
            with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, kind) as probe:
                probe.setblocking(False)
                probe.connect_ex((to, 8080))
                if kind == socket.SOCK_DGRAM:
                    probe.send(b"probe")

        place.inside.call(send)
        ready, _, _ = select.select([capture], [], [], 5)
        assert ready, "no frame within 5 s"
        return Ether(capture.recv(2000))


def has_complete_checksums(frame: Any) -> bool:
    """Tell whether scapy, left to compute the checksums, comes to the same bytes."""
    again = frame.copy()
    if IP in again:
        del again[IP].chksum
    del again.payload.payload.chksum
    return bytes(again) == bytes(frame)


def is_healthy(place: Place) -> None:
    for own, to in ((PEER_ADDRESS, "10.0.0.5"), (PEER_ADDRESS6, "fd76:6335::5")):
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            frame = frame_of_probe(place, kind, to)
            assert (frame.payload.src, frame.payload.dst) == (str(own), to)
            assert has_complete_checksums(frame)
            assert frame.dst == frame.src == PEER_MAC.hex(":")
    assert place.host.run("cat", f"/proc/sys/net/ipv6/conf/{place.root.veth}/disable_ipv6") == "1\n"
    for where, name in ((place.host, place.root.veth), (place.inside, place.root.veth_peer)):
        assert "NOARP,UP,LOWER_UP" in where.run("ip", "-o", "link", "show", name)
    assert place.host.run("ip", "-o", "address", "show", place.root.veth) == ""
    assert place.host.run("ip", "route") == place.host.run("ip", "-6", "route") == ""


@pytest.mark.root
def test_packets_to_any_nat_address_leave_at_once_and_complete(place: Place) -> None:
    link = place.ensure()
    assert link == ProbeLink(link.host_index, HOST_MAC, PEER_MAC, PEER_ADDRESS, PEER_ADDRESS6)
    is_healthy(place)
    # One entry of the neighbour table for each family, however many addresses.
    for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        with place.inside.call(lambda family=family: socket.socket(family, socket.SOCK_DGRAM)) as probe:  # type: ignore[misc]
            for index in (1, 256, 70_000, LAST_NAT_INDEX):
                probe.sendto(b"probe", (str(nat_address(index, version)), 1))
        command = ("ip", f"-{version}", "neigh", "show", "nud", "noarp", "dev", place.root.veth_peer)
        assert len([line for line in place.inside.run(*command).splitlines() if not line.startswith("ff")]) <= 1


@pytest.mark.root
def test_repeating_changes_nothing(place: Place) -> None:
    first = place.ensure()
    inode = place.inside.path.stat().st_ino
    assert place.ensure() == first
    assert place.inside.path.stat().st_ino == inode
    assert place.host.call(lambda: namespace.probe_link(place.root)) == first


def on_host(*command: str) -> Callable[[Place], object]:
    return lambda place: place.host.run(*(word.format(root=place.root, host=place.host) for word in command))


def inside(*command: str) -> Callable[[Place], object]:
    return lambda place: place.inside.run(*(word.format(root=place.root, host=place.host) for word in command))


def hold_and_delete_namespace(place: Place) -> None:
    """Delete the name while something in the namespace keeps it alive, as the prober does."""
    holder = place.inside.spawn("cat", stdin=subprocess.PIPE)
    try:
        place.host.run("ip", "netns", "delete", place.root.namespace)
        place.ensure()
    finally:
        holder.communicate()


def leave_name_of_killed_create(place: Place) -> None:
    place.remove()
    place.inside.path.touch()


VETH, PEER, HOST = "{root.veth}", "{root.veth_peer}", "{host.name}"
DAMAGES = {
    "balancer's end deleted": on_host("ip", "link", "delete", VETH),
    "far end deleted": inside("ip", "link", "delete", PEER),
    "namespace deleted": on_host("ip", "netns", "delete", "{root.namespace}"),
    "namespace deleted, but alive": hold_and_delete_namespace,
    "name of a killed create": leave_name_of_killed_create,
    "balancer's end down": on_host("ip", "link", "set", VETH, "down"),
    "far end down": inside("ip", "link", "set", PEER, "down"),
    "balancer's end has ARP": on_host("ip", "link", "set", VETH, "arp", "on"),
    "far end has ARP": inside("ip", "link", "set", PEER, "arp", "on"),
    "balancer's MAC": on_host("ip", "link", "set", VETH, "address", "02:00:00:00:00:01"),
    "far MAC": inside("ip", "link", "set", PEER, "address", "02:00:00:00:00:01"),
    "MTU": inside("ip", "link", "set", PEER, "mtu", "1280"),
    "far end renamed": inside("sh", "-c", f"ip link set {PEER} down; ip link set {PEER} name other"),
    "far end moved out": inside("ip", "link", "set", PEER, "netns", HOST),
    "a stranger in place of the far end": inside(
        "sh",
        "-c",
        f"ip link set {PEER} down; ip link set {PEER} name other; ip link add {PEER} type veth peer name third",
    ),
    "a stranger from the host in place of the far end": inside(
        "sh",
        "-c",
        f"ip link set {PEER} down; ip link set {PEER} name other; "
        f"ip link add {PEER} type veth peer name third netns {HOST}",
    ),
    "address gone": inside("ip", "address", "flush", "dev", PEER),
    "route gone": inside("ip", "route", "flush", "table", "main"),
    "checksums offloaded": inside("ethtool", "-K", PEER, "tx", "on"),
    "balancer's end speaks IPv6": on_host("sysctl", "-qw", f"net.ipv6.conf.{VETH}.disable_ipv6=0"),
    "far end speaks no IPv6": inside("sysctl", "-qw", f"net.ipv6.conf.{PEER}.disable_ipv6=1"),
    "IPv6 route gone": inside("ip", "-6", "route", "flush", "table", "main"),
}


@pytest.mark.root
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_repairs(place: Place, damage: Callable[[Place], object]) -> None:
    place.ensure()
    damage(place)
    link = place.ensure()
    assert place.host.call(lambda: socket.if_nametoindex(place.root.veth)) == link.host_index
    is_healthy(place)
    assert " mtu 1500 " in place.inside.run("ip", "-o", "link", "show", place.root.veth_peer)


@pytest.mark.root
def test_kill_at_every_step_leaves_what_the_next_start_repairs(place: Place) -> None:
    """The steps are what Python reports to audit hooks: files opened, requests sent, ioctls."""
    steps = {"open", "os.mkdir", "os.remove", "socket.sendto", "fcntl.ioctl", "fcntl.flock"}

    def ensure_until(last: int) -> int:
        """Run `ensure` in a child that is killed before step `last`; return how it ended, 0 for well."""
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        seen = 0

        def count(event: str, _arguments: tuple[object, ...]) -> None:
            nonlocal seen
            if event in steps:
                seen += 1
                if seen == last:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            sys.addaudithook(count)
            place.ensure()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    last = 1
    while ended := ensure_until(last):
        assert ended == -signal.SIGKILL
        if last % 2:  # every other time on top of what the killed one left
            place.ensure()
            frame_of_probe(place, socket.SOCK_DGRAM)
            place.remove()
        last += 1
    assert last > 20
    is_healthy(place)


@pytest.mark.root
def test_where_the_kernel_has_no_ipv6_the_rest_works(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespace, "has_ipv6", lambda: False)
    assert place.ensure().peer_address6 is None
    assert frame_of_probe(place, socket.SOCK_DGRAM)[IP].dst == "10.0.0.5"
    assert "fd76" not in place.inside.run("ip", "-6", "address")


@pytest.mark.root
def test_remove_leaves_nothing_and_is_quiet_about_nothing(place: Place) -> None:
    before = (place.host.run("ip", "-o", "link"), place.host.run("ip", "rule"))
    place.ensure()
    place.remove()
    assert (place.host.run("ip", "-o", "link"), place.host.run("ip", "rule")) == before
    assert place.root.namespace not in os.listdir(netns.DIRECTORY)
    place.remove()
    with pytest.raises(HostError, match=f"interface {place.root.veth} is missing; start vc5-netns"):
        place.host.call(lambda: namespace.probe_link(place.root))
    with pytest.raises(HostError, match=f"no network namespace {place.root.namespace}"):
        namespace.run_in_namespace(place.root, lambda: None)


@pytest.mark.root
def test_neither_end_speaks_unasked(place: Place) -> None:
    with place.listen() as capture:
        place.ensure()
        place.ensure()
        # A kernel that speaks IPv6 sends its first reports and solicitations within this time.
        ready, _, _ = select.select([capture], [], [], 1.5)
        assert not ready, Ether(capture.recv(2000)).summary()


@pytest.mark.root
def test_a_foreign_interface_of_that_name_is_an_error_and_stays(place: Place) -> None:
    place.host.run("ip", "link", "add", place.root.veth, "type", "bridge")
    for action in (place.ensure, place.remove):
        with pytest.raises(HostError, match=f"interface {place.root.veth} is of type bridge"):
            action()
    place.host.run("ip", "link", "delete", place.root.veth)


@pytest.mark.root
def test_the_namespace_of_the_balancer_itself_is_refused(place: Place) -> None:
    own = paths.Root(**{**place.root.__dict__, "namespace": place.host.name})
    with pytest.raises(HostError, match="network namespace of the balancer itself"):
        place.host.call(lambda: namespace.ensure(own))


@pytest.mark.root
def test_running_inside_returns_raises_and_leaves_nothing_behind(place: Place) -> None:
    place.ensure()

    def resources() -> tuple[int, int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count(), os.stat("/proc/self/ns/net").st_ino

    def fail() -> None:
        raise LookupError("from inside")

    before = resources()
    for turn in range(20):
        if turn % 2:
            place.remove()
        place.ensure()
        names = namespace.run_in_namespace(place.root, lambda: {name for _, name in socket.if_nameindex()})
        assert names == {"lo", place.root.veth_peer}
        with pytest.raises(LookupError, match="from inside"):
            namespace.run_in_namespace(place.root, fail)
    assert resources() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.root
def test_frames_redirected_into_the_veth_arrive_once_a_program_is_attached_inside(place: Place) -> None:
    link = place.ensure()
    library = libbpf()

    def load(*listing: Instruction) -> int:
        instructions = (Instruction * len(listing))(*listing)
        return checked(library.bpf_prog_load(6, b"test", b"GPL", instructions, len(listing), None), "load")

    def attach(interface: str, program: int) -> None:
        index = socket.if_nametoindex(interface)
        checked(library.bpf_xdp_attach(index, program, XDP_FLAGS_DRV_MODE, None), f"attach to {interface}")

    client = scratch(f"vc5client{os.getpid()}")
    redirect = load(
        Instruction(MOVE, 1, 0, 0, link.host_index),
        Instruction(MOVE, 2, 0, 0, 0),
        Instruction(CALL, 0, 0, 0, BPF_REDIRECT),
        Instruction(EXIT, 0, 0, 0, 0),
    )
    passing = load(Instruction(MOVE, 0, 0, 0, XDP_PASS), Instruction(EXIT, 0, 0, 0, 0))
    packet = IP(src="10.0.0.5", dst=str(PEER_ADDRESS)) / UDP(sport=53, dport=4242) / b"answer"
    answer = bytes(Ether(dst=link.peer_mac.hex(":"), src="02:00:00:00:00:01") / packet)
    try:
        place.host.run("ip", "link", "add", "front", "type", "veth", "peer", "back", "netns", client.name)
        place.host.run("ip", "link", "set", "front", "up")
        client.run("ip", "link", "set", "back", "up")
        place.host.call(lambda: attach("front", redirect))
        namespace.run_in_namespace(place.root, lambda: attach(place.root.veth_peer, passing))
        sender = client.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        receiver = place.inside.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with sender, receiver:
            sender.bind(("back", 0))
            receiver.bind((str(PEER_ADDRESS), 4242))
            receiver.setblocking(False)

            def received() -> bool:
                sender.send(answer)
                return bool(select.select([receiver], [], [], 0.01)[0])

            wait_for("the redirected frame", received)
            assert receiver.recvfrom(100) == (b"answer", ("10.0.0.5", 53))
    finally:
        os.close(redirect)
        os.close(passing)
        netns.remove(client.name)


@pytest.mark.root
def test_offloads_of_the_far_end_are_off(place: Place) -> None:
    place.ensure()
    name = place.root.veth_peer
    for feature in offload.Offload:
        assert not place.inside.call(lambda feature=feature: offload.enabled(name, feature))  # type: ignore[misc]
        place.inside.call(lambda feature=feature: offload.switch(name, feature, True))  # type: ignore[misc]
        assert place.inside.call(lambda feature=feature: offload.enabled(name, feature))  # type: ignore[misc]


@pytest.mark.root
def test_offload_names_the_interface_that_is_not_there(place: Place) -> None:
    with pytest.raises(KernelError, match=r"switch tx checksum offload of nosuch: No such device \[ENODEV\]"):
        place.host.call(lambda: offload.switch("nosuch", offload.Offload.TX_CHECKSUM, False))
