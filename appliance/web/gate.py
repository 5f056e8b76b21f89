"""Connections: how many, how long, how much they may say before they are answered. The other door to aiohttp's server.

Every bound holds before anything is parsed, and while TLS is still being agreed upon: who is one too many is hung up on
at once. What comes in is counted from one request to the next, whatever it is: a head, a body that nobody wants,
requests that wait for their turn.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

AGAIN = 1.0
"""Seconds after which is accepted again, when there were no descriptors."""
AT_ONCE = 64
"""Connections that are accepted in one turn of the loop."""


@dataclass(frozen=True)
class Bounds:
    """What clients may use up; times in seconds."""

    connections: int = 640
    from_one: int = 560
    """Of them, from one address."""
    streams: int = 64
    connection_seconds: float = 300.0
    """From its begin; a request under way is answered first, and streams go on."""
    answer_seconds: float = 60.0
    """For an answer to be read."""
    request_seconds: float = 10.0
    """From the begin of a connection to its first request, and for TLS to be agreed upon."""
    write_seconds: float = 20.0
    """For a stream to take what is written."""
    gone_seconds: float = 30.0
    """For anybody to acknowledge what was sent; longer than the former, which says why a stream ends."""
    line_bytes: int = 4096
    """The longest line of a request."""
    request_bytes: int = 32 << 10
    """What may come in from one request to the next."""
    waiting: int = 16
    """Requests that may wait behind another (pipelining)."""
    buffer_bytes: int = 64 << 10
    """What is kept for who does not read."""
    told_seconds: float = 60.0
    """Between two lines of the log about what was refused."""


Refuse = Callable[[str], None]
Failed = Callable[[int], web.Response]
"""Makes the answer to what is no request, by its status."""


class Connection(web.RequestHandler):
    """One connection, and what it has said."""

    def __init__(self, serving: web.Server, bounds: Bounds, refuse: Refuse, failed: Failed) -> None:
        super().__init__(
            serving,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            logger=_silent(),
            lingering_time=1.0,
            keepalive_timeout=bounds.connection_seconds,
            max_line_size=bounds.line_bytes,
            max_field_size=bounds.line_bytes,
        )
        self._bounds, self._refuse, self._failed = bounds, refuse, failed
        self._unanswered = 0
        self.ended: Callable[[], None] = lambda: None
        """Hears of its end, once."""
        self._over = False
        self.asked = False
        """Whether a request has come by it."""
        self.streaming = False

    def begin(self) -> None:
        """Take note that a request is being answered."""
        self.asked = True
        self._unanswered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep little for who does not read."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=self._bounds.buffer_bytes)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take note of its end."""
        super().connection_lost(exc)
        self.end()

    def end(self) -> None:
        """Tell that it is over, or never came to be."""
        if not self._over:
            self._over = True
            self.ended()

    def data_received(self, data: bytes) -> None:
        """Take what came, within bounds."""
        self._unanswered += len(data)
        if self._unanswered > self._bounds.request_bytes:
            self.hang_up("oversized")
            return
        super().data_received(data)
        if len(self._messages) > self._bounds.waiting:
            self.hang_up("pipelined")

    def hang_up(self, why: str) -> None:
        """End it, with what is under way."""
        self._refuse(why)
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self, request: Any, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no request; aiohttp's own words would repeat it."""
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionError("nobody is there, or something was answered already") from exc
        self._refuse("malformed" if status < 500 else str(status))
        answer = self._failed(status)
        answer.force_close()
        return answer


class Gate:
    """Accepts on sockets that listen, and ends what has been there for too long."""

    def __init__(self, bounds: Bounds, refuse: Refuse, failed: Failed) -> None:
        self._bounds, self._refuse, self._failed = bounds, refuse, failed
        self._serving: web.Server | None = None
        self._context: ssl.SSLContext | None = None
        self._listening: list[socket.socket] = []
        self._beginning: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._since: dict[Connection, float] = {}
        self._from: Counter[str] = Counter()

    def open(self, listening: Sequence[socket.socket], serving: web.Server, context: ssl.SSLContext | None) -> None:
        """Begin to accept; the sockets are closed at the end."""
        self._serving, self._context = serving, context
        self._listening = list(listening)
        for one in self._listening:
            self._accept_from(one)
        self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Accept no more."""
        for one in self._listening:
            asyncio.get_running_loop().remove_reader(one)
            one.close()
        self._listening = []
        tasks = [*self._beginning, *([self._sweeper] if self._sweeper is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def count(self) -> int:
        """How many connections there are, those that are still agreeing upon TLS included."""
        return sum(self._from.values())

    def _accept_from(self, listening: socket.socket) -> None:
        if listening in self._listening:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                made, where = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # No descriptors, no memory: who waits in the socket's queue is accepted later.
                self._refuse("descriptors")
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                loop.call_later(AGAIN, self._accept_from, listening)
                return
            address = str(where[0])
            if self.count >= self._bounds.connections or self._from[address] >= self._bounds.from_one:
                self._refuse("connections")
                made.close()
                continue
            made.setblocking(False)
            # Who is gone without a word acknowledges nothing more (tcp(7)). The kernel alone would wait for a quarter
            # of an hour, and what streams say meanwhile fills no buffer.
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._bounds.gone_seconds * 1e3))
            self._from[address] += 1
            task = asyncio.create_task(self._begin(made, address))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, made: socket.socket, address: str) -> None:
        """Have a connection answered."""
        assert self._serving is not None
        loop = asyncio.get_running_loop()
        connection = Connection(self._serving, self._bounds, self._refuse, self._failed)
        connection.ended = lambda: self._gone(connection, address)
        secured: dict[str, Any] = {}
        if self._context is not None:
            secured = {"ssl": self._context, "ssl_handshake_timeout": self._bounds.request_seconds}
        self._since[connection] = loop.time()
        try:
            await loop.connect_accepted_socket(lambda: connection, made, **secured)
        except (OSError, TimeoutError):
            self._refuse("handshake")
            connection.end()
        except asyncio.CancelledError:
            connection.end()
            raise
        finally:
            if connection.transport is None:
                made.close()

    def _gone(self, connection: Connection, address: str) -> None:
        self._since.pop(connection, None)
        self._from[address] -= 1
        if not self._from[address]:
            del self._from[address]

    async def _sweep(self) -> None:
        """Close connections that ask nothing, or have been there for long."""
        loop, bounds = asyncio.get_running_loop(), self._bounds
        while True:
            await asyncio.sleep(min(1.0, bounds.request_seconds / 4))
            now = loop.time()
            for connection, began in list(self._since.items()):
                if connection.streaming or connection.transport is None:
                    continue
                age = now - began
                if not connection.asked:
                    if age > bounds.request_seconds:
                        connection.hang_up("silent")
                elif age > bounds.connection_seconds + bounds.answer_seconds:
                    connection.hang_up("slow")
                elif age > bounds.connection_seconds:
                    connection.close()


def _silent() -> logging.Logger:
    """Return a log for what clients do wrong, which is theirs: nobody may fill ours with it."""
    found = logging.getLogger(f"{__name__}.clients")
    found.propagate = False
    found.handlers = [logging.NullHandler()]
    return found
