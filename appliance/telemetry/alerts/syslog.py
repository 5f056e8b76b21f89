"""Sending to syslog: the host's own, or a server by UDP, TCP or TLS. One message for each event, as a log has it.

Messages wait in a bounded queue, the oldest are dropped, and counted. Of a connection that breaks, the message that
was being written is sent again, so it may arrive twice; what a server had taken and not yet read when it died is lost,
since nothing in these protocols acknowledges anything. UDP says nothing of arrival at all.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import socket
import ssl
import time
from collections import deque
from contextlib import suppress
from typing import Protocol
from urllib.parse import urlsplit

from appliance.telemetry.alerts import rfc5424
from appliance.telemetry.alerts.answers import LONGEST_DELAY
from appliance.telemetry.alerts.notice import Notice, plain
from appliance.telemetry.alerts.outlet import PACE, Counts, Pace, Result
from appliance.telemetry.back_off import BackOff

QUEUE = 1000
ECHO = 0.2
"""Seconds in which a test waits for news that a datagram found nobody."""
LOCAL = "local"
DEVICE = "/dev/log"
TAG = "vc5-alert"
"""Not vc5: under systemd the daemon's own lines are there too, by that name."""


class Way(Protocol):
    """A way that messages go. Opened by the first; OSError or ssl.SSLError where it fails, and then it is closed."""

    async def send(self, told: Notice) -> None: ...

    def close(self) -> None: ...


class Datagrams:
    """To /dev/log, or by UDP."""

    def __init__(self, host: str, port: int, hostname: str, device: str = DEVICE) -> None:
        """Without a `host` it is the host's own."""
        self._host, self._port, self._hostname, self._device = host, port, hostname, device
        self._socket: socket.socket | None = None

    async def send(self, told: Notice) -> None:
        if self._socket is None:
            self._socket = await self._open()
        process = os.getpid()
        if self._host:
            content = rfc5424.message(told, self._hostname, process, rfc5424.DATAGRAM_BYTES)
        else:
            content = rfc5424.local(told, TAG, process)
        self._socket.send(content)

    async def _open(self) -> socket.socket:
        if not self._host:
            return _connected(socket.AF_UNIX, self._device)
        found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        return _connected(found[0][0], found[0][4])

    async def refused(self) -> None:
        """Wait a moment for news that nobody takes what was sent; raises OSError."""
        await asyncio.sleep(ECHO)
        if self._socket is not None and (error := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            raise OSError(error, os.strerror(error))

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _connected(family: int, address: object) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        made.connect(address)  # type: ignore[arg-type]
    except BaseException:
        made.close()
        raise
    return made


class Stream:
    """By TCP or TLS."""

    def __init__(self, host: str, port: int, hostname: str, trust: ssl.SSLContext | None) -> None:
        self._host, self._port, self._hostname, self._trust = host, port, hostname, trust
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, told: Notice) -> None:
        if self._open is not None and (self._open[0].at_eof() or _hung_up(self._open[1])):
            self.close()  # what is written to one who has gone is lost without a word
        if self._open is None:
            name = self._host if self._trust is not None else None
            self._open = await asyncio.open_connection(
                self._host, self._port, ssl=self._trust, server_hostname=name, limit=1 << 12
            )
            # So that drain() waits until all is the kernel's, or with TLS, the transport's below. Not 0: with TLS it
            # would wait for less than nothing.
            self._open[1].transport.set_write_buffer_limits(high=1, low=0)
        writer = self._open[1]
        writer.write(rfc5424.framed(rfc5424.message(told, self._hostname, os.getpid(), rfc5424.STREAM_BYTES)))
        await writer.drain()

    def close(self) -> None:
        if self._open is not None:
            self._open[1].transport.abort()
            self._open = None

    async def end(self) -> None:
        """Close after what was written is with the other end's kernel; for a test message."""
        if self._open is not None:
            self._open[1].close()
            with suppress(OSError, ssl.SSLError):
                await self._open[1].wait_closed()
            self._open = None


def _why(error: OSError) -> str:
    # asyncio has words of its own in the place of the system's, and getaddrinfo has numbers of its own, below 0.
    system = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
    return system or plain(str(error), 200) or type(error).__name__


