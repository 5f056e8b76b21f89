"""The sockets of the exchange, over loopback: two families, floods, and what cannot be opened or sent."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_address
from itertools import pairwise

import pytest

from appliance.fleet.envelope import MOST, Drop
from appliance.fleet.orders import Gone, Why
from appliance.fleet.socket import BUDGET, FleetSocket, without_own
from appliance.model_address import Endpoint
from appliance.model_fleet import Fleet
from tests.unit.fleet.network import KEY, OTHER_KEY, SERVICE
from tests.unit.fleet.scene import Scene, scene

LOOPBACK = ("127.0.0.1", "::1")


@pytest.fixture
def stage() -> Iterator[Scene]:
    with scene() as made:
        yield made


def free_ports(host: str, count: int) -> list[int]:
    """Return UDP ports that nobody uses."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ends = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(count)]
    for end in ends:
        end.bind((host, 0))
    ports = [end.getsockname()[1] for end in ends]
    for end in ends:
        end.close()
    return ports


def fleets(host: str, count: int) -> list[Fleet]:
    """Return the configurations of nodes that are told apart by their ports."""
    address = ip_address(host)
    ports = free_ports(host, count)
    ends = tuple(Endpoint(address, port) for port in ports)
    return [without_own(Fleet((KEY,), peers=ends, source=address, port=port)) for port in ports]


@pytest.mark.parametrize("host", LOOPBACK)
def test_three_nodes_on_one_host_tell_each_other(stage: Scene, host: str) -> None:
    for number, fleet in enumerate(fleets(host, 3)):
        assert len(fleet.peers) == 2, "its own address is no peer"
        stage.start(number, fleet)
    stage.wait_for("three members", lambda: stage.together(0, 1, 2))
    runner = stage.runners[0]
    runner.act(stage.nodes[0].new_flows(3000, stage.loop.time()))
    stage.wait_for("all flows", lambda: len(stage.nodes[1].flows) == len(stage.nodes[2].flows) == 3000)
    life = stage.nodes[2].exchange.life
    runner.act(runner.exchange.ask_table(life, SERVICE, stage.loop.time()))
    stage.wait_for("the table", stage.nodes[0].tables)
    assert stage.nodes[0].tables()[0].table == stage.nodes[2].table(SERVICE)
    stage.runners[2].stop()
    stage.wait_for("two members", lambda: stage.together(0, 1))
    assert [order.why for order in stage.nodes[0].heard if isinstance(order, Gone)] == [Why.LEFT]


def test_a_node_goes_on_with_another_configuration_or_with_the_one_before(stage: Scene) -> None:
    first, second = fleets("127.0.0.1", 2)
    stage.start(0, first)
    stage.start(1, second)
    stage.wait_for("two members", lambda: stage.together(0, 1))
    runner = stage.runners[0]
    before = runner.socket
    runner.configure(replace(first, keys=(OTHER_KEY, KEY), rate=100_000))
    assert runner.socket is before, "other keys need no other sockets"
    stage.runners[1].configure(replace(second, keys=(KEY, OTHER_KEY)))
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="is used by another program"):
            runner.configure(replace(first, port=other.getsockname()[1]))
    runner.act(stage.nodes[0].new_flows(10, stage.loop.time()))
    stage.wait_for("flows", lambda: len(stage.nodes[1].flows) == 10)
    (port,) = free_ports("127.0.0.1", 1)
    runner.configure(replace(first, keys=(OTHER_KEY,), port=port))
    (member,) = stage.nodes[1].exchange.members.values()
    stage.wait_for("words from its new port", lambda: member.address.port == port)
    assert not stage.nodes[1].of(Gone)


def test_a_flood_of_garbage_is_read_in_turns_and_counted(stage: Scene) -> None:
    ours, theirs = fleets("127.0.0.1", 2)
    runner = stage.start(0, ours)
    stage.start(1, theirs)
    stage.wait_for("two members", lambda: stage.together(0, 1))
    counts, done = runner.exchange.counters, runner.socket._done
    turns = [sum(counts.dropped.values())]

    def turn_over() -> None:
        turns.append(sum(counts.dropped.values()))
        done()

    runner.socket._done = turn_over
    flood = 10 * BUDGET
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as stranger:
        for number in range(flood):
            stranger.sendto(bytes([number % 256]) * (number % 2000), ("127.0.0.1", ours.port))
    stage.wait_for("all of it", lambda: sum(counts.dropped.values()) >= turns[0] + flood)
    assert len(turns) > 10
    assert all(after - before <= BUDGET for before, after in pairwise(turns))
    assert counts.dropped[Drop.LONG] == sum(number % 2000 > MOST for number in range(flood))
    assert stage.together(0, 1)


