"""The network of the exchange, with datagrams of its own: that it does what it is told, and nothing else."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from tests.lab.impairment import BAD, Impairment
from tests.lab.lossy import LossyNetwork, address
from tests.lab.namespace import Namespace
from tests.lab.patience import wait_for
from tests.lab.relay import Passed
from tests.lab.topology import Lab

pytestmark = pytest.mark.root

HOSTS = {"n1": 5, "n2": 6, "n3": 7}
PORT = 9876
GROUP = "239.255.76.5"
COUNT = 400
NUMBER = struct.Struct("!I")
FULL = bytes(1400 - NUMBER.size)


@dataclass
class Ends:
    """A socket in each namespace, and what each has received."""

    sockets: dict[str, socket.socket]

    def send(self, source: str, destination: str, count: int = COUNT) -> None:
        """Send numbered datagrams; to a host, or to the group."""
        to = GROUP if destination == "group" else str(address(HOSTS[destination]))
        for number in range(count):
            self.sockets[source].sendto(NUMBER.pack(number) + FULL, (to, PORT))

    def received(self, name: str) -> list[int]:
        """Return the numbers that have arrived since the last call."""
        found = []
        while True:
            try:
                found.append(NUMBER.unpack_from(self.sockets[name].recv(2048))[0])
            except BlockingIOError:
                return found


@contextmanager
def standing(seed: int = 1) -> Iterator[tuple[LossyNetwork, Ends]]:
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(backends=3, servers=False))
        spaces = dict(zip(HOSTS, (backend.namespace for backend in lab.backends.values()), strict=True))
        hosts = {name: (spaces[name], host) for name, host in HOSTS.items()}
        network = stack.enter_context(LossyNetwork(f"{lab.name}-exchange", hosts, seed))
        sockets = {name: stack.enter_context(_socket(space, HOSTS[name])) for name, space in spaces.items()}
        ends = Ends(sockets)
        # Whoever does not know a neighbour yet keeps few datagrams for it.
        for one in HOSTS:
            for other in HOSTS:
                if one != other:
                    ends.send(one, other, 1)
                    wait_arrived(ends, other, 1)
        yield network, ends


def _socket(space: Namespace, host: int) -> socket.socket:
    made = space.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    made.bind(("", PORT))
    local = address(host).packed
    made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + local)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, local)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    made.setblocking(False)
    return made


def passed(network: LossyNetwork, source: str, destination: str) -> Passed:
    [found] = [each for each in network.passed() if (each.source, each.destination) == (source, destination)]
    return found


def wait_arrived(ends: Ends, name: str, count: int) -> list[int]:
    """Wait until so many datagrams have arrived, and return their numbers."""
    found: list[int] = []

    def look() -> bool:
        found.extend(ends.received(name))
        return len(found) >= count

    wait_for(f"{count} datagrams at {name}", look)
    return found


def test_what_is_not_treated_badly_arrives_as_it_was_sent() -> None:
    with standing() as (network, ends):
        ends.send("n1", "n2")
        assert wait_arrived(ends, "n2", COUNT) == list(range(COUNT))
        ends.send("n3", "group", 10)
        assert wait_arrived(ends, "n1", 10) == wait_arrived(ends, "n2", 10) == list(range(10))
        assert ends.received("n3") == []
        account = passed(network, "n1", "n2")
        assert (account.datagrams, account.lost, account.doubled, account.late, account.cut) == (COUNT + 1, 0, 0, 0, 0)
        assert account.bytes == (COUNT + 1) * (14 + 20 + 8 + 1400)
        assert passed(network, "n3", "n1").datagrams == passed(network, "n3", "n2").datagrams == 10 + 1


def test_a_bad_network_does_the_same_to_the_same_datagrams() -> None:
    arrived = []
    for _ in range(2):
        with standing(seed=3) as (network, ends):
            network.impair(BAD)
            ends.send("n1", "n2")
            account = passed(network, "n1", "n2")
            found = wait_arrived(ends, "n2", COUNT - account.lost + account.doubled)
            assert min(account.lost, account.doubled, account.late) > COUNT * 0.05
            assert found != sorted(found), "some are overtaken"
            arrived.append(sorted(found))
    assert arrived[0] == arrived[1]


def test_every_impairment_can_be_seen() -> None:
    with standing() as (network, ends):
        network.impair(Impairment(drop=1.0))
        ends.send("n1", "n2", 10)
        wait_for("the loss", lambda: passed(network, "n1", "n2").lost == 10)
        network.impair(Impairment(duplicate=1.0))
        ends.send("n1", "n2", 10)
        assert sorted(wait_arrived(ends, "n2", 20)) == sorted([*range(10), *range(10)])
        network.impair(Impairment(longest=14 + 20 + 8 + len(FULL)))
        ends.send("n1", "n2", 10)
        wait_for("what is too long to be lost", lambda: passed(network, "n1", "n2").lost == 20)
        network.impair(Impairment(longest=14 + 20 + 8 + NUMBER.size + len(FULL)))
        ends.send("n1", "n2", 10)
        assert wait_arrived(ends, "n2", 10) == list(range(10))
        network.mend()
        ends.send("n1", "n2", 10)
        assert wait_arrived(ends, "n2", 10) == list(range(10))


def test_links_are_cut_and_mended() -> None:
    with standing() as (network, ends):
        network.isolate("n1")
        for one, other in (("n1", "n2"), ("n3", "n1"), ("n2", "n3")):
            ends.send(one, other, 5)
        assert wait_arrived(ends, "n3", 5) == list(range(5))
        wait_for("n1 to be cut off", lambda: [_cut(network, "n1", "n2"), _cut(network, "n3", "n1")] == [5, 5])
        assert ends.received("n1") == ends.received("n2") == []
        network.mend()
        ends.send("n1", "n2", 3)
        assert wait_arrived(ends, "n2", 3) == list(range(3))
        network.cut()
        for one, other in (("n1", "n2"), ("n2", "n3")):
            ends.send(one, other, 5)
        wait_for("all to be cut off", lambda: [_cut(network, "n1", "n2"), _cut(network, "n2", "n3")] == [10, 5])
        assert ends.received("n2") == ends.received("n3") == []
        network.mend()
        network.unplug("n2")
        ends.send("n1", "n2", 5)
        network.plug("n2")
        ends.send("n3", "n2", 7)
        assert wait_arrived(ends, "n2", 7) == list(range(7))


def test_who_speaks_to_a_group_hears_himself_where_it_is_reflected() -> None:
    with standing() as (network, ends):
        network.reflect()
        ends.send("n3", "group", 10)
        assert wait_arrived(ends, "n3", 10) == wait_arrived(ends, "n1", 10) == list(range(10))
        network.mend()
        ends.send("n3", "group", 10)
        assert wait_arrived(ends, "n1", 10) == list(range(10))
        ends.send("n2", "n3", 1)
        assert wait_arrived(ends, "n3", 1) == [0], "nothing of its own came before"


def _cut(network: LossyNetwork, source: str, destination: str) -> int:
    return passed(network, source, destination).cut
