"""Real servers on loopback, mostly badly behaved, and a runner of real probes."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address

from appliance.health.answer import Answer
from appliance.health.messages import Probe, Schedule, schedule_pieces
from appliance.health.ports import Ports
from appliance.health.runner import Job, Runner
from appliance.model import Check

VIP = ip_address("203.0.113.10")


def encoded(schedule: Schedule) -> bytes:
    """The whole message of a schedule."""
    return b"".join(schedule_pieces(schedule.generation, schedule.probes, schedule.limit))


START = 0.1
"""Where pools of source ports begin: below the ports that the kernel hands out to everybody else on this host."""
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def says(*parts: bytes, then: str = "close") -> Handler:
    """Return a server that reads a request, writes `parts` one by one, and then does `close`, `reset`, or `wait`s."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
        await finish(reader, writer, then)

    return handle


def repeats(head: bytes, part: bytes, pause: float = 0.0) -> Handler:
    """Return a server that writes `head` and then `part` for ever."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)

    return handle


def without_reading(*parts: bytes, then: str = "close") -> Handler:
    """Return a server that speaks first."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
        await writer.drain()
        await finish(reader, writer, then)

    return handle


async def finish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, then: str) -> None:
    if then == "wait":
        await reader.read()
    elif then == "reset":
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Run a server; yield its port. A connection that the client ends is no error."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


@contextmanager
def running() -> Iterator[Runner]:
    """Make a runner on the running loop."""
    runner = Runner(asyncio.get_running_loop(), Ports(lambda: START))
    try:
        yield runner
    finally:
        runner.close()


async def probe(check: Check, host: str = "127.0.0.1", authority: str = "") -> Answer:
    """Run one probe."""
    with running() as runner:
        return await runner.run(Job.of(Probe(1, VIP, ip_address(host), check, authority=authority)))


def descriptors() -> set[str]:
    """Return what this process has open, sockets by their inode."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            pass
    return found
