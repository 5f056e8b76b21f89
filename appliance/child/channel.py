"""What the daemon and a process of its own say to each other, over a socket pair: JSON, one message on a line.

    {"ask": 7, "what": "metrics", ...}      a question of either side; the number is the asker's own
    {"answer": 7, ...}                      its answer, or {"answer": 7, "error": "..."}
    {"answer": 7, "result": ...}            that of a handler which returns Text
    {"tell": "status", ...}                 what needs no answer

Both ends are this class. Who is asked answers in a task of its own, so a slow answer holds up nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import ControlError, Vc5Error

MOST_BYTES = 64 << 20
"""A message that is longer ends the connection: ten thousand series are a fiftieth of it."""
PATIENCE = 10.0
"""Seconds for an answer."""
GONE = "the other end is gone"


@dataclass(frozen=True)
class Text:
    """A result that is JSON already, in pieces: what is long is put together by others, and not once more here."""

    pieces: Sequence[str]


Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any] | Text]]
Listener = Callable[[dict[str, Any]], None]
log = logging.getLogger(__name__)


class Channel:
    """One end. `answers` has a coroutine function for each question, `hears` a function for each thing told."""

    def __init__(self, answers: Mapping[str, Handler], hears: Mapping[str, Listener]) -> None:
        self._answers, self._hears = answers, hears
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._asked = 0
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, connection: socket.socket) -> None:
        """Take the connection; from now on this end can tell and ask."""
        self._reader, self._writer = await asyncio.open_connection(sock=connection, limit=MOST_BYTES)

    async def run(self) -> None:
        """Listen until the other end closes, or says something that makes no sense."""
        assert self._reader is not None
        assert self._writer is not None
        try:
            while line := await self._reader.readline():
                self._take(json.loads(line))
        except ConnectionError:
            pass  # whoever runs the process tells how it ended
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            log.warning("the conversation ends: %s: %s", type(error).__name__, str(error)[:200])
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(ControlError(GONE))
            self._waiting.clear()
            for task in self._tasks:
                task.cancel()
            self._writer.close()
            self._writer = None

    def _take(self, message: dict[str, Any]) -> None:
        if "answer" in message:
            waiting = self._waiting.pop(message["answer"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        elif "ask" in message:
            task = asyncio.create_task(self._answer(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif (hears := self._hears.get(message["tell"])) is not None:
            hears(message)

    async def _answer(self, message: dict[str, Any]) -> None:
        handler = self._answers.get(message.get("what", ""))
        try:
            if handler is None:
                raise ControlError(f"nobody answers {message.get('what')!r}")
            told = await handler(message)
        except Vc5Error as error:
            told = {"error": str(error)}
        except Exception as error:
            told = {"error": f"{type(error).__name__}: {error}"}
        if isinstance(told, Text):
            self._write('{"answer":', str(message["ask"]), ',"result":', *told.pieces, "}")
        else:
            self._send({"answer": message["ask"], **told})

    def _send(self, message: Mapping[str, Any]) -> None:
        self._write(json.dumps(message, separators=(",", ":")))

    def _write(self, *pieces: str) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write("".join((*pieces, "\n")).encode("ascii"))

    def tell(self, what: str, **more: Any) -> None:
        """Say something that needs no answer; nobody may be there."""
        self._send({"tell": what, **more})

    async def ask(self, what: str, patience: float = PATIENCE, **more: Any) -> dict[str, Any]:
        """Return the answer to a question; raises ControlError where there is none within `patience` seconds."""
        if self._writer is None:
            raise ControlError(GONE)
        self._asked += 1
        number = self._asked
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._send({"ask": number, "what": what, **more})
        try:
            answer: dict[str, Any] = await asyncio.wait_for(waiting, patience)
        except TimeoutError:
            raise ControlError(f"no answer within {patience:g} s") from None
        finally:
            self._waiting.pop(number, None)
        if "error" in answer:
            raise ControlError(str(answer["error"]))
        return answer
