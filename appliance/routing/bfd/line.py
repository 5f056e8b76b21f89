"""The process's end of the socket to its daemon: lines in both directions, and never a wait."""

from __future__ import annotations

import os
import socket

from appliance.routing.bfd.messages import MAX_MESSAGE

CHUNK = 1 << 16
DESCRIPTORS = 4
"""Descriptors that are taken with one read, at most."""


class Gone(Exception):
    """The daemon is not there any more, or has to be hung up on."""


class Line:
    """One connection. What does not go out at once is kept, within bounds."""

    def __init__(self, connection: socket.socket, inbox: bytes = b"", outbox: bytes = b"") -> None:
        """With what a former program had read and not understood yet, and what it had not got rid of."""
        connection.setblocking(False)
        self.connection = connection
        self.inbox = inbox
        self.outbox = outbox
        self.descriptors: list[int] = []
        """Those that came along and nobody has taken."""

    @property
    def behind(self) -> bool:
        """Whether the daemon has not taken all that it was told."""
        return bool(self.outbox)

    def read(self) -> list[bytes]:
        """Return the lines that have come whole. Raises Gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.connection, CHUNK, DESCRIPTORS)
        except BlockingIOError:
            return []
        except OSError as error:
            raise Gone(str(error)) from None
        self.descriptors += descriptors
        if not data:
            raise Gone("it hung up")
        *lines, self.inbox = (self.inbox + data).split(b"\n")
        if len(self.inbox) > MAX_MESSAGE:
            raise Gone("its message has no end")
        return lines

    def say(self, data: bytes) -> None:
        """Have a line go out. Raises Gone, also where the daemon has not listened for very long."""
        self.outbox += data
        self.flush()
        if len(self.outbox) > MAX_MESSAGE:
            raise Gone("it does not listen")

    def flush(self) -> None:
        """Let go out what the socket takes now. Raises Gone."""
        while self.outbox:
            try:
                taken = self.connection.send(self.outbox)
            except BlockingIOError:
                return
            except OSError as error:
                raise Gone(str(error)) from None
            self.outbox = self.outbox[taken:]

    def take_descriptor(self) -> int | None:
        """Return the descriptor that came last, which is the caller's now; the others are closed."""
        last = self.descriptors.pop() if self.descriptors else None
        while self.descriptors:
            os.close(self.descriptors.pop())
        return last

    def close(self) -> None:
        """Hang up."""
        if (last := self.take_descriptor()) is not None:
            os.close(last)
        self.connection.close()
