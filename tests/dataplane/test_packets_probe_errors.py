"""Packet in, packet out: errors that say why a probe is not answered, on their way to the prober.

The ways and the program are those of test_packets_echo.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.dataplane.enums import Reason
from appliance.dataplane.model import Action
from appliance.model import Address, Forward
from tests.dataplane.equivalence.pair import Pair
from tests.dataplane.frames import BALANCER, Frame
from tests.dataplane.oracle import checksums_are_right
from tests.dataplane.test_packets_echo import (
    BACKEND,
    EACH,
    LINK,
    MAC,
    NAMES,
    OWN,
    ROADS,
    STRANGER,
    Road,
    between,
    called,
    opened,
    out,
    prober,
    program,
)

pytestmark = pytest.mark.root

PORT_UNREACHABLE, PROHIBITED = {4: (3, 3), 6: (1, 4)}, {4: (3, 13), 6: (1, 1)}
DIRECT, NAT = ROADS[0], ROADS[2]


@pytest.fixture(scope="module")
def loaded_pair() -> Iterator[Pair]:
    with program() as pair:
        yield pair


@pytest.fixture
def pair(loaded_pair: Pair) -> Pair:
    return opened(loaded_pair)


def arrives(road: Road, family: int) -> Address:
    """Where probes go."""
    return BACKEND[family] if road.forward is Forward.NAT else road.vip(family)


def quoted(
    road: Road, family: int, *, tcp: bool, source: int = 4000, target: int = 9000, checksum: int | None = None
) -> bytes:
    """A probe as it left the balancer, from its IP header on."""
    ip = between(Frame(), OWN[family], arrives(road, family))
    return (ip.tcp(source, target) if tcp else ip.udp(source, target, b"question", checksum=checksum)).bytes[14:]


def said(road: Road, family: int, by: Address | None = None, to: Address | None = None) -> Frame:
    """An error's IP header, from whoever sent it."""
    frame = Frame(BALANCER, MAC)
    frame = frame.tagged(road.vlan) if road.vlan else frame
    return between(frame, by or arrives(road, family), to or OWN[family])


def ask(pair: Pair, road: Road, family: int, *, tcp: bool, checksum: int | None = None) -> bytes:
    """Send a probe to a port that nobody listens on; returns it as the prober sent it, from its IP header on."""
    ip = out(pair, road, family)
    probe = ip.tcp(4000, 9000) if tcp else ip.udp(4000, 9000, b"question", checksum=checksum)
    assert pair.send(probe.bytes, probe=True).reason is Reason.PROBE_SENT
    return probe.bytes[14:]


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize(("road", "family"), EACH, ids=NAMES)
def test_the_prober_learns_why(pair: Pair, road: Road, family: int, tcp: bool) -> None:
    """The error is as if the destination, as the prober calls it, had got the probe as the prober sent it."""
    asked = ask(pair, road, family, tcp=tcp)
    for most in (1500, (20 if family == 4 else 40) + 8):
        content = quoted(road, family, tcp=tcp)[:most]
        left = pair.send(said(road, family).icmp(*PORT_UNREACHABLE[family], content).padded(60).bytes)
        assert (left.action, left.interface, left.reason) == (Action.REDIRECT, LINK.interface, Reason.PROBE_ANSWER)
        delivered = between(Frame(LINK.macs[:6], LINK.macs[6:]), called(pair, road, family), prober(family))
        delivered = delivered.icmp(*PORT_UNREACHABLE[family], asked[:most])
        assert left.frame[: len(delivered.bytes)] == delivered.bytes
    pair.compare()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("road", [DIRECT, NAT], ids=["direct", "nat"])
def test_a_probe_without_checksum(pair: Pair, road: Road, family: int) -> None:
    asked = ask(pair, road, family, tcp=False, checksum=0)
    content = quoted(road, family, tcp=False, checksum=0)
    left = pair.send(said(road, family).icmp(*PROHIBITED[family], content).bytes)
    assert left.reason is Reason.PROBE_ANSWER
    assert left.frame.endswith(asked)
    assert checksums_are_right(left.frame)


@pytest.mark.parametrize("family", [4, 6])
def test_behind_nat_also_of_a_router(pair: Pair, family: int) -> None:
    """Which speaks for itself."""
    asked = ask(pair, NAT, family, tcp=False)
    frame = said(NAT, family, STRANGER[family]).icmp(*PROHIBITED[family], quoted(NAT, family, tcp=False))
    left = pair.send(frame.bytes)
    delivered = between(Frame(LINK.macs[:6], LINK.macs[6:]), STRANGER[family], prober(family))
    assert left.frame == delivered.icmp(*PROHIBITED[family], asked).bytes
    pair.compare()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("road", [DIRECT, NAT], ids=["direct", "nat"])
def test_what_concerns_no_probe_is_passed(pair: Pair, road: Road, family: int) -> None:
    ask(pair, road, family, tcp=False)
    passed = Reason.NOT_VIP if road.forward is Forward.NAT else Reason.VIP_SOURCE
    why, probe = PORT_UNREACHABLE[family], quoted(road, family, tcp=False)
    other = between(Frame(), OWN[family], arrives(road, family))
    elsewhere = between(Frame(), STRANGER[family], arrives(road, family)).udp(4000, 9000, b"question").bytes[14:]
    headers = 20 if family == 4 else 40
    for name, frame in {
        "from another port": said(road, family).icmp(*why, quoted(road, family, tcp=False, source=4001)),
        "to another port": said(road, family).icmp(*why, quoted(road, family, tcp=False, target=9001)),
        "of the other protocol": said(road, family).icmp(*why, quoted(road, family, tcp=True)),
        "of another host": said(road, family).icmp(*why, elsewhere),
        "to another host": said(road, family, to=STRANGER[family]).icmp(*why, elsewhere),
        "of ICMP": said(road, family).icmp(*why, other.icmp(8 if family == 4 else 128).bytes[14:]),
        "too big": said(road, family).icmp(*((3, 4) if family == 4 else (2, 0)), probe),
        "time exceeded": said(road, family).icmp(11 if family == 4 else 3, 0, probe),
        "too little quoted": said(road, family).icmp(*why, probe[: headers + 7]),
        "nothing quoted": said(road, family).icmp(*why),
    }.items():
        left = pair.send(frame.bytes)
        assert (left.action, left.reason, left.frame) == (Action.PASS, passed, frame.bytes), name
    pair.compare()
