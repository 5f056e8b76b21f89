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
from appliance.health.probes.failure import ProbeFailed
from appliance.health.probes.raw import RETRANSMIT, RawSockets, checksum
from appliance.model import Outcome

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
        self._raw = RawSockets(loop, "an echo request", opened, self._take)
        self._outstanding: dict[tuple[str, int], _Outstanding] = {}

    async def converse(self, family: int, host: str, identifier: int, deadline: Deadline) -> str:
        """Send a request and wait for its reply; return the diagnostic of success.

        `identifier`, 0..65535, belongs to one outstanding probe of a destination. Raises ProbeNotSent, and ProbeFailed
        at the deadline. `host` must be written as the kernel writes addresses.
        """
        cookie = secrets.token_bytes(COOKIE)
        key = (host, identifier)
        outstanding = self._outstanding[key] = _Outstanding(deadline, cookie)
        sequence = 0
        try:
            while not outstanding.answered:
                sequence += 1
                self._raw.send(family, request(family, identifier, sequence, cookie), host)
                await deadline.wait(RETRANSMIT)
        except TimeoutError:
            raise ProbeFailed(Outcome.NONE, "timeout (no echo reply)") from None
        finally:
            del self._outstanding[key]
        return "echo reply"

    def close(self) -> None:
        """Close the sockets."""
        self._raw.close()

    def _take(self, family: int, sender: str, message: bytes) -> None:
        found = read_reply(family, message)
        outstanding = self._outstanding.get((sender, found[0])) if found else None
        if found and outstanding and secrets.compare_digest(found[1], outstanding.cookie):
            outstanding.answered = True
            outstanding.deadline.wake()


def opened(family: int) -> socket.socket:
    """Return a raw ICMP socket of a family, which gets echo replies alone; raises OSError."""
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else IPPROTO_ICMPV6
    raw = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    try:
        let_only_replies_pass(raw, family)
    except OSError:
        raw.close()
        raise
    return raw


def request(family: int, identifier: int, sequence: int, data: bytes) -> bytes:
    """Return an echo request, network byte order; `data` has an even length. The kernel sums up that of IPv6."""
    if family != socket.AF_INET:
        return _HEADER.pack(ECHO6, 0, 0, identifier, sequence) + data
    sum_ = checksum(_HEADER.pack(ECHO, 0, 0, identifier, sequence) + data)
    return _HEADER.pack(ECHO, 0, sum_, identifier, sequence) + data


def read_reply(family: int, message: bytes) -> tuple[int, bytes] | None:
    """Return identifier and data of an echo reply; None for any other message."""
    if len(message) < _HEADER.size:
        return None
    kind, code, _, identifier, _ = _HEADER.unpack_from(message)
    if kind != (ECHO_REPLY if family == socket.AF_INET else ECHO6_REPLY) or code:
        return None
    return identifier, message[_HEADER.size :]


def let_only_replies_pass(raw: socket.socket, family: int) -> None:
    """Keep all other ICMP messages out of a raw socket; a set bit of the filter keeps a type out. Raises OSError."""
    if family == socket.AF_INET:
        raw.setsockopt(socket.IPPROTO_RAW, ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF & ~(1 << ECHO_REPLY)))
        return
    words = [0xFFFFFFFF] * 8
    words[ECHO6_REPLY // 32] &= ~(1 << ECHO6_REPLY % 32)
    raw.setsockopt(IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("=8I", *words))
