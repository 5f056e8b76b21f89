"""The check icmp on loopback: the kernel's replies, and those that are not meant for the probe."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP

from appliance.health.answer import Answer
from appliance.health.ports import Ports
from appliance.health.probes.icmp import ECHO6_REPLY, ECHO_REPLY, let_only_replies_pass, read_reply, request
from appliance.health.probes.raw import checksum, payload
from appliance.model import Check, CheckKind, Outcome
from tests.unit.health.servers import VIP, descriptors, probe
from tests.unit.health.test_syn import FIRST_PORT

V4, V6 = socket.AF_INET, socket.AF_INET6


def check(timeout: float = 5.0) -> Check:
    return Check(CheckKind.ICMP, 80, timeout=timeout)


@pytest.mark.root
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_host_that_lives(host: str) -> None:
    before = descriptors()
    answer = asyncio.run(probe(check(), host))
    assert (answer.outcome, answer.diagnostic) == (Outcome.OK, "echo reply")
    assert 0 < answer.connect_ns <= answer.total_ns
    assert descriptors() <= before


@pytest.mark.root
@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, Outcome.OK),
        ({"cookie": b"y" * 16}, Outcome.NONE),
        ({"cookie": b"x" * 15}, Outcome.NONE),
        ({"identifier": FIRST_PORT + 1}, Outcome.NONE),
        ({"kind": 3}, Outcome.NONE),
        ({"code": 1}, Outcome.NONE),
    ],
)
def test_only_the_reply_to_this_very_request_counts(
    change: dict[str, int | bytes], outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host is silent (its requests are sent as something that nobody answers); somebody else sends replies."""
    monkeypatch.setattr("secrets.token_bytes", lambda count: b"x" * count)
    monkeypatch.setattr("appliance.health.probes.icmp.ECHO", 253)
    values = {"kind": ECHO_REPLY, "code": 0, "identifier": FIRST_PORT, "cookie": b"x" * 16} | change
    cookie = values["cookie"]
    assert isinstance(cookie, bytes)
    head = (values["kind"], values["code"], 0, values["identifier"], 1)
    padded = struct.pack("!BBHHH", *head) + cookie + b"\0" * (len(cookie) % 2)
    forged = padded[:2] + struct.pack("!H", checksum(padded)) + padded[4 : 8 + len(cookie)]

    async def ask() -> Answer:
        task = asyncio.create_task(probe(check(timeout=0.3)))
        with socket.socket(V4, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
            while not task.done():
                raw.sendto(forged, ("127.0.0.1", 0))
                await asyncio.sleep(0.01)
        return await task

    answer = asyncio.run(ask())
    assert (answer.outcome, answer.diagnostic == "timeout (no echo reply)") == (outcome, outcome is Outcome.NONE)


@pytest.mark.root
@pytest.mark.parametrize(("family", "host"), [(V4, "127.0.0.1"), (V6, "::1")])
def test_the_filter_lets_only_replies_pass(family: int, host: str) -> None:
    """The request arrives at this socket too, before its reply: the filter keeps it out."""
    protocol = socket.IPPROTO_ICMP if family == V4 else socket.IPPROTO_ICMPV6
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        let_only_replies_pass(raw, family)
        raw.settimeout(5)
        raw.sendto(request(family, 77, 1, b"abcd"), (host, 0))
        while True:
            packet = raw.recv(256)
            kind = packet[20 if family == V4 else 0]
            assert kind == (ECHO_REPLY if family == V4 else ECHO6_REPLY)
            if read_reply(family, payload(family, packet)) == (77, b"abcd"):
                return


@given(st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=40).filter(lambda data: len(data) % 2 == 0))
def test_requests_are_what_scapy_makes(identifier: int, sequence: int, data: bytes) -> None:
    assert request(V4, identifier, sequence, data) == bytes(ICMP(id=identifier, seq=sequence) / data)


@given(st.binary(max_size=80))
def test_no_packet_is_a_defect(packet: bytes) -> None:
    for family in (V4, V6):
        found = read_reply(family, payload(family, packet))
        assert found is None or 0 <= found[0] <= 65535


def test_its_identifiers_are_not_the_ports_of_others() -> None:
    ports = Ports(lambda: 0.0)
    assert ports.pool((str(VIP), 0, 1, True)) is not ports.pool((str(VIP), 0, 58, True))