def _hung_up(writer: asyncio.StreamWriter) -> bool:
    """Whether the other end has closed the connection, as the kernel knows before the event loop has looked."""
    asked = select.poll()
    asked.register(writer.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return bool(asked.poll(0))


def naming(target: str) -> str:
    """Return how a target is called among the outlets."""
    return f"syslog {target}"


def way(target: str, hostname: str, trust: ssl.SSLContext | None = None, device: str = DEVICE) -> Datagrams | Stream:
    """Return the way to a target of the setting `syslog`: `local`, or a URL of udp, tcp or tls."""
    if target == LOCAL:
        return Datagrams("", 0, hostname, device)
    url = urlsplit(target)
    host, port = url.hostname or "", url.port or 0
    if url.scheme == "udp":
        return Datagrams(host, port, hostname)
    return Stream(host, port, hostname, (trust or ssl.create_default_context()) if url.scheme == "tls" else None)


class Syslog:
    """One target: what waits to be sent there."""

    kind = "syslog"

    def __init__(
        self,
        target: str,
        hostname: str,
        *,
        pace: Pace = PACE,
        trust: ssl.SSLContext | None = None,
        device: str = DEVICE,
    ) -> None:
        self.name = naming(target)
        self.counts = Counts()
        self._target, self._hostname, self._trust, self._device = target, hostname, trust, device
        self._limit, self._back_off = pace.limit, BackOff(random.random, pace.back_off, LONGEST_DELAY)
        self._queue: deque[Notice] = deque()
        self._task: asyncio.Task[None] | None = None
        self._way = way(target, hostname, trust, device)
        self._not_before = 0.0
        self._trouble = ""

    @property
    def untold(self) -> int | None:
        return min((told.sequence for told in self._queue), default=None) if self._queue else None

    @property
    def waiting(self) -> int:
        """How many messages are not sent yet."""
        return len(self._queue)

    def take(self, told: Notice) -> None:
        if len(self._queue) >= QUEUE:
            self._queue.popleft()
            self.counts.dropped += 1
        self._queue.append(told)

    def step(self, now: float) -> None:
        if self._queue and now >= self._not_before and (self._task is None or self._task.done()):
            self._task = asyncio.ensure_future(self._send())

    def trouble(self) -> str:
        return f"{self.name}: {self._trouble}" if self._trouble else ""

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._way.close()

    async def _send(self) -> None:
        while self._queue:
            told = self._queue[0]
            trouble = await self._sent(self._way, told)
            if trouble:
                self.counts.failed += 1
                self._trouble = trouble
                self._not_before = time.monotonic() + self._back_off.failed()
                return
            self._back_off.succeeded()
            self._trouble = ""
            self.counts.sent += 1
            # It may have been dropped meanwhile, to make room.
            if self._queue and self._queue[0] is told:
                self._queue.popleft()
            await asyncio.sleep(0)  # datagrams wait for nothing, and others have their turn

    async def _sent(self, by: Datagrams | Stream, told: Notice) -> str:
        """Send one message; return what is wrong, empty if nothing is."""
        try:
            async with asyncio.timeout(self._limit):
                await by.send(told)
            return ""
        except TimeoutError:
            trouble = f"it took nothing within {self._limit:g} s"
        except ssl.SSLCertVerificationError as error:
            trouble = f"its certificate is not believed: {error.verify_message}"
        except ssl.SSLError as error:
            trouble = f"TLS failed: {error.reason or type(error).__name__}"
        except OSError as error:
            trouble = _why(error)
        by.close()
        return trouble

    async def test(self, told: Notice) -> Result:
        began = time.monotonic()
        by = way(self._target, self._hostname, self._trust, self._device)
        trouble = await self._sent(by, told)
        note = "sent; whether it arrived, UDP does not tell" if self._target.startswith("udp:") else ""
        try:
            if not trouble and isinstance(by, Datagrams):
                await by.refused()
            elif not trouble and isinstance(by, Stream):
                async with asyncio.timeout(self._limit / 4):
                    await by.end()
        except TimeoutError:
            pass
        except OSError as error:
            trouble = _why(error)
        by.close()
        return Result(self.name, not trouble, trouble or note, time.monotonic() - began)
