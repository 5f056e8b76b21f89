"""The exchange by multicast, between namespaces with two cables each, of which only one is the right one.

node 0, node 1, node 2      one  10.9.1.N, fd00:9:1::N   the default route
                            two  10.9.2.N, fd00:9:2::N
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count

import pytest

from appliance.fleet.envelope import Drop
from appliance.fleet.socket import without_own
from appliance.model_address import Endpoint
from appliance.model_fleet import Fleet
from tests.lab.namespace import Namespace, run
from tests.unit.fleet.network import KEY
from tests.unit.fleet.scene import Scene, scene

pytestmark = pytest.mark.root

NODES = 3
PORT = 9876
GROUPS = {4: ip_address("239.255.76.5"), 6: ip_address("ff05::76:5")}
_serial = count(1)


@dataclass
class Site:
    """Three nodes at two switches."""

    hosts: list[Namespace]
    switch: Namespace
    stage: Scene

    def start(self, number: int, fleet: Fleet) -> None:
        """Start a node in its namespace."""
        host = self.hosts[number]
        self.stage.start(number, host.call(lambda: without_own(fleet)), host.call)

    def listen(self, device: str, family: int) -> socket.socket:
        """Return a socket that gets what passes a switch."""

        def made() -> socket.socket:
            end = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(family))
            end.bind((device, family))
            end.settimeout(0)
            return end

        return self.switch.call(made)


@pytest.fixture
def site() -> Iterator[Site]:
    name = f"vc5fleet{os.getpid()}-{next(_serial)}"
    switch = Namespace(f"{name}-switch")
    hosts = [Namespace(f"{name}-n{number}") for number in range(NODES)]
    try:
        run("ip", "-batch", "-", text="".join(f"netns add {one.name}\n" for one in (switch, *hosts)))
        lines = [f"link add {device} type bridge mcast_snooping 0\nlink set {device} up" for device in ("one", "two")]
        for number, host in enumerate(hosts):
            for device in ("one", "two"):
                lines.append(f"link add {device}{number} type veth peer {device} netns {host.name}")
                lines.append(f"link set {device}{number} master {device} up")
        switch.run("ip", "-batch", "-", text="\n".join(lines))
        for number, host in enumerate(hosts):
            lines = ["link set lo up"]
            for index, device in enumerate(("one", "two"), 1):
                lines += [
                    f"link set {device} up",
                    f"address add 10.9.{index}.{number + 1}/24 dev {device}",
                    f"address add fd00:9:{index}::{number + 1}/64 dev {device} nodad",
                ]
            lines += ["route add default via 10.9.1.200", "route add default via fd00:9:1::200"]
            host.run("ip", "-batch", "-", text="\n".join(lines))
        with scene() as stage:
            yield Site(hosts, switch, stage)
    finally:
        run("ip", "-batch", "-", text="".join(f"netns delete {one.name}\n" for one in (switch, *hosts)))


def source(version: int, cable: int, number: int) -> str:
    """Return a node's address on one of its cables."""
    return f"10.9.{cable}.{number + 1}" if version == 4 else f"fd00:9:{cable}::{number + 1}"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("port", [PORT, PORT + 1], ids=["one port", "a port of its own"])
def test_nodes_meet_in_their_group(site: Site, version: int, port: int) -> None:
    group = Endpoint(GROUPS[version], port)
    for number in range(NODES):
        site.start(number, Fleet((KEY,), group=group, source=ip_address(source(version, 2, number))))
    site.stage.wait_for("three members", lambda: site.stage.together(0, 1, 2))
    for node in site.stage.nodes.values():
        for member in node.exchange.members.values():
            assert str(member.address.address) == source(version, 2, int(member.name.removeprefix("node")))
    site.stage.runners[0].act(site.stage.nodes[0].new_flows(5000, site.stage.loop.time()))
    site.stage.wait_for("all flows", lambda: all(len(node.flows) == 5000 for node in site.stage.nodes.values()))
    assert not any(runner.socket.errors for runner in site.stage.runners.values())
    assert not any(node.exchange.counters.dropped[Drop.OWN] for node in site.stage.nodes.values())


@pytest.mark.parametrize("version", [4, 6])
def test_without_a_source_the_group_is_where_its_route_is(site: Site, version: int) -> None:
    for host in site.hosts:
        host.run("ip", *(["-6"] if version == 6 else []), "route", "add", f"{GROUPS[version]}", "dev", "one",
                 *(["table", "local"] if version == 6 else []))  # fmt: skip
    for number in range(NODES - 1):
        site.start(number, Fleet((KEY,), group=Endpoint(GROUPS[version], PORT)))
    site.start(2, Fleet((KEY,), group=Endpoint(GROUPS[version], PORT), source=ip_address(source(version, 2, 2))))
    site.stage.wait_for("two members", lambda: site.stage.together(0, 1))
    heard = [len(node.exchange.members) for node in site.stage.nodes.values()]
    assert heard == [1, 1, 0], "the third speaks on the other cable"


@pytest.mark.parametrize("version", [4, 6])
def test_multicast_goes_no_further_than_the_link(site: Site, version: int) -> None:
    family = 0x0800 if version == 4 else 0x86DD
    with site.listen("two", family) as end:
        group = Endpoint(GROUPS[version], PORT)
        site.start(0, Fleet((KEY,), group=group, source=ip_address(source(version, 2, 0))))
        seen: list[bytes] = []

        def look() -> bool:
            try:
                seen.append(end.recv(2000))
            except OSError:
                return False
            return b"V5F1" in seen[-1]

        site.stage.wait_for("a HELLO", look)
    hops = seen[-1][8] if version == 4 else seen[-1][7]
    assert hops == 1
    ports = seen[-1][20:24] if version == 4 else seen[-1][40:44]
    assert struct.unpack("!HH", ports) == (PORT, PORT)


def test_a_group_is_joined_again_where_its_interface_has_come_back(site: Site) -> None:
    group = Endpoint(GROUPS[4], PORT)
    for number in range(2):
        site.start(number, Fleet((KEY,), group=group, source=ip_address(source(4, 2, number))))
    site.stage.wait_for("two members", lambda: site.stage.together(0, 1))
    site.hosts[1].run("ip", "link", "delete", "two")
    site.switch.run("ip", "link", "add", "two1", "type", "veth", "peer", "two", "netns", site.hosts[1].name)
    site.switch.run("ip", "link", "set", "two1", "master", "two", "up")
    with pytest.raises(OSError, match=r"cannot join multicast group 239.255.76.5 on the interface that has 10.9.2.2"):
        site.hosts[1].call(site.stage.runners[1].socket.rejoin)
    site.hosts[1].run("ip", "link", "set", "two", "up")
    site.hosts[1].run("ip", "address", "add", "10.9.2.2/24", "dev", "two")
    exchange = site.stage.nodes[1].exchange
    site.hosts[1].call(site.stage.runners[1].socket.rejoin)
    before = exchange.counters.heard_octets
    site.stage.wait_for("the group again", lambda: exchange.counters.heard_octets > before)
