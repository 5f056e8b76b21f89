"""The check dns: a real server, servers that answer nonsense, and the codec."""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR, DNSRR

from appliance.config.values_check import QTYPES, RCODES
from appliance.health import dns_message
from appliance.health.answer import Answer
from appliance.model import Check, CheckKind, Outcome, Protocol
from tests.profile import PARSER_INPUTS
from tests.unit.health.datagrams import answering, dnsmasq
from tests.unit.health.servers import Handler, descriptors, finish, probe, serving

OK, WRONG, NONE = Outcome.OK, Outcome.WRONG, Outcome.NONE
TCP = Check(CheckKind.DNS, 53, timeout=5.0, query="www.example.test")
UDP = replace(TCP, transport=Protocol.UDP)
ASKED = dns_message.question("www.example.test", "A")
RECORD = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + b"\xc0\0\2\1"


def reply(query: bytes, flags: int = 0x8180, counts: tuple[int, ...] = (1, 1, 0, 0), rest: bytes = RECORD) -> bytes:
    """Return an answer to a query, right if nothing is said."""
    return query[:2] + struct.pack("!HHHHH", flags, *counts) + (query[12:] if counts[0] else b"") + rest


def judge(answer: Answer, outcome: Outcome, words: str) -> None:
    assert (answer.outcome, bool(re.fullmatch(words, answer.diagnostic))) == (outcome, True), answer


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with dnsmasq(
        "--host-record=www.example.test,192.0.2.1,2001:db8::1",
        *(f"--host-record=many.example.test,192.0.2.{number}" for number in range(1, 200)),
        "--local=/missing.test/",
    ) as port:
        yield port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("check", [TCP, UDP], ids=["tcp", "udp"])
@pytest.mark.parametrize(
    ("change", "outcome", "words"),
    [
        ({}, OK, "NOERROR, 1 answers"),
        ({"query": "WWW.Example.TEST", "qtype": "AAAA"}, OK, "NOERROR, 1 answers"),
        ({"query": "a.missing.test"}, WRONG, "NXDOMAIN, expected NOERROR"),
        ({"query": "a.missing.test", "rcode": (0, 3)}, OK, "NXDOMAIN, 0 answers"),
        ({"query": "elsewhere.test"}, WRONG, "REFUSED, expected NOERROR"),
        ({"query": "elsewhere.test", "rcode": ()}, OK, "REFUSED, 0 answers"),
        ({"query": "", "qtype": "NS"}, WRONG, "REFUSED, expected NOERROR"),
        ({"rcode": (3,)}, WRONG, "NOERROR, expected NXDOMAIN"),
    ],
)
def test_a_real_server(
    server: int, check: Check, host: str, change: dict[str, object], outcome: Outcome, words: str
) -> None:
    answer = asyncio.run(probe(replace(check, port=server, **change), host))  # type: ignore[arg-type]
    judge(answer, outcome, words)
    assert 0 < answer.first_byte_ns <= answer.total_ns


def test_an_answer_too_long_for_a_datagram_is_an_answer(server: int) -> None:
    many = replace(UDP, port=server, query="many.example.test")
    judge(asyncio.run(probe(many)), OK, "NOERROR, truncated")
    judge(asyncio.run(probe(replace(many, transport=Protocol.TCP))), OK, "NOERROR, 199 answers")


def ask_udp(answers: Callable[[bytes], list[bytes]], check: Check = UDP) -> Answer:
    async def run() -> Answer:
        async with answering(answers) as port:
            return await probe(replace(check, port=port))

    before = descriptors()
    answer = asyncio.run(run())
    assert descriptors() <= before
    return answer


def other(query: bytes) -> bytes:
    """The same query with another transaction id."""
    return bytes((query[0] ^ 1, query[1])) + query[2:]


MESSAGES = [
    (lambda q: reply(q), OK, "NOERROR, 1 answers"),
    (lambda q: reply(q, 0x8182), WRONG, "SERVFAIL, expected NOERROR"),
    (lambda q: reply(q, 0x8185), WRONG, "REFUSED, expected NOERROR"),
    (lambda q: reply(q, 0x8185, (0, 0, 0, 0), b""), WRONG, "REFUSED, expected NOERROR"),
    (lambda q: reply(q, 0x818B), WRONG, "RCODE11, expected NOERROR"),
    (lambda q: reply(q, 0x8380, (1, 9, 0, 0)), OK, "NOERROR, truncated"),
    (lambda q: reply(q, counts=(1, 1, 0, 0), rest=RECORD[:-1]), WRONG, "not valid DNS: the answer is cut short: 1 .*"),
    (lambda q: reply(q, counts=(1, 65535, 65535, 65535)), WRONG, "not valid DNS: the answer is cut short: 196605 .*"),
    (lambda q: reply(q, counts=(0, 1, 0, 0)), WRONG, "not valid DNS: an answer to another question"),
    (lambda q: reply(q, counts=(2, 1, 0, 0)), WRONG, "not valid DNS: an answer to another question"),
    (lambda q: reply(q[:13] + b"x" + q[14:]), WRONG, "not valid DNS: an answer to another question"),
    (lambda q: q, WRONG, "not valid DNS: a question came back instead of an answer"),
    (lambda q: reply(q, 0xA980), WRONG, "not valid DNS: an answer to another kind of request"),
    (lambda q: reply(q, rest=b"\x80" * 99), WRONG, "not valid DNS: a name with a label of no known type"),
    (lambda q: reply(q, rest=b"\x3f" * 9999), WRONG, "not valid DNS: the answer is cut short: 1 .*"),
    (lambda q: b"", WRONG, "not valid DNS: 0 bytes are no DNS message"),
    (lambda q: b"HTTP/1.1 4", WRONG, "not valid DNS: 10 bytes are no DNS message"),
]


