"""What a datagram may hold, and its bytes; all numbers in network byte order. Pure.

HELLO     name: length (1), UTF-8; version: likewise; state (1), flags (1), nonce (8), digests of configuration, tables
          and health (8 each), number of the last datagram of the stream (8), of the oldest one that is kept (8),
          tracked slots (4), flows (4), packets a second (4), lives heard (1): life (8), nonce (8), mark
          (2) of its latest HELLO that was taken in as a whole (receipts.py) for each.
          What follows is of later versions, and passed over
RECORDS   number in the stream (8), records as codec.py has them
NAK       life whose stream it is (8); ranges: first (8), count (2)
REQUEST   life that is asked (8), id (4), what (1); of a table: service
PART      life that has asked (8), id (4), number (4), flags (1); octets
ACK       life that has told (8), id (4), number of the next part (4); ranges that are missing: first (4), count (2)
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from appliance.fleet.envelope import BODY, Kind
from appliance.fleet.reader import Reader, service_bytes
from appliance.fleet.records import NAME, VERSION, Facts, NodeState
from appliance.model_address import ServiceKey

_HELLO = struct.Struct("!BBQ8s8s8sQQIIIB")
_HEARD = struct.Struct("!QQH")
_POSITION = struct.Struct("!QQ")
_NUMBER = struct.Struct("!Q")
_RANGE = struct.Struct("!QH")
_REQUEST = struct.Struct("!QIB")
_PART = struct.Struct("!QIIB")
_ACK = struct.Struct("!QII")
_SHORT_RANGE = struct.Struct("!IH")
ROOM = BODY - _PART.size
"""Octets for records in a RECORDS, or for what is told in a PART."""
RANGES = 64
"""Of a NAK or an ACK, at most."""
STOP = 0xFFFFFFFF
"""The next part, in an ACK from one who wants no more, or has never asked."""
_ISOLATED = 1
LAST, POSITIONS = 1, 2
"""Flags of a PART: none follows; its octets are stream positions, not records."""


class Heard(NamedTuple):
    """A node that is heard: its nonce, as proof that this is not of yesterday, and what of it was taken in."""

    nonce: int
    mark: int = 0
    """Of its latest HELLO that was taken in as a whole (receipts.py); 0: none was."""


@dataclass(frozen=True)
class Hello:
    """I am here. `heard`: the others, by life."""

    facts: Facts
    nonce: int
    heard: dict[int, Heard]
    last: int
    """Number of the last datagram of the stream that was sent; 0: none."""
    oldest: int
    """Of the oldest one that can be asked for; `last` + 1: none."""


class Records(NamedTuple):
    """A datagram of the stream; its records are read when their turn comes."""

    number: int
    octets: bytes


class Range(NamedTuple):
    """So many numbers, from the first."""

    first: int
    length: int


class Nak(NamedTuple):
    """Datagrams of a stream are missing."""

    life: int
    missing: tuple[Range, ...]


class What(IntEnum):
    """What may be asked for."""

    EVERYTHING = 1
    OWN = 2
    """The node's own facts."""
    TABLE = 3


class Request(NamedTuple):
    """Tell me. `id` is of the one who asks; the same again is the same request."""

    life: int
    id: int
    what: What
    service: ServiceKey | None = None


class Part(NamedTuple):
    """A part of the answer, numbered from 0."""

    life: int
    id: int
    number: int
    flags: int
    octets: bytes


class Ack(NamedTuple):
    """All parts before `next` have come, and later ones except those that are missing."""

    life: int
    id: int
    next: int
    missing: tuple[Range, ...] = ()


def encode_hello(hello: Hello) -> bytes:
    """Return the body. Counters that are too great are told as the greatest."""
    facts = hello.facts
    return b"".join(
        (
            _text(facts.name, NAME),
            _text(facts.version, VERSION),
            _HELLO.pack(
                facts.state,
                _ISOLATED if facts.isolated else 0,
                hello.nonce,
                facts.configuration,
                facts.tables,
                facts.health,
                hello.last,
                hello.oldest,
                *(min(max(number, 0), 0xFFFFFFFF) for number in (facts.tracked_slots, facts.flows, facts.packets)),
                len(hello.heard),
            ),
            *(_HEARD.pack(life, one.nonce, one.mark) for life, one in hello.heard.items()),
        )
    )


