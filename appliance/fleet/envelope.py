"""One datagram of the exchange: who sent it, its number, and the proof that he has our key. Pure.

All numbers are in network byte order.

    magic       4    `V5F1`: what it is, and the version of its form
    key id      4    the first octets of SHA-256 of the key
    life        8    random for each start of a daemon
    sequence    8    from 1, for each life; no two datagrams have the same, even where they say the same
    kind        1
    reserved    3    0
    body             what messages.py has
    MAC        16    HMAC-SHA256 (RFC 2104) over all before it, its first half (RFC 2104 section 5)

What comes is looked at in the order of cost: nothing is computed for what has another magic or an unknown key, and
nothing of a datagram is read that has not been proved.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from enum import IntEnum, StrEnum
from typing import NamedTuple

MAGIC = b"V5F1"
MOST = 1400
"""Octets of a datagram, at most: what passes a tunnel or two without fragments."""
MAC = 16
KEY_ID = 4
_HEAD = struct.Struct("!4s4sQQB3s")
OVERHEAD = _HEAD.size + MAC
BODY = MOST - OVERHEAD
"""Octets of a body, at most."""
_RESERVED = bytes(3)


class Kind(IntEnum):
    """What the body is."""

    HELLO = 1
    RECORDS = 2
    NAK = 3
    REQUEST = 4
    PART = 5
    ACK = 6


class Drop(StrEnum):
    """Why a datagram that came was not used."""

    SHORT = "short"
    LONG = "long"
    FOREIGN = "foreign"
    KEY = "key"
    OWN = "own"
    REPLAYED = "replayed"
    FORGED = "forged"
    UNPROVED = "unproved"
    MALFORMED = "malformed"
    STRAY = "stray"
    CROWDED = "crowded"


DROPS = {
    Drop.SHORT: "shorter than any datagram of the exchange",
    Drop.LONG: "longer than any datagram of the exchange",
    Drop.FOREIGN: "of another protocol, or of another version of this one",
    Drop.KEY: "made with a key that is not configured here",
    Drop.OWN: "this node's own",
    Drop.REPLAYED: "seen before, or too old to tell",
    Drop.FORGED: "its authentication code is wrong",
    Drop.UNPROVED: "from a node that has not proved yet that it lives now",
    Drop.MALFORMED: "from a node with our key, and yet not understood",
    Drop.STRAY: "for another node, or an answer to what was not asked",
    Drop.CROWDED: "from one node more than there may be",
}


class Unusable(Exception):
    """A datagram is to be dropped; `reason` says why."""

    def __init__(self, reason: Drop) -> None:
        self.reason = reason
        super().__init__(DROPS[reason])


class Header(NamedTuple):
    """What stands before the body; nothing of it is proved yet."""

    key_id: bytes
    life: int
    sequence: int
    kind: int


class Keys:
    """The keys of a configuration: the first signs, and all are accepted."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._id, self._key = key_id(keys[0]), keys[0]
        self._known = {key_id(key): key for key in reversed(keys)}

    def seal(self, life: int, sequence: int, kind: Kind, body: bytes) -> bytes:
        """Return the datagram. Raises ValueError where the body is longer than BODY."""
        if len(body) > BODY:
            raise ValueError(f"a body of {len(body)} octets; there is room for {BODY}")
        head = _HEAD.pack(MAGIC, self._id, life, sequence, kind, _RESERVED)
        return head + body + hmac.digest(self._key, head + body, "sha256")[:MAC]

    def head(self, data: bytes) -> Header:
        """Read what costs nothing. Raises Unusable."""
        if len(data) < OVERHEAD:
            raise Unusable(Drop.SHORT)
        if len(data) > MOST:
            raise Unusable(Drop.LONG)
        magic, name, life, sequence, kind, reserved = _HEAD.unpack_from(data)
        if magic != MAGIC or reserved != _RESERVED:
            raise Unusable(Drop.FOREIGN)
        if name not in self._known:
            raise Unusable(Drop.KEY)
        return Header(name, life, sequence, kind)

    def body(self, data: bytes, header: Header) -> bytes:
        """Return the body of a datagram that has this header, once its MAC is proved. Raises Unusable."""
        made = hmac.digest(self._known[header.key_id], data[:-MAC], "sha256")[:MAC]
        if not hmac.compare_digest(made, data[-MAC:]):
            raise Unusable(Drop.FORGED)
        return data[_HEAD.size : -MAC]


def key_id(key: bytes) -> bytes:
    """Return by what a receiver knows which of its keys was used."""
    return hashlib.sha256(key).digest()[:KEY_ID]
