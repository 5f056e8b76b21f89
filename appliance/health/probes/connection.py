"""One TCP connection of one probe, with or without TLS: our own socket, our own clock, our own error classes.

Streams of asyncio cost a third more per probe and hide which phase failed. Here the socket is bound to a source port
that the caller chose, each phase is timed, and whatever goes wrong becomes ProbeFailed or ProbeNotSent with an outcome
by the rule of `Answer`: until the first byte of an answer has come it is no answer, from then on a wrong one.
"""

from __future__ import annotations

import errno
import socket
import ssl
from time import monotonic_ns

from appliance.health.probes.deadline import Deadline
from appliance.health.probes.failure import ProbeFailed, ProbeNotSent, describe
from appliance.health.probes.readiness import READ, WRITE, Readiness
from appliance.model import Outcome

CHUNK = 16384
"""Bytes per read; between two reads other probes have their turn."""
MOST = (1 << 20) + (1 << 18)
"""Bytes that are read from one backend at most: a body of 1 MiB, with headers, chunk lines and TLS records."""

RESPONSE = "response"
"""The name of the last phase: the connection stands, the request goes out."""

_TAKEN = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)


class PortTaken(Exception):
    """The source port cannot be used for this destination just now (in TIME_WAIT, or another program's)."""


class Connection:
    """A TCP connection to `host`:`port` from `source_port`. Used once: `open`, maybe `start_tls`, talk, `close`.

    Every coroutine raises ProbeFailed, and TimeoutError at the deadline.
    """

    def __init__(self, readiness: Readiness, deadline: Deadline) -> None:
        self._readiness = readiness
        self._deadline = deadline
        self._socket: socket.socket | None = None
        self._descriptor = -1
        self._tls: ssl.SSLObject | None = None
        self._sent_at = 0
        self._cut_off: ProbeFailed | None = None
        self.phase = "connect"
        """What it is about just now, in words for a diagnostic."""
        self.received = 0
        """Bytes received so far, TLS records included."""
        self.certificate = b""
        """The server's certificate (DER); empty without TLS."""
        self.connect_ns = 0
        self.tls_ns = 0
        self.first_byte_ns = 0

    async def open(self, family: int, host: str, port: int, source_port: int) -> None:
        """Connect; raises PortTaken if another source port should be tried, ProbeNotSent if nothing was sent."""
        began = monotonic_ns()
        try:
            self._socket = connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            # Ports are shared by all pools and by closed connections in TIME_WAIT, always with different destinations.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # What is sent first carries the acknowledgement that ends the handshake: one packet less for everybody on
            # the way. From then on acknowledgements are sent as ever (tcp(7), TCP_QUICKACK).
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            connection.bind(("", source_port))
            code = connection.connect_ex((host, port))
        except OSError as error:
            raise self._not_sent(error.errno or 0) from None
        self._descriptor = connection.fileno()
        if code == errno.EINPROGRESS:
            await self._readiness.wait(self._descriptor, WRITE, self._deadline)
            code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise self._failed(code)
        elif code == errno.ECONNREFUSED:
            raise self._failed(code)
        elif code:
            raise self._not_sent(code)
        self.connect_ns = monotonic_ns() - began
        self.phase = RESPONSE

    async def start_tls(self, context: ssl.SSLContext, server_name: str | None) -> None:
        """Shake hands; `server_name` goes into SNI."""
        assert self._socket is not None
        # The last flight of the handshake and the request are two small segments; one would wait for the other's ACK.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.phase = "TLS handshake"
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        began = monotonic_ns()
        try:
            self._tls = tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        except ValueError as error:
            raise ProbeFailed(Outcome.WRONG, f"the name {server_name} cannot be used for TLS: {error}") from None
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._receive()
                if not data:
                    raise self._closed("connection closed (TLS handshake)") from None
                self._incoming.write(data)
            except ssl.SSLError as error:
                raise await self._tls_failed(error) from None
        await self._flush()
        self.certificate = tls.getpeercert(True) or b""
        self.tls_ns = monotonic_ns() - began
        self.phase = RESPONSE

    @property
    def tls_version(self) -> str:
        """`TLSv1.3` and so on; empty without TLS."""
        return (self._tls.version() or "") if self._tls else ""

    @property
    def stream(self) -> socket.socket:
        """The socket of an open connection."""
        assert self._socket is not None
        return self._socket

    async def send_now(self, data: bytes) -> None:
        """Send bytes as they are, also before TLS; raises ProbeFailed if the other side does not take them."""
        await self._send(data)

    @property
    def application(self) -> str:
        """What was agreed on by ALPN; empty for nothing."""
        return (self._tls.selected_alpn_protocol() or "") if self._tls else ""

    async def send(self, data: bytes) -> None:
        """Send all of `data`: the request. That the backend takes no more of it is reported by `receive`.

        It may have answered all the same (an alert, an early 503) and closed before the request was out.
        """
        self._sent_at = monotonic_ns()
        try:
            if self._tls is None:
                await self._send(data)
            else:
                self._tls.write(data)
                await self._flush()
        except ssl.SSLError as error:
            raise await self._tls_failed(error) from None
        except ProbeFailed as failure:
            self._cut_off = failure

    async def receive(self) -> bytes:
        """Return the next bytes of the response, at most CHUNK; empty at the end of the stream."""
        data = await (self._receive() if self._tls is None else self._receive_tls(self._tls))
        if data and not self.first_byte_ns:
            self.first_byte_ns = monotonic_ns() - self._sent_at
        if not data and not self.first_byte_ns and self._cut_off:
            raise self._cut_off
        return data

    def close(self) -> None:
        """Close the socket; may be called at any time and more than once."""
        if self._socket is None:
            return
        if self._descriptor >= 0:
            self._readiness.forget(self._descriptor)
            if self._tls is not None and self.tls_ns:
                self._close_tls(self._socket, self._tls)
        self._socket.close()
        self._socket = None

    def _close_tls(self, connection: socket.socket, tls: ssl.SSLObject) -> None:
        try:
            tls.unwrap()
        except ssl.SSLError:
            pass  # it wants to read the answer to our close_notify; we do not wait for that
        try:
            connection.send(self._outgoing.read())
        except OSError:
            pass

    async def _send(self, data: bytes) -> None:
        assert self._socket is not None
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                await self._readiness.wait(self._descriptor, WRITE, self._deadline)
            except OSError as error:
                raise self._failed(error.errno or 0) from None

    async def _receive(self) -> bytes:
        """Wait, then read: so that a backend that never stops sending cannot keep the others waiting."""
        assert self._socket is not None
        if self.received >= MOST:
            raise ProbeFailed(Outcome.WRONG, f"more than {MOST} bytes without an end ({self.phase})")
        while True:
            await self._readiness.wait(self._descriptor, READ, self._deadline)
            try:
                data = self._socket.recv(CHUNK)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._failed(error.errno or 0) from None
            self.received += len(data)
            return data

    async def _receive_tls(self, tls: ssl.SSLObject) -> bytes:
        while True:
            try:
                return tls.read(CHUNK)
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._receive()
                if not data:
                    # Many servers close without close_notify; whether anything is missing is for HTTP to say.
                    return b""
                self._incoming.write(data)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise await self._tls_failed(error) from None

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._send(self._outgoing.read())

    async def _tls_failed(self, error: ssl.SSLError) -> ProbeFailed:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        if isinstance(error, ssl.SSLCertVerificationError):
            reason = f"certificate refused: {error.verify_message}"
        failure = ProbeFailed(Outcome.WRONG, f"TLS: {reason}")
        try:
            await self._flush()  # the alert that tells the backend why
        except (ProbeFailed, TimeoutError):
            pass
        return failure

    def _closed(self, words: str) -> ProbeFailed:
        answered = self.first_byte_ns if self.phase == RESPONSE else self.received
        return ProbeFailed(Outcome.WRONG if answered else Outcome.NONE, words)

    def _failed(self, code: int) -> ProbeFailed:
        return self._closed(describe(code, self.phase))

    def _not_sent(self, code: int) -> Exception:
        if code in _TAKEN:
            return PortTaken()
        return ProbeNotSent(f"cannot connect: {describe(code, 'connect')}")
