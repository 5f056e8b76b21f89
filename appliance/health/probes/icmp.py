"""The check `icmp`: an echo request and its reply (RFC 792, RFC 4443 section 4). It passes where a host's kernel lives.

One raw socket per address family sends the requests of all probes and sees all replies. A reply counts if it comes from
the probe's destination, has its identifier, and brings back the random bytes that were sent. A request that is not
answered is sent again after a second.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from dataclasses import dataclass

from appliance.health.probes.deadline import Deadline
from appliance.health.probes.failure import ProbeNotSent, describe
from appliance.health.probes.syn import BURST, RETRANSMIT, checksum

ECHO, ECHO_REPLY = 8, 0
ECHO6, ECHO6_REPLY = 128, 129
COOKIE = 16
"""Random bytes in a request."""
ICMP_FILTER, ICMP6_FILTER = 1, 1
"""Options at the levels of IPPROTO_RAW (raw(7)) and IPPROTO_ICMPV6 (RFC 3542 section 3.2); Python names neither."""
IPPROTO_ICMPV6 = socket.IPPROTO_ICMPV6
_HEADER = struct.Struct("!BBHHH")


@dataclass(slots=True)
class _Outstanding:
    """One request under way, and whether its reply has come."""

    deadline: Deadline
    cookie: bytes
    answered: bool = False


class Echo:
    """The raw sockets of all echo probes, opened when the first probe of a family is sent."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._sockets: dict[int, socket.socket] = {}
        self._outstanding: dict[tuple[str, int], _Outstanding] = {}

    async def converse(self, family: int, host: str, identifier: int, deadline: Deadline) -> str:
        """Send a request and wait for its reply; return the diagnostic of success.

        `identifier`, 0..65535, belongs to one outstanding probe of a destination. Raises ProbeNotSent, and TimeoutError
        at the deadline. `host` must be written as the kernel writes addresses.
        """
        try:
            raw = self._raw_socket(family)
        except OSError as error:
            raise ProbeNotSent(f"cannot send an echo request: {describe(error.errno or 0, 'connect')}") from None
        cookie = secrets.token_bytes(COOKIE)
        key = (host, identifier)
        outstanding = self._outstanding[key] = _Outstanding(deadline, cookie)
        sequence = 0
        try:
            while not outstanding.answered:
                sequence += 1
                self._send(raw, request(family, identifier, sequence, cookie), host)
                await deadline.wait(RETRANSMIT)
        finally:
            del self._outstanding[key]
        return "echo reply"

    def close(self) -> None:
        """Close the sockets."""
        for raw in self._sockets.values():
            self._loop.remove_reader(raw.fileno())
            raw.close()
        self._sockets.clear()

    def _raw_socket(self, family: int) -> socket.socket:
        raw = self._sockets.get(family)
        if raw is None:
            protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else IPPROTO_ICMPV6
            raw = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
            try:
                let_only_replies_pass(raw, family)
            except OSError:
                raw.close()
                raise
            self._sockets[family] = raw
            self._loop.add_reader(raw.fileno(), self._read, raw, family)
        return raw

    @staticmethod
    def _send(raw: socket.socket, message: bytes, host: str) -> None:
        try:
            raw.sendto(message, (host, 0))
        except OSError as error:
            raise ProbeNotSent(f"cannot send an echo request: {describe(error.errno or 0, 'connect')}") from None

    def _read(self, raw: socket.socket, family: int) -> None:
        for _ in range(BURST):
            try:
                packet, sender = raw.recvfrom(256)
            except OSError:
                return
            found = read_reply(family, packet)
            outstanding = self._outstanding.get((sender[0], found[0])) if found else None
            if found and outstanding and secrets.compare_digest(found[1], outstanding.cookie):
                outstanding.answered = True
                outstanding.deadline.wake()


def request(family: int, identifier: int, sequence: int, data: bytes) -> bytes:
    """Return an echo request, network byte order; `data` has an even length. The kernel sums up that of IPv6."""
    if family != socket.AF_INET:
        return _HEADER.pack(ECHO6, 0, 0, identifier, sequence) + data
    sum_ = checksum(_HEADER.pack(ECHO, 0, 0, identifier, sequence) + data)
    return _HEADER.pack(ECHO, 0, sum_, identifier, sequence) + data


def read_reply(family: int, packet: bytes) -> tuple[int, bytes] | None:
    """Return identifier and data of an echo reply as a raw socket gives it: that of IPv4 with its IP header."""
    if family == socket.AF_INET:
        packet = packet[(packet[0] & 15) * 4 :] if packet else b""
    if len(packet) < _HEADER.size:
        return None
    kind, code, _, identifier, _ = _HEADER.unpack_from(packet)
    if kind != (ECHO_REPLY if family == socket.AF_INET else ECHO6_REPLY) or code:
        return None
    return identifier, packet[_HEADER.size :]


def let_only_replies_pass(raw: socket.socket, family: int) -> None:
    """Keep all other ICMP messages out of a raw socket; a set bit of the filter keeps a type out. Raises OSError."""
    if family == socket.AF_INET:
        raw.setsockopt(socket.IPPROTO_RAW, ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF & ~(1 << ECHO_REPLY)))
        return
    words = [0xFFFFFFFF] * 8
    words[ECHO6_REPLY // 32] &= ~(1 << ECHO6_REPLY % 32)
    raw.setsockopt(IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("=8I", *words))
