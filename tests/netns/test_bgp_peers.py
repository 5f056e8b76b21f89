"""The daemon and peers that behave badly: the RFC's answer, words that people understand, and nobody else disturbed.

Every test has a peer of its own, and all of them have a router with which the daemon gets on well, which is to notice
nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.lab.addresses import VIP
from tests.lab.bgp_message import (
    IPV4,
    IPV6,
    UNICAST,
    Attribute,
    Capability,
    Kind,
    keepalive,
    notification,
    open_message,
    refresh,
    route,
    shutdown,
)
from tests.lab.bgp_peer import BgpPeer, Connection
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError, Namespace
from tests.lab.patience import wait_for
from tests.lab.routers import Bird, Neighbour, Setup, missing_daemons
from tests.lab.site import VIP6, Site
from tests.netns.bgp_faults import BORNE, FAULTS, Fault, Here, odd_open
from tests.netns.bgp_scene import (
    ASES,
    BALANCER,
    BIRD,
    OWN_AS,
    VIPS,
    add_host,
    document,
    own,
    own6,
    peers,
    prepare,
    services,
    site_with_vips,
    wait_peer,
)
from tests.netns.scenario_operator import events

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing_daemons([Bird])), reason=missing_daemons([Bird]) or "all are there"),
]

US, US6 = own(BALANCER), own6(BALANCER)
PEER_AS = 65010
LARGE_AS = 4200000777
FIRST = 21
MIB = 1 << 20
USUAL, REFUSING, INTERNAL, SECURED, OLD = "usual", "refusing", "internal", "secured", "old"
GROUPS: dict[str, dict[str, Any]] = {
    USUAL: {"remote_as": PEER_AS},
    REFUSING: {"remote_as": PEER_AS},
    INTERNAL: {"remote_as": OWN_AS},
    SECURED: {"remote_as": PEER_AS, "ttl_security": True},
    OLD: {"as_number": LARGE_AS, "remote_as": PEER_AS},
}
SIZES = {USUAL: 36, REFUSING: 1, INTERNAL: 2, SECURED: 2, OLD: 1}
"""How many peers of each group there are."""


@dataclass
class Stage:
    """All that runs, and the peers that no test has used yet."""

    site: Site
    daemon: Daemon
    bird: Bird
    namespace: Namespace
    unused: dict[str, list[str]] = field(default_factory=dict)
    peers: dict[str, BgpPeer] = field(default_factory=dict)

    def peer(self, group: str = USUAL) -> BgpPeer:
        """The next peer; it listens, and the daemon is knocking."""
        return self.peers[self.unused[group].pop(0)]

    def status(self, peer: BgpPeer) -> dict[str, Any]:
        """What the daemon says of a peer."""
        return peers(self.daemon)[peer.address]

    def wait_error(self, peer: BgpPeer) -> dict[str, Any]:
        """Wait until the daemon knows of an error with a peer, and return it."""
        wait_for(f"an error of {peer.address}", lambda: self.status(peer)["last_error"])
        error: dict[str, Any] = self.status(peer)["last_error"]
        return error


@pytest.fixture(scope="module")
def whole() -> Iterator[Stage]:
    with ExitStack() as stack:
        site = stack.enter_context(site_with_vips())
        prepare(site)
        setup = Setup(ASES[BIRD], own(BIRD), (Neighbour(US, OWN_AS, (4, 6)),))
        bird = stack.enter_context(Bird(add_host(site, "bird", BIRD), site.directory / "bird", setup))
        namespace = add_host(site, "peers", FIRST)
        numbers = count(FIRST)
        addresses = {group: [own(next(numbers)) for _ in range(size)] for group, size in SIZES.items()}
        every = [address for some in addresses.values() for address in some]
        lines = [f"address add {address}/24 dev eth0" for address in every[1:]]
        namespace.run("ip", "-batch", "-", text="\n".join([*lines, ""]))
        made = {
            address: BgpPeer(
                namespace,
                address,
                listens=address not in addresses[REFUSING],
                ttl=255 if address == addresses[SECURED][0] else 0,
            )
            for address in every
        }
        for peer in made.values():
            stack.enter_context(peer)
        bgp = {
            "as_number": OWN_AS,
            "hold_time": 9,
            "next_hop_6": US6,
            "listen": True,
            "groups": [
                {"name": "bird", "remote_as": ASES[BIRD], "peers": [own(BIRD)]},
                *({"name": name, "peers": addresses[name], **values} for name, values in GROUPS.items()),
            ],
        }
        daemon = stack.enter_context(Daemon(site.balancer, site.root(), document(services(site), bgp)))
        bird.wait_established()
        bird.wait("all VIPs", lambda: len({**bird.routes(4), **bird.routes(6)}) == len(VIPS))
        yield Stage(site, daemon, bird, namespace, addresses, made)


@pytest.fixture
def stage(whole: Stage) -> Iterator[Stage]:
    """With it, a test proves besides that the daemon lives on and that the other router has noticed nothing."""
    since, changes = whole.bird.neighbour(US).since, [len(whole.bird.changes(vip)) for vip in VIPS]
    yield whole
    assert whole.daemon.running
    assert whole.bird.neighbour(US).since == since
    assert [len(whole.bird.changes(vip)) for vip in VIPS] == changes
    assert "Traceback" not in whole.daemon.errors
    assert "defect" not in whole.daemon.errors


def here(peer: BgpPeer, own_as: int = PEER_AS) -> Here:
    return Here(own_as, peer.address, OWN_AS, US)


def test_a_peer_that_refuses_is_tried_again(stage: Stage) -> None:
    peer = stage.peer(REFUSING)
    error = stage.wait_error(peer)
    assert (error["direction"], error["code"]) == ("local", None)
    assert "refused" in error["text"].lower()
    wait_for("another attempt", lambda: stage.status(peer)["attempts"] >= 2, 20)
    peer.listen()
    with peer.accept(30) as connection:
        connection.establish(PEER_AS, peer.address)
        wait_peer(stage.daemon, peer.address, "established")


def test_what_a_plain_peer_hears(stage: Stage) -> None:
    peer = stage.peer()
    with peer.accept() as connection:
        opened = connection.establish(PEER_AS, peer.address).open
        assert (opened.version, opened.short_as, opened.hold_time, opened.router_id) == (4, OWN_AS, 9, US)
        told = dict(opened.capabilities)
        assert {
            Capability.MULTIPROTOCOL,
            Capability.ROUTE_REFRESH,
            Capability.GRACEFUL_RESTART,
            Capability.FOUR_OCTET_AS,
            Capability.ENHANCED_ROUTE_REFRESH,
        } <= set(told)
        assert told[Capability.FOUR_OCTET_AS] == struct.pack("!I", OWN_AS)
        families = [value for code, value in opened.capabilities if code == Capability.MULTIPROTOCOL]
        assert families == [struct.pack("!HBB", family, 0, UNICAST) for family in (IPV4, IPV6)]
        routes = initial_routes(connection)
        assert {prefix for prefix, _ in routes} == {ip_network(vip) for vip in VIPS}
        assert {hop for _, hop in routes} == {US, US6}


def initial_routes(connection: Connection, families: int = 2) -> set[tuple[Any, str]]:
    """What is announced before the end of the initial routes in each family."""
    routes: set[tuple[Any, str]] = set()
    while families:
        update = connection.expect(Kind.UPDATE).update
        routes |= {(prefix, update.next_hop) for prefix in update.announced}
        families -= not update.announced
    return routes


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_faults_are_answered_and_explained(stage: Stage, fault: Fault) -> None:
    peer = stage.peer()
    with peer.accept() as connection:
        if fault.says is not None:
            connection.send(fault.says(here(peer)))
        else:
            assert fault.then is not None
            connection.establish(PEER_AS, peer.address)
            initial_routes(connection)
            connection.send(fault.then(here(peer)))
        said = connection.expect(Kind.NOTIFICATION)
        assert said.error == fault.answer
        assert fault.data is None or said.body[2:] == fault.data
        connection.expect_end()
    error = stage.wait_error(peer)
    assert (error["direction"], error["code"], error["subcode"]) == ("sent", *fault.answer)
    assert error["hex"], "the octets that it is about"
    told = wait_for("an event", lambda: [each for each in events(stage.daemon, "bgp") if ended(each, peer)])
    assert [each["reason"] for each in told] == [error["text"]]


def ended(event: dict[str, Any], peer: BgpPeer) -> bool:
    """Whether an event tells of the end of a peer's session."""
    return event["peer"] == peer.address and "reason" in event


