"""A router that only reads: it opens a session, and knows what it was told, and when.

It says of each byte when it came, by the kernel's own stamp on the packet (SO_TIMESTAMPNS), in wall-clock seconds; so
what it takes to wake up and to read is not counted. IPv4 unicast only; everything is as in RFC 4271 and RFC 6793.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final, Self

from tests.lab.namespace import LabError, Namespace
from tests.lab.patience import wait_for

PORT = 179
SO_TIMESTAMPNS: Final = 35
"""include/uapi/asm-generic/socket.h."""
TIMESPEC: Final = struct.Struct("@ll")
HEADER: Final = 19
OPEN, UPDATE, NOTIFICATION, KEEPALIVE = 1, 2, 3, 4
MARKER: Final = b"\xff" * 16
HOLD_TIME = 90


@dataclass(frozen=True)
class Heard:
    """What one UPDATE said, and when it came; prefixes are of 32 bits."""

    at: float
    withdrawn: frozenset[IPv4Address]
    announced: frozenset[IPv4Address]


class Receiver:
    """One session, from the namespace of a router and one of its addresses. Opened and closed as often as wanted."""

    def __init__(self, namespace: Namespace, own: IPv4Address, balancer: IPv4Address, as_number: int) -> None:
        self._namespace, self._own, self._balancer, self._as_number = namespace, own, balancer, as_number
        self._socket: socket.socket | None = None
        self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget(self) -> None:
        self.established: float | None = None
        self.ended: float | None = None
        """When the daemon said that those were all routes."""
        self.lost = ""
        """Why there is no session any more; empty while there is."""
        self.heard: list[Heard] = []
        self.known: set[IPv4Address] = set()

    def open(self) -> None:
        """Begin a session."""
        self._forget()

        def made() -> socket.socket:
            return socket.socket()

        end = self._socket = self._namespace.call(made)
        end.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        end.bind((str(self._own), 0))
        end.settimeout(10)
        end.connect((str(self._balancer), PORT))
        end.sendall(self._open())
        self._thread = threading.Thread(target=self._read, args=(end,), name=f"receiver {self._own}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._thread.join()
            self._socket.close()
            self._socket = None

    def wait_known(self, count: int, seconds: float = 60.0) -> None:
        """Return when so many routes are known and no others will come. Raises LabError."""

        def look() -> bool:
            if self.lost:
                raise LabError(f"{self._own}: {self.lost}")
            return self.ended is not None and len(self.known) == count

        wait_for(f"{count} routes at {self._own}", look, seconds)

    def last(self) -> float:
        """When the newest route came."""
        return max(one.at for one in self.heard if one.announced)

    # ---- within

    def _open(self) -> bytes:
        capabilities = struct.pack(">BBHBB", 1, 4, 1, 0, 1) + struct.pack(">BBI", 65, 4, self._as_number)
        parameters = struct.pack(">BB", 2, len(capabilities)) + capabilities
        fixed = struct.pack(">BHH4sB", 4, self._as_number, HOLD_TIME, self._own.packed, len(parameters))
        return message(OPEN, fixed + parameters)

    def _read(self, end: socket.socket) -> None:
        try:
            self.lost = self._talk(end)
        except OSError as error:
            self.lost = str(error)

    def _talk(self, end: socket.socket) -> str:
        waiting, spoken = b"", time.monotonic()
        end.settimeout(HOLD_TIME / 6)
        while True:
            try:
                data, notes, _, _ = end.recvmsg(1 << 16, 64)
            except TimeoutError:
                data, notes = b"", []
            else:
                if not data:
                    return "the daemon closed the connection"
            if time.monotonic() - spoken > HOLD_TIME / 4:
                spoken = time.monotonic()
                end.sendall(message(KEEPALIVE))
            waiting += data
            at = stamp(notes)
            while len(waiting) >= HEADER and len(waiting) >= (length := int.from_bytes(waiting[16:18])):
                kind, body, waiting = waiting[18], waiting[HEADER:length], waiting[length:]
                if kind == OPEN:
                    end.sendall(message(KEEPALIVE))
                elif kind == KEEPALIVE:
                    self.established = self.established or at
                elif kind == UPDATE:
                    self._hear(body, at)
                else:
                    return f"the daemon sent a message of type {kind}: {body.hex(' ')}"

    def _hear(self, body: bytes, at: float) -> None:
        if body == bytes(4):
            self.ended = at
            return
        middle = 2 + int.from_bytes(body[:2])
        routes = middle + 2 + int.from_bytes(body[middle : middle + 2])
        heard = Heard(at, frozenset(prefixes(body[2:middle])), frozenset(prefixes(body[routes:])))
        self.known -= heard.withdrawn
        self.known |= heard.announced
        self.heard.append(heard)


def message(kind: int, body: bytes = b"") -> bytes:
    """Return a message."""
    return MARKER + struct.pack(">HB", HEADER + len(body), kind) + body


def prefixes(data: bytes) -> Iterator[IPv4Address]:
    """Yield the addresses in a list of networks of one address each. Raises ValueError for others."""
    for at in range(0, len(data), 5):
        if data[at] != 32:
            raise ValueError(f"a route to a network of /{data[at]}")
        yield IPv4Address(data[at + 1 : at + 5])


def stamp(notes: list[tuple[int, int, bytes]]) -> float:
    """Return when the kernel took a packet; where it does not say, now."""
    for level, kind, value in notes:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = TIMESPEC.unpack(value[: TIMESPEC.size])
            return int(seconds) + int(nanoseconds) / 1e9
    return time.time()
