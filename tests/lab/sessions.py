"""UDP sessions through the VIP: `python -m tests.lab.sessions --target 203.0.113.10:7000 --sources 198.51.100.10 ...`.

They live as the flows of tests.lab.flows do, with the same options, commands and accounts. As with QUIC (RFC 9000),
what is lost is said again, and only the backend that has heard the beginning of a session can answer: any other one
says at once that it does not know it (section 10.3, stateless reset), and then the session is broken.

A datagram is one frame of tests.lab.wire; its payload begins with the session's eight bytes. The answer to `helo` is
the backend's name, that to `data` name, zero byte, and the payload backwards, that to `bye ` the sum of all payloads.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress

from tests.lab.flows import Flow, main
from tests.lab.wire import DATA, FAULT, HELLO, LONGEST, Frame, WireError, decode

SESSION_BYTES = 8
LARGEST = 1200
"""Payload bytes; one datagram carries them."""
FIRST_REPEAT, LAST_REPEAT = 0.3, 1.2
"""Seconds without an answer until something is said again: doubled each time, up to the latter."""


class Session(Flow):
    """One session and its account."""

    async def greet(self) -> str:
        self._name = os.urandom(SESSION_BYTES)
        self._socket = await self.plan.source.connect(self.plan.target, socket.SOCK_DGRAM)
        self.record.source, self.record.port = self._socket.getsockname()[:2]
        return (await self.ask(HELLO, 0, b"")).decode()

    async def ask(self, kind: bytes, number: int, payload: bytes) -> bytes:
        self._question = Frame(kind, number, self._name + payload)
        answer = await self.answer(kind, number)
        if kind != DATA:
            return answer
        name, _, backwards = answer.partition(b"\0")
        if name.decode() != self.record.backend:
            raise WireError(f"{name.decode()} answered instead of {self.record.backend}")
        return backwards

    async def next_frame(self) -> Frame:
        deadline = time.monotonic() + self.plan.patience
        pause = FIRST_REPEAT
        while (left := deadline - time.monotonic()) > 0:
            await asyncio.get_running_loop().sock_sendall(self._socket, self._question.encode())
            with suppress(TimeoutError):
                return await asyncio.wait_for(self._fitting(), min(pause, left))
            pause = min(2 * pause, LAST_REPEAT)
        raise TimeoutError

    async def _fitting(self) -> Frame:
        """Return the answer to the question, or a complaint; passes over late and repeated ones."""
        while True:
            frame = decode(await asyncio.get_running_loop().sock_recv(self._socket, LONGEST))
            if frame.kind == FAULT or (frame.kind, frame.number) == (self._question.kind, self._question.number):
                return frame

    def close(self) -> None:
        if self.record.source:
            self._socket.close()


if __name__ == "__main__":
    asyncio.run(main("sessions", __doc__, Session, LARGEST))