def test_oddities_are_borne(stage: Stage) -> None:
    peer = stage.peer()
    with peer.accept() as connection:
        connection.send(odd_open(here(peer)))
        connection.expect(Kind.OPEN)
        connection.send(keepalive(), *(each.says(here(peer)) for each in BORNE))
        connection.send(route("198.18.0.0/15", peer.address, [PEER_AS]))
        initial_routes(connection)
        connection.send(refresh(IPV6))
        while ip_network(f"{VIP6}/128") not in connection.expect(Kind.UPDATE).update.announced:
            pass
        status = stage.status(peer)
        assert status["state"] == "established"
        assert status["treated_as_withdraw"] == 2
        assert status["received_routes_ignored"] >= 1
    assert "198.18.0.0" not in stage.site.balancer.run("ip", "route")


def test_one_octet_at_a_time_is_a_message_as_well(stage: Stage) -> None:
    peer = stage.peer()
    with peer.accept() as connection:
        for octet in open_message(PEER_AS, peer.address) + keepalive():
            connection.send(bytes((octet,)))
        initial_routes(connection)


@pytest.mark.parametrize(
    ("words", "code", "subcode", "said"),
    [
        (shutdown("back at noon"), 6, 2, "back at noon"),
        (shutdown("a\nb\x1b[31m"), 6, 2, "a"),
        (notification(6, 4, b"\xff\xfe\xfd"), 6, 4, ""),
        (notification(3, 1), 3, 1, ""),
        (notification(99, 99, bytes(range(256))), 99, 99, "99"),
    ],
    ids=("words", "control characters", "no words", "update error", "unknown"),
)
def test_what_peers_say_at_the_end_is_kept(stage: Stage, words: bytes, code: int, subcode: int, said: str) -> None:
    peer = stage.peer()
    with peer.accept() as connection:
        connection.establish(PEER_AS, peer.address)
        connection.send(words)
        connection.expect_end()
    error = stage.wait_error(peer)
    assert (error["direction"], error["code"], error["subcode"]) == ("received", code, subcode)
    assert said in error["text"]
    assert error["text"].isprintable()


