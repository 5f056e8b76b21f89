"""Console, JSON and metrics over HTTP. The one door to aiohttp's server.

Nobody who asks can change anything, or be a burden: only GET and HEAD, few connections, none for long but streams, one
question of a kind to the daemon at a time, whoever asks. Long texts are made in a thread, so that streams go on. Where
the daemon does not answer, the answer is 503 and says why.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from appliance.errors import Vc5Error
from appliance.model_console import Console
from appliance.web.answers import Answers, Body
from appliance.web.guard import challenge, is_ours, may_look
from appliance.web.history import History
from appliance.web.live import Live
from appliance.web.pages import Page

log = logging.getLogger(__name__)

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""With every answer; also what keeps pages of other sites from using it."""
OPEN_TO_ALL = ("/healthz", "/readyz")
"""What tells nothing that has to be guarded, to programs that cannot say who they are."""
LINES = 200
MOST_LINES = 5000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Bounds:
    """What clients may use up; times in seconds."""

    connections: int = 256
    streams: int = 64
    connection_seconds: float = 300.0
    """From its begin; a request under way is answered first, and streams go on."""
    answer_seconds: float = 60.0
    """For that answer to be read."""
    request_seconds: float = 10.0
    """From the begin of a connection to its first request."""
    write_seconds: float = 20.0
    """For a stream to take what is written."""
    line_bytes: int = 4096
    """The longest line of a request."""
    told_seconds: float = 60.0
    """Between two lines of the log about what was refused."""


BOUNDS = Bounds()