def decode_hello(body: bytes) -> Hello:
    """Read it. Raises ValueError."""
    reader = Reader(body)
    name, version = reader.text(), reader.text()
    if len(name.encode()) > NAME or len(version.encode()) > VERSION:
        raise ValueError("a name or a version that is too long")
    state, flags, nonce, configuration, tables, health, last, oldest, slots, flows, packets, heard = reader.unpack(
        _HELLO
    )
    if not 1 <= oldest <= last + 1:
        raise ValueError(f"datagrams {oldest} to {last} of a stream")
    digests, isolated = (configuration, tables, health), bool(flags & _ISOLATED)
    facts = Facts(name, version, NodeState(state), *digests, slots, flows, packets, isolated)
    others = (reader.unpack(_HEARD) for _ in range(heard))
    return Hello(facts, nonce, {life: Heard(nonce, mark) for life, nonce, mark in others}, last, oldest)


def encode_records(records: Records) -> bytes:
    """Return the body."""
    return _NUMBER.pack(records.number) + records.octets


def decode_records(body: bytes) -> Records:
    """Read the number, from 1. Raises ValueError."""
    reader = Reader(body)
    number = reader.number(_NUMBER)
    if not number:
        raise ValueError("a stream begins with number 1")
    return Records(number, reader.rest(1))


def encode_nak(nak: Nak) -> bytes:
    """Return the body; there are RANGES at most."""
    return _NUMBER.pack(nak.life) + b"".join(_RANGE.pack(*one) for one in nak.missing)


def decode_nak(body: bytes) -> Nak:
    """Read it. Raises ValueError."""
    reader = Reader(body)
    return Nak(reader.number(_NUMBER), _ranges(reader, _RANGE))


def encode_request(request: Request) -> bytes:
    """Return the body."""
    service = b"" if request.service is None else service_bytes(request.service)
    return _REQUEST.pack(request.life, request.id, request.what) + service


def decode_request(body: bytes) -> Request:
    """Read it. Raises ValueError."""
    reader = Reader(body)
    life, number, what = reader.unpack(_REQUEST)
    service = reader.service() if what == What.TABLE else None
    reader.end()
    return Request(life, number, What(what), service)


def encode_part(part: Part) -> bytes:
    """Return the body."""
    return _PART.pack(*part[:4]) + part.octets


def decode_part(body: bytes) -> Part:
    """Read it. Raises ValueError."""
    reader = Reader(body)
    life, number, part, flags = reader.unpack(_PART)
    return Part(life, number, part, flags, reader.rest(1))


def encode_ack(ack: Ack) -> bytes:
    """Return the body; there are RANGES at most."""
    return _ACK.pack(*ack[:3]) + b"".join(_SHORT_RANGE.pack(*one) for one in ack.missing)


def decode_ack(body: bytes) -> Ack:
    """Read it. Raises ValueError."""
    reader = Reader(body)
    life, number, following = reader.unpack(_ACK)
    return Ack(life, number, following, _ranges(reader, _SHORT_RANGE))


def encode_positions(positions: dict[int, int]) -> bytes:
    """Return how far streams have been learnt, by life: what a PART with the flag POSITIONS has."""
    return b"".join(_POSITION.pack(*one) for one in positions.items())


def decode_positions(octets: bytes) -> dict[int, int]:
    """Read it. Raises ValueError."""
    reader = Reader(octets)
    return dict(_POSITION.iter_unpack(reader.rest(_POSITION.size)))


def _ranges(reader: Reader, form: struct.Struct) -> tuple[Range, ...]:
    found = tuple(map(Range._make, form.iter_unpack(reader.rest(form.size))))
    if len(found) > RANGES or any(not one.length for one in found):
        raise ValueError("ranges that are empty, or too many")
    return found


def _text(text: str, most: int) -> bytes:
    octets = text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore").encode("utf-8")
    return bytes([len(octets)]) + octets


Message = Hello | Records | Nak | Request | Part | Ack
_DECODERS: Mapping[Kind, Callable[[bytes], Message]] = {
    Kind.HELLO: decode_hello,
    Kind.RECORDS: decode_records,
    Kind.NAK: decode_nak,
    Kind.REQUEST: decode_request,
    Kind.PART: decode_part,
    Kind.ACK: decode_ack,
}


def decode(kind: Kind, body: bytes) -> Message:
    """Read a body of any kind. Raises ValueError."""
    return _DECODERS[kind](body)
