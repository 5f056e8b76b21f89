"""The peer of tests itself: BIRD judges whether it says what it is told to say, and hears what is said."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from tests.lab.bgp_message import (
    IPV4,
    IPV6,
    UNICAST,
    Capability,
    Kind,
    keepalive,
    notification,
    refresh,
    route,
    shutdown,
    update,
)
from tests.lab.bgp_peer import BgpPeer, Connection
from tests.lab.namespace import LabError
from tests.lab.routers import Announced, Bird, Neighbour, Setup, missing_daemons
from tests.lab.site import Network, Site
from tests.netns.bgp_faults import BORNE, FAULTS, Fault, Here, odd_open

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing_daemons([Bird])), reason=missing_daemons([Bird]) or "all are there"),
]

NEAR, FAR = "10.1.10.1", "10.1.10.5"
NEAR6, FAR6 = "2001:db8:10::1", "2001:db8:10::5"
HERE = Here(own_as=65001, own_id=NEAR, other_as=65002, other_id=FAR)
KEY = "a-secret"
BIRD_BEARS = ("long KEEPALIVE",)
BIRD_SAYS = {"a malformed attribute of no route": (3, 1)}
"""Where BIRD sees it in another way than the table."""
OWN4, OWN6 = "192.0.2.1/32", "2001:db8:9::1/128"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site([Network(10)], backends=0) as made:
        yield made


@pytest.fixture(scope="module")
def bird(site: Site) -> Iterator[Bird]:
    """A victim that waits to be spoken to."""
    neighbours = (
        Neighbour(NEAR, 65001, (4, 6), passive=True, hold_time=30),
        Neighbour(NEAR6, 65001, password=KEY),
    )
    setup = Setup(65002, FAR, neighbours, (Announced(OWN4, med=9), Announced(OWN6)))
    with Bird(site.balancer, site.directory / "bird", setup) as router:
        yield router


@pytest.fixture
def peer(site: Site) -> Iterator[BgpPeer]:
    with BgpPeer(site.router, NEAR) as made:
        yield made


def connected(peer: BgpPeer, bird: Bird) -> Connection:
    """A connection; after an error BIRD would let nobody in for seconds."""
    bird.shut(NEAR, "")
    bird.unshut(NEAR)
    bird.wait("BIRD to listen", lambda: bird.neighbour(NEAR).state == "active")
    return peer.connect(FAR)


def test_a_whole_session(bird: Bird, peer: BgpPeer) -> None:
    with connected(peer, bird) as connection:
        opened = connection.establish(HERE.own_as, HERE.own_id).open
        assert (opened.version, opened.short_as, opened.hold_time, opened.router_id) == (4, 65002, 30, FAR)
        assert (Capability.MULTIPROTOCOL, struct.pack("!HBB", IPV6, 0, UNICAST)) in opened.capabilities
        updates = [connection.expect(Kind.UPDATE).update for _ in range(4)]
        told = {prefix: (each.next_hop, each.attributes.get(4)) for each in updates for prefix in each.announced}
        assert told == {
            ip_network(OWN4): (FAR, b"\0\0\0\x09"),
            ip_network(OWN6): ("2001:db8:10::5", None),
        }
        assert sum(not each.announced for each in updates) == 2, "two ends of the initial routes"
        connection.send(route("198.18.0.0/15", NEAR, [65001, 4200000000]))
        assert bird.wait_route("198.18.0.0/15")[0].as_path == (65001, 4200000000)
        connection.send(update(withdrawn=bytes((15, 198, 18))))
        bird.wait_no_route("198.18.0.0/15")
        connection.send(refresh(IPV4))
        assert connection.expect(Kind.UPDATE).update.announced == (ip_network(OWN4),)
        connection.keep_up()
        connection.send(shutdown("gone fishing"))
        bird.wait_down(NEAR)
        assert "gone fishing" in bird.log


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_bird_answers_faults_as_the_table_says(bird: Bird, peer: BgpPeer, fault: Fault) -> None:
    with connected(peer, bird) as connection:
        if fault.says is not None:
            connection.send(fault.says(HERE))
        else:
            assert fault.then is not None
            connection.establish(HERE.own_as, HERE.own_id)
            connection.send(fault.then(HERE))
        if fault.name in BIRD_BEARS:
            return
        assert connection.expect(Kind.NOTIFICATION).error in (fault.answer, BIRD_SAYS.get(fault.name))
        connection.expect_end()


def test_bird_bears_what_the_table_says(bird: Bird, peer: BgpPeer) -> None:
    with connected(peer, bird) as connection:
        connection.send(odd_open(HERE))
        connection.expect(Kind.OPEN)
        connection.send(keepalive(), *(each.says(HERE) for each in BORNE), route("198.18.0.0/15", NEAR, [65001]))
        bird.wait_route("198.18.0.0/15")
        connection.send(notification(6, 4))
        connection.expect_end()


def test_it_hangs_up_and_it_refuses(site: Site, bird: Bird, peer: BgpPeer) -> None:
    connection = connected(peer, bird)
    connection.establish(HERE.own_as, HERE.own_id)
    bird.wait_established(NEAR)
    connection.reset()
    bird.wait_down(NEAR)
    with pytest.raises(LabError, match="nobody connected"):
        peer.accept(seconds=0.1)
    peer.close()
    with BgpPeer(site.balancer, FAR, listens=False) as other, pytest.raises(ConnectionRefusedError):
        other.connect(NEAR)


def test_a_key(site: Site, bird: Bird) -> None:
    with (
        BgpPeer(site.router, NEAR6, password=KEY, other=FAR6) as peer,
        peer.accept() as connection,
    ):
        connection.establish(HERE.own_as, HERE.own_id)
        bird.wait_established(NEAR6)
