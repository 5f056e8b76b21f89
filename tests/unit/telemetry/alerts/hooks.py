"""A stand-in for Slack and Teams that misbehaves as real ones do now and then, and what drives an alerter meanwhile."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from appliance.telemetry.alerts.alerter import Alerter
from tests.lab.patience import SLOWNESS

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(status: int, body: str = "", *headers: str) -> Behaviour:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status} Word", f"Content-Length: {len(body)}", "Connection: close", *headers, "", body]

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode())

    return behave


async def hang(writer: asyncio.StreamWriter) -> None:
    """Say nothing, and stay."""
    await asyncio.Event().wait()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Say nothing, and go."""


async def half(writer: asyncio.StreamWriter) -> None:
    """Break off within the head."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-")


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send headers for ever, byte by byte."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X")
        await writer.drain()
        await asyncio.sleep(0.01)


async def drip_body(writer: asyncio.StreamWriter) -> None:
    """Say yes, and then more and more."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\nx\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def flood(writer: asyncio.StreamWriter) -> None:
    """Say yes, and then gigabytes."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def rubbish(writer: asyncio.StreamWriter) -> None:
    """Speak another protocol."""
    writer.write(b"220 mail.example.com ESMTP\r\n")


OK = answer(200, "ok")


class Hook:
    """A web server that behaves as it is told, request by request, and then well."""

    def __init__(self, *behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self._behaviours = list(behaviours)
        self._tls = tls
        self.bodies: list[dict[str, Any]] = []
        """Of the requests that were answered well."""
        self.requests = 0
        self.at_once = self.most_at_once = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Hook:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, path: str = "/services/T0/B0/SECRET") -> str:
        return f"http{'s' * (self._tls is not None)}://127.0.0.1:{self.port}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                assert "content-type: application/json" in head
                body = json.loads(await reader.readexactly(int(head.split("content-length:")[1].split()[0])))
                self.requests += 1
                behave = self._behaviours.pop(0) if self._behaviours else OK
                if behave in (OK, drip_body, flood):
                    self.bodies.append(body)
                answering = asyncio.ensure_future(behave(writer))
                gone = asyncio.ensure_future(reader.read(1))
                try:
                    await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
                    await writer.drain()
                finally:
                    for part in (answering, gone):
                        part.cancel()
                    await asyncio.gather(answering, gone, return_exceptions=True)
        finally:
            self.at_once -= 1
            self._tasks.discard(task)
            writer.close()


def events(body: dict[str, Any]) -> int:
    """Return how many events a message for Slack says it tells of."""
    footer = body["blocks"][-1]["elements"][0]["text"]
    return int(footer.split(" · ")[-1].split()[0])


def events_of_card(body: dict[str, Any]) -> int:
    """Return the same for Teams."""
    footer = body["attachments"][0]["content"]["body"][-1]["inlines"][0]["text"]
    return int(footer.split(" · ")[-1].split()[0])


async def drive(alerter: Alerter, until: Callable[[], bool], seconds: float = 15.0) -> None:
    """Have the alerter do what is due until something is so."""
    end = time.monotonic() + seconds * SLOWNESS
    while not until():
        assert time.monotonic() < end, (alerter.counts, alerter.trouble())
        alerter.step(time.monotonic())
        await asyncio.sleep(0.005)