class WebServer:
    """Answers on sockets that listen."""

    def __init__(
        self,
        answers: Answers,
        pages: Mapping[str, Page],
        history: History,
        live: Live,
        console: Console | None = None,
        names: Sequence[str] = (),
        bounds: Bounds = BOUNDS,
    ) -> None:
        """`pages` by path; `names` are what this host is called."""
        self._answers, self._pages, self._history, self._live = answers, pages, history, live
        self._console, self._bounds = console or Console(), bounds
        self._names = (*names, *self._console.hosts)
        self._runner: web.AppRunner | None = None
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._asked: set[object] = set()
        """The connections that requests have come by."""
        self._streaming: set[object] = set()
        self.refused: dict[str, int] = {}
        """What was not answered as asked, by reason."""
        self._told: dict[str, int] = {}

    async def start(self, listening: Sequence[socket.socket]) -> None:
        """Begin to answer; the sockets are closed at the end. Raises OSError for a certificate that is none."""
        context = await asyncio.to_thread(_context, self._console)
        application = web.Application(middlewares=[self._guarded], client_max_size=1024)
        routes: dict[str, Handler] = dict.fromkeys(self._pages, self._page)
        routes |= dict.fromkeys(self._answers.paths, self._body)
        routes |= {"/events": self._events, "/log": self._log, "/log/{after}": self._log}
        for path, handler in routes.items():
            application.router.add_route("GET", path, handler)
            application.router.add_route("HEAD", path, handler)
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
        loop = asyncio.get_running_loop()
        secured: dict[str, Any] = {}
        if context is not None:
            secured = {"ssl": context, "ssl_handshake_timeout": self._bounds.request_seconds}
        for one in listening:
            self._servers.append(await loop.create_server(self._accept, sock=one, **secured))
        self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Stop; answers under way have a moment to end."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        for server in self._servers:
            server.close()
        await self._live.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def status(self) -> dict[str, Any]:
        """Return what there is to count."""
        found = {"connections": len(self._serving().connections), "streams": len(self._live.streams)}
        return found | {"refused": dict(self.refused), "answers": dict(self._answers.counts)}

    # ---- connections

    def _accept(self) -> asyncio.BaseProtocol:
        serving = self._serving()
        if len(serving.connections) >= self._bounds.connections:
            self._refuse("connections")
            return _TooMany()
        protocol: asyncio.BaseProtocol = serving()
        return protocol

    def _serving(self) -> web.Server:
        assert self._runner is not None
        assert self._runner.server is not None
        return self._runner.server

    async def _sweep(self) -> None:
        """Close connections that ask nothing, or have been there for long; tell what was refused."""
        loop, bounds = asyncio.get_running_loop(), self._bounds
        since: dict[web.RequestHandler, float] = {}
        tell_at = 0.0
        while True:
            await asyncio.sleep(min(1.0, bounds.request_seconds / 4))
            now, serving = loop.time(), self._serving()
            since = {one: since.get(one, now) for one in serving.connections}
            self._asked &= since.keys()
            for connection, began in since.items():
                if connection in self._streaming:
                    continue
                asked, age = connection in self._asked, now - began
                if age > (bounds.connection_seconds + bounds.answer_seconds if asked else bounds.request_seconds):
                    if connection.transport is not None:
                        connection.transport.abort()
                    if not asked:
                        self._refuse("silent")
                elif age > bounds.connection_seconds:
                    connection.close()
            if self.refused != self._told and now >= tell_at:
                tell_at = now + bounds.told_seconds
                self._tell()

    def _refuse(self, why: str) -> None:
        self.refused[why] = self.refused.get(why, 0) + 1

    def _tell(self) -> None:
        new = {why: count - self._told.get(why, 0) for why, count in self.refused.items()}
        self._told = dict(self.refused)
        log.warning("refused: %s", ", ".join(f"{count} for {why}" for why, count in new.items() if count))

    # ---- requests

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """See who asks, that every answer has its headers, and that a defect here ends no more than one request."""
        self._asked.add(request.protocol)
        try:
            barred = self._barred(request)  # which is false, as an empty map: aiohttp's answers are maps
            answer = barred if barred is not None else await handler(request)
        except web.HTTPException as error:
            self._refuse(str(error.status))
            allowed = {"Allow": "GET, HEAD"} if error.status == 405 else {}
            answer = _said(error.status, error.reason, **allowed)
        except Vc5Error as error:
            answer = _said(503, str(error), **{"Retry-After": "5"})
        except ConnectionError:
            raise
        except Exception:
            log.exception("%s failed", request.path)
            answer = _said(500, "this is a defect of vc5; its log has the details")
        if not answer.prepared:
            answer.headers.update(HEADERS)
            answer.headers["Server"] = "vc5"
        return answer

    def _barred(self, request: web.Request) -> web.Response | None:
        host = request.headers.get("Host", "")
        if len(request.headers.getall("Host", [])) > 1 or not is_ours(host, self._names):
            self._refuse("host")
            why = "no such host is here: ask by an address, or name it under `console.hosts` in the configuration"
            return _said(421, why)
        if request.path in OPEN_TO_ALL or may_look(request.headers.get("Authorization", ""), self._console):
            return None
        self._refuse("credentials")
        return _said(401, "say who you are", **{"WWW-Authenticate": challenge(self._console)})

    async def _page(self, request: web.Request) -> web.Response:
        page = self._pages[request.path]
        if request.headers.get("If-None-Match") == page.tag:
            return web.Response(status=304, headers={"ETag": page.tag})
        # Asked for again each time, and sent when it has changed: a new version has its own console.
        return web.Response(body=page.body, headers={"Content-Type": page.kind, "ETag": page.tag})

    async def _body(self, request: web.Request) -> web.Response:
        body: Body = await self._answers.of(
            request.path, request.headers.get("Accept", ""), packed=_takes_gzip(request.headers)
        )
        return web.Response(status=body.status, body=body.data, headers=body.headers)

    async def _log(self, request: web.Request) -> web.Response:
        query = request.query
        after = _number(request.match_info.get("after") or query.get("after"), None)
        limit = _number(query.get("limit"), LINES)
        if not 1 <= (limit or 0) <= MOST_LINES:
            raise web.HTTPBadRequest(reason=f"limit is a number from 1 to {MOST_LINES}")
        assert limit is not None
        lines, behind = self._history.chosen(after, limit, query.get("kind", ""), query.get("text", ""))
        text = await asyncio.to_thread(json.dumps, {"lines": lines, "next": behind})
        return web.Response(body=text.encode("ascii"), headers={"Content-Type": "application/json"})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if len(self._live.streams) >= self._bounds.streams:
            self._refuse("streams")
            return _said(503, f"{self._bounds.streams} consoles are open already; close one", **{"Retry-After": "10"})
        given = request.headers.get("Last-Event-ID") or request.query.get("log")
        after = _number(given, None)
        answer = web.StreamResponse(headers={**HEADERS, "Server": "vc5", "Content-Type": "text/event-stream"})
        answer.headers["X-Accel-Buffering"] = "no"
        await answer.prepare(request)
        if request.method == "HEAD":
            return answer
        stream = self._live.join(after)
        self._streaming.add(request.protocol)
        try:
            async for data in stream.read(self._live.pace.alive):
                async with asyncio.timeout(self._bounds.write_seconds):
                    await answer.write(data)
            self._refuse("slow")
        except (TimeoutError, ConnectionError):
            self._refuse("gone")
        finally:
            self._live.leave(stream)
            self._streaming.discard(request.protocol)
            with suppress(AttributeError):
                # Who does not read what is there would keep it there.
                request.transport.abort()  # type: ignore[union-attr]
        return answer


class _TooMany(asyncio.Protocol):
    """Hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


def _context(console: Console) -> ssl.SSLContext | None:
    """Return what speaks TLS; None where nothing does. Raises OSError (ssl.SSLError is one)."""
    if not console.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(console.certificate, console.key)
    return context


def _said(status: int, why: str, **headers: str) -> web.Response:
    body = json.dumps({"error": why}) + "\n"
    return web.Response(status=status, body=body.encode(), headers={"Content-Type": "application/json", **headers})


def _number(text: str | None, default: int | None) -> int | None:
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise web.HTTPBadRequest(reason="a number of digits is wanted")
    return int(text)


def _takes_gzip(headers: Mapping[str, str]) -> bool:
    offers = [one.strip().lower().replace(" ", "") for one in headers.get("Accept-Encoding", "").split(",")]
    return any(
        one == "gzip" or (one.startswith("gzip;q=") and one[7:] not in ("0", "0.0", "0.00", "0.000")) for one in offers
    )


def _silent() -> logging.Logger:
    """A log for what clients do wrong, which is theirs: nobody may fill ours with it."""
    found = logging.getLogger(f"{__name__}.clients")
    found.propagate = False
    found.handlers = [logging.NullHandler()]
    return found
