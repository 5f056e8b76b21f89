"""One UDP socket of one probe, connected, so that only the probed address and port can answer, and ICMP is heard."""

from __future__ import annotations

import errno
import socket
from time import monotonic_ns

from appliance.health.probes.connection import PortTaken
from appliance.health.probes.deadline import Deadline
from appliance.health.probes.failure import ProbeFailed, ProbeNotSent, describe
from appliance.health.probes.readiness import READ, Readiness
from appliance.model import Outcome

MOST = 65535
"""Bytes of one datagram that are read: all of them."""
MOST_DATAGRAMS = 64
"""Datagrams that are read for one probe; who sends more without one that is meant, will not send that either."""


class Datagram:
    """A UDP socket from `source_port` to `host`:`port`. Used once: `open`, `send`, `receive`..., `close`.

    Every method raises ProbeFailed, and `receive` TimeoutError at the deadline.
    """

    def __init__(self, readiness: Readiness, deadline: Deadline) -> None:
        self._readiness = readiness
        self._deadline = deadline
        self._socket: socket.socket | None = None
        self._sent_at = 0
        self._received = 0
        self.first_byte_ns = 0

    def open(self, family: int, host: str, port: int, source_port: int) -> None:
        """Take the port; raises PortTaken if another should be tried, ProbeNotSent if nothing can be sent."""
        try:
            self._socket = made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            made.bind(("", source_port))
            made.connect((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken from None
            raise ProbeNotSent(f"cannot send a datagram: {describe(error.errno or 0, 'connect')}") from None

    def send(self, data: bytes) -> None:
        """Send one datagram."""
        assert self._socket is not None
        self._sent_at = monotonic_ns()
        try:
            self._socket.send(data)
        except OSError as error:
            raise ProbeNotSent(f"cannot send a datagram: {describe(error.errno or 0, 'connect')}") from None

    async def receive(self) -> bytes:
        """Return the next datagram; raises ProbeFailed if ICMP says that nobody will answer."""
        assert self._socket is not None
        while self._received < MOST_DATAGRAMS:
            await self._readiness.wait(self._socket.fileno(), READ, self._deadline)
            try:
                data = self._socket.recv(MOST)
            except BlockingIOError:
                continue
            except OSError as error:
                raise ProbeFailed(Outcome.NONE, _refused(error.errno or 0)) from None
            self._received += 1
            if not self.first_byte_ns:
                self.first_byte_ns = max(1, monotonic_ns() - self._sent_at)
            return data
        raise ProbeFailed(Outcome.WRONG, f"{MOST_DATAGRAMS} datagrams, and none that was asked for")

    def close(self) -> None:
        """Close the socket; may be called at any time and more than once."""
        if self._socket is not None:
            self._readiness.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None


def _refused(code: int) -> str:
    if code == errno.ECONNREFUSED:
        return "refused (ICMP port unreachable)"
    return describe(code, "connect")
