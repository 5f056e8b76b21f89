"""Packet in, packet out: what the prober sends by the slots, as a client's packets go; and the answers."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from appliance.dataplane.desired import Desired, DesiredService, Hop, Member, ProbeLink
from appliance.dataplane.enums import DeadPolicy, Reason, State
from appliance.dataplane.model import Action
from appliance.dataplane.model.exits import CHOSEN_SHIFT, STEERED
from appliance.dataplane.steering import ports_to, sent_to, steered_address
from appliance.model import Protocol, ServiceKey
from tests.dataplane.equivalence.pair import Pair
from tests.dataplane.frames import BALANCER, Frame
from tests.dataplane.oracle import checksums_are_right

pytestmark = pytest.mark.root

VIP, OWN, PROBER = "203.0.113.10", "10.1.10.5", "169.254.7.2"
SERVICE = ServiceKey(IPv4Address(VIP), 80, Protocol.TCP)
VETH = bytes.fromhex("0200000000aa0200000000ab")
LINK = ProbeLink(7, VETH, IPv4Address(PROBER))
INTERFACE = 3
FIRST, SECOND = 17, 18
"""The numbers of 10.1.10.11 and 10.1.10.12."""


def mac(host: int) -> bytes:
    return bytes.fromhex("020000010100")[:5] + bytes([host])


def desired(first: State, second: State, on_dead: DeadPolicy = DeadPolicy.RESELECT) -> Desired:
    members = tuple(
        Member(
            IPv4Address(f"10.1.10.{host}"),
            int(state is State.AVAILABLE),
            state,
            Hop(INTERFACE, mac(host) + BALANCER, IPv4Address(OWN)),
        )
        for host, state in ((11, first), (12, second))
    )
    service = DesiredService(SERVICE, members, 900, on_dead=on_dead)
    return Desired(services=(service,), vips={IPv4Address(VIP): True}, probe=LINK)


def steered(number: int) -> Frame:
    return Frame(VETH[6:], VETH[:6]).ipv4(PROBER, IPv4Address("10.0.0.0") + (number | STEERED))


def sent(host: int) -> Frame:
    return Frame(mac(host), BALANCER).ipv4(OWN, VIP)


def test_the_slots_choose_and_the_answer_comes_from_whom_was_called(pair: Pair) -> None:
    pair.apply("one is there", desired(State.DEAD, State.AVAILABLE))
    assert pair.tables[0].numbers(SERVICE) == {IPv4Address("10.1.10.11"): FIRST, IPv4Address("10.1.10.12"): SECOND}
    left = pair.send(steered(FIRST).tcp(4000, 80).bytes, probe=True)
    pair.compare()
    assert (left.reason, left.action, left.interface) == (Reason.PROBE_SENT, Action.REDIRECT, INTERFACE)
    assert left.frame == sent(12).tcp(4000, 80).bytes
    [asked] = pair.model.answers.values()
    assert asked == FIRST | STEERED | 1 << CHOSEN_SHIFT
    back = pair.send(Frame(BALANCER, mac(12)).ipv4(VIP, OWN).tcp(80, 4000, "SA").bytes)
    assert (back.reason, back.interface) == (Reason.PROBE_ANSWER, LINK.interface)
    assert back.frame[26:30] == (IPv4Address("10.0.0.0") + (FIRST | STEERED)).packed
    assert checksums_are_right(back.frame)


def test_an_established_flow_stays_and_a_new_one_goes_elsewhere(pair: Pair) -> None:
    pair.apply("both", desired(State.AVAILABLE, State.DEAD))
    pair.send(steered(SECOND).tcp(4000, 80).bytes, probe=True)
    pair.send(steered(SECOND).tcp(4000, 80, "A").bytes, probe=True)
    pair.apply("drained", desired(State.DRAINING, State.AVAILABLE))
    old = pair.send(steered(SECOND).tcp(4000, 80, "PA", data=b"x").bytes, probe=True)
    new = pair.send(steered(SECOND).tcp(4001, 80).bytes, probe=True)
    pair.compare()
    assert old.frame == sent(11).tcp(4000, 80, "PA", data=b"x").bytes
    assert new.frame == sent(12).tcp(4001, 80).bytes


REFUSED = {
    "no backend": (desired(State.DEAD, State.DEAD), steered(FIRST).tcp(4000, 80), Reason.NO_BACKEND),
    "a port without a service": (
        desired(State.AVAILABLE, State.AVAILABLE),
        steered(FIRST).tcp(4000, 81),
        Reason.PROBE_REFUSED,
    ),
    "a ping": (desired(State.AVAILABLE, State.AVAILABLE), steered(FIRST).icmp(8), Reason.PROBE_REFUSED),
    "number 0": (desired(State.AVAILABLE, State.AVAILABLE), steered(0).tcp(4000, 80), Reason.PROBE_REFUSED),
    "an unused number": (desired(State.AVAILABLE, State.AVAILABLE), steered(20).tcp(4000, 80), Reason.PROBE_REFUSED),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(pair: Pair, name: str) -> None:
    wanted, frame, reason = REFUSED[name]
    pair.apply(name, wanted)
    left = pair.send(frame.bytes, probe=True)
    pair.compare()
    assert (left.reason, left.action, left.frame) == (reason, Action.DROP, frame.bytes)
    assert pair.model.answers == {}


def test_a_flow_whose_backend_died_is_dropped_where_it_is_not_to_be_reselected(pair: Pair) -> None:
    pair.apply("both", desired(State.AVAILABLE, State.DEAD, DeadPolicy.DROP))
    pair.send(steered(FIRST).tcp(4000, 80).bytes, probe=True)
    pair.apply("dead", desired(State.DEAD, State.AVAILABLE, DeadPolicy.DROP))
    left = pair.send(steered(FIRST).tcp(4000, 80, "A").bytes, probe=True)
    pair.compare()
    assert (left.reason, left.action) == (Reason.DEAD, Action.DROP)


def test_ports_lead_where_they_are_said_to_and_it_can_be_seen_afterwards(pair: Pair) -> None:
    pair.apply("both", desired(State.AVAILABLE, State.AVAILABLE))
    tables, memory = pair.tables[0], pair.tables[0].memory
    entry, table = tables.entry(SERVICE), tables.slots(SERVICE)
    assert entry is not None
    assert table is not None
    seen = {FIRST: 0, SECOND: 0}
    for number in seen:
        ports = range(9000 + number * 100, 9064 + number * 100)
        for port, found in zip(ports, ports_to(memory, entry, table.owners(), SERVICE, number, ports), strict=True):
            caller = Frame(VETH[6:], VETH[:6]).ipv4(PROBER, str(steered_address(number, 4)))
            pair.send(caller.tcp(port, 80).bytes, probe=True)
            went = sent_to(pair.answers.lookup, [(SERVICE.vip, 80)], port, 6)
            assert found in (None, port)
            assert (went == number) == (found is not None)
            seen[number] += found is not None
    assert min(seen.values()) > 10
    pair.send(Frame(VETH[6:], VETH[:6]).ipv4(PROBER, IPv4Address("10.0.0.0") + FIRST).tcp(8000, 80).bytes, probe=True)
    assert sent_to(pair.answers.lookup, [(SERVICE.vip, 80)], 8000, 6) is None, "a probe was not steered"
