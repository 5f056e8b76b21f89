"""One picture for all consoles: asked of the daemon while somebody looks, and sent to each as fast as it reads.

Nothing is kept for a console that does not read: what waits for it is bounded, and then its stream ends; the browser
comes back by itself and begins with the whole picture. What is sent to all is made once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from appliance.errors import Vc5Error
from appliance.web.history import History, Line
from appliance.web.picture import Counts, Frame, Picture

log = logging.getLogger(__name__)

PIECE = 64 << 10
"""Bytes that are written at once: what one who does not read keeps from being let go."""

Ask = Callable[[], Awaitable[dict[str, Any]]]
"""Has an answer of the daemon, or raises a Vc5Error that says why there is none."""


@dataclass(frozen=True)
class Pace:
    """How often is looked; seconds."""

    interval: float = 2.0
    refresh: float = 10.0
    """Between two looks at everything, while nothing is known to have happened."""
    alive: float = 5.0
    """Of silence on a stream, after which it says that it is there."""
    told: float = 60.0
    """Between two words in the log about the same defect."""
    waiting_bytes: int = 4 << 20
    """What may wait for one console, besides its first picture."""


class Stream:
    """What waits for one console."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._frames: deque[bytes] = deque()
        self._size = 0
        self._there = asyncio.Event()
        self.begun = False
        """Whether it has had a whole picture."""
        self.over = False
        """Whether it is to end."""
        self.slow = False
        """Whether it ends because too much waits."""

    @property
    def waiting(self) -> int:
        """How many bytes wait, without those of its first picture."""
        return self._size

    def put(self, data: bytes, *, bounded: bool = True) -> None:
        """Have it sent; where too much waits, the stream is over."""
        if self.over:
            return
        if bounded and self._size + len(data) > self._most:
            self.slow = True
            self.end()
            return
        self._frames.append(data)
        self._size += len(data) if bounded else 0
        self._there.set()

    def end(self) -> None:
        """Send no more."""
        self.over = True
        self._frames.clear()
        self._there.set()

    async def read(self, silence: float) -> AsyncIterator[bytes]:
        """Yield what is to be sent, PIECE bytes at most; a word where there was nothing for `silence` seconds."""
        while not self.over:
            if not self._frames:
                self._there.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(silence):
                        await self._there.wait()
            frames = list(self._frames) or [Frame("alive", {}).encode()]
            self._frames.clear()
            self._size = 0
            for piece in pieces(frames):
                yield piece
                if self._is_over():
                    return

    def _is_over(self) -> bool:
        return self.over


def pieces(frames: Iterable[bytes], most: int = PIECE) -> Iterator[bytes]:
    """Yield the same bytes in the same order, `most` at a time; what is short is put together."""
    short = bytearray()
    for frame in frames:
        if len(short) + len(frame) <= most:
            short += frame
            continue
        if short:
            yield bytes(short)
            short.clear()
        for first in range(0, len(frame), most):
            yield frame[first : first + most]
    if short:
        yield bytes(short)


class Live:
    """The streams, and the picture while there are any."""

    def __init__(self, version: str, status: Ask, numbers: Ask, history: History, pace: Pace | None = None) -> None:
        self._version, self._status, self._numbers = version, status, numbers
        self._history = history
        self.pace = pace or Pace()
        self.streams: set[Stream] = set()
        self._picture = Picture()
        self._known: Any = None
        self._due = 0.0
        self._why = ""
        self._whole: tuple[bytes, ...] = ()
        """The picture as it is, once for all who begin with it."""
        self._tell_at = 0.0
        self._work: asyncio.Task[None] | None = None
        history.told = self._line

    def join(self, after: int | None) -> Stream:
        """Return a stream, with the lines of the log behind `after`, or with the last ones."""
        stream = Stream(self.pace.waiting_bytes)
        self.streams.add(stream)
        hello = {"version": self._version, "interval": self.pace.interval, "time": round(time.time(), 3)}
        stream.put(Frame("hello", hello).encode())
        for line in self._history.after(after):
            stream.put(_log(line).encode(), bounded=False)
        if self._work is None:
            self._work = asyncio.create_task(self._run())
        elif self._picture.counts is not None:
            self._begin(stream)
            if self._why:
                stream.put(Frame("gone", {"why": self._why}).encode())
        return stream

    def leave(self, stream: Stream) -> None:
        """Send nothing more to a console."""
        stream.end()
        self.streams.discard(stream)

    async def close(self) -> None:
        """End all streams."""
        for stream in list(self.streams):
            self.leave(stream)
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait({self._work})

    async def _run(self) -> None:
        """Look while somebody does; who comes later begins with a new picture."""
        try:
            while self.streams:
                began = time.monotonic()
                await self._look(began)
                await asyncio.sleep(max(0.1, began + self.pace.interval - time.monotonic()))
        except Exception:
            # Browsers come back at once: a defect is told of once in a while, and not by each of them.
            if time.monotonic() >= self._tell_at:
                self._tell_at = time.monotonic() + self.pace.told
                log.exception("the console's picture cannot be made; this is a defect of vc5")
            for stream in self.streams:
                stream.end()
        finally:
            self._work, self._picture, self._known, self._why, self._whole = None, Picture(), None, "", ()

    async def _look(self, now: float) -> None:
        frames: list[Frame] = []
        try:
            answer = await self._numbers()
            if answer["known"] != self._known or now >= self._due:
                body = await self._status()
                self._known, self._due = answer["known"], now + self.pace.refresh
                frames += self._picture.take(body, time.time())
            frames.append(self._picture.count(Counts.of(answer), time.time()))
            self._why = ""
        except Vc5Error as error:
            frames, self._known = [Frame("gone", {"why": str(error)})], None
            self._why = str(error)
        self._whole = ()
        data = b"".join(frame.encode() for frame in frames)
        for stream in list(self.streams):
            if stream.begun or self._why:
                stream.put(data)
            else:
                self._begin(stream)

    def _begin(self, stream: Stream) -> None:
        stream.begun = True
        if not self._whole:
            self._whole = tuple(frame.encode() for frame in self._picture.whole(time.time()))
        for data in self._whole:
            stream.put(data, bounded=False)

    def _line(self, line: Line) -> None:
        data = _log(line).encode()
        for stream in list(self.streams):
            stream.put(data)


def _log(line: Mapping[str, Any]) -> Frame:
    return Frame("log", line, int(line["id"]))
