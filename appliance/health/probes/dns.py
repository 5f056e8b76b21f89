"""The check `dns`: one question, over UDP or TCP, and an answer to this very question with an expected code.

The format is RFC 1035 section 4, the two bytes of length before a message over TCP its section 4.2.2. The transaction
id is random and new for every probe. Over UDP a message with another id is none of ours (a late answer, or somebody's
guess) and is passed over; on a connection of our own it is a wrong answer. Every record is stepped over, so that an
answer that claims more than it holds is noticed.
"""

from __future__ import annotations

import secrets
import struct
from dataclasses import dataclass

from appliance.health.probes.connection import Connection
from appliance.health.probes.datagram import Datagram
from appliance.health.probes.failure import ProbeFailed
from appliance.model import Check, Outcome

HEADER = struct.Struct("!HHHHHH")
"""Id, flags, and how many questions, answers, authorities and additional records follow."""
RESPONSE, TRUNCATED, RECURSION_DESIRED = 0x8000, 0x0200, 0x0100
OPCODE, RCODE = 0x7800, 0x000F
CLASS_IN = 1
TYPES = {
    "A": 1,
    "NS": 2,
    "CNAME": 5,
    "SOA": 6,
    "PTR": 12,
    "MX": 15,
    "TXT": 16,
    "AAAA": 28,
    "SRV": 33,
    "DNSKEY": 48,
    "ANY": 255,
}
"""The types that may be asked for (IANA, DNS parameters)."""
CODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH")
"""The names of the response codes 0 to 9 (RFC 1035, 2136)."""


class OtherAnswer(Exception):
    """A message with another transaction id."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What an answer says."""

    rcode: int
    answers: int
    truncated: bool


def code_name(rcode: int) -> str:
    """Return the name of a response code."""
    return CODES[rcode] if rcode < len(CODES) else f"RCODE{rcode}"


def question(name: str, qtype: str) -> bytes:
    """Return the question section; `name` is that of a valid check (labels of 1 to 63 ASCII characters)."""
    labels = name.removesuffix(".").split(".") if name.strip(".") else []
    packed = b"".join(bytes((len(label),)) + label.encode("ascii") for label in labels)
    return packed + b"\0" + struct.pack("!HH", TYPES[qtype], CLASS_IN)


def message(identifier: int, asked: bytes) -> bytes:
    """Return a whole query, recursion desired."""
    return HEADER.pack(identifier, RECURSION_DESIRED, 1, 0, 0, 0) + asked


def parse(data: bytes, identifier: int, asked: bytes) -> Reply:
    """Read an answer; raises OtherAnswer, and ValueError with what is wrong."""
    if len(data) < HEADER.size:
        raise ValueError(f"{len(data)} bytes are no DNS message")
    found, flags, questions, *counts = HEADER.unpack_from(data)
    if found != identifier:
        raise OtherAnswer
    if not flags & RESPONSE:
        raise ValueError("a question came back instead of an answer")
    if flags & OPCODE:
        raise ValueError("an answer to another kind of request")
    rcode, truncated = flags & RCODE, bool(flags & TRUNCATED)
    at = HEADER.size
    if questions == 1 and data[at : at + len(asked)].lower() == asked.lower():
        at += len(asked)
    elif questions or not rcode:
        # A server that could not read the question need not repeat it.
        raise ValueError("an answer to another question")
    try:
        for _ in range(0 if truncated else sum(counts)):
            at = _after_record(data, at)
    except (IndexError, struct.error):
        raise ValueError(f"the answer is cut short: {sum(counts)} records do not fit in {len(data)} bytes") from None
    return Reply(rcode, counts[0], truncated)


def _after_record(data: bytes, at: int) -> int:
    """Return where the next record begins; raises IndexError or struct.error beyond the end."""
    while length := data[at]:
        if length & 0xC0 == 0xC0:
            at += 1
            break
        if length & 0xC0:
            raise ValueError("a name with a label of no known type")
        at += 1 + length
    at += 1
    (length,) = struct.unpack_from("!H", data, at + 8)
    if at + 10 + length > len(data):
        raise IndexError
    return at + 10 + int(length)


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
