"""Hostile servers against every check that talks: each costs at most the check's own time, and has its words."""

from __future__ import annotations

import asyncio
import random
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from appliance.health.answer import Answer
from appliance.health.messages import Probe
from appliance.health.probes.deadline import Deadline
from appliance.health.runner import Job
from appliance.model import Check, CheckKind, Outcome, Protocol
from tests.unit.health.datagrams import answering
from tests.unit.health.servers import VIP, Handler, descriptors, finish, probe, running, says, serving, without_reading

TIMEOUT = 0.4
HTTP = Check(CheckKind.HTTP, 80, timeout=TIMEOUT, body="never there")
PATTERN = replace(HTTP, body="", body_pattern="[ab]*a(?:[ab]{8}){60}c")
MAZE = bytes(random.Random("maze").choices(b"ab", k=1 << 18))
"""What makes the pattern take a new state with every byte."""
HTTPS = replace(HTTP, kind=CheckKind.HTTPS)
DNS = replace(HTTP, kind=CheckKind.DNS)
GRPC = replace(HTTP, kind=CheckKind.GRPC)
GRPC_TLS = replace(GRPC, tls=True)
TALKERS = [HTTP, HTTPS, DNS, GRPC, GRPC_TLS]
WRONG, NONE = Outcome.WRONG, Outcome.NONE


def drips(head: bytes, drop: bytes) -> Handler:
    """Return a server that says little, for ever, and never so late that it seems silent."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.01)

    return handle


def pours(head: bytes, part: bytes) -> Handler:
    """Return a server that says as much as is taken."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(part)
            await writer.drain()

    return handle


RECORD = b"\x16\x03\x03\x40\x00"
"""The header of a TLS record of 16 KiB with a piece of a handshake in it."""
SETTINGS = b"\0\0\0\4\0\0\0\0\0"


@pytest.mark.parametrize(
    ("check", "handler", "outcome", "words"),
    [
        (HTTP, drips(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"), NONE, r"timeout \(response\)"),
        (HTTP, drips(b"HTTP/1.1 200 OK\r\n\r\n", b"x"), NONE, r"timeout \(response\)"),
        (HTTP, pours(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 999), WRONG, "not valid HTTP: Receive buffer too long"),
        (HTTP, pours(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536), WRONG, "HTTP 200, but the body does not contain .*"),
        (PATTERN, pours(b"HTTP/1.1 200 OK\r\n\r\n", MAZE), NONE, r"timeout \(response\)"),
        (HTTPS, drips(RECORD, b"x"), NONE, r"timeout \(TLS handshake\)"),
        (HTTPS, pours(RECORD + b"\2\0\xff\xff", b"\0" * 65536), WRONG, "TLS: .*"),
        (HTTPS, pours(b"", b"HTTP/1.1 400 Bad Request\r\n"), WRONG, "TLS: .*"),
        (DNS, drips(b"\xff\xff", b"\0"), NONE, r"timeout \(response\)"),
        (DNS, pours(b"\xff\xff", b"\0" * 65536), WRONG, "not valid DNS: .*"),
        (GRPC, drips(SETTINGS, SETTINGS), NONE, r"timeout \(response\)"),
        (GRPC, drips(b"\0\x40\0\4\0\0\0\0\0", b"\0"), NONE, r"timeout \(response\)"),
        (GRPC, pours(b"", SETTINGS * 999), WRONG, "not gRPC: more than 16384 bytes"),
        (GRPC, pours(SETTINGS, b"\0\0\0\1\0\0\0\0\1" + b"\0\0\0\x09\0\0\0\0\1" * 999), WRONG, "not .*"),
        (GRPC_TLS, drips(RECORD, b"x"), NONE, r"timeout \(TLS handshake\)"),
    ],
)
def test_servers(check: Check, handler: Handler, outcome: Outcome, words: str) -> None:
    async def run() -> Answer:
        async with serving(handler) as port:
            return await probe(replace(check, port=port))

    before = descriptors()
    answer = asyncio.run(run())
    assert descriptors() <= before
    assert (answer.outcome, bool(re.fullmatch(words, answer.diagnostic))) == (outcome, True), answer
    assert answer.total_ns < 10e9 * TIMEOUT


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await finish(reader, writer, "reset")


@pytest.mark.parametrize("check", TALKERS, ids=lambda check: f"{check.kind}-{check.tls}")
def test_a_storm_of_resets(check: Check) -> None:
    """Two hundred at once, all reset on arrival, do not keep the answer of an honest server from being heard."""

    async def run() -> tuple[list[Answer], Answer]:
        fine = without_reading(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", then="wait")
        async with serving(_reset) as port, serving(fine) as honest:
            with running() as runner:
                hostile = Job.of(Probe(1, VIP, ip_address("127.0.0.1"), replace(check, port=port, timeout=5.0)))
                good = Job.of(Probe(2, VIP, ip_address("127.0.0.1"), replace(HTTP, port=honest, body="", timeout=5.0)))
                *storm, answer = await asyncio.gather(*(runner.run(hostile) for _ in range(200)), runner.run(good))
                return storm, answer

    before = descriptors()
    storm, answer = asyncio.run(run())
    assert descriptors() <= before
    assert answer.outcome is Outcome.OK
    assert {each.outcome for each in storm} == {NONE}
    assert {each.diagnostic.partition(" (")[0] for each in storm} <= {"connection reset"}


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (lambda query: [b"\0" * 99] * 99, "64 datagrams, and none that was asked for"),
        (lambda query: [query[:2] + b"\x81\x80" + b"\xff" * 60000], "not valid DNS: an answer to another question"),
        (lambda query: [query[:2]], "not valid DNS: 2 bytes are no DNS message"),
    ],
)
def test_datagrams(reply: Callable[[bytes], list[bytes]], words: str) -> None:
    async def run() -> Answer:
        async with answering(reply) as port:
            return await probe(replace(DNS, port=port, transport=Protocol.UDP))

    answer = asyncio.run(run())
    assert (answer.outcome, answer.diagnostic) == (WRONG, words)


def test_a_server_that_accepts_and_is_gone() -> None:
    """The connection stands in the kernel's backlog; nobody will ever read it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for check in TALKERS:
            answer = asyncio.run(probe(replace(check, port=port, timeout=0.1)))
            assert answer.outcome is NONE
            assert answer.diagnostic in ("timeout (response)", "timeout (TLS handshake)")


def test_a_body_that_keeps_the_pattern_busy_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte needs work; in between others have their turn, and the time that is over is noticed."""
    turns: list[int] = []
    breathe = Deadline.breathe

    async def counted(self: Deadline) -> None:
        turns.append(1)
        await breathe(self)

    monkeypatch.setattr(Deadline, "breathe", counted)

    async def journey(timeout: float) -> Answer:
        turns.clear()
        async with serving(says(b"HTTP/1.1 200 OK\r\n\r\n" + MAZE[: 1 << 15])) as port:
            return await probe(replace(PATTERN, port=port, timeout=timeout))

    answer = asyncio.run(journey(30.0))
    assert (answer.outcome, answer.http_status) == (WRONG, 200)
    assert len(turns) > 300
    answer = asyncio.run(journey(0.05))
    assert (answer.outcome, answer.diagnostic) == (NONE, "timeout (response)")
    assert len(turns) < 300
