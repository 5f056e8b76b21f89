"""The web process: console, JSON, metrics.

Started by the daemon (control/showing.py) with a socket pair, the sockets that listen, and the directory of the log: no
capability, no privilege, no secret in its arguments. It parses what anybody sends, and can do nothing but ask the
daemon how things are. When the daemon closes the socket it ends.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import sys
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from appliance.child.worker import Worker, main
from appliance.errors import HostError
from appliance.telemetry import cursor, documents, segments
from appliance.telemetry.exposition import exposition
from appliance.telemetry.feed import events
from appliance.web.answers import Answers
from appliance.web.history import History, line_of
from appliance.web.live import Live
from appliance.web.messages import Settings, decode_settings
from appliance.web.pages import pages
from appliance.web.server import WebServer

SECOND = 1.0
POLL = 0.25
"""Seconds between two looks at a log in which there was nothing new."""
BACK = 4 << 20
"""Bytes of the log that are read at the start."""
TURN = 256
"""Records that are read in one turn of the loop."""
QUESTIONS = ("metrics", "status", "numbers", "config", "prefixes", "drops", "ready")


class Web(Worker[Settings]):
    """What runs in the process."""

    FAREWELL = 1.0

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection, decode_settings)
        self._server: WebServer | None = None
        self._trouble = ""

    async def work(self, settings: Settings) -> None:
        """Serve."""
        history = History()
        asks = {name: self._asking(name) for name in QUESTIONS}
        live = Live(settings.version, asks["status"], asks["numbers"], history)
        self._server = server = WebServer(
            Answers(asks, exposition), pages(), history, live, settings.console, settings.names
        )
        try:
            await server.start([_listening(number) for number in settings.listening])
        except OSError as error:
            console = settings.console
            why = f"the console's certificate or key cannot be used: {error}" if console.certificate else str(error)
            self._server = None
            self._trouble = f"{why}; see `console` in vc5.yaml(5)"
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._report())
            tasks.create_task(_follow(Path(settings.log), history))

    def _asking(self, name: str) -> Any:
        async def ask() -> dict[str, Any]:
            answer = await self.channel.ask(name)
            found: dict[str, Any] = answer.get("result", answer)
            return _unpacked(found) if name == "prefixes" else found

        return ask

    async def _report(self) -> None:
        """Tell the daemon each second how things are."""
        while True:
            status = self._server.status() if self._server is not None else {}
            self.channel.tell("status", web={"trouble": self._trouble, **status})
            await asyncio.sleep(SECOND)


def _unpacked(answer: Mapping[str, Any]) -> dict[str, Any]:
    counts = zlib.decompress(base64.b64decode(answer["counts"]))
    return {**answer, "counts": memoryview(counts).cast("I")}


def _listening(number: int) -> socket.socket:
    made = socket.socket(fileno=number)
    made.setblocking(False)
    return made


async def _follow(place: Path, history: History) -> None:
    """Have a history of the log's events, those of before and those to come."""
    at = await asyncio.to_thread(_back, place)
    while True:
        try:
            piece = await asyncio.to_thread(cursor.next_piece, place, at)
        except OSError as error:
            raise HostError(f"the log cannot be read: {error.strerror}") from None
        if piece is None:
            if not os.stat(place).st_nlink:
                raise HostError("the directory of the log was removed")
            await asyncio.sleep(POLL)
            continue
        await _take(events(piece.data), history)
        at = piece.end


async def _take(found: Iterable[dict[str, Any]], history: History) -> None:
    for number, document in enumerate(found):
        try:
            line = line_of(documents.read(document), document["event"].get("severity"))
        except ValueError:
            continue
        if line is not None:
            history.add(line)
        if number % TURN == TURN - 1:
            await asyncio.sleep(0)


def _back(place: Path) -> cursor.Cursor:
    """Return a place in the log from which the last events are read, not more of it than BACK."""
    size = 0
    for number in reversed(segments.listing(place)):
        try:
            size += segments.segment(place, number).stat().st_size
        except FileNotFoundError:
            return cursor.Cursor(number + 1)
        if size >= BACK:
            return cursor.Cursor(number)
    return cursor.Cursor()


if __name__ == "__main__":
    sys.exit(main("vc5-web", Web))
