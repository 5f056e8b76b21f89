"""Connections that we have ended: each peer is given a moment to take our last words and to hang up itself.

Whoever closes a socket with bytes unread resets the connection (RFC 2525, 2.17), and a reset may destroy words that the
peer has not read yet. And only a peer that has hung up has certainly read why it should.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

READ = 65536
FAREWELL = 1.0
"""Seconds for which a last word may take to be heard."""


class Farewells:
    """All sockets that are on their way out."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._leaving: dict[socket.socket, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._leaving)

    def bid(self, end: socket.socket, words: bytes) -> None:
        """Send these words, and close the socket when the peer has hung up, or after a moment."""
        self._leaving[end] = self._loop.call_later(FAREWELL, self._gone, end)
        self._loop.add_reader(end, self._hear, end)
        self._say(end, bytearray(words))

    def close(self) -> None:
        """Wait for nobody any more."""
        for end in list(self._leaving):
            self._gone(end)

    def _say(self, end: socket.socket, words: bytearray) -> None:
        try:
            while words:
                del words[: end.send(words)]
            end.shutdown(socket.SHUT_WR)
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(end, self._say, end, words)
        except OSError:
            self._gone(end)
        else:
            self._loop.remove_writer(end)

    def _hear(self, end: socket.socket) -> None:
        """Let what still comes go by, until the end of it."""
        try:
            if end.recv(READ):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self._gone(end)

    def _gone(self, end: socket.socket) -> None:
        timer = self._leaving.pop(end, None)
        if timer is None:
            return
        timer.cancel()
        self._loop.remove_reader(end)
        self._loop.remove_writer(end)
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)  # somebody else may hold the socket open as well
        end.close()
