"""A drill's flows against real servers: what keeps them open, and every way in which one ends."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from appliance.health.drill import FlowNews, FlowState, Order, Wanted, decode_news
from appliance.health.drilling import Drilling
from appliance.health.ports import DRILL_PORTS
from appliance.model import Check, CheckKind, Protocol
from tests.unit.health.authority import self_signed, serving_with
from tests.unit.health.datagrams import answering
from tests.unit.health.servers import Handler, descriptors, repeats, says, serving, without_reading

VIP, HOST = ip_address("203.0.113.10"), ip_address("127.0.0.1")
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
PACE = 0.05
LIMIT = 20.0
Done = Callable[[FlowNews], bool]


class Told:
    """What a prober says of one flow."""

    def __init__(self) -> None:
        self.news: list[FlowNews] = []
        self._changed = asyncio.Event()

    def take(self, message: bytes) -> None:
        self.news += decode_news(json.loads(message))
        self._changed.set()

    async def until(self, done: Done) -> FlowNews:
        async with asyncio.timeout(LIMIT):
            while not (self.news and done(self.news[-1])):
                self._changed.clear()
                await self._changed.wait()
        return self.news[-1]


def order(port: int, check: Check | None = None, protocol: Protocol = Protocol.TCP) -> Order:
    source = DRILL_PORTS.start + port % len(DRILL_PORTS)
    return Order((Wanted(1, HOST, source),), VIP, port, protocol, check, pace=PACE)


async def keep(port: int, done: Done, check: Check | None = None, protocol: Protocol = Protocol.TCP) -> FlowNews:
    """Keep a flow to a server until there is such news of it."""
    told = Told()
    drilling = Drilling(asyncio.get_running_loop(), told.take)
    drilling.configure(order(port, check, protocol))
    try:
        return await told.until(done)
    finally:
        await drilling.close()


def run(handler: Handler, done: Done, check: Check | None = None) -> FlowNews:
    """Keep a flow to a server of this kind; nothing may stay open."""

    async def play() -> FlowNews:
        async with serving(handler) as port:
            return await keep(port, done, check)

    before = descriptors()
    found = asyncio.run(play())
    assert descriptors() <= before
    return found


def over(news: FlowNews) -> bool:
    return news.state is not FlowState.OPEN


HTTP = Check(CheckKind.HTTP, 80, timeout=0.2)


def answers(
    answer: bytes, times: int = 1_000_000, then: Callable[[asyncio.StreamWriter], None] | None = None
) -> Handler:
    """Return a server that answers so many requests on a connection, and then does something."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(times):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"connection: close" not in head.lower()
            writer.write(answer)
            await writer.drain()
        if then is not None:
            then(writer)
        else:
            await reader.read()

    return handle


def reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def leave(writer: asyncio.StreamWriter) -> None:
    """Close in good order: who calls does."""


def test_requests_are_answered_on_one_connection() -> None:
    news = run(answers(FINE), lambda one: one.answered >= 5, HTTP)
    assert (news.state, news.wrong) == (FlowState.OPEN, 0)


def test_answers_that_the_check_would_not_take_are_counted() -> None:
    bad = FINE.replace(b"200 OK", b"503 Service Unavailable")
    news = run(answers(bad), lambda one: one.answered >= 3, HTTP)
    assert (news.state, news.wrong) == (FlowState.OPEN, news.answered)