@pytest.mark.parametrize(("make", "outcome", "words"), MESSAGES)
def test_messages_over_udp(make: Callable[[bytes], bytes], outcome: Outcome, words: str) -> None:
    judge(ask_udp(lambda query: [make(query)]), outcome, words)


def framed(make: Callable[[bytes], bytes], then: str = "close", pieces: int = 0) -> Handler:
    """Return a server over TCP; it sends its answer in so many single bytes first."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(2))
        message = make(await reader.readexactly(length))
        data = struct.pack("!H", len(message)) + message
        for at in range(pieces):
            writer.write(data[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(data[pieces:])
        await writer.drain()
        await finish(reader, writer, then)

    return handle


def ask_tcp(handler: Handler, check: Check = TCP) -> Answer:
    async def run() -> Answer:
        async with serving(handler) as port:
            return await probe(replace(check, port=port))

    before = descriptors()
    answer = asyncio.run(run())
    assert descriptors() <= before
    return answer


@pytest.mark.parametrize(("make", "outcome", "words"), MESSAGES)
def test_messages_over_tcp(make: Callable[[bytes], bytes], outcome: Outcome, words: str) -> None:
    judge(ask_tcp(framed(make, then="wait")), outcome, words)


def test_an_answer_in_pieces_and_one_of_the_longest() -> None:
    judge(ask_tcp(framed(reply, pieces=20)), OK, "NOERROR, 1 answers")
    long = RECORD * ((65535 - 12 - len(ASKED)) // len(RECORD))
    count = len(long) // len(RECORD)
    judge(ask_tcp(framed(lambda q: reply(q, counts=(1, count, 0, 0), rest=long))), OK, f"NOERROR, {count} answers")


async def _half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(2)
    writer.write(b"\x00\x40" + b"x" * 10)


async def _one_byte(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(2)
    writer.write(b"\x00")


async def _nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(999)


async def _silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(2)
    await finish(reader, writer, "reset")


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\xff\xff")
    while True:
        writer.write(b"\0")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("handler", "outcome", "words"),
    [
        (framed(lambda q: reply(other(q))), WRONG, "not valid DNS: an answer with another transaction id"),
        (_half, WRONG, "not valid DNS: the answer is cut short: 10 of 64 bytes"),
        (_one_byte, WRONG, "not valid DNS: the answer is cut short: 0 of its length"),
        (_nothing, NONE, "connection closed without an answer"),
        (_silence, NONE, r"timeout \(response\)"),
        (_drip, NONE, r"timeout \(response\)"),
        (_reset, NONE, r"connection reset \(response\)"),
    ],
)
def test_servers_over_tcp_that_do_not_answer(handler: Handler, outcome: Outcome, words: str) -> None:
    judge(ask_tcp(handler, replace(TCP, timeout=0.4)), outcome, words)


def test_other_transactions_are_passed_over_until_ours_comes() -> None:
    judge(ask_udp(lambda q: [reply(other(q), 0x8182), other(q), reply(q)]), OK, "NOERROR, 1 answers")
    only = replace(UDP, timeout=0.3)
    judge(ask_udp(lambda q: [reply(other(q))], only), NONE, r"timeout \(no answer\)")
    flood = ask_udp(lambda q: [reply(other(q))] * 200, only)
    judge(flood, WRONG, "64 datagrams, and none that was asked for")


def test_the_id_and_the_question_are_new_each_time() -> None:
    seen: list[bytes] = []

    def answers(query: bytes) -> list[bytes]:
        seen.append(query)
        return [reply(query)]

    for _ in range(8):
        ask_udp(answers)
    assert len({query[:2] for query in seen}) > 2
    assert {query[2:] for query in seen} == {seen[0][2:]}


@given(
    st.integers(0, 65535),
    st.lists(st.from_regex("[a-z0-9]{1,63}", fullmatch=True), max_size=4).map(".".join).filter(lambda n: len(n) < 250),
    st.sampled_from(QTYPES),
)
def test_queries_are_what_scapy_makes(identifier: int, name: str, qtype: str) -> None:
    ours = dns_message.message(identifier, dns_message.question(name, qtype))
    theirs = DNS(id=identifier, rd=1, qd=DNSQR(qname=name or ".", qtype=dns_message.TYPES[qtype]))
    assert ours == bytes(theirs)


@given(st.integers(0, 5), st.integers(0, 9), st.booleans())
def test_answers_that_scapy_makes_are_read(rcode: int, count: int, truncated: bool) -> None:
    records = [DNSRR(rrname="www.example.test", rdata=f"192.0.2.{number}") for number in range(count)]
    question = DNSQR(qname="www.example.test", qtype="A")
    data = bytes(DNS(id=7, qr=1, tc=truncated, rcode=rcode, qd=question, an=records))
    assert dns_message.parse(data, 7, ASKED) == dns_message.Reply(rcode, count, truncated)


@settings(max_examples=PARSER_INPUTS)
@given(
    st.binary(max_size=200) | st.binary(max_size=80).map(lambda rest: reply(b"\0\7" + b"\0" * 10 + ASKED, rest=rest))
)
def test_no_message_is_a_defect(data: bytes) -> None:
    try:
        found = dns_message.parse(data, 7, ASKED)
    except (ValueError, dns_message.OtherAnswer):
        return
    assert 0 <= found.rcode < 16


def test_what_can_be_configured_can_be_asked() -> None:
    assert set(QTYPES) == set(dns_message.TYPES)
    assert {name: dns_message.code_name(code) for name, code in RCODES.items()} == {name: name for name in RCODES}
