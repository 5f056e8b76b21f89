"""Whether packets of full size arrive at a backend, and if not, which would.

Theory of operation. A request is padded so that TCP has to send it in segments of full size, and must be acknowledged.
What swallows them, mostly a tunnel whose overhead nobody reckoned with, lets everything small pass: connections are
established, and hang. If nothing is acknowledged in time, a second connection looks for what passes: it sends one
segment after the other, each larger than the one before and acknowledged before the next. The last that was
acknowledged tells the maximum segment size (RFC 9293 section 3.7.1) that backends should announce.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios

from appliance.health.probes.connection import Connection
from appliance.health.probes.deadline import Deadline
from appliance.health.probes.failure import ProbeFailed

PATIENCE = 0.5
"""Seconds for an acknowledgement, at most: long enough for one that was lost to be made up for."""
SHARE = 4
"""The part of a check's time after which it is given up."""
FIRST_LOOK = 0.001
"""Seconds from sending to the first look for the acknowledgement; the time doubles from look to look."""
MTUS = (576, 1280, 1340, 1380, 1400, 1420, 1440, 1460, 1480, 1492)
"""Sizes of IP packets that are tried: what tunnels and their like leave of 1500 bytes."""
TIMESTAMPS = 1
"""TCPI_OPT_TIMESTAMPS in linux/tcp.h: each segment then has 12 bytes of options."""
LINE = 1024
"""Bytes in a line of padding: servers accept no lines of any length."""


class Lost(Exception):
    """No segment of full size was acknowledged; `size` is the maximum segment size of the connection."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"segments of {size} bytes do not arrive")


def padding(size: int) -> list[tuple[str, str]]:
    """Return headers of at least `size` bytes in all."""
    return [("X-Padding", "x" * LINE) for _ in range(-(-size // LINE))]


def segment_size(connection: socket.socket) -> tuple[int, int]:
    """Return the maximum segment size in force, in bytes, and how many of them TCP's own options take."""
    payload = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
    options = 12 if info[5] & TIMESTAMPS else 0
    return payload + options, options


async def acknowledged(connection: socket.socket, deadline: Deadline, seconds: float) -> bool:
    """Wait until everything that was sent is acknowledged, at most so long (ioctl SIOCOUTQ, tcp(7))."""
    # Closed, it shall be forgotten, not be repeated for minutes: RST instead of FIN (socket(7), SO_LINGER).
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pause, left = FIRST_LOOK, min(PATIENCE, seconds / SHARE)
    while True:
        (waiting,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0\0\0\0"))
        if not waiting:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
            return True
        if left <= 0:
            return False
        await deadline.wait(pause)
        left -= pause
        pause *= 2


async def search(connection: Connection, deadline: Deadline, family: int, seconds: float, *, tls: bool) -> int:
    """Return the largest segment size that passes over an open connection, 0 for none; raises TimeoutError."""
    raw = connection.stream
    size, options = segment_size(raw)
    headers = 40 if family == socket.AF_INET else 60
    best = 0
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A beginning that the server waits for more of: a record of TLS (RFC 8446 section 5.1), or a request.
    begin = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03" if tls else b"GET / HTTP/1.1\r\n"
    for candidate in (mtu - headers for mtu in MTUS):
        if candidate >= size:
            break
        line = b"X-Padding: "
        fill = begin + (b"" if tls else line)
        segment = fill + b"x" * (candidate - options - len(fill) - 2) + b"\r\n"
        try:
            await connection.send_now(segment)
        except ProbeFailed:
            break
        if not await acknowledged(raw, deadline, seconds):
            break
        best, begin = candidate, b""
    return best


def words(size: int, best: int) -> str:
    """Return the diagnostic of a path that does not carry packets of full size."""
    found = f"an MSS of {best} would" if best else "nor does any smaller one that was tried"
    return f"packets of full size (MSS {size}) do not arrive; {found}"
