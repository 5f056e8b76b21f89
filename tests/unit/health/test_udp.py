"""The check udp on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import replace

import pytest

from appliance.health.answer import Answer
from appliance.health.ports import Ports
from appliance.health.runner import ATTEMPTS
from appliance.model import Check, CheckKind, Outcome
from tests.unit.health.datagrams import Reply, answering
from tests.unit.health.servers import VIP, descriptors, probe
from tests.unit.health.test_tcp import FIRST_PORT

OK, WRONG, NONE = Outcome.OK, Outcome.WRONG, Outcome.NONE
UDP = Check(CheckKind.UDP, 7000, timeout=5.0)


def ask(reply: Reply, check: Check = UDP, host: str = "127.0.0.1") -> Answer:
    async def run() -> Answer:
        async with answering(reply, host) as port:
            return await probe(replace(check, port=port), host)

    before = descriptors()
    answer = asyncio.run(run())
    assert descriptors() <= before
    return answer


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(
    ("change", "answers", "outcome", "words"),
    [
        ({}, [b"x"], OK, "answer of 1 bytes"),
        ({}, [b""], OK, "answer of 0 bytes"),
        ({"send": b"PING"}, [b"PONG\n"], OK, "answer of 5 bytes"),
        ({"receive": b"PONG"}, [b"PONG\n"], OK, "answer of 5 bytes"),
        ({"receive": b"\x80"}, [b"\x80\0"], OK, "answer of 2 bytes"),
        ({"receive": b"PONG"}, [b"PON"], WRONG, "the answer begins with 'PON', expected 'PONG'"),
        ({"receive": b"PONG"}, [b""], WRONG, "the answer begins with nothing, expected 'PONG'"),
        (
            {"receive": b"\x80\0"},
            [b"\x1b[31m" + b"x" * 60000],
            WRONG,
            "the answer begins with hex:1b5b33316d7878787878787878787878..., expected hex:8000",
        ),
        ({"receive": b"PONG"}, [b"x", b"PONG"], WRONG, "the answer begins with 'x', expected 'PONG'"),
        ({"timeout": 0.2}, [], NONE, "timeout (no answer)"),
    ],
)
def test_servers(host: str, change: dict[str, object], answers: list[bytes], outcome: Outcome, words: str) -> None:
    seen: list[bytes] = []

    def reply(data: bytes) -> list[bytes]:
        seen.append(data)
        return answers

    check = replace(UDP, **change)  # type: ignore[arg-type]
    answer = ask(reply, check, host)
    assert (answer.outcome, answer.diagnostic) == (outcome, words)
    assert seen == [check.send]
    assert (answer.first_byte_ns > 0) == bool(answers)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_nobody_listens(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as listener:
        listener.bind((host, 0))
        port = listener.getsockname()[1]
    answer = asyncio.run(probe(replace(UDP, port=port), host))
    assert (answer.outcome, answer.diagnostic) == (NONE, "refused (ICMP port unreachable)")


def test_a_source_port_that_is_taken_is_passed_over() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as blocker:
        with contextlib.suppress(OSError):  # then another test that runs just now holds it, which does as well
            blocker.bind(("0.0.0.0", FIRST_PORT))
        assert ask(lambda data: [data]).outcome is OK
    assert ATTEMPTS > 1


def test_its_source_ports_are_not_those_of_tcp() -> None:
    ports = Ports(lambda: 0.0)
    assert ports.pool((str(VIP), 53, 17, False)) is not ports.pool((str(VIP), 53, 6, False))