@pytest.mark.parametrize("how", ["close", "reset", "half a message"])
def test_a_connection_that_breaks_is_no_crash(stage: Stage, how: str) -> None:
    peer = stage.peer()
    connection = peer.accept()
    connection.establish(PEER_AS, peer.address)
    wait_peer(stage.daemon, peer.address, "established")
    if how == "half a message":
        connection.send(keepalive()[:10])
    (connection.reset if how == "reset" else connection.close)()
    error = stage.wait_error(peer)
    assert (error["direction"], error["code"]) == ("local", None)
    with peer.accept(30) as again:
        again.establish(PEER_AS, peer.address)
        wait_peer(stage.daemon, peer.address, "established")


def test_silence_ends_a_session(stage: Stage) -> None:
    peer = stage.peer()
    with peer.accept() as connection:
        connection.establish(PEER_AS, peer.address, hold_time=3)
        assert connection.expect(Kind.NOTIFICATION).error == (4, 0)
        connection.expect_end()


def test_the_same_router_id_is_refused_within_an_as(stage: Stage) -> None:
    peer = stage.peer(INTERNAL)
    with peer.accept() as connection:
        connection.send(open_message(OWN_AS, US))
        assert connection.expect(Kind.NOTIFICATION).error == (2, 3)
    assert US in stage.wait_error(peer)["text"]


