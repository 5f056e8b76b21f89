"""What an examination makes of answers: a small world answers what is sent, and the evidence is what it did."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP

from appliance.health.evidence import EXAMINE_PORTS, Evidence, Examinee, Reply
from appliance.health.examination import END, Examination, Place
from appliance.health.quoted import Refusal
from appliance.model import Protocol
from tests.profile import PARSER_INPUTS

NAT, VIP, BACKEND, OWN, PROBER = "10.0.0.1", "203.0.113.10", "10.1.10.11", "10.1.10.5", "10.255.255.254"
ONE = Examinee(
    7, ip_address(VIP), 80, Protocol.TCP, ip_address(BACKEND), 80, ip_address(NAT), 1500, tunnel="ipip", tunnel_port=0
)
Answer = tuple[Place, int, str, bytes]
"""Where a packet comes in, its protocol, its sender, and what follows the IP header."""


@dataclass
class Sent:
    """One packet of the examination."""

    place: Place
    protocol: int
    message: bytes
    host: str

    @property
    def port(self) -> int:
        """Its source port, or identifier."""
        return int.from_bytes(self.message[4:6] if self.protocol == 1 else self.message[:2], "big")

    @property
    def size(self) -> int:
        """Bytes of the IP packet."""
        return 20 + len(self.message)

    def segment(self, flags: str, port: int | None = None, beyond: int = 1) -> bytes:
        """An answer to a SYN, from `port` (default: the one asked for)."""
        own, asked, sequence = struct.unpack_from("!HHI", self.message)
        return bytes(TCP(sport=port or asked, dport=own, flags=flags, ack=(sequence + beyond) & 0xFFFFFFFF))

    def echo(self) -> bytes:
        """The reply to an echo request."""
        return b"\0\0" + self.message[2:]

    def quoted(self, destination: str) -> bytes:
        """Itself, as an ICMP error quotes it."""
        return bytes(IP(src=OWN, dst=destination, proto=self.protocol)) + self.message[:8]


World = Callable[[Sent], Iterator[Answer]]


def examined(world: World, one: Examinee = ONE) -> tuple[Evidence, list[Sent]]:
    """What is known in the end, and what was sent for it."""
    sent: list[Sent] = []
    pending: list[Answer] = []

    def send(place: Place, version: int, protocol: int, message: bytes, host: str) -> None:
        assert version == 4
        sent.append(Sent(place, protocol, message, host))
        pending.extend(world(sent[-1]))

    examination = Examination([one], send, lambda place, *_: PROBER if place is Place.PROBE else OWN, 8192)
    now = 0.0
    while not examination.over(now):
        examination.work(now)
        while pending:
            place, protocol, sender, message = pending.pop(0)
            examination.take(place, 4, protocol, sender, message)
        now += 0.1
    [evidence] = examination.evidence()
    return evidence, sent


def well(sent: Sent, longest: int = 1500, flags: str = "SA") -> Iterator[Answer]:
    """A backend in order: it answers all that is no longer than its way allows."""
    if sent.protocol == 6 and sent.size <= longest:
        yield sent.place, 6, sent.host, sent.segment(flags)
    if sent.protocol == 1:
        yield sent.place, 1, sent.host, sent.echo()


def alive(sent: Sent) -> Iterator[Answer]:
    """One of which only its own address answers."""
    if sent.place is Place.HOST:
        yield from well(sent)


WELL = Evidence(7, Reply.ACCEPTED, vip_echo=True, own=Reply.ACCEPTED, own_echo=True, full=1500, passed=1500)
SILENT = Evidence(7, own=Reply.ACCEPTED, own_echo=True, full=1500)


def astray(sent: Sent) -> Iterator[Answer]:
    """The VIP's answers come from the backend's own address, and so to the host."""
    if sent.protocol == 6:
        yield Place.HOST, 6, BACKEND, sent.segment("SA")
    yield from (alive(sent) if sent.protocol == 1 else ())


def undecapsulated(sent: Sent) -> Iterator[Answer]:
    if sent.place is Place.PROBE:
        outer = bytes(IP(src=OWN, dst=BACKEND, proto=4)) + bytes(IP(src=OWN, dst=VIP, proto=sent.protocol))
        yield Place.HOST, 1, BACKEND, bytes(ICMP(type=3, code=2)) + outer
    yield from alive(sent)


def rejecting(sent: Sent) -> Iterator[Answer]:
    if sent.place is Place.PROBE and sent.protocol == 6:
        yield Place.PROBE, 1, NAT, bytes(ICMP(type=3, code=13)) + sent.quoted(NAT)
    yield from (well(sent) if sent.protocol == 1 else alive(sent))


def narrow(sent: Sent) -> Iterator[Answer]:
    if sent.size > 1400 and sent.place is Place.PROBE:
        error = bytes(ICMP(type=3, code=4, nexthopmtu=1400))
        yield Place.HOST, 1, "10.1.10.1", error + bytes(IP(src=OWN, dst=VIP, proto=6)) + sent.message[:8]
        return
    yield from well(sent)


def deaf_to_data(sent: Sent) -> Iterator[Answer]:
    yield from well(sent, 44)


def overheard(sent: Sent) -> Iterator[Answer]:
    """An error about another probe of the same service: the checks got it."""
    if sent.place is Place.PROBE and sent.protocol == 6:
        quoted = bytes(IP(src=PROBER, dst=NAT, proto=6)) + struct.pack("!HHI", 20000, 80, 7)
        yield Place.PROBE, 1, NAT, bytes(ICMP(type=3, code=13)) + quoted
    yield from (well(sent) if sent.protocol == 1 else alive(sent))


WORLDS: dict[str, tuple[World, Evidence]] = {
    "in order": (well, WELL),
    "nobody listens": (
        lambda sent: well(sent, flags="RA"),
        replace(WELL, vip=Reply.RESET, own=Reply.RESET),
    ),
    "nothing": (lambda sent: iter(()), Evidence(7, full=1500)),
    "no VIP": (alive, SILENT),
    "wrong source": (astray, replace(SILENT, stray=ip_address(BACKEND))),
    "not decapsulated": (
        undecapsulated,
        replace(SILENT, outer=Refusal.PROTOCOL, outer_by=ip_address(BACKEND)),
    ),
    "rejected": (
        rejecting,
        replace(SILENT, vip=Reply.UNREACHABLE, vip_refusal=Refusal.PROHIBITED, vip_echo=True),
    ),
    "rejected, as the checks are told": (
        overheard,
        replace(SILENT, vip=Reply.UNREACHABLE, vip_refusal=Refusal.PROHIBITED, vip_echo=True),
    ),
    "a narrow way": (lambda sent: well(sent, 1410), replace(WELL, passed=1400)),
    "a narrow way that is told": (narrow, replace(WELL, passed=1400, narrow=1400, narrow_by=ip_address("10.1.10.1"))),
    "no SYN with data passes": (deaf_to_data, replace(WELL, passed=0)),
}


@pytest.mark.parametrize(("world", "expected"), WORLDS.values(), ids=WORLDS)
def test_evidence(world: World, expected: Evidence) -> None:
    assert examined(world)[0] == expected


def test_a_backend_in_order_is_asked_once() -> None:
    _, sent = examined(well)
    assert sorted((one.place, one.protocol, one.size > 1000) for one in sent) == [
        (Place.HOST, 1, False),
        (Place.HOST, 6, False),
        (Place.PROBE, 1, False),
        (Place.PROBE, 6, False),
        (Place.PROBE, 6, True),
    ]
    assert max(one.size for one in sent) == 1500
    assert {one.port for one in sent} <= set(EXAMINE_PORTS)


def test_smaller_packets_are_tried_where_the_full_size_fails() -> None:
    _, sent = examined(lambda one: well(one, 1410))
    assert {one.size for one in sent if one.protocol == 6} == {
        *(44, 576, 1280, 1340, 1380, 1400, 1420, 1440, 1460, 1480, 1492, 1500)
    }


def test_a_datagram_is_answered() -> None:
    service = replace(ONE, protocol=Protocol.UDP, ask=b"who are you")

    def server(sent: Sent) -> Iterator[Answer]:
        if sent.protocol == 17:
            assert sent.message[8:] == b"who are you"
            yield Place.PROBE, 17, NAT, bytes(UDP(sport=80, dport=sent.port) / b"me")
        yield from well(sent, flags="RA")

    found, sent = examined(server, service)
    assert (found.vip, found.passed) == (Reply.ACCEPTED, 1500)
    whole = IP(src=PROBER, dst=NAT) / UDP(next(one.message for one in sent if one.protocol == 17))
    checksum = whole[UDP].chksum
    del whole[UDP].chksum
    assert IP(bytes(whole))[UDP].chksum == checksum


def test_a_datagram_may_be_answered_astray() -> None:
    def server(sent: Sent) -> Iterator[Answer]:
        if sent.protocol == 17:
            yield Place.HOST, 17, BACKEND, bytes(UDP(sport=80, dport=sent.port) / b"me")
        yield from alive(sent)

    found, _ = examined(server, replace(ONE, protocol=Protocol.UDP, ask=b"?"))
    assert (found.vip, found.stray) == (Reply.SILENCE, ip_address(BACKEND))


def unrelated(sent: Sent) -> Iterator[Answer]:
    """What strangers might send to be taken for answers."""
    if sent.protocol == 6:
        for beyond in (0, 2, 5000):
            yield sent.place, 6, sent.host, sent.segment("SA", beyond=beyond if sent.size < 100 else 5000)
        yield sent.place, 6, sent.host, sent.segment("A")
        yield sent.place, 6, sent.host, sent.segment("S")
        if sent.place is Place.PROBE:
            yield sent.place, 6, "10.0.0.2", sent.segment("SA")  # another backend
            yield sent.place, 6, sent.host, sent.segment("SA", port=81)
    if sent.protocol == 1:
        yield sent.place, 1, sent.host, sent.echo()[:-1] + bytes([sent.message[-1] ^ 1])
    other = bytes(IP(src=OWN, dst="198.51.100.9", proto=6)) + sent.message[:8]
    yield Place.HOST, 1, BACKEND, bytes(ICMP(type=3, code=2)) + other
    another = bytes(IP(src=OWN, dst="10.1.10.12", proto=4)) + bytes(20)
    yield Place.HOST, 1, "10.1.10.12", bytes(ICMP(type=3, code=2)) + another


def test_only_answers_count() -> None:
    assert examined(unrelated)[0] == Evidence(7, full=1500)


def test_what_cannot_be_sent_is_told_and_not_waited_for() -> None:
    def refuse(*_: Any) -> None:
        raise OSError(101, "Network is unreachable")

    examination = Examination([ONE], refuse, lambda *_: OWN, 8192)
    examination.work(0.0)
    assert examination.over(0.0)
    assert examination.evidence()[0].trouble == "network is unreachable"


def test_no_way_to_the_own_address_is_silence() -> None:
    def send(place: Place, version: int, protocol: int, message: bytes, host: str) -> None:
        if place is Place.HOST:
            raise OSError(113, "No route to host")

    examination = Examination([ONE], send, lambda *_: OWN, 8192)
    examination.work(0.0)
    assert examination.evidence()[0].trouble == ""
    assert not examination.over(END - 0.01)
    assert examination.over(END)


def test_source_ports_begin_anew_at_the_end() -> None:
    examination = Examination([ONE] * 3, lambda *_: None, lambda *_: OWN, EXAMINE_PORTS.stop - 5)
    assert examination.next_port in range(EXAMINE_PORTS.start, EXAMINE_PORTS.start + 40)


@settings(max_examples=PARSER_INPUTS)
@given(
    st.sampled_from(Place),
    st.sampled_from([6, 17, 1]),
    st.integers(8192, 8210),
    st.binary(max_size=80),
)
def test_any_packet_is_looked_at(place: Place, protocol: int, port: int, data: bytes) -> None:
    examination = Examination([ONE], lambda *_: None, lambda *_: OWN, 8192)
    examination.work(0.0)
    head = struct.pack("!HH", 80, port) if protocol != 1 else b"\x03\x02"
    examination.take(place, 4, protocol, BACKEND, head + data)
    examination.take(place, 6, protocol, "2001:db8::1", head + data)
    assert examination.evidence()[0].number == 7
