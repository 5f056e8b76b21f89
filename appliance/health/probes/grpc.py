"""The check `grpc`: one call of grpc.health.v1.Health/Check, over HTTP/2 in the clear or in TLS.

The protocol is that of github.com/grpc/grpc, doc/health-checking.md and doc/PROTOCOL-HTTP2.md: a request with one
message, an answer with one message and a status in its trailers (or in its headers, where there is no message). Only
SERVING passes. h2 speaks HTTP/2; the two messages of one field each are read and written here.
"""

from __future__ import annotations

from urllib.parse import unquote

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from appliance.health.probes.connection import Connection
from appliance.health.probes.failure import ProbeFailed
from appliance.health.probes.http import authority_of
from appliance.health.probes.tls import context_of
from appliance.model import Address, Check, Outcome

PATH = "/grpc.health.v1.Health/Check"
MAX_RECEIVED = 1 << 14
"""Bytes of one answer, all frames and TLS records taken together. Usual are some 300; frames take time to parse."""
MAX_MESSAGE = 1024
"""Bytes of the answer's message."""
PREFIX = 5
"""Bytes before a message: whether it is compressed, and its length."""
FRAME_HEADER, SETTINGS = 9, 4
"""Bytes of a frame's header, whose fourth is the type; and a type (RFC 9113 sections 4.1 and 6.5)."""
SERVING = 1
SERVINGS = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
"""Names of HealthCheckResponse.ServingStatus."""
STATUSES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
"""Names of the status codes 0 to 16."""

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5


class Call:
    """One call as a machine without a socket: bytes to send, bytes received, and the end."""

    def __init__(self, check: Check, vip: Address) -> None:
        configuration = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._connection = h2.connection.H2Connection(configuration)
        self._connection.initiate_connection()
        self._stream = self._connection.get_next_available_stream_id()
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._begin = b""
        self.ended = False
        request = [
            (":method", "POST"),
            (":scheme", "https" if check.tls else "http"),
            (":path", PATH),
            (":authority", authority_of(check, vip)[0]),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "vc5"),
            ("grpc-timeout", f"{max(1, round(check.timeout * 1000))}m"),
        ]
        self._connection.send_headers(self._stream, request)
        self._connection.send_data(self._stream, framed(request_message(check.service)), end_stream=True)

    def to_send(self) -> bytes:
        """Return what is to be sent now."""
        return bytes(self._connection.data_to_send())

    def receive(self, data: bytes) -> None:
        """Take what has come; raises ProbeFailed where it is no answer."""
        if len(self._begin) < FRAME_HEADER:
            self._begin = (self._begin + data)[:FRAME_HEADER]
            self._look_at_begin()
        try:
            events = self._connection.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            raise ProbeFailed(Outcome.WRONG, f"not valid HTTP/2: {error}") from None
        except (ValueError, KeyError, IndexError, OverflowError) as error:
            # What the parsers below h2 let slip through.
            raise ProbeFailed(Outcome.WRONG, f"not valid HTTP/2: {type(error).__name__}: {error}") from None
        for event in events:
            self._take(event)

    def _look_at_begin(self) -> None:
        """Servers begin with SETTINGS (RFC 9113 section 3.4); h2 would wait for the end of a frame of any length."""
        if self._begin.startswith(b"HTTP/"):
            raise ProbeFailed(Outcome.WRONG, "not valid HTTP/2: the server speaks an earlier HTTP")
        if len(self._begin) == FRAME_HEADER and (self._begin[3] != SETTINGS or self._begin[0]):
            raise ProbeFailed(Outcome.WRONG, "not valid HTTP/2: the server does not begin with SETTINGS")

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            self._headers |= {str(name): str(value) for name, value in event.headers or ()}
        elif isinstance(event, h2.events.DataReceived):
            self._body += event.data or b""
            if len(self._body) > PREFIX + MAX_MESSAGE:
                raise ProbeFailed(Outcome.WRONG, f"not gRPC: a message of more than {MAX_MESSAGE} bytes")
        elif isinstance(event, h2.events.StreamReset):
            raise ProbeFailed(Outcome.WRONG, f"the server reset the call: {_error_name(event.error_code)}")
        elif isinstance(event, h2.events.ConnectionTerminated):
            raise ProbeFailed(Outcome.WRONG, f"the server ended the connection: {_error_name(event.error_code)}")
        elif isinstance(event, h2.events.StreamEnded):
            self.ended = True

    def result(self) -> str:
        """Return the diagnostic of success once the call has ended; raises ProbeFailed."""
        http, grpc = self._headers.get(":status", ""), self._headers.get("grpc-status", "")
        if not grpc:
            raise ProbeFailed(Outcome.WRONG, f"HTTP {http or 'without a status'}, and not gRPC")
        if grpc != "0":
            known = grpc.isascii() and grpc.isdigit() and len(grpc) < 3 and int(grpc) < len(STATUSES)
            name = STATUSES[int(grpc)] if known else grpc
            said = unquote(self._headers.get("grpc-message", ""), errors="replace")
            raise ProbeFailed(Outcome.WRONG, f"gRPC {name}: {said}" if said else f"gRPC {name}")
        try:
            serving = read_response(bytes(self._body))
        except ValueError as error:
            raise ProbeFailed(Outcome.WRONG, f"not a health answer: {error}") from None
        name = SERVINGS[serving] if serving < len(SERVINGS) else f"status {serving}"
        if serving != SERVING:
            raise ProbeFailed(Outcome.WRONG, f"{name}, expected SERVING")
        return name


