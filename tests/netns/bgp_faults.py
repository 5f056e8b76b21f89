"""What badly behaved peers say, and the answer that the RFC has for it: a table for any speaker."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from tests.lab.bgp_message import (
    MARKER,
    Attribute,
    Kind,
    attribute,
    capability,
    keepalive,
    message,
    open_message,
    prefix,
    update,
    usual,
)


@dataclass(frozen=True)
class Here:
    """The two ends: who misbehaves, and who has to bear it."""

    own_as: int
    own_id: str
    other_as: int
    other_id: str

    def open(self, **values: int | str) -> bytes:
        """The OPEN that would be right, but for these values."""
        return open_message(**{"own_as": self.own_as, "router_id": self.own_id, **values})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Fault:
    """`says` instead of an OPEN, or `then` once the session is established; `answer`: code and subcode."""

    name: str
    answer: tuple[int, int]
    says: Callable[[Here], bytes] | None = None
    then: Callable[[Here], bytes] | None = None
    data: bytes | None = None
    """What the NOTIFICATION has to carry; None: anything."""


FAULTS = (
    # RFC 4271 section 6.1: message header
    Fault("marker", (1, 1), says=lambda here: message(Kind.OPEN, here.open()[19:], marker=b"\0" * 16)),
    Fault("no BGP at all", (1, 1), says=lambda here: b"GET / HTTP/1.1\r\nHost: balancer\r\n\r\n"),
    Fault("length 18", (1, 2), says=lambda here: message(Kind.OPEN, length=18), data=b"\0\x12"),
    Fault("length 4097", (1, 2), then=lambda here: message(Kind.UPDATE, bytes(4078)), data=b"\x10\x01"),
    Fault("long KEEPALIVE", (1, 2), then=lambda here: message(Kind.KEEPALIVE, b"\0"), data=b"\0\x14"),
    Fault("unknown type", (1, 3), then=lambda here: message(99), data=b"\x63"),
    # section 6.2: OPEN
    Fault("version 3", (2, 1), says=lambda here: here.open(version=3), data=b"\0\x04"),
    Fault("wrong AS", (2, 2), says=lambda here: here.open(own_as=here.own_as + 1)),
    Fault("AS 0", (2, 2), says=lambda here: here.open(own_as=0)),
    Fault("router id 0.0.0.0", (2, 3), says=lambda here: here.open(router_id="0.0.0.0")),
    Fault("hold time 1", (2, 6), says=lambda here: here.open(hold_time=1)),
    Fault("hold time 2", (2, 6), says=lambda here: here.open(hold_time=2)),
    Fault("parameters beyond the end", (2, 0), says=lambda here: cut_parameters(here.open())),
    # section 6.6, RFC 6608: a message out of turn
    Fault("KEEPALIVE for an OPEN", (5, 1), says=lambda here: keepalive()),
    Fault("a second OPEN", (5, 3), then=lambda here: here.open()),
    # section 6.3 as far as RFC 7606 leaves it
    # RFC 7606 section 5.2: it may be that the routes were not seen
    Fault("a malformed attribute of no route", (3, 6), then=lambda here: update(attribute(Attribute.ORIGIN, b"\x07"))),
    Fault("attributes beyond the end", (3, 1), then=lambda here: message(Kind.UPDATE, struct.pack("!HH", 0, 100))),
    Fault(
        "withdrawn routes beyond the end", (3, 1), then=lambda here: message(Kind.UPDATE, struct.pack("!HH", 100, 0))
    ),
)
"""Two are left to single tests: the same router id (RFC 6286: only over iBGP an error), and silence."""


@dataclass(frozen=True)
class Borne:
    """What is to be borne without a word: the session goes on."""

    name: str
    says: Callable[[Here], bytes]


BORNE = (
    Borne(
        "a malformed attribute: treat as withdraw",
        lambda here: update(attribute(Attribute.ORIGIN, b"\x07"), prefix("192.0.2.0/24")),
    ),
    Borne(
        "a route without next hop: treat as withdraw",
        lambda here: update(attribute(Attribute.ORIGIN, b"\0"), prefix("192.0.2.0/24")),
    ),
    Borne("an unknown optional attribute", lambda here: update(attribute(250, b"abc", 0xC0))),
    Borne("a route refresh of a family that nobody has", lambda here: message(5, struct.pack("!HBB", 25, 0, 65))),
    Borne("the end of no routes", lambda here: update()),
)

ODD_CAPABILITIES = (
    capability(200, b"whatever"),
    capability(73, b"\x04host\0"),
    capability(6),
    capability(69, struct.pack("!HBB", 1, 1, 3)),
)
"""Ones that nobody has heard of, and ones that routers send."""


def cut_parameters(opened: bytes) -> bytes:
    """The OPEN with a capability that is longer than its parameter, all other lengths right."""
    body = bytearray(opened[19:])
    body[13] = 200  # the length of the first capability
    return message(Kind.OPEN, bytes(body))


def odd_open(here: Here) -> bytes:
    """An OPEN that is right, and odd."""
    return open_message(here.own_as, here.own_id, capabilities=(*ODD_CAPABILITIES, *usual(here.own_as)))


__all__ = ["BORNE", "FAULTS", "MARKER", "Borne", "Fault", "Here", "odd_open"]
