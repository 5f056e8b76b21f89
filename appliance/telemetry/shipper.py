"""The way from the spool to Elasticsearch: everything once, in spite of everything.

Theory of operation. Records are read from the spool in pieces, a few of which are on their way at once. A piece is
delivered when each of its records has been taken, was there already, or has been put aside as one that will never be
taken; the cursor goes on when all pieces before it are delivered. What is on its way when this process is killed is
sent again by the next one, and is known there by its id. So nothing is lost but what the spool had to remove before it
was read, and that is counted.

Whatever the server does, a piece is kept until it is delivered: without an answer, or with one that concerns the server
and not the documents, everything pauses and tries again, later each time. That is the back-pressure: nothing more is
read meanwhile, and the spool, which is bounded, holds what is to come.

A request that is refused as a whole, for what is in it, is taken apart until the record is found that is to blame.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from appliance.errors import ShipError
from appliance.telemetry import bulk, cursor, dead_letters
from appliance.telemetry.back_off import BackOff
from appliance.telemetry.cursor import Cursor, Piece
from appliance.telemetry.record import records, sound, written_at
from appliance.telemetry.streams import Stream

REQUESTS = 3
"""Pieces on their way at once."""
POLL = 0.25
"""Seconds between two looks at a spool in which there was nothing new."""
SAVE = 1.0
"""Seconds between two savings of the cursor, at least."""
ONLY_THE_SERVER = "the server refuses to take documents"


class Server(Protocol):
    """Elasticsearch (elastic.py). Raises ShipError where there is no answer of one."""

    async def bulk(self, body: bytes) -> tuple[int, Any]:
        """Send a ready body to any server; return status and body of the answer."""


@dataclass
class ShipCounts:
    """What the shipper did since it was made."""

    shipped: dict[str, int] = field(default_factory=lambda: {str(stream): 0 for stream in Stream})
    """Documents that are there now, by stream."""
    requests: int = 0
    failures: int = 0
    """Requests that came to nothing, and were sent again."""
    retried: int = 0
    """Documents that were refused for now, and were sent again."""
    dead: int = 0
    """Documents that will never be taken."""
    lost: int = 0
    """Documents that the spool removed before they were sent."""
    sent_bytes: int = 0
    """Of bodies, before they are compressed."""


class Shipper:
    """One consumer of the spool at `log`; its cursor and its dead letters are in `place`."""

    def __init__(
        self,
        log: Path,
        place: Path,
        server: Server,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        requests: int = REQUESTS,
        piece: int = cursor.PIECE_BYTES,
    ) -> None:
        self._log, self._server, self._sleep = log, server, sleep
        self._cursor_file, self._letters = place / "cursor.json", place / "dead-letters.ndjson"
        self._requests, self._piece = requests, piece
        self._back_off = BackOff(chance)
        self._pause = 0.0
        """Seconds to wait before the server is tried again; 0 while it takes documents."""
        self._trying = asyncio.Lock()
        self._saved = Cursor()
        self._saved_at = 0.0
        self.counts = ShipCounts()
        self._oldest = 0.0
        self.trouble = ""
        """Why documents are not taken at the moment; empty when they are."""
        self.place = Cursor()
        """Everything up to here is delivered."""

    async def run(self) -> None:
        """Ship for ever; ends by cancellation, with the cursor saved."""
        flights: deque[tuple[Cursor, asyncio.Task[None], float]] = deque()
        self.place = await asyncio.to_thread(lambda: cursor.settled(self._log, cursor.load(self._cursor_file)))
        read = self._saved = self.place
        try:
            while True:
                while len(flights) < self._requests and (piece := await self._next(read)) is not None:
                    self.counts.lost += piece.lost
                    read = piece.end
                    at = written_at(piece.data)
                    flights.append((piece.end, asyncio.create_task(self._deliver(piece.data)), at))
                self._oldest = flights[0][2] if flights else 0.0
                if flights:
                    # Those behind the first may be done long before it: they are not waited for again.
                    under_way = [task for _, task, _ in flights if not task.done()]
                    if under_way:
                        await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED, timeout=SAVE)
                else:
                    await self._sleep(POLL)
                while flights and flights[0][1].done():
                    self.place, task, _ = flights.popleft()
                    task.result()
                await self._save(idle=not flights)
        finally:
            for _, task, _ in flights:
                task.cancel()
            cursor_now = self.place
            await asyncio.gather(*(task for _, task, _ in flights), return_exceptions=True)
            self._write_cursor(cursor_now)

    def lag(self, now: float) -> float:
        """Return how old the oldest document is that is on its way, seconds; 0 with none. `now` is wall-clock time."""
        return max(0.0, round(now - self._oldest, 3)) if self._oldest else 0.0

    async def _next(self, read: Cursor) -> Piece | None:
        try:
            return await asyncio.to_thread(cursor.next_piece, self._log, read, self._piece)
        except OSError as error:
            self.trouble = f"{self._log}: cannot be read: {error.strerror}"
            return None

    async def _save(self, *, idle: bool) -> None:
        now = time.monotonic()
        if self.place != self._saved and (idle or now >= self._saved_at + SAVE):
            self._saved_at = now
            await asyncio.to_thread(self._write_cursor, self.place)

    def _write_cursor(self, place: Cursor) -> None:
        try:
            cursor.save(self._cursor_file, place)
            self._saved = place
        except OSError:
            # The next start sends some records again, which does no harm.
            return

    async def _deliver(self, data: bytes) -> None:
        """Have every record of `data` taken or put aside."""
        waiting = deque([data])
        while waiting:
            body = waiting.popleft()
            if self._pause:
                # While the server takes nothing, one request at a time tries it.
                async with self._trying:
                    await self._sleep(self._pause)
                    parts = await self._attempt(body)
            else:
                parts = await self._attempt(body)
            waiting.extendleft(part for part in reversed(parts) if part)

    async def _attempt(self, body: bytes) -> list[bytes]:
        """Send a body; return what of it is to be sent again."""
        try:
            status, answer = await self._send(body)
            if status == 200:
                rest, why = await self._judged(body, answer)
                parts = [rest]
            elif status in (400, 413):
                parts, why = await self._apart(body, status, answer), ""
            else:
                parts, why = [body], f"{ONLY_THE_SERVER}: status {status}{_reason(answer)}"
        except ShipError as error:
            parts, why = [body], str(error)
        except OSError as error:
            parts, why = [body], f"{self._letters}: cannot be written: {error.strerror}"
        self.trouble = why
        if why:
            self.counts.failures += 1
            self._pause = self._back_off.failed()
        else:
            self._back_off.succeeded()
            self._pause = 0.0
        return parts

    async def _send(self, body: bytes) -> tuple[int, object]:
        self.counts.requests += 1
        self.counts.sent_bytes += len(body)
        return await self._server.bulk(body)

    async def _judged(self, body: bytes, answer: object) -> tuple[bytes, str]:
        """Return what is to be sent again of a body that was answered, and why."""
        sent = records(body)
        try:
            judgement = bulk.judge(sent, answer)
        except ValueError as error:
            raise ShipError(f"what answers is not Elasticsearch: {error}", retryable=True) from None
        if judgement.dead:
            await asyncio.to_thread(dead_letters.add, self._letters, judgement.dead)
        self.counts.dead += len(judgement.dead)
        self.counts.retried += len(judgement.again)
        rest = b"".join(judgement.again)
        if not judgement.again and not judgement.dead:
            self._count(body)
        else:
            gone = {*judgement.again, *(one.record for one in judgement.dead)}
            self._count(b"".join(one for one in sent if one not in gone))
        return rest, f"{ONLY_THE_SERVER}: {judgement.why}" if rest else ""

    def _count(self, data: bytes) -> None:
        for stream in Stream:
            self.counts.shipped[stream] += data.count(b'{"create":{"_index":"logs-%s-' % str(stream).encode())

    async def _apart(self, body: bytes, status: int, answer: object) -> list[bytes]:
        """Take a body apart that was refused as a whole; return what is to be sent again."""
        sent = records(body)
        bad = [bulk.Refused(one, status, why) for one in sent if (why := sound(one))]
        if not bad and len(sent) == 1:
            bad = [bulk.Refused(sent[0], status, f"refused by itself{_reason(answer)}")]
        if bad:
            await asyncio.to_thread(dead_letters.add, self._letters, bad)
            self.counts.dead += len(bad)
            damaged = {one.record for one in bad}
            return [b"".join(one for one in sent if one not in damaged)]
        half = len(sent) // 2
        return [b"".join(sent[:half]), b"".join(sent[half:])]


def _reason(answer: object) -> str:
    """Return what an error answer says, with a comma before it."""
    error = answer.get("error") if isinstance(answer, Mapping) else None
    if isinstance(error, Mapping):
        error = f"{error.get('type', '')}: {error.get('reason', '')}"
    return f", {error}"[:500] if error else ""
