"""The checks `http` and `https`: one request, one response, on a connection of its own.

No redirect is followed and no connection is used twice, so a server that no longer accepts connections is noticed. The
body is read to its end or to 1 MiB. SNI carries the host if it is a name; a certificate that is verified must be valid
for the host. h11 parses; every limit below is one that a hostile server runs into.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

import h11

from appliance.health.pattern import Search, compiled
from appliance.health.probes import fullsize
from appliance.health.probes.connection import Connection
from appliance.health.probes.deadline import Deadline
from appliance.health.probes.failure import ProbeFailed
from appliance.health.probes.tls import context_of
from appliance.health.probes.usual import Parser, asked
from appliance.model import Address, Check, CheckKind, Outcome

MAX_HEAD = 16384
"""Bytes of a status line with its headers, and of one chunk line."""
MAX_BODY = 1 << 20
"""Bytes of the body after which the rest does not matter."""
MAX_PIECES = 4096
"""Pieces of the body (chunks) after which the rest does not matter."""
MAX_INTERIM = 10
"""Responses with a 1xx status before the real one."""

PREPARED = 16384
"""Requests that are kept for the next time."""

_DEFAULT_PORT = {CheckKind.HTTP: 80, CheckKind.HTTPS: 443}


async def converse(
    connection: Connection, check: Check, vip: Address, authority: str, deadline: Deadline
) -> tuple[Outcome, str, int]:
    """Ask over an open connection; return outcome, diagnostic and status.

    `authority` is what is in the check's file of certificates. Raises ProbeFailed, TimeoutError at the deadline, and
    fullsize.Lost.
    """
    request, server_name = prepare(check, vip)
    if check.kind is CheckKind.HTTPS:
        await connection.start_tls(context_of(check, authority), server_name)
    if check.mtu:
        size, _ = fullsize.segment_size(connection.stream)
        headers = [*request.headers, *fullsize.padding(size)]
        request = h11.Request(method=request.method, target=request.target, headers=headers)
    parser = Parser(request, MAX_HEAD)
    await connection.send(asked(request, MAX_HEAD)[1] if check.mtu else _sent(check, vip))
    if check.mtu and not await fullsize.acknowledged(connection.stream, deadline, check.timeout):
        raise fullsize.Lost(size)
    try:
        status = await _status(connection, parser)
        if check.expect and status not in check.expect:
            expected = ", ".join(map(str, check.expect[:5])) + (", ..." if len(check.expect) > 5 else "")
            return Outcome.WRONG, f"HTTP {status}, expected {expected}", status
        good = await _body(connection, parser, check, deadline)
    except h11.RemoteProtocolError as error:
        raise ProbeFailed(Outcome.WRONG, f"not valid HTTP: {error}") from None
    if not good:
        missed = f"does not contain {check.body!r}" if check.body else f"has no match for {check.body_pattern!r}"
        return Outcome.WRONG, f"HTTP {status}, but the body {missed}", status
    return Outcome.OK, f"HTTP {status}, full size (MSS {size})" if check.mtu else f"HTTP {status}", status


async def _status(connection: Connection, parser: Parser) -> int:
    """Read up to the end of the headers of the final response; return its status."""
    interim = 0
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            data = await connection.receive()
            if not data and not connection.first_byte_ns:
                raise ProbeFailed(Outcome.NONE, "connection closed without an answer")
            parser.receive_data(data)
        elif isinstance(event, h11.Response):
            return int(event.status_code)
        elif isinstance(event, h11.InformationalResponse) and interim < MAX_INTERIM:
            interim += 1
        else:
            raise ProbeFailed(Outcome.WRONG, "no final response")


async def _body(connection: Connection, parser: Parser, check: Check, deadline: Deadline) -> bool:
    """Read to the end of the body, or to where it does not matter any more; return whether it is as it should be."""
    size = pieces = 0
    wanted, tail = check.body.encode(), b""
    found, search = not wanted, Search(compiled(check.body_pattern)) if check.body_pattern else None
    while size < MAX_BODY and pieces < MAX_PIECES:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(await connection.receive())
        elif isinstance(event, h11.Data):
            size += len(event.data)
            pieces += 1
            if not found:
                tail += event.data
                found = wanted in tail
                tail = tail[-len(wanted) :]
            at = 0
            while search is not None and not search.found and (at := search.feed(event.data, at)) < len(event.data):
                await deadline.breathe()
        else:
            return found and (search is None or search.ended())
    return found and (search is None or search.found)


def split_host(text: str) -> tuple[str, str]:
    """Return name or address, and the port with its colon: `a:80`, `[2001:db8::1]:80`; without one `2001:db8::1`."""
    if text.count(":") > 1 and not text.startswith("["):
        return text, ""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, colon, port = text, "", ""
    return host.removeprefix("[").removesuffix("]"), colon + port


@lru_cache(maxsize=PREPARED)
def prepare(check: Check, vip: Address) -> tuple[h11.Request, str | None]:
    """Return the request of a check and the name for TLS; raises ProbeFailed."""
    host, name = authority_of(check, vip)
    try:
        headers = [("Host", host), ("User-Agent", "vc5"), ("Accept", "*/*"), ("Connection", "close")]
        return h11.Request(method=check.method, target=check.path or "/", headers=headers), name
    except (h11.LocalProtocolError, UnicodeError) as error:
        raise ProbeFailed(Outcome.WRONG, f"the check cannot be sent, correct its host or path: {error}") from None


@lru_cache(maxsize=PREPARED)
def _sent(check: Check, vip: Address) -> bytes:
    """Return the bytes of the request of a check that `prepare` accepts."""
    return asked(prepare(check, vip)[0], MAX_HEAD)[1]


def authority_of(check: Check, vip: Address) -> tuple[str, str | None]:
    """Return host and port as a request names them, and the name for TLS.

    An absent host is the VIP. The port is the check's, unless it is the scheme's own (RFC 9110 section 7.2); a host
    that has a port is sent as it is. The name is None for an address, which SNI does not carry; but a certificate that
    is verified must be that of the address.
    """
    host, port = split_host(check.host or str(vip))
    name: str | None = host
    try:
        address = ipaddress.ip_address(host)
        name = str(address) if check.verify else None
        host = f"[{address}]" if address.version == 6 else str(address)
    except ValueError:
        pass
    if not port and check.port != _DEFAULT_PORT.get(check.kind):
        port = f":{check.port}"
    return host + port, name
