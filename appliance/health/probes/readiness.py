"""Tells probes when their sockets are ready: one epoll of our own below the event loop's.

Registering a socket with asyncio for each wait costs more than the wait itself, and a probe has two or three. Here a
wait is one epoll_ctl (one-shot, so it needs no undoing), and one callback of the loop serves all that are ready.
"""

from __future__ import annotations

import asyncio
import select

from appliance.health.probes.deadline import Deadline

READ = select.EPOLLIN | select.EPOLLONESHOT
WRITE = select.EPOLLOUT | select.EPOLLONESHOT
BATCH = 64
"""Sockets served in one turn of the loop."""


class Readiness:
    """Used by all connections of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._deadlines: dict[int, Deadline] = {}
        loop.add_reader(self._epoll.fileno(), self._dispatch)

    async def wait(self, descriptor: int, events: int, deadline: Deadline) -> None:
        """Wait until the socket is ready for `events` (READ or WRITE) or has failed; raises TimeoutError."""
        if descriptor in self._deadlines:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
            self._deadlines[descriptor] = deadline
        await deadline.wait()

    def forget(self, descriptor: int) -> None:
        """Must be called before the socket is closed; closing takes it out of the epoll."""
        self._deadlines.pop(descriptor, None)

    def close(self) -> None:
        """Release the epoll."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _dispatch(self) -> None:
        for descriptor, _ in self._epoll.poll(0, BATCH):
            deadline = self._deadlines.get(descriptor)
            if deadline is not None:
                deadline.wake()