def opened(fleet: Fleet, stage: Scene) -> FleetSocket:
    """Return open sockets that nothing listens to."""
    made = FleetSocket(fleet, stage.loop, lambda *_: None, lambda: None)
    made.open()
    return made


def test_what_cannot_be_opened_says_what_to_do(stage: Scene) -> None:
    (fleet,) = fleets("127.0.0.1", 1)
    peers = (Endpoint(ip_address("127.0.0.2"), 9),)
    with closing(opened(Fleet((KEY,), peers, None, ip_address("127.0.0.1"), fleet.port), stage)):
        with pytest.raises(OSError, match=f"UDP port {fleet.port} is used by another program"):
            opened(Fleet((KEY,), peers, None, ip_address("127.0.0.1"), fleet.port), stage)
        with pytest.raises(OSError, match=r"fleet.source 192.0.2.77 is no address of this host"):
            opened(Fleet((KEY,), peers, None, ip_address("192.0.2.77"), fleet.port), stage)
    with closing(opened(Fleet((KEY,), peers, None, ip_address("127.0.0.1"), fleet.port), stage)):
        pass  # nothing of the failed ones is left


def test_what_cannot_be_sent_is_counted(stage: Scene) -> None:
    (fleet,) = fleets("127.0.0.1", 1)
    peers = (Endpoint(ip_address("127.0.0.2"), 9),)
    made = opened(Fleet((KEY,), peers, None, ip_address("127.0.0.1"), fleet.port), stage)
    with closing(made):
        made.send(b"x" * 70_000, peers[0])
        made.send(b"x", Endpoint(ip_address("::1"), 9))
        made.send(b"x", Endpoint(ip_address("198.51.100.1"), 9))
        made.send(b"x", Endpoint(ip_address("255.255.255.255"), 9))
        made.send(b"x", None)
    assert made.errors[errno.errorcode[errno.EMSGSIZE]] == 1
    assert made.errors[errno.errorcode[errno.EAFNOSUPPORT]] == 1
    assert made.errors[errno.errorcode[errno.EACCES]] == 1
    made.send(b"x", None)
    assert sum(made.errors.values()) >= 4, "closed, and it raises nothing"


def test_the_kernel_keeps_a_sync(stage: Scene) -> None:
    (fleet,) = fleets("127.0.0.1", 1)
    with closing(opened(Fleet((KEY,), (Endpoint(ip_address("127.0.0.2"), 9),), None, None, fleet.port), stage)) as made:
        assert made.buffer >= 64 * MOST


def test_own_addresses_are_no_peers() -> None:
    ends = [("127.0.0.1", 9876), ("127.0.0.1", 9877), ("192.0.2.1", 9876), ("::1", 9876), ("ff02::1", 9876)]
    peers = tuple(Endpoint(ip_address(host), port) for host, port in ends)
    assert [str(peer) for peer in without_own(Fleet((KEY,), peers)).peers] == [
        *("127.0.0.1:9877", "192.0.2.1:9876", "[ff02::1]:9876")
    ]


def test_closing_while_hearing_ends_it(stage: Scene) -> None:
    (fleet,) = fleets("127.0.0.1", 1)
    heard = []

    def take(data: bytes, source: Endpoint) -> None:
        heard.append(data)
        made.close()

    peer = (Endpoint(ip_address("127.0.0.2"), 9),)
    made = FleetSocket(Fleet((KEY,), peer, None, None, fleet.port), stage.loop, take, lambda: None)
    made.open()
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as stranger:
        for _ in range(3):
            stranger.sendto(b"x", ("127.0.0.1", fleet.port))
    stage.wait_for("a datagram", lambda: heard)
    assert heard == [b"x"]
