"""All backends of a lab as one process: `python -m tests.lab.crowd --vip 203.0.113.10 b1=vc5lab-1-1-b1 ...`.

Each has a network namespace, in which it serves, as tests.lab.echo does, frames over TCP (port 7000); the sessions of
tests.lab.sessions, which it alone knows (7000/udp); and GET /alive (port 80), which is answered with 200, or with 503.

Commands, each with a name, answered by `done`: `kill` closes all of a backend's sockets, as the end of its processes
would; `start` opens them again, with all sessions forgotten; `unwell` and `well` are what /alive says.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import socket
from dataclasses import dataclass, field
from typing import cast

from tests.lab.dialogue import commands, emit
from tests.lab.echo import Server
from tests.lab.namespace import Namespace
from tests.lab.sessions import SESSION_BYTES
from tests.lab.wire import BYE, DATA, FAULT, HELLO, Frame, WireError, decode

HTTP, ECHO = 80, 7000
ANSWER = "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
BACKLOG = 1024


@dataclass
class Heard:
    """What a backend knows of a session."""

    number: int = 0
    """Of the payload that comes next."""
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)


class Datagrams(asyncio.DatagramProtocol):
    """The sessions of one backend."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._sessions: dict[bytes, Heard] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            frame = decode(data)
        except WireError:
            return  # the client says it again
        self._transport.sendto(self.answer(frame).encode(), addr)

    def answer(self, frame: Frame) -> Frame:
        """Answer a datagram; one that was heard before is answered as it was then."""
        name, payload = frame.payload[:SESSION_BYTES], frame.payload[SESSION_BYTES:]
        if frame.kind == HELLO:
            self._sessions.setdefault(name, Heard())
            return Frame(HELLO, frame.number, self._name)
        heard = self._sessions.get(name)
        if heard is None:
            return Frame(FAULT, frame.number, self._name + b" does not know this session")
        if frame.kind == BYE:
            return Frame(BYE, frame.number, heard.digest.digest())
        if frame.number > heard.number:
            return Frame(FAULT, frame.number, b"%s has not heard payload %d" % (self._name, heard.number))
        if frame.number == heard.number:
            heard.digest.update(payload)
            heard.number += 1
        return Frame(DATA, frame.number, self._name + b"\0" + payload[::-1])


class Backend:
    """One backend, which serves or not."""

    def __init__(self, name: str, namespace: Namespace, vip: str) -> None:
        self.name = name
        self.well = True
        self._namespace = namespace
        self._vip = vip
        self._servers: list[asyncio.Server] = []
        self._datagrams: asyncio.DatagramTransport | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Serve; one that does goes on."""
        if self._servers:
            return
        loop = asyncio.get_running_loop()
        echo, alive, datagrams = self._namespace.call(self._sockets)
        server = Server(self.name, "", 0)

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._open.add(writer)
            try:
                await server.serve(reader, writer)
            finally:
                self._open.discard(writer)

        self._servers = [
            await asyncio.start_server(converse, sock=echo, backlog=BACKLOG),
            await asyncio.start_server(self._tell, sock=alive, backlog=BACKLOG),
        ]
        self._datagrams, _ = await loop.create_datagram_endpoint(lambda: Datagrams(self.name), sock=datagrams)

    def _sockets(self) -> tuple[socket.socket, socket.socket, socket.socket]:
        """Make the sockets; a socket stays in the namespace in which it was made."""
        streams = []
        for port in (ECHO, HTTP):
            stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stream.bind(("0.0.0.0", port))
            streams.append(stream)
        # Bound to the VIP, from which it then answers.
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        datagrams.bind((self._vip, ECHO))
        return streams[0], streams[1], datagrams

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER.format(status="200 Alive" if self.well else "503 Unwell").encode())
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who asks keeps the account
        finally:
            writer.close()

    def kill(self) -> None:
        """Close everything; the kernel refuses what comes from now on."""
        for server in self._servers:
            server.close()
        for writer in tuple(self._open):
            writer.transport.abort()
        if self._datagrams:
            self._datagrams.abort()
        self._servers, self._datagrams = [], None


async def run(backends: dict[str, Backend]) -> None:
    """Serve until told to stop."""
    for backend in backends.values():
        await backend.start()
    emit("ready")
    async for command in commands():
        verb, _, name = command.partition(" ")
        backend = backends[name]
        if verb == "kill":
            backend.kill()
        elif verb == "start":
            await backend.start()
        else:
            backend.well = verb == "well"
        emit("done", command=command)
    emit("report")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.crowd", description=__doc__)
    parser.add_argument("--vip", required=True)
    parser.add_argument("backends", nargs="+", metavar="NAME=NAMESPACE")
    given = parser.parse_args()
    pairs = [pair.partition("=") for pair in given.backends]
    asyncio.run(run({name: Backend(name, Namespace(space), given.vip) for name, _, space in pairs}))


if __name__ == "__main__":
    main()