ENDS: dict[str, tuple[Handler, FlowState, str]] = {
    "closed in good order": (answers(FINE, 2, leave), FlowState.ENDED, "closed by the server"),
    "said that it would close": (
        answers(FINE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)),
        FlowState.ENDED,
        "closed by the server",
    ),
    "HTTP/1.0": (says(b"HTTP/1.0 200 OK\r\n\r\nok\n"), FlowState.ENDED, "closed by the server"),
    "reset after an answer": (answers(FINE, 2, reset), FlowState.BROKEN, "connection reset (response)"),
    "reset instead of an answer": (says(then="reset"), FlowState.FAILED, "connection reset (response)"),
    "no HTTP": (says(b"SSH-2.0-x\r\n\r\n"), FlowState.FAILED, "not valid HTTP: illegal status line"),
    "a body without an end": (
        repeats(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"8000\r\n" + b"x" * 32768 + b"\r\n"),
        FlowState.FAILED,
        "no answer of at most 1048576 bytes",
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_how_a_conversation_ends(name: str) -> None:
    handler, state, words = ENDS[name]
    news = run(handler, over, HTTP)
    assert news.state is state, news
    assert news.words.startswith(words)


def test_no_answer_any_more_is_a_broken_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.health.drilling.ANSWER", 0.3)
    news = run(answers(FINE, 2), over, HTTP)
    assert (news.state, news.words, news.answered) == (FlowState.BROKEN, "no answer", 2)


async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


def test_an_idle_connection_stays_open_and_is_closed_when_it_is_not_wanted_any_more() -> None:
    async def play() -> None:
        closed = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 welcome\r\n")
            assert await reader.read() == b""
            closed.set()

        async with serving(handle) as port:
            told = Told()
            drilling = Drilling(asyncio.get_running_loop(), told.take)
            drilling.configure(order(port))
            await told.until(lambda one: one.state is FlowState.OPEN)
            drilling.configure(Order((), VIP, port, Protocol.TCP))
            async with asyncio.timeout(LIMIT):
                await closed.wait()
            await drilling.close()
            assert [one.state for one in told.news] == [FlowState.OPEN]

    asyncio.run(play())


def test_how_idle_connections_end() -> None:
    assert run(without_reading(b"x", then="reset"), over).words.startswith("connection reset")
    assert run(without_reading(b"x"), over).state is FlowState.ENDED


def test_a_closed_port_is_a_flow_that_failed() -> None:
    async def play() -> FlowNews:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            return await keep(taken.getsockname()[1], over)

    news = asyncio.run(play())
    assert (news.state, news.words) == (FlowState.FAILED, "connection refused")


def test_over_tls(tmp_path: Path) -> None:
    async def play(check: Check) -> FlowNews:
        async with serving(answers(FINE), serving_with(self_signed(tmp_path / "both.pem"))) as port:
            return await keep(port, lambda one: over(one) or one.answered >= 3, check)

    https = Check(CheckKind.HTTPS, 443)
    assert asyncio.run(play(https)).state is FlowState.OPEN
    unknown = Check(CheckKind.HTTPS, 443, verify=True)
    news = asyncio.run(play(unknown))
    assert news.state is FlowState.FAILED
    assert "certificate refused" in news.words


UDP = Check(CheckKind.UDP, 53, send=b"ping", receive=b"po", timeout=0.1)


def test_datagrams_are_answered_from_one_port() -> None:
    async def play() -> FlowNews:
        async with answering(lambda data: [b"pong"]) as port:
            return await keep(port, lambda one: one.answered >= 4, UDP, Protocol.UDP)

    news = asyncio.run(play())
    assert (news.state, news.wrong) == (FlowState.OPEN, 0)


SILENT: dict[str, tuple[Callable[[bytes], list[bytes]], Done, FlowState]] = {
    "from the beginning": (lambda data: [], over, FlowState.FAILED),
    "wrongly": (lambda data: [b"NO"], lambda one: one.wrong >= 2, FlowState.OPEN),
}


@pytest.mark.parametrize("name", SILENT)
def test_datagrams_that_are_not_answered_well(name: str) -> None:
    reply, done, wanted = SILENT[name]

    async def play() -> FlowNews:
        async with answering(reply) as port:
            return await keep(port, done, UDP, Protocol.UDP)

    news = asyncio.run(play())
    assert (news.state, news.answered) == (wanted, news.wrong)


def test_three_datagrams_in_a_row_without_an_answer_break_a_flow() -> None:
    asked: list[bytes] = []

    def reply(data: bytes) -> list[bytes]:
        asked.append(data)
        # Answered, twice not, answered, and never again.
        return [b"pong"] if len(asked) in (1, 4) else []

    async def play() -> FlowNews:
        async with answering(reply) as port:
            return await keep(port, over, UDP, Protocol.UDP)

    news = asyncio.run(play())
    assert (news.state, news.answered, len(asked)) == (FlowState.BROKEN, 2, 7)


def test_a_port_that_is_taken_is_no_fault_of_the_backend() -> None:
    async def play() -> FlowNews:
        async with serving(idle) as port:
            with socket.socket() as other:
                other.bind(("127.0.0.1", order(port).flows[0].port))
                other.listen()
                return await keep(port, over)

    assert asyncio.run(play()).state is FlowState.UNSENT
