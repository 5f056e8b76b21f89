"""Last words: they are heard though the peer has said things that nobody has read; and nobody is waited for forever."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from appliance.routing.farewell import Farewells

WORDS = b"the load balancer was stopped"


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return our end and the peer's of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    peer.setblocking(False)
    with ours, peer:
        yield ours, peer


async def heard(end: socket.socket) -> bytes:
    """Return all that an end hears until the other one has nothing more to say."""
    found, loop = b"", asyncio.get_running_loop()
    while more := await loop.sock_recv(end, 65536):
        found += more
    return found


async def gone(farewells: Farewells) -> None:
    async with asyncio.timeout(10):
        while farewells:
            await asyncio.sleep(0.001)


def test_words_are_heard_though_something_is_unread(ends: tuple[socket.socket, socket.socket]) -> None:
    async def part() -> None:
        ours, peer = ends
        peer.send(b"x" * 5000)
        farewells = Farewells(asyncio.get_running_loop())
        farewells.bid(ours, WORDS)
        assert await heard(peer) == WORDS
        peer.send(b"y")
        assert len(farewells) == 1
        peer.close()
        await gone(farewells)
        assert ours.fileno() == -1

    asyncio.run(part())


def test_many_words_take_as_long_as_the_peer_takes(ends: tuple[socket.socket, socket.socket]) -> None:
    async def part() -> None:
        ours, peer = ends
        many = bytes(range(256)) * 40_000
        farewells = Farewells(asyncio.get_running_loop())
        farewells.bid(ours, many)
        assert await heard(peer) == many
        peer.close()
        await gone(farewells)

    asyncio.run(part())


@pytest.mark.parametrize("words", [WORDS, bytes(20_000_000)])
def test_a_peer_that_hangs_is_not_waited_for(ends: tuple[socket.socket, socket.socket], words: bytes) -> None:
    async def part() -> None:
        farewells = Farewells(asyncio.get_running_loop())
        farewells.bid(ends[0], words)
        await gone(farewells)
        assert ends[0].fileno() == -1

    asyncio.run(part())


def test_nobody_is_waited_for_any_more(ends: tuple[socket.socket, socket.socket]) -> None:
    async def part() -> None:
        farewells = Farewells(asyncio.get_running_loop())
        farewells.bid(ends[0], b"")
        farewells.close()
        assert (len(farewells), ends[0].fileno()) == (0, -1)
        assert await heard(ends[1]) == b""

    asyncio.run(part())


def test_a_connection_that_has_broken_is_closed(ends: tuple[socket.socket, socket.socket]) -> None:
    async def part() -> None:
        ours, peer = ends
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        farewells = Farewells(asyncio.get_running_loop())
        farewells.bid(ours, WORDS)
        await gone(farewells)
        assert ours.fileno() == -1

    asyncio.run(part())
