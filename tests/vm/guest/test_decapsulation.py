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
from itertools import product

import pytest

from appliance.model import TunnelKind
from tests.lab.namespace import LabError, Namespace, run
from tests.vm.decapsulation import prepare

pytestmark = pytest.mark.root

NEAR = {4: ip_address("10.2.0.1"), 6: ip_address("2001:db8::1")}
FAR = {4: ip_address("10.2.0.2"), 6: ip_address("2001:db8::2")}
VIP = {4: ip_address("203.0.113.10"), 6: ip_address("2001:db8:1::10")}
SERVICE, PORT = 7000, 5555
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
    for kind, wire in ((TunnelKind.FOU, "fou"), (TunnelKind.GUE, "gue"), (TunnelKind.GUE, "fou"))
    for versions in VERSIONS
    for checksum in (True, False)
]


@pytest.fixture
def spaces() -> Iterator[tuple[Namespace, Namespace]]:
    near, far = (Namespace(f"vc5tun-{os.getpid()}-{name}") for name in ("near", "far"))
    try:
        for space in (near, far):
            run("ip", "netns", "add", space.name)
        run("ip", "link", "add", "eth0", "netns", near.name, "type", "veth", "peer", "name", "eth0", "netns", far.name)
        for space, addresses in ((near, NEAR), (far, FAR)):
            lines = [f"address add {addresses[4]}/24 dev eth0", f"address add {addresses[6]}/64 dev eth0 nodad"]
            space.run("ip", "-batch", "-", text="\n".join([*lines, "link set lo up", "link set eth0 up", ""]))
        yield near, far
    finally:
        for space in (near, far):
            with suppress(LabError):
                run("ip", "netns", "delete", space.name)


def pack(near: Namespace, row: Row) -> None:
    """Send what goes to the VIP through a tunnel device."""
    ends = ["local", str(NEAR[row.outer]), "remote", str(FAR[row.outer])]
    if row.kind is TunnelKind.GRE:
        device = ["gre" if row.outer == 4 else "ip6gre", *ends]
    else:
        device = [SENDERS[row.outer, row.inner], *ends]
    if row.outer == 6:
        device += ["encaplimit", "none"]  # an option header, which the balancer does not send either
        device += ["mode", "ipip6" if row.inner == 4 else "ip6ip6"] if row.kind is not TunnelKind.GRE else []
    if row.wire:
        run("modprobe", "fou" if row.outer == 4 else "fou6")
        checksum = ("" if row.checksum else "no") + ("encap-csum" if row.outer == 4 else "encap-csum6")
        device += ["encap", row.wire, "encap-sport", "auto", "encap-dport", str(PORT), checksum]
    near.run("ip", "link", "add", "out", "type", *device)
    near.run("ip", "link", "set", "out", "up")
    near.run("ip", "route", "add", str(VIP[row.inner]), "dev", "out", "src", str(NEAR[row.inner]))


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
def test_unpacked(spaces: tuple[Namespace, Namespace], row: Row) -> None:
    near, far = spaces
    device = prepare(far, row.kind, FAR[row.outer], VIP[row.inner], PORT if row.wire else 0)
    pack(near, row)
    assert talk(near, far, row.inner, patience=10) == b"through the tunnel"
    assert far.statistics()[device.name]["rx_packets"] >= 3, "SYN, ACK and data came through it"
    assert far.statistics()[device.name]["rx_errors"] == 0


def test_nothing_arrives_where_another_kind_is_expected(spaces: tuple[Namespace, Namespace]) -> None:
    near, far = spaces
    device = prepare(far, TunnelKind.GRE, FAR[4], VIP[4])
    pack(near, Row(TunnelKind.GUE, 4, 4, "gue"))
    with pytest.raises(OSError, match=r"timed out|unreachable|refused"):
        talk(near, far, 4, patience=0.5)
    assert far.statistics()[device.name]["rx_packets"] == 0


def test_kinds_and_families_share_a_backend(spaces: tuple[Namespace, Namespace]) -> None:
    near, far = spaces
    for kind, vip in product((TunnelKind.IPIP, TunnelKind.GRE, TunnelKind.GUE), VIP.values()):
        prepare(far, kind, FAR[6], vip, PORT if kind is TunnelKind.GUE else 0)
    pack(near, Row(TunnelKind.GUE, 6, 4, "gue"))
    assert talk(near, far, 4, patience=10) == b"through the tunnel"
