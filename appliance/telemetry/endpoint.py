"""`/metrics` over HTTP, for Prometheus to scrape. The one door to aiohttp's server.

Nobody who asks can change anything, or be a burden: only GET and HEAD, few connections, none for long, one snapshot at
a time. Text is made in a thread, so that other work of the process goes on. Where no snapshot can be had, the answer is
503 and says why: a gap in the graphs, and no wrong number.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from aiohttp import web

from appliance.errors import HostError, Vc5Error
from appliance.model_address import Endpoint
from appliance.telemetry.exposition import exposition

log = logging.getLogger(__name__)

PATH = "/metrics"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""With every answer; also what keeps pages of other sites from using it."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Ask = Callable[[], Awaitable[Mapping[str, Any]]]
"""Gives a snapshot (readings.py), or raises a Vc5Error that says why there is none."""


@dataclass(frozen=True)
class Bounds:
    """What clients may use up; times in seconds."""

    connections: int = 32
    connection_seconds: float = 300.0
    """From its begin; a request under way is answered first."""
    answer_seconds: float = 60.0
    """For that answer to be read."""
    request_seconds: float = 10.0
    """From the begin of a connection to its first request."""
    snapshot_seconds: float = 9.0
    """For a snapshot, those of others included; Prometheus itself gives up after 10 seconds."""
    line_bytes: int = 4096
    """The longest line of a request."""


BOUNDS = Bounds()


def listener(where: Endpoint) -> socket.socket:
    """Return a socket that listens: for every address, of both families, where none is named. Raises HostError."""
    family = socket.AF_INET if isinstance(where.address, IPv4Address) else socket.AF_INET6
    both = where.address is None and socket.has_dualstack_ipv6()
    if where.address is None and not both:
        family = socket.AF_INET
    host = str(where.address) if where.address is not None else ("::" if both else "")
    try:
        made = socket.create_server((host, where.port), family=family, backlog=64, dualstack_ipv6=both)
    except OSError as error:
        raise HostError(
            f"{where}: cannot listen here for {PATH}: {error.strerror or error}; give another address or port with "
            "`webserver`, or free this one"
        ) from None
    made.setblocking(False)
    return made


class MetricsServer:
    """Answers scrapes with what `ask` gives."""

    def __init__(self, ask: Ask, bounds: Bounds = BOUNDS) -> None:
        self._ask = ask
        self._bounds = bounds
        self._one = asyncio.Lock()
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._asked: set[object] = set()
        """The connections that requests have come by."""
        self.scrapes = 0
        """Answers that carried metrics."""
        self.refused = 0
        """Connections that were one too many."""

    async def start(self, listening: socket.socket) -> None:
        """Begin to answer on a socket that listens (`listener`, or an inherited one); it is closed at the end."""
        application = web.Application(middlewares=[self._guarded], client_max_size=1024)
        application.router.add_route("GET", PATH, self._metrics)
        application.router.add_route("HEAD", PATH, self._metrics)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            logger=_silent(),
            lingering_time=1.0,
            keepalive_timeout=self._bounds.connection_seconds,
            max_line_size=self._bounds.line_bytes,
            max_field_size=self._bounds.line_bytes,
        )
        await self._runner.setup()
        self._server = await asyncio.get_running_loop().create_server(self._accept, sock=listening)
        self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Stop; answers under way have a moment to end."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _accept(self) -> asyncio.BaseProtocol:
        serving = self._serving()
        if len(serving.connections) >= self._bounds.connections:
            self.refused += 1
            return _TooMany()
        protocol: asyncio.BaseProtocol = serving()
        return protocol

    def _serving(self) -> web.Server:
        assert self._runner is not None
        assert self._runner.server is not None
        return self._runner.server

    async def _sweep(self) -> None:
        """Close connections that ask nothing, or have been there for long."""
        loop, bounds = asyncio.get_running_loop(), self._bounds
        since: dict[web.RequestHandler, float] = {}
        while True:
            await asyncio.sleep(min(1.0, bounds.request_seconds / 4))
            now, serving = loop.time(), self._serving()
            since = {one: since.get(one, now) for one in serving.connections}
            self._asked &= since.keys()
            for connection, began in since.items():
                asked, age = connection in self._asked, now - began
                if age > (bounds.connection_seconds + bounds.answer_seconds if asked else bounds.request_seconds):
                    if connection.transport is not None:
                        connection.transport.abort()
                elif age > bounds.connection_seconds:
                    connection.close()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """See that every answer has its headers, and that a defect here ends no more than one request."""
        self._asked.add(request.protocol)
        try:
            answer = await handler(request)
        except web.HTTPException as error:
            allowed = {"Allow": "GET, HEAD"} if error.status == 405 else {}
            answer = web.Response(status=error.status, text=f"{error.status} {error.reason}\n", headers=allowed)
        except Exception:
            log.exception("%s failed", PATH)
            answer = web.Response(status=500, text="this is a defect of vc5; its log has the details\n")
        answer.headers.update(HEADERS)
        answer.headers["Server"] = "vc5"
        return answer

    async def _metrics(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(self._bounds.snapshot_seconds), self._one:
                snapshot = await self._ask()
                accept = request.headers.get("Accept", "")
                body, content_type = await asyncio.to_thread(exposition, snapshot, accept)
        except TimeoutError:
            return _unavailable(f"the daemon did not give its numbers within {self._bounds.snapshot_seconds:g} s")
        except Vc5Error as error:
            return _unavailable(str(error))
        self.scrapes += 1
        return web.Response(body=body, headers={"Content-Type": content_type})


class _TooMany(asyncio.Protocol):
    """Hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


def _unavailable(why: str) -> web.Response:
    return web.Response(status=503, text=f"no metrics now: {why}\n")


def _silent() -> logging.Logger:
    """A log for what clients do wrong, which is theirs: nobody may fill ours with it."""
    found = logging.getLogger(f"{__name__}.clients")
    found.propagate = False
    found.handlers = [logging.NullHandler()]
    return found
