"""The kernel of the guest unpacks every kind of tunnel that the balancer packs, here from plain tunnel devices.

    near                                       far
   +------------------------------+           +--------------------------------+
   | eth0  10.2.0.1  2001:db8::1  +-----------+ eth0  10.2.0.2  2001:db8::2    |
   | out   the VIP's way, packed  |           | in-.. unpacks,  lo  has the VIP |
   +------------------------------+           +--------------------------------+

Answers come directly, as in direct server return.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count, product

import pytest

from appliance.model import TunnelKind
from tests.lab.namespace import LabError, Namespace, run
from tests.vm.decapsulation import prepare, received

pytestmark = pytest.mark.root

NEAR = {4: ip_address("10.2.0.1"), 6: ip_address("2001:db8::1")}
FAR = {4: ip_address("10.2.0.2"), 6: ip_address("2001:db8::2")}
VIP = {4: ip_address("203.0.113.10"), 6: ip_address("2001:db8:1::10")}
SERVICE = 7000
SENDERS = {(4, 4): "ipip", (4, 6): "sit", (6, 4): "ip6tnl", (6, 6): "ip6tnl"}
VERSIONS = list(product((4, 6), (4, 6)))


@dataclass(frozen=True)
class Row:
    """What the sender packs, and what the receiver is told to unpack: GUE's variant 1 is a FOU packet to a GUE port."""

    kind: TunnelKind
    outer: int
    inner: int
    wire: str = ""
    checksum: bool = True

    def __str__(self) -> str:
        checksum = "" if self.checksum else "-no-checksum"
        return f"{self.kind}-{self.wire or self.kind}-{self.inner}-in-{self.outer}{checksum}"


ROWS = [Row(kind, *versions) for kind in (TunnelKind.IPIP, TunnelKind.GRE) for versions in VERSIONS]
ROWS += [
    Row(kind, *versions, wire, checksum)
    for kind, wire, checksum in (
        (TunnelKind.FOU, "fou", True),
        (TunnelKind.GUE, "gue", True),
        (TunnelKind.GUE, "fou", False),
    )
    for versions in VERSIONS
]
NUMBERS = count(1)
"""Every row has a port of its own, so that none finds what another one has opened."""


@pytest.fixture(scope="module")
def spaces() -> Iterator[tuple[Namespace, Namespace]]:
    near, far = (Namespace(f"vc5tun-{os.getpid()}-{name}") for name in ("near", "far"))
    cable = f"link add eth0 netns {near.name} type veth peer name eth0 netns {far.name}"
    try:
        run("ip", "-batch", "-", text=f"netns add {near.name}\nnetns add {far.name}\n{cable}\n")
        for space, addresses in ((near, NEAR), (far, FAR)):
            lines = [f"address add {addresses[4]}/24 dev eth0", f"address add {addresses[6]}/64 dev eth0 nodad"]
            space.run("ip", "-batch", "-", text="\n".join([*lines, "link set lo up", "link set eth0 up", ""]))
        run("modprobe", "--all", "fou", "fou6")
        yield near, far
    finally:
        for space in (near, far):
            with suppress(LabError):
                run("ip", "netns", "delete", space.name)


@pytest.fixture
def port(spaces: tuple[Namespace, Namespace]) -> Iterator[int]:
    """A port that no row before had; afterwards nothing is packed any more."""
    yield 5000 + next(NUMBERS)
    if "out" in spaces[0].statistics():
        spaces[0].run("ip", "link", "delete", "out")


def pack(near: Namespace, row: Row, port: int) -> None:
    """Send what goes to the VIP through a tunnel device."""
    kind = ("gre" if row.outer == 4 else "ip6gre") if row.kind is TunnelKind.GRE else SENDERS[row.outer, row.inner]
    words = ["link add out type", kind, "local", str(NEAR[row.outer]), "remote", str(FAR[row.outer])]
    if row.outer == 6:
        words += ["encaplimit none"]  # an option header, which the balancer does not send either
    if kind == "ip6tnl":
        words += ["mode", "ipip6" if row.inner == 4 else "ip6ip6"]
    if row.wire:
        checksum = ("" if row.checksum else "no") + ("encap-csum" if row.outer == 4 else "encap-udp6-csum")
        words += ["encap", row.wire, "encap-sport 0 encap-dport", str(port), checksum]
    route = f"route add {VIP[row.inner]} dev out src {NEAR[row.inner]}"
    near.run("ip", "-batch", "-", text="\n".join([" ".join(words), "link set out up", route, ""]))


def talk(near: Namespace, far: Namespace, version: int, patience: float) -> bytes:
    """Send bytes to the VIP over TCP, and return those that its server got. Raises OSError."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6

    def listen() -> socket.socket:
        return socket.create_server((str(VIP[version]), SERVICE), family=family)

    def connect() -> socket.socket:
        return socket.create_connection((str(VIP[version]), SERVICE), timeout=patience)

    with far.call(listen) as server, near.call(connect) as client:
        server.settimeout(patience)
        taken, _ = server.accept()
        with taken:
            taken.settimeout(patience)
            client.sendall(b"through the tunnel")
            return taken.recv(100)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_unpacked(spaces: tuple[Namespace, Namespace], port: int, row: Row) -> None:
    near, far = spaces
    device = prepare(far, row.kind, FAR[row.outer], VIP[row.inner], port)
    before = received(far, device.name)
    pack(near, row, port)
    assert talk(near, far, row.inner, patience=10) == b"through the tunnel"
    assert received(far, device.name) - before >= 3, "SYN, ACK and data came through it"


def test_nothing_arrives_where_no_port_is_open(spaces: tuple[Namespace, Namespace], port: int) -> None:
    near, far = spaces
    device = prepare(far, TunnelKind.IPIP, FAR[4], VIP[4])
    before = received(far, device.name)
    pack(near, Row(TunnelKind.GUE, 4, 4, "gue"), port)
    with pytest.raises(OSError, match=r"timed out|unreachable|refused"):
        talk(near, far, 4, patience=0.5)
    assert received(far, device.name) == before
