"""The raw sockets that many probes of a kind share: one per address family, opened when its first probe is sent."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

from appliance.health.probes.failure import ProbeNotSent, describe

RETRANSMIT = 1.0
"""Seconds after which what is not answered is sent again."""
BURST = 64
"""Answers read before other work of the loop has its turn."""
LONGEST = 256
"""Bytes of a packet that are looked at."""
WAITING = 4 << 20
"""Bytes that answers may take before they are read; the kernel allows no more than net.core.rmem_max."""


class RawSockets:
    """Sends what probes say, and gives every packet that comes to `take`: address family, sender, and what follows the
    IP header.

    `opened` makes the non-blocking socket of a family, and may raise OSError. `what` names in errors what is sent.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        what: str,
        opened: Callable[[int], socket.socket],
        take: Callable[[int, str, bytes], None],
    ) -> None:
        self._loop = loop
        self._what = what
        self._opened = opened
        self._take = take
        self._sockets: dict[int, socket.socket] = {}

    def send(self, family: int, message: bytes, host: str) -> None:
        """Send a message, what follows the IP header. Raises ProbeNotSent."""
        raw = self._sockets.get(family)
        try:
            if raw is None:
                raw = self._open(family)
            raw.sendto(message, (host, 0))
        except OSError as error:
            raise self.not_sent(error) from None

    def not_sent(self, error: OSError) -> ProbeNotSent:
        """What an error means that comes before a probe has left."""
        return ProbeNotSent(f"cannot send {self._what}: {describe(error.errno or 0, 'connect')}")

    def close(self) -> None:
        """Close the sockets."""
        for raw in self._sockets.values():
            self._loop.remove_reader(raw.fileno())
            raw.close()
        self._sockets.clear()

    def _open(self, family: int) -> socket.socket:
        raw = self._sockets[family] = self._opened(family)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WAITING)
        self._loop.add_reader(raw.fileno(), self._read, raw, family)
        return raw

    def _read(self, raw: socket.socket, family: int) -> None:
        for _ in range(BURST):
            try:
                packet, sender = raw.recvfrom(LONGEST)
            except OSError:
                return
            self._take(family, sender[0], payload(family, packet))


def payload(family: int, packet: bytes) -> bytes:
    """Return what follows the IP header in a packet as a raw socket gives it: that of IPv6 comes without."""
    if family != socket.AF_INET:
        return packet
    return packet[(packet[0] & 15) * 4 :] if packet else b""


def checksum(data: bytes) -> int:
    """Return the internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
