"""The check `dns`: one question, over UDP or TCP, and an answer to this very question with an expected code.

Over TCP two bytes of length stand before a message (RFC 1035 section 4.2.2). The transaction id is random and new for
every probe. Over UDP a message with another id is none of ours (a late answer, or somebody's guess) and is passed over;
on a connection of our own it is a wrong answer.
"""

from __future__ import annotations

import secrets
import struct

from appliance.health.dns_message import OtherAnswer, code_name, message, parse, question
from appliance.health.probes.connection import Connection
from appliance.health.probes.datagram import Datagram
from appliance.health.probes.failure import ProbeFailed
from appliance.model import Check, Outcome


async def over_udp(datagram: Datagram, check: Check) -> str:
    """Ask with one datagram; return the diagnostic of success. Raises what `Datagram` raises."""
    identifier, asked = secrets.randbits(16), question(check.query, check.qtype)
    datagram.send(message(identifier, asked))
    while True:
        try:
            return _judge(check, await datagram.receive(), identifier, asked)
        except OtherAnswer:
            continue


async def over_tcp(connection: Connection, check: Check) -> str:
    """Ask over an open connection; return the diagnostic of success. Raises what `Connection` raises."""
    identifier, asked = secrets.randbits(16), question(check.query, check.qtype)
    query = message(identifier, asked)
    await connection.send(struct.pack("!H", len(query)) + query)
    data = await _receive(connection)
    try:
        return _judge(check, data, identifier, asked)
    except OtherAnswer:
        raise ProbeFailed(Outcome.WRONG, "not valid DNS: an answer with another transaction id") from None


async def _receive(connection: Connection) -> bytes:
    """Read one message with its length before it."""
    data = bytearray()
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2]):
        more = await connection.receive()
        if not more and not data:
            raise ProbeFailed(Outcome.NONE, "connection closed without an answer")
        if not more:
            whole = f"of {int.from_bytes(data[:2])} bytes" if len(data) >= 2 else "of its length"
            raise ProbeFailed(Outcome.WRONG, f"not valid DNS: the answer is cut short: {max(0, len(data) - 2)} {whole}")
        data += more
    return bytes(data[2 : 2 + int.from_bytes(data[:2])])


def _judge(check: Check, data: bytes, identifier: int, asked: bytes) -> str:
    try:
        reply = parse(data, identifier, asked)
    except ValueError as error:
        raise ProbeFailed(Outcome.WRONG, f"not valid DNS: {error}") from None
    name = code_name(reply.rcode)
    if check.rcode and reply.rcode not in check.rcode:
        expected = ", ".join(map(code_name, check.rcode))
        raise ProbeFailed(Outcome.WRONG, f"{name}, expected {expected}")
    return f"{name}, truncated" if reply.truncated else f"{name}, {reply.answers} answers"
