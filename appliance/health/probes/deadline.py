"""The time that one probe has, and the only place where a probe waits.

Theory of operation. A probe waits for its socket (`wake` is the socket's callback) or for the end of its time. Two
rules keep our own slowness out of the verdict:

* What has arrived counts. A probe that was woken goes on even if its time is over; only the next wait ends it.
* A stalled event loop (a burst of work, a suspended machine) finds many timers overdue at once, while the answers still
  lie unread in the sockets. A timer that fires late is therefore set again, once, for as long as the loop was late.
"""

from __future__ import annotations

import asyncio

STALL = 0.02
"""Seconds by which a timer must be late to count as a stall."""


class Deadline:
    """`seconds` from now. Call `close` when the probe is over."""

    __slots__ = ("_at", "_expired", "_extended", "_loop", "_seconds", "_timer", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._at = loop.time() + seconds
        self._expired = False
        self._extended = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer = loop.call_at(self._at, self._fire)

    def restart(self, seconds: float) -> None:
        """Begin anew, for what comes next on the same connection; nobody may be waiting."""
        self._timer.cancel()
        self._seconds = seconds
        self._at = self._loop.time() + seconds
        self._expired = self._extended = False
        self._timer = self._loop.call_at(self._at, self._fire)

    async def breathe(self) -> None:
        """Let others have their turn, where something takes long; raises TimeoutError if the time is over."""
        await asyncio.sleep(0)
        if self._expired:
            raise TimeoutError

    def wake(self) -> None:
        """End the present wait: something has happened."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, most: float | None = None) -> bool:
        """Wait until `wake`; raises TimeoutError at the deadline. With `most`, return False after so many seconds."""
        if self._expired:
            raise TimeoutError
        self._waiter = self._loop.create_future()
        if most is None:
            await self._waiter
            return True
        woken = [True]
        timer = self._loop.call_later(most, self._pause_over, woken)
        try:
            await self._waiter
        finally:
            timer.cancel()
        return woken[0]

    def close(self) -> None:
        """Stop the clock."""
        self._timer.cancel()

    def _pause_over(self, woken: list[bool]) -> None:
        if self._waiter is not None and not self._waiter.done():
            woken[0] = False
            self._waiter.set_result(None)

    def _fire(self) -> None:
        late = self._loop.time() - self._at
        if late > STALL and not self._extended:
            self._extended = True
            self._at += late + min(late, self._seconds)
            self._timer = self._loop.call_at(self._at, self._fire)
            return
        self._expired = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())