def test_within_an_as_the_path_is_empty(stage: Stage) -> None:
    peer = stage.peer(INTERNAL)
    with peer.accept() as connection:
        connection.establish(OWN_AS, peer.address)
        attributes = connection.expect(Kind.UPDATE).update.attributes
        assert attributes[Attribute.AS_PATH] == b""
        assert attributes[Attribute.LOCAL_PREF] == struct.pack("!I", 100)


def test_an_old_router_has_two_octets_for_an_as_and_one_family(stage: Stage) -> None:
    peer = stage.peer(OLD)
    with peer.accept() as connection:
        connection.send(open_message(PEER_AS, peer.address, capabilities=()))
        assert connection.expect(Kind.OPEN).open.short_as == 23456
        connection.send(keepalive())
        updates = [connection.expect(Kind.UPDATE).update]
        while updates[-1].announced:
            updates.append(connection.expect(Kind.UPDATE).update)
        assert {prefix for each in updates for prefix in each.announced} == {
            ip_network(vip) for vip in VIPS if ":" not in vip
        }
        as4_path = 17
        assert updates[0].attributes[Attribute.AS_PATH] == struct.pack("!BBH", 2, 1, 23456)
        assert updates[0].attributes[as4_path] == struct.pack("!BBI", 2, 1, LARGE_AS)


def test_packets_from_afar_are_ignored_where_that_is_asked_for(stage: Stage) -> None:
    near, far = stage.peer(SECURED), stage.peer(SECURED)
    with near.accept() as connection:
        connection.establish(PEER_AS, near.address)
    with pytest.raises(LabError, match="nobody connected"):
        far.accept(0.5)
    assert stage.status(far)["state"] != "established"


@pytest.mark.parametrize(("router_id", "survivor"), [("9.9.9.9", "theirs"), ("250.0.0.1", "ours")])
def test_of_two_connections_that_of_the_higher_name_lives(stage: Stage, router_id: str, survivor: str) -> None:
    peer = stage.peer()
    with peer.accept() as theirs, peer.connect(US) as ours:
        for connection in (theirs, ours):
            connection.send(open_message(PEER_AS, router_id))
        living, dying = (theirs, ours) if survivor == "theirs" else (ours, theirs)
        assert dying.expect(Kind.NOTIFICATION).error == (6, 7)
        dying.expect_end()
        living.expect(Kind.OPEN)
        living.send(keepalive())
        initial_routes(living)
        assert stage.status(peer)["sessions"] == 1


def test_strangers_are_not_spoken_to(stage: Stage) -> None:
    stage.namespace.run("ip", "address", "add", own(250) + "/24", "dev", "eth0")
    with BgpPeer(stage.namespace, own(250), listens=False) as stranger, stranger.connect(US) as connection:
        assert connection.receive() is None


def test_a_peer_that_does_not_read_costs_nobody_anything(stage: Stage) -> None:
    peer = stage.peer()
    with peer.accept() as connection:
        connection.establish(PEER_AS, peer.address)
        initial_routes(connection)
        before = memory(stage.daemon)
        for _ in range(20):
            connection.send(refresh(IPV4) * 1000)
        status = stage.status(peer)
        assert status["state"] == "established"
        assert memory(stage.daemon) < before + 16 * MIB
        assert ip_network(f"{VIP}/32") in connection.expect(Kind.UPDATE).update.announced


def memory(daemon: Daemon) -> int:
    """The octets that a daemon occupies."""
    row = next(row for row in Path(f"/proc/{daemon.pid}/status").read_text().splitlines() if row.startswith("VmRSS"))
    return int(row.split()[1]) * 1024
