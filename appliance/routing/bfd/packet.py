"""The BFD control packet (RFC 5880 section 4.1): 24 bytes, all numbers in network byte order. Pure.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
    |                       My Discriminator                        |
    |                      Your Discriminator                       |
    |                 Desired Min TX Interval (us)                  |
    |                Required Min RX Interval (us)                  |
    |              Required Min Echo RX Interval (us)               |

What comes from the network is checked here as far as the packet alone tells (section 6.8.6); each check has a reason of
its own, under which packets that fail it are counted.
"""

from __future__ import annotations

import struct
from enum import IntEnum, StrEnum
from typing import NamedTuple

VERSION = 1
LENGTH = 24
"""Bytes of a packet without authentication."""
_FORM = struct.Struct("!BBBBIIIII")
MICROSECONDS = 0xFFFFFFFF
"""The largest interval that can be said."""

POLL, FINAL, CONTROL_INDEPENDENT, AUTHENTICATED, DEMAND, MULTIPOINT = 0x20, 0x10, 0x08, 0x04, 0x02, 0x01
"""The bits of the second byte, below the state."""


class State(IntEnum):
    """The state of a session, as it stands on the wire."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3

    @property
    def words(self) -> str:
        """As people write it."""
        return ("admin-down", "down", "init", "up")[self]


class Diagnostic(IntEnum):
    """Why a session left the state before (RFC 5880 section 4.1, RFC 6428 section 3.5)."""

    NONE = 0
    SILENCE = 1
    ECHO_FAILED = 2
    NEIGHBOUR_DOWN = 3
    FORWARDING_RESET = 4
    PATH_DOWN = 5
    CONCATENATED_PATH_DOWN = 6
    ADMINISTRATIVELY_DOWN = 7
    REVERSE_CONCATENATED_PATH_DOWN = 8
    MISCONNECTED = 9


DIAGNOSTICS = {
    Diagnostic.NONE: "no diagnostic",
    Diagnostic.SILENCE: "control detection time expired",
    Diagnostic.ECHO_FAILED: "echo function failed",
    Diagnostic.NEIGHBOUR_DOWN: "neighbour signalled session down",
    Diagnostic.FORWARDING_RESET: "forwarding plane reset",
    Diagnostic.PATH_DOWN: "path down",
    Diagnostic.CONCATENATED_PATH_DOWN: "concatenated path down",
    Diagnostic.ADMINISTRATIVELY_DOWN: "administratively down",
    Diagnostic.REVERSE_CONCATENATED_PATH_DOWN: "reverse concatenated path down",
    Diagnostic.MISCONNECTED: "mis-connectivity defect",
}


def diagnostic_words(number: int) -> str:
    """Return what a diagnostic (0..31) says; one that no RFC has assigned keeps its number."""
    return DIAGNOSTICS[Diagnostic(number)] if number in DIAGNOSTICS else f"diagnostic {number}"


class Drop(StrEnum):
    """Why a packet that came was not used."""

    SHORT = "short"
    VERSION = "version"
    LENGTH = "length"
    AUTHENTICATED = "authenticated"
    MULTIPLIER = "multiplier"
    MULTIPOINT = "multipoint"
    DISCRIMINATOR = "discriminator"
    STATE = "state"
    HOPS = "hops"
    UNKNOWN = "unknown"
    STRANGER = "stranger"


DROPS = {
    Drop.SHORT: "less than 24 bytes",
    Drop.VERSION: "a version other than 1",
    Drop.LENGTH: "a length that is below 24, or more than has come",
    Drop.AUTHENTICATED: "authentication, which is not supported",
    Drop.MULTIPLIER: "a detection multiplier of 0",
    Drop.MULTIPOINT: "the multipoint bit",
    Drop.DISCRIMINATOR: "no discriminator of its sender",
    Drop.STATE: "init or up from one who has not heard us",
    Drop.HOPS: "from further away than the next hop (RFC 5881 section 5)",
    Drop.UNKNOWN: "for a session that is not there",
    Drop.STRANGER: "from an address with which there is no such session",
}


class Unusable(Exception):
    """A packet is to be dropped; `reason` says why."""

    def __init__(self, reason: Drop) -> None:
        self.reason = reason
        super().__init__(DROPS[reason])


class Packet(NamedTuple):
    """One control packet. Intervals are microseconds, 0..2^32-1; discriminators 0..2^32-1; `diagnostic` 0..31."""

    state: State
    mine: int
    """The discriminator that the sender has for this session; never 0."""
    yours: int = 0
    """What the sender has heard from the receiver; 0: nothing yet."""
    diagnostic: int = 0
    poll: bool = False
    final: bool = False
    control_independent: bool = False
    demand: bool = False
    multiplier: int = 3
    """1..255."""
    desired_us: int = 1_000_000
    """The least time between packets that the sender would like to keep."""
    required_us: int = 1_000_000
    """The least time between packets that the sender can take; 0: it wants none."""
    echo_us: int = 0


def encode(packet: Packet) -> bytes:
    """Return the 24 bytes of a packet."""
    flags = (
        (POLL if packet.poll else 0)
        | (FINAL if packet.final else 0)
        | (CONTROL_INDEPENDENT if packet.control_independent else 0)
        | (DEMAND if packet.demand else 0)
    )
    return _FORM.pack(
        VERSION << 5 | packet.diagnostic,
        packet.state << 6 | flags,
        packet.multiplier,
        LENGTH,
        packet.mine,
        packet.yours,
        packet.desired_us,
        packet.required_us,
        packet.echo_us,
    )


def decode(data: bytes) -> Packet:
    """Read a packet, in the order of the checks of RFC 5880 section 6.8.6. Raises Unusable, and nothing else.

    What follows the length that a packet tells is passed over.
    """
    if len(data) < LENGTH:
        raise Unusable(Drop.SHORT)
    first, second, multiplier, length, mine, yours, desired, required, echo = _FORM.unpack_from(data)
    if first >> 5 != VERSION:
        raise Unusable(Drop.VERSION)
    if length < LENGTH or length > len(data):
        raise Unusable(Drop.LENGTH)
    if not multiplier:
        raise Unusable(Drop.MULTIPLIER)
    if second & MULTIPOINT:
        raise Unusable(Drop.MULTIPOINT)
    if not mine:
        raise Unusable(Drop.DISCRIMINATOR)
    state = State(second >> 6)
    if not yours and state > State.DOWN:
        raise Unusable(Drop.STATE)
    if second & AUTHENTICATED:
        raise Unusable(Drop.AUTHENTICATED)
    return Packet(
        state=state,
        mine=mine,
        yours=yours,
        diagnostic=first & 0x1F,
        poll=bool(second & POLL),
        final=bool(second & FINAL),
        control_independent=bool(second & CONTROL_INDEPENDENT),
        demand=bool(second & DEMAND),
        multiplier=multiplier,
        desired_us=desired,
        required_us=required,
        echo_us=echo,
    )
