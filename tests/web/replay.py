"""The static files and the answers of a balancer that is not there, with the headers of the real server.

    with Replay(Picture(backends=3)) as replay:
        page.open(replay.address)
        replay.send("services", replay.picture.kill(0, 1))
        replay.tick()                    time passes: the next numbers
        replay.hang_up(); replay.refuse(True)

Frames are made in the test's thread and handed over; who connects gets the whole picture first.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from pathlib import Path
from typing import Any

from aiohttp import web

import appliance
from tests.lab.standing import Standing
from tests.web.picture import Picture

STATIC = Path(appliance.__file__).parent / "web" / "static"
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
TYPES = {".page": "text/html", ".css": "text/css", ".svg": "image/svg+xml", ".js": "text/javascript"}


class Replay(Standing):
    """A server on a port of the loopback interface, in a thread with a loop of its own."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.address = ""
        self.connections = 0
        self.asked: list[str] = []
        """The paths that were asked for, in order."""
        self.prefixes: list[int] | None = None
        """None: nothing is counted."""
        self.lines: list[dict[str, Any]] = []
        self.silent = False
        """Whether who connects hears nothing at all."""
        self._refuse = False
        self._loop = asyncio.new_event_loop()
        self._streams: set[asyncio.Queue[bytes | None]] = set()
        self._ready = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="replay")

    def stand(self) -> None:
        """Serve."""
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Serve no more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join()

    # ---- what the test does

    def send(self, event: str, data: Any) -> None:
        """Send one event to all who listen."""
        if event == "log":
            self.lines.append(data)
        frame = _frame(event, data)
        self._loop.call_soon_threadsafe(self._spread, frame)

    def tick(self, times: int = 1) -> None:
        """Let an interval pass, and send the numbers."""
        for _ in range(times):
            self.picture.pass_time()
            self.send("numbers", self.picture.numbers())

    def log(self, message: str, **more: Any) -> None:
        """Send an event of the log."""
        self.send("log", self.picture.event(message, **more))

    def hang_up(self) -> None:
        """End every connection."""
        self._loop.call_soon_threadsafe(self._spread, None)

    def refuse(self, refuse: bool) -> None:
        """Answer 503 to who wants events, or no more."""
        self._refuse = refuse

    @property
    def listeners(self) -> int:
        """How many follow the events now."""
        return len(self._streams)

    # ---- the server

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        application = web.Application()
        application.router.add_get("/events", self._events)
        application.router.add_get("/log", self._log)
        application.router.add_get("/prefixes.json", self._prefixes)
        application.router.add_get("/drops.json", self._drops)
        application.router.add_get("/{path:.*}", self._static)
        served = web.AppRunner(application, access_log=None)
        await served.setup()
        try:
            site = web.TCPSite(served, "127.0.0.1", 0, shutdown_timeout=0.1)
            await site.start()
            [*_, port] = served.addresses[0]
            self.address = f"http://127.0.0.1:{port}/"
            self._ready.set()
            await self._over.wait()
            self._spread(None)
        finally:
            self._ready.set()
            await served.cleanup()

    def _spread(self, frame: bytes | None) -> None:
        for stream in self._streams:
            stream.put_nowait(frame)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        if self._refuse:
            return web.json_response({"error": "too many follow the events"}, status=503, headers=HEADERS)
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        picture, frames = self.picture, asyncio.Queue[bytes | None]()
        first = [("hello", picture.hello()), ("overview", picture.overview())]
        first += [("services", frame) for frame in picture.service_frames()]
        first += [("numbers", picture.numbers()), *(("log", line) for line in self.lines[-200:])]
        self._streams.add(frames)
        try:
            for event, data in () if self.silent else first:
                await response.write(_frame(event, data))
            while (frame := await frames.get()) is not None:
                await response.write(frame)
        except ConnectionError:
            pass
        finally:
            self._streams.discard(frames)
        return response

    async def _log(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        wanted = request.query
        lines = [
            line
            for line in self.lines
            if line["kind"] == wanted.get("kind", line["kind"]) and wanted.get("text", "") in json.dumps(line)
        ]
        return web.json_response({"lines": lines, "next": ""}, headers=HEADERS)

    async def _prefixes(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if self.prefixes is None:
            return web.json_response({"error": "no packets are counted by prefix"}, status=503, headers=HEADERS)
        body = gzip.compress(json.dumps(self.prefixes, separators=(",", ":")).encode(), 1)
        headers = {**HEADERS, "Content-Encoding": "gzip", "Content-Type": "application/json"}
        return web.Response(body=body, headers=headers)

    async def _drops(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.json_response(self.picture.drops(), headers=HEADERS)

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["path"] or "index.page"
        file = STATIC / name
        if file.parent not in (STATIC, STATIC / "js") or not file.is_file():
            return web.Response(status=404, text="there is nothing here", headers=HEADERS)
        return web.Response(body=file.read_bytes(), content_type=TYPES[file.suffix], charset="utf-8", headers=HEADERS)


def _frame(event: str, data: Any) -> bytes:
    identity = f"id: {data['id']}\n" if event == "log" else ""
    return f"event: {event}\n{identity}data: {json.dumps(data)}\n\n".encode()
