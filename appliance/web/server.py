"""Console, JSON and metrics over HTTP, as `api` describes them. With `gate` the door to aiohttp's server.

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
from typing import Any

from aiohttp import web

from appliance.errors import Vc5Error
from appliance.model_console import Console
from appliance.web.answers import Answers, Body
from appliance.web.api import ENDPOINTS, HEADERS, METHODS, By, description
from appliance.web.gate import Bounds, Connection, Gate
from appliance.web.guard import challenge, is_ours, may_look
from appliance.web.history import FIRST, MOST, History
from appliance.web.live import Live
from appliance.web.pages import Page
from appliance.web.schema_events import KINDS

log = logging.getLogger(__name__)

BOUNDS = Bounds()
OPEN_TO_ALL = frozenset(one.path for one in ENDPOINTS if one.open)
PACE = 64 << 10
"""Bytes that are written at once; each waits for those before."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
        self._teller: asyncio.Task[None] | None = None
        self.gate = Gate(bounds, self._refuse, _malformed)
        self._streams = 0
        self._description = b""
        self.refused: dict[str, int] = {}
        """What was not answered as asked, by reason."""
        self._told: dict[str, int] = {}
        self._defect_at = 0.0

    async def start(self, listening: Sequence[socket.socket]) -> None:
        """Begin to answer; the sockets are closed at the end. Raises OSError for a certificate that is none."""
        context = await asyncio.to_thread(_context, self._console)
        application = web.Application(middlewares=[self._guarded], client_max_size=1024)
        application.on_response_prepare.append(_complete)
        handlers: dict[By, Handler] = {
            By.PAGES: self._page,
            By.ANSWERS: self._body,
            By.LOG: self._log,
            By.EVENTS: self._events,
            By.DESCRIPTION: self._describe,
        }
        # Names before patterns: the first route that fits has the request.
        for one in sorted(ENDPOINTS, key=lambda one: "{" in one.path):
            for method in METHODS:
                application.router.add_route(method, one.path, handlers[one.by])
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        assert self._runner.server is not None
        self.gate.open(listening, self._runner.server, context)
        self._teller = asyncio.create_task(self._tell())

    async def close(self) -> None:
        """Stop; answers under way have a moment to end."""
        await self.gate.close()
        if self._teller is not None:
            self._teller.cancel()
            await asyncio.gather(self._teller, return_exceptions=True)
        await self._live.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def status(self) -> dict[str, Any]:
        """Return what there is to count."""
        found = {"connections": self.gate.count, "streams": self._streams}
        return found | {"refused": dict(self.refused), "answers": dict(self._answers.counts)}

    def _refuse(self, why: str) -> None:
        self.refused[why] = self.refused.get(why, 0) + 1

    async def _tell(self) -> None:
        """Tell the log what was refused, as rarely as `told_seconds` says."""
        while True:
            while self.refused == self._told:
                await asyncio.sleep(min(1.0, self._bounds.request_seconds / 4))
            new = {why: count - self._told.get(why, 0) for why, count in self.refused.items()}
            self._told = dict(self.refused)
            log.warning("refused: %s", ", ".join(f"{count} for {why}" for why, count in new.items() if count))
            await asyncio.sleep(self._bounds.told_seconds)

    # ---- requests

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """See who asks, and that a defect here ends no more than one request."""
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.begin()
        try:
            barred = self._barred(request)  # which is false, as an empty map: aiohttp's answers are maps
            return barred if barred is not None else await handler(request)
        except web.HTTPException as error:
            self._refuse(str(error.status))
            allowed = {"Allow": ", ".join(METHODS)} if error.status == 405 else {}
            return _said(error.status, error.reason, **allowed)
        except Vc5Error as error:
            return _said(503, str(error), **{"Retry-After": "5"})
        except ConnectionError:
            raise
        except Exception:
            self._defect(request.path)
            return _said(500, "this is a defect of vc5; its log has the details")

    def _defect(self, path: str) -> None:
        """Tell of a defect, but not as often as somebody asks for it."""
        self._refuse("500")
        now = asyncio.get_running_loop().time()
        if now >= self._defect_at:
            self._defect_at = now + self._bounds.told_seconds
            log.exception("%r cannot be answered; this is a defect of vc5", path[:200])

    def _barred(self, request: web.Request) -> web.Response | None:
        host = request.headers.get("Host", "")
        if len(request.headers.getall("Host", [])) > 1 or not is_ours(host, self._names):
            self._refuse("host")
            why = "no such host is here: ask by an address, or name it under `console.hosts` in the configuration"
            return _said(421, why)
        if request.path not in OPEN_TO_ALL and not may_look(request.headers.get("Authorization", ""), self._console):
            self._refuse("credentials")
            return _said(401, "say who you are", **{"WWW-Authenticate": challenge(self._console)})
        if request.method in METHODS and request.can_read_body:
            self._refuse("body")
            answer = _said(413, "nothing is taken: ask without a body")
            answer.force_close()
            return answer
        return None

    async def _page(self, request: web.Request) -> web.StreamResponse:
        page = self._pages.get(request.path)
        if page is None:
            raise web.HTTPNotFound
        known = [one.strip().removeprefix("W/") for one in request.headers.get("If-None-Match", "").split(",")]
        if page.tag in known or "*" in known:
            return web.Response(status=304, headers={"ETag": page.tag})
        # Asked for again each time, and sent when it has changed: a new version has its own console.
        return await self._send(request, Body(page.body, {"Content-Type": page.kind, "ETag": page.tag}))

    async def _body(self, request: web.Request) -> web.StreamResponse:
        packed = _takes_gzip(request.headers)
        return await self._send(
            request, await self._answers.of(request.path, request.headers.get("Accept", ""), packed=packed)
        )

    async def _describe(self, request: web.Request) -> web.StreamResponse:
        if not self._description:
            self._description = await asyncio.to_thread(lambda: json.dumps(description()).encode("ascii"))
        return await self._send(request, Body(self._description))

    async def _log(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        after = _number(request.match_info.get("after") or query.get("after"), None)
        limit = _number(query.get("limit"), FIRST)
        if limit is None or not 1 <= limit <= MOST:
            raise web.HTTPBadRequest(reason=f"limit is a number from 1 to {MOST}")
        kind = query.get("kind", "")
        if kind and kind not in KINDS:
            raise web.HTTPBadRequest(reason=f"kind is one of {', '.join(KINDS)}")
        lines, behind = self._history.chosen(after, limit, kind, query.get("text", ""))
        text = await asyncio.to_thread(json.dumps, {"lines": lines, "next": behind})
        return await self._send(request, Body(text.encode("ascii")))

    async def _send(self, request: web.Request, body: Body) -> web.StreamResponse:
        """Answer; of what is long a piece at a time, so that nothing is kept for those who do not read it."""
        if len(body.data) <= PACE or request.method == "HEAD":
            return web.Response(status=body.status, body=body.data, headers=body.headers)
        answer = web.StreamResponse(status=body.status, headers=body.headers)
        answer.content_length = len(body.data)
        await answer.prepare(request)
        try:
            async with asyncio.timeout(self._bounds.answer_seconds):
                for first in range(0, len(body.data), PACE):
                    await answer.write(body.data[first : first + PACE])
                await answer.write_eof()
        except TimeoutError:
            self._abort(request, "slow")
        return answer

    def _abort(self, request: web.Request, why: str) -> None:
        """Hang up: who does not read what is there would keep it there."""
        if isinstance(request.protocol, Connection):
            request.protocol.hang_up(why)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        after = _number(request.headers.get("Last-Event-ID") or request.query.get("log"), None)
        if self._streams >= self._bounds.streams:
            self._refuse("streams")
            full = _said(503, f"{self._bounds.streams} consoles are open already; close one", **{"Retry-After": "10"})
            full.force_close()  # so that those who come back find a connection free
            return full
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        if request.method == "HEAD":
            return answer
        connection = request.protocol
        assert isinstance(connection, Connection)
        self._streams += 1
        connection.streaming = True
        stream = self._live.join(after)
        try:
            await answer.prepare(request)
            async for data in stream.read(self._live.pace.alive):
                async with asyncio.timeout(self._bounds.write_seconds):
                    await answer.write(data)
            if stream.slow:
                self._refuse("slow")
        except TimeoutError:
            self._refuse("slow")
        except ConnectionError:
            pass  # who leaves is not refused
        finally:
            self._streams -= 1
            self._live.leave(stream)
            connection.streaming = False
            if connection.transport is not None:
                connection.transport.abort()
        return answer


async def _complete(request: web.Request, answer: web.StreamResponse) -> None:
    """Give an answer what every answer has."""
    answer.headers.update(HEADERS)
    answer.headers["Server"] = "vc5"


def _malformed(status: int) -> web.Response:
    """Answer what is no request."""
    why = "this is a defect of vc5; its log has the details" if status >= 500 else "no HTTP request that is understood"
    answer = _said(status, why)
    answer.headers.update({**HEADERS, "Server": "vc5"})
    return answer


def _context(console: Console) -> ssl.SSLContext | None:
    """Return what speaks TLS; None where nothing does. Raises OSError (ssl.SSLError is one)."""
    if not console.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Without a password for the key, somebody would be asked for it.
    context.load_cert_chain(console.certificate, console.key, password=bytes)
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
