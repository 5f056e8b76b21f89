"""Frames longer than a buffer: a program made for several buffers judges them as the model does, and short ones too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from appliance.dataplane.desired import Desired, DesiredService, Hop, Member
from appliance.dataplane.enums import DeadPolicy, Reason, State
from appliance.dataplane.render import render
from appliance.dataplane.shape import ONE_BUFFER_MTU, Shape, shape_for
from appliance.model import Config, Protocol, ServiceKey
from appliance.paths import TEMPLATES
from tests.dataplane.equivalence.pair import Pair, loaded, shape
from tests.dataplane.frames import BALANCER, Frame
from tests.dataplane.oracle import checksums_are_right

CLIENT, VIP = "198.51.100.7", "203.0.113.10"
BACKEND = bytes.fromhex("02000001010b")
JUMBO: Shape = replace(shape(resets=True), multi_buffer=True)
TO_VIP = Frame().ipv4(CLIENT, VIP)


def _service(port: int, protocol: Protocol, state: State) -> DesiredService:
    hop = Hop(2, BACKEND + BALANCER, IPv4Address("10.1.10.5"))
    member = Member(IPv4Address("10.1.10.11"), int(state is State.AVAILABLE), state, hop)
    return DesiredService(ServiceKey(IPv4Address(VIP), port, protocol), (member,), 900, DeadPolicy.RESET)


def _desired(third: State) -> Desired:
    services = (
        _service(53, Protocol.UDP, State.AVAILABLE),
        _service(80, Protocol.TCP, State.AVAILABLE),
        _service(81, Protocol.TCP, third),
    )
    return Desired(services=services, vips={IPv4Address(VIP): True})


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with loaded(JUMBO) as made:
        made.at(100)
        made.apply("open", _desired(State.AVAILABLE))
        made.apply("a backend dies", _desired(State.DEAD))
        yield made


# The frame but for its data, and what becomes of it whatever its length.
FRAMES: dict[str, tuple[Callable[[bytes], Frame], Reason]] = {
    "TCP": (lambda data: TO_VIP.tcp(40000, 80, "A", data=data), Reason.FORWARD),
    "UDP": (lambda data: TO_VIP.udp(40000, 53, data), Reason.FORWARD),
    "options": (
        lambda data: Frame().ipv4(CLIENT, VIP, options=b"\1" * 8).tcp(40000, 80, "A", data=data),
        Reason.FORWARD,
    ),
    "echo": (lambda data: TO_VIP.icmp(8, data=data), Reason.ECHO),
    "a dead backend": (lambda data: TO_VIP.tcp(40000, 81, "A", data=data), Reason.RESET),
    "shorter than it claims": (lambda data: TO_VIP.udp(40000, 53, data).cut(41 + len(data)), Reason.MALFORMED),
    "longer than it claims": (lambda data: TO_VIP.udp(40000, 53, data).padded(80 + len(data)), Reason.FORWARD),
}
LENGTHS = (0, 1000, 3400, 3520, 4000, 8948, 8972)
"""Around the end of the first buffer, which in a test run holds about 3,500 bytes, and up to an MTU of 9000."""


@pytest.mark.root
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", FRAMES)
def test_frames_of_any_length(pair: Pair, name: str, length: int) -> None:
    build, reason = FRAMES[name]
    frame = build(bytes(range(256)) * (length // 256) + bytes(length % 256)).bytes
    found = pair.send(frame)
    assert found.reason is reason
    if reason in (Reason.FORWARD, Reason.RESET) and name != "longer than it claims":
        assert checksums_are_right(found.frame)
    pair.compare()


@pytest.mark.parametrize(("mtu", "wanted"), [(0, False), (1500, False), (ONE_BUFFER_MTU, False), (9000, True)])
def test_the_largest_mtu_decides(mtu: int, wanted: bool) -> None:
    assert shape_for(Config(), 1, mtu=mtu).multi_buffer is wanted
    assert ("get_buff_len" in render(shape_for(Config(), 1, mtu=mtu), TEMPLATES)) is wanted


def test_what_is_made_for_several_buffers_stays_so_while_it_runs() -> None:
    assert shape_for(Config(), 1).grown(shape_for(Config(), 1, mtu=9000)).multi_buffer
