"""The check `syn`: half a TCP handshake (RFC 9293 section 3.5). It passes where the backend's kernel would accept.

Theory of operation. One raw socket per address family sends the SYNs of all probes and sees all answers. No socket of
the kernel owns the source port (see ports.py), so the kernel itself answers the SYN-ACK with RST: the connection ends
half open, and the service never hears of it. The sequence number is random and known to one probe only; an answer
counts if it comes from the probe's destination to its port and acknowledges exactly this number plus one (section
3.10.7.3). A SYN that is not answered is sent again after a second, as the kernel would (RFC 6298).

A filter in the kernel lets pass only SYN-ACK and RST to the ports of half-open probes; without it the socket would get
a copy of every packet of every other probe.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import secrets
import socket
import struct
from dataclasses import dataclass

from appliance.health.ports import RAW_PORTS
from appliance.health.probes.deadline import Deadline
from appliance.health.probes.failure import NO_ANSWER, ProbeFailed
from appliance.health.probes.raw import RETRANSMIT, RawSockets, checksum
from appliance.model import Outcome

WINDOW = 64240
"""The window and the options (MSS 1460 or 1440) are those of a usual client."""
SOURCES_KEPT = 1.0
"""Seconds for which the kernel's choice of a source address counts, also for neighbours that differ from the address
asked for in the last byte (IPv6: group) alone. To ask costs three system calls."""
SYN, RST, ACK = 0x02, 0x04, 0x10
SO_ATTACH_FILTER = 26
"""asm-generic/socket.h; Python does not name it."""
CHECKSUM_OFFSET = 16
"""Where the checksum is in a TCP header, in bytes."""


@dataclass(slots=True)
class _Outstanding:
    """One SYN under way, and what came back: 0 for nothing yet, else the TCP flags."""

    deadline: Deadline
    cookie: int
    flags: int = 0


class HalfOpen:
    """The raw sockets of all half-open probes, opened when the first probe of a family is sent."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._raw = RawSockets(loop, "a SYN", opened, self._take)
        self._outstanding: dict[tuple[str, int, int], _Outstanding] = {}
        self._sources: dict[str, str] = {}
        self._asked = 0.0

    async def converse(self, family: int, host: str, port: int, source_port: int, deadline: Deadline) -> str:
        """Send a SYN and wait for its SYN-ACK; return the diagnostic of success.

        Raises ProbeFailed, ProbeNotSent, and TimeoutError at the deadline. `host` must be written as the kernel writes
        addresses (the text of an `ipaddress` object is).
        """
        try:
            source = self._source(family, host)
        except OSError as error:
            raise self._raw.not_sent(error) from None
        cookie = secrets.randbits(32)
        segment = syn_segment(family, source, host, source_port, port, cookie)
        key = (host, port, source_port)
        outstanding = self._outstanding[key] = _Outstanding(deadline, cookie)
        try:
            while not outstanding.flags:
                self._raw.send(family, segment, host)
                await deadline.wait(RETRANSMIT)
        finally:
            del self._outstanding[key]
        if outstanding.flags & RST:
            raise ProbeFailed(Outcome.NONE, NO_ANSWER[errno.ECONNREFUSED])
        return "SYN-ACK"

    def close(self) -> None:
        """Close the sockets."""
        self._raw.close()

    def _take(self, family: int, sender: str, segment: bytes) -> None:
        if len(segment) < 20:
            return
        port, source_port, _, acknowledged, _, flags = struct.unpack_from("!HHIIBB", segment)
        outstanding = self._outstanding.get((sender, port, source_port))
        if outstanding is None or acknowledged != (outstanding.cookie + 1) & 0xFFFFFFFF:
            return
        if flags & ACK and flags & (SYN | RST) in (SYN, RST):
            outstanding.flags = flags
            outstanding.deadline.wake()

    def _source(self, family: int, host: str) -> str:
        """The source address for `host`; raises OSError."""
        now = self._loop.time()
        if now - self._asked > SOURCES_KEPT:
            self._sources, self._asked = {}, now
        network = host.rpartition("." if family == socket.AF_INET else ":")[0]
        source = self._sources.get(network)
        if source is None:
            source = self._sources[network] = source_address(family, host)
        return source


def opened(family: int) -> socket.socket:
    """Return a raw TCP socket of a family, which gets answers to half-open probes alone; raises OSError."""
    raw = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP)
    try:
        attach_filter(raw, family)
        if family == socket.AF_INET6:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, CHECKSUM_OFFSET)
    except OSError:
        raw.close()
        raise
    return raw


def source_address(family: int, host: str) -> str:
    """Return the address that the kernel would send from: connect() of a UDP socket sends nothing; raises OSError."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        return str(probe.getsockname()[0])


def syn_segment(
    family: int, source: str, host: str, source_port: int, port: int, sequence: int, data: bytes = b""
) -> bytes:
    """Return a TCP SYN (RFC 9293 section 3.1), network byte order, with its checksum for IPv4.

    The kernel writes the checksum of IPv6 (IPV6_CHECKSUM, RFC 3542 section 3.1), and both IP headers. `data` has an
    even length; who listens without TCP Fast Open leaves it out of account.
    """
    options = struct.pack("!BBH", 2, 4, 1460 if family == socket.AF_INET else 1440)
    offset = (20 + len(options)) // 4 << 4
    head = struct.pack("!HHIIBBHHH", source_port, port, sequence, 0, offset, SYN, WINDOW, 0, 0) + options
    head += data
    if family != socket.AF_INET:
        return head
    pseudo = socket.inet_aton(source) + socket.inet_aton(host) + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(head))
    return head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]


def attach_filter(raw: socket.socket, family: int, ports: range = RAW_PORTS) -> None:
    """Let only SYN-ACK and RST to `ports` into a raw TCP socket (classic BPF, socket(7)); raises OSError."""
    # Where the TCP header begins: after the IPv4 header (X = 4 * IHL); a raw IPv6 socket's packets begin with it.
    begin = (0xB1, 0, 0, 0) if family == socket.AF_INET else (0x01, 0, 0, 0)
    program = [
        begin,
        (0x48, 0, 0, 2),  # A = destination port
        (0x35, 0, 5, ports.start),  # below: drop
        (0x25, 4, 0, ports.stop - 1),  # above: drop
        (0x50, 0, 0, 13),  # A = flags
        (0x45, 1, 0, RST),  # RST: pass
        (0x45, 0, 1, SYN),  # SYN without RST: pass; the acknowledged number is looked at later
        (0x06, 0, 0, 0xFFFF),
        (0x06, 0, 0, 0),
    ]
    _attach(raw, program)


def attach_port_filter(raw: socket.socket, family: int, ports: range) -> None:
    """Let only what goes to `ports` into a raw UDP socket; raises OSError."""
    begin = (0xB1, 0, 0, 0) if family == socket.AF_INET else (0x01, 0, 0, 0)
    program = [
        begin,
        (0x48, 0, 0, 2),  # A = destination port
        (0x35, 0, 2, ports.start),
        (0x25, 1, 0, ports.stop - 1),
        (0x06, 0, 0, 0xFFFF),
        (0x06, 0, 0, 0),
    ]
    _attach(raw, program)


def _attach(raw: socket.socket, program: list[tuple[int, int, int, int]]) -> None:
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    raw.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(buffer)))