async def converse(connection: Connection, check: Check, vip: Address, authority: str) -> str:
    """Call over an open connection; return the diagnostic of success. Raises what `Connection` raises."""
    if check.tls:
        name = authority_of(check, vip)[1]
        await connection.start_tls(context_of(check, authority, "h2"), name)
        if connection.application != "h2":
            raise ProbeFailed(Outcome.WRONG, "TLS: the server does not offer HTTP/2 (ALPN)")
    call = Call(check, vip)
    while not call.ended:
        if data := call.to_send():
            await connection.send(data)
        data = await connection.receive()
        if not data and not connection.first_byte_ns:
            raise ProbeFailed(Outcome.NONE, "connection closed without an answer")
        if not data:
            raise ProbeFailed(Outcome.WRONG, "connection closed before the end of the answer")
        if connection.received > MAX_RECEIVED + (MAX_RECEIVED if check.tls else 0):
            raise ProbeFailed(Outcome.WRONG, f"not gRPC: more than {MAX_RECEIVED} bytes")
        call.receive(data)
    return call.result()


def framed(message: bytes) -> bytes:
    """Return a message with its prefix, not compressed."""
    return b"\0" + len(message).to_bytes(4) + message


def request_message(service: str) -> bytes:
    """Return a HealthCheckRequest: field 1 is the service's name, left out where it is empty (proto3)."""
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""


def read_response(body: bytes) -> int:
    """Return the status in a HealthCheckResponse with its prefix; raises ValueError."""
    if len(body) < PREFIX:
        raise ValueError(f"a message of {len(body)} bytes")
    if body[0]:
        raise ValueError("it is compressed")
    if int.from_bytes(body[1:PREFIX]) != len(body) - PREFIX:
        raise ValueError(f"a length of {int.from_bytes(body[1:PREFIX])} before {len(body) - PREFIX} bytes")
    status, at = 0, PREFIX
    while at < len(body):
        key, at = _read_varint(body, at)
        kind, field = key & 7, key >> 3
        if kind == _VARINT:
            value, at = _read_varint(body, at)
            if field == 1:
                status = value
        elif kind == _DELIMITED:
            length, at = _read_varint(body, at)
            at += length
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("a field of no known type")
    if at > len(body):
        raise ValueError("a field is cut short")
    return status


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*data, number))


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for place in range(10):
        if at + place >= len(data):
            raise ValueError("a number is cut short")
        number |= (data[at + place] & 0x7F) << 7 * place
        if data[at + place] < 0x80:
            return number, at + place + 1
    raise ValueError("a number of more than 10 bytes")


def _error_name(code: h2.errors.ErrorCodes | int | None) -> str:
    return code.name if isinstance(code, h2.errors.ErrorCodes) else f"error {code}"
