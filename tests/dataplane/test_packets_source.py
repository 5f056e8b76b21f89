"""Packet in, packet out where sources are blocked and counted: what is dropped whatever it is, and what never is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest

from appliance.dataplane.abi import SOURCE_SAMPLE
from appliance.dataplane.desired import Desired, DesiredService, Hop, Member
from appliance.dataplane.enums import Reason, State
from appliance.dataplane.model import Action
from appliance.errors import PlanError
from appliance.model import Address, Mode, Network, Protocol, ServiceKey
from tests.dataplane.equivalence.pair import Pair, loaded, shape
from tests.dataplane.frames import BALANCER, Frame

pytestmark = pytest.mark.root

VIP, VIP6 = IPv4Address("203.0.113.10"), IPv6Address("2001:db8:5::10")
STRANGER = "192.0.2.1"
BLOCKED: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "198.51.100.0/25",
        "198.51.100.200/32",
        "100.64.0.0/10",
        "2001:db8:9::/48",
        "2001:db9::/32",
        "3000::/6",
    )
)
MAC = bytes.fromhex("02000001010b")


def _service(vip: Address, backend: Address, own: Address, port: int, protocol: Protocol) -> DesiredService:
    return DesiredService(
        ServiceKey(vip, port, protocol), (Member(backend, 1, State.AVAILABLE, Hop(2, MAC + BALANCER, own)),), 900
    )


FOUR = (IPv4Address("10.1.10.11"), IPv4Address("10.1.10.5"))
SIX = (IPv6Address("2001:db8:10::11"), IPv6Address("2001:db8:10::5"))
DESIRED = Desired(
    services=(
        _service(VIP, *FOUR, 53, Protocol.UDP),
        _service(VIP, *FOUR, 80, Protocol.TCP),
        _service(VIP6, *SIX, 80, Protocol.TCP),
    ),
    vips={VIP: True, VIP6: True},
    blocked=BLOCKED,
)


def _from(source: str, **more: Any) -> Frame:
    return Frame().ipv4(source, str(VIP), **more)


def _six(source: str, to: IPv6Address = VIP6, **more: Any) -> Frame:
    return Frame().ipv6(IPv6Address(source), to, **more)


@dataclass(frozen=True)
class Row:
    """A frame, and why it leaves as it does."""

    why: str
    frame: Frame
    reason: Reason


BAD, FREE = "198.51.100.7", "198.51.100.128"
BAD6, FREE6 = "2001:db8:9::7", "2001:db8:a::7"
ROWS = (
    Row("a new connection", _from(BAD).tcp(1, 80), Reason.BLOCKED),
    Row("one that is established", _from(BAD).tcp(1, 80, "PA", data=b"x" * 99), Reason.BLOCKED),
    Row("a datagram", _from(BAD).udp(1, 53, b"q" * 40), Reason.BLOCKED),
    Row("a datagram too short for the quick way", _from(BAD).udp(1, 53), Reason.BLOCKED),
    Row("an unknown port", _from(BAD).tcp(1, 9), Reason.BLOCKED),
    Row("another protocol", _from(BAD).raw(47, bytes(30)), Reason.BLOCKED),
    Row("an echo request", _from(BAD).icmp(8), Reason.BLOCKED),
    Row("an ICMP error", _from(BAD).icmp(3, 4, bytes(28)), Reason.BLOCKED),
    Row("a fragment", _from(BAD, fragment=0x2000).udp(1, 53), Reason.BLOCKED),
    Row("malformed", _from(BAD, length=9).tcp(1, 80), Reason.BLOCKED),
    Row("options", Frame().ipv4(BAD, str(VIP), options=b"\1" * 4).tcp(1, 80), Reason.BLOCKED),
    Row("no hop left", _from(BAD, ttl=1).tcp(1, 80), Reason.BLOCKED),
    Row("the first of a prefix", _from("198.51.100.0").tcp(1, 80), Reason.BLOCKED),
    Row("the last of a prefix", _from("198.51.100.127").tcp(1, 80), Reason.BLOCKED),
    Row("the next one", _from(FREE).tcp(1, 80), Reason.FORWARD),
    Row("the next one, a datagram", _from(FREE).udp(1, 53, b"q" * 40), Reason.FORWARD),
    Row("the next one, an echo request", _from(FREE).icmp(8), Reason.ECHO),
    Row("the next one, an unknown port", _from(FREE).tcp(1, 9), Reason.UNKNOWN_PORT),
    Row("a single address", _from("198.51.100.200").tcp(1, 80), Reason.BLOCKED),
    Row("beside a single address", _from("198.51.100.201").tcp(1, 80), Reason.FORWARD),
    Row("somewhere in a short prefix", _from("100.127.255.255").tcp(1, 80), Reason.BLOCKED),
    Row("behind a short prefix", _from("100.128.0.0").tcp(1, 80), Reason.FORWARD),
    Row("before a short prefix", _from("100.63.255.255").tcp(1, 80), Reason.FORWARD),
    Row("far away", _from(STRANGER).tcp(1, 80), Reason.FORWARD),
    Row("not to a VIP", Frame().ipv4(BAD, STRANGER).tcp(1, 80), Reason.NOT_VIP),
    Row("to the balancer itself", Frame().ipv4(BAD, "10.1.10.5").tcp(1, 22), Reason.NOT_VIP),
    Row("from a VIP", Frame().ipv4(str(VIP), BAD).tcp(80, 1, "SA"), Reason.VIP_SOURCE),
    Row("IPv6", _six(BAD6).tcp(1, 80), Reason.BLOCKED),
    Row("IPv6, an echo request", _six(BAD6).icmp(128), Reason.BLOCKED),
    Row("IPv6, neighbour discovery", _six(BAD6).icmp(135), Reason.BLOCKED),
    Row("IPv6, an unknown port", _six(BAD6).udp(1, 9), Reason.BLOCKED),
    Row("IPv6, no hop left", _six(BAD6, hops=1).tcp(1, 80), Reason.BLOCKED),
    Row("IPv6, a whole /32", _six("2001:db9:ffff::1").tcp(1, 80), Reason.BLOCKED),
    Row("IPv6, a very short prefix", _six("33ff::1").tcp(1, 80), Reason.BLOCKED),
    Row("IPv6, behind a very short prefix", _six("3400::1").tcp(1, 80), Reason.FORWARD),
    Row("IPv6, in the same /32", _six(FREE6).tcp(1, 80), Reason.FORWARD),
    Row("IPv6, in the same /32, a ping", _six(FREE6).icmp(128), Reason.ECHO),
    Row("IPv6, not to a VIP", _six(BAD6, IPv6Address("2001:db8:77::1")).tcp(1, 80), Reason.NOT_VIP),
    Row("IPv4 in the last bits of IPv6 is another", _six(f"::{BAD}").tcp(1, 80), Reason.FORWARD),
)


@pytest.fixture(scope="module")
def loaded_source_pair() -> Iterator[Pair]:
    with loaded(shape(resets=False, ipv6=True, ddos=True)) as pair:
        yield pair


@pytest.fixture
def pair(loaded_source_pair: Pair) -> Pair:
    loaded_source_pair.clear()
    loaded_source_pair.at(1000)
    return loaded_source_pair


@pytest.mark.parametrize("row", ROWS, ids=[row.why.replace(" ", "-") for row in ROWS])
def test_packet(pair: Pair, row: Row) -> None:
    pair.apply("open", DESIRED)
    left = pair.send(row.frame.bytes)
    pair.compare()
    assert left.reason is row.reason
    if row.reason is Reason.BLOCKED:
        assert (left.action, left.frame) == (Action.DROP, row.frame.bytes)


def test_what_is_unblocked_passes_again(pair: Pair) -> None:
    frame = _from(BAD).tcp(1, 80).bytes
    for blocked, reason in ((BLOCKED, Reason.BLOCKED), (BLOCKED[1:], Reason.FORWARD), ((), Reason.FORWARD)):
        pair.apply(f"{len(blocked)} blocked", replace(DESIRED, blocked=blocked))
        assert pair.send(frame).reason is reason
    pair.apply("and again", DESIRED)
    assert pair.send(frame).reason is Reason.BLOCKED
    pair.compare()


def test_one_of_many_packets_is_counted_by_its_source(pair: Pair) -> None:
    """Each reason, and each destination, counts for itself; those that are dropped for being blocked as well."""
    pair.apply("open", DESIRED)
    sent = (_from(FREE).tcp(1, 80), _from(BAD).tcp(1, 80), _from(STRANGER).tcp(1, 9), _six(FREE6).tcp(1, 80))
    for frame in (*sent, Frame().ipv4(FREE, STRANGER).tcp(1, 80)):
        for _ in range(3 * SOURCE_SAMPLE):
            pair.send(frame.bytes)
    pair.compare()
    found = {place: count for place, count in enumerate(pair.real.sources) if count}
    assert found == {int(IPv4Address(FREE)) >> 12: 6, int(IPv4Address(STRANGER)) >> 12: 3}


def test_tables_without_the_feature_refuse_it() -> None:
    with loaded(shape(resets=False)) as pair:
        with pytest.raises(PlanError, match="cannot block"):
            pair.apply("open", DESIRED)
        assert pair.send(_from(BAD).tcp(1, 80).bytes).reason is Reason.NOT_VIP


@pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "both"])
@pytest.mark.parametrize(
    ("mode", "mixed"),
    [(Mode.SIMPLE, False), (Mode.VLAN, False), (Mode.VLAN, True), (Mode.MULTI_NIC, False)],
    ids=["simple", "vlan", "mixed", "multi-nic"],
)
def test_every_mode_and_family_passes_the_verifier(mode: Mode, mixed: bool, ipv6: bool) -> None:
    with loaded(shape(resets=True, mode=mode, mixed=mixed, ipv6=ipv6, ddos=True)) as pair:
        assert pair.generation.shape.blocks
