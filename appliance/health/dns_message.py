"""DNS messages as far as a check needs them: one question, and what an answer says. Pure.

The format is RFC 1035 section 4. Every record is stepped over, so that an answer that claims more than it holds is
noticed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

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
