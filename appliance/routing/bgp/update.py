"""UPDATE messages: read by RFC 7606, and made of routes. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from appliance.model_address import Address
from appliance.routing.bgp.attribute import Path
from appliance.routing.bgp.capability import Family
from appliance.routing.route import Attributes

MARKER = b"\xff" * 16
MAX_MESSAGE = 4096
"""Bytes of a message, header and all (RFC 4271 section 4.1); longer ones (RFC 8654) are not agreed to."""


class Kind(IntEnum):
    """The types of messages."""

    OPEN = 1
    UPDATE = 2
    NOTIFICATION = 3
    KEEPALIVE = 4
    ROUTE_REFRESH = 5


def framed(kind: int, body: bytes) -> bytes:
    """Return a message of one type; raises ValueError for one that is too long."""
    length = len(MARKER) + 3 + len(body)
    if length > MAX_MESSAGE:
        raise ValueError(f"a message of {length} bytes cannot be sent; {MAX_MESSAGE} are allowed")
    return MARKER + struct.pack(">HB", length, kind) + body


@dataclass(frozen=True)
class Prefixes:
    """Networks of one family as they came, checked; what a peer sends is thrown away, so they are only counted."""

    family: Family
    data: bytes
    count: int

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True)
class Update:
    """What a received UPDATE says."""

    withdrawn: tuple[Prefixes, ...] = ()
    announced: tuple[Prefixes, ...] = ()
    attributes: Path | None = None
    """None where there are none, or where they are not to be believed."""
    trouble: str = ""
    """Why what it announces counts as withdrawn (RFC 7606); empty if it does not."""
    discarded: tuple[str, ...] = ()
    """What was wrong with attributes that are ignored alone (RFC 7606)."""
    end_of_rib: Family | None = None
    """The family of which that was all (RFC 4724 section 2)."""


def parse(body: bytes, *, four_octet: bool, internal: bool, extended_next_hop: bool) -> Update:
    """Return what the body of an UPDATE says; raises Refusal where the session cannot go on."""
    raise NotImplementedError


def pack(
    routes: Iterable[tuple[Address, Attributes]], *, four_octet: bool = True, internal: bool = False
) -> Iterator[bytes]:
    """Yield UPDATE messages that announce routes; those with equal attributes go together.

    Raises ValueError, before anything is yielded, for a route that cannot be announced.
    """
    raise NotImplementedError


def withdraw(addresses: Iterable[Address]) -> Iterator[bytes]:
    """Yield UPDATE messages that withdraw VIPs."""
    raise NotImplementedError


def end_of_rib(family: Family) -> bytes:
    """Return the UPDATE that says: those were all routes of a family (RFC 4724 section 2)."""
    raise NotImplementedError
