"""Why a session ends: the codes of NOTIFICATION messages, what they say to people, and the errors that send one. Pure.

RFC 4271 sections 4.5 and 6, with RFC 4486 and 9003 (why a session is ceased), RFC 5492, 6608, 7313, 8538 (hard reset),
9234, 9384 and 9687.
"""

from __future__ import annotations

from enum import IntEnum
from ipaddress import IPv4Address
from typing import Self

LONGEST = 4096 - 21
"""Bytes of data that a NOTIFICATION may carry, at most."""
LONGEST_SHUTDOWN = 255
"""Bytes of a shutdown message (RFC 9003), at most."""


class Numbered(IntEnum):
    """A number of the protocol, and what it is called."""

    text: str

    def __new__(cls, number: int, text: str) -> Self:
        member = int.__new__(cls, number)
        member._value_ = number
        member.text = text
        return member


class Code(Numbered):
    """What kind of error it is."""

    HEADER = 1, "message header error"
    OPEN = 2, "OPEN message error"
    UPDATE = 3, "UPDATE message error"
    HOLD_TIMER = 4, "hold timer expired"
    STATE_MACHINE = 5, "message not expected in this state"
    CEASE = 6, "cease"
    ROUTE_REFRESH = 7, "ROUTE-REFRESH message error"
    SEND_HOLD_TIMER = 8, "send hold timer expired"


class Header(Numbered):
    """Subcodes of Code.HEADER (RFC 4271 section 6.1)."""

    NOT_SYNCHRONIZED = 1, "connection not synchronized"
    BAD_LENGTH = 2, "bad message length"
    BAD_TYPE = 3, "bad message type"


class OpenError(Numbered):
    """Subcodes of Code.OPEN (RFC 4271 section 6.2, RFC 5492, RFC 9234)."""

    UNSPECIFIC = 0, "malformed"
    UNSUPPORTED_VERSION = 1, "unsupported version number"
    BAD_PEER_AS = 2, "bad peer AS"
    BAD_IDENTIFIER = 3, "bad BGP identifier"
    UNSUPPORTED_PARAMETER = 4, "unsupported optional parameter"
    AUTHENTICATION_FAILURE = 5, "authentication failure"
    UNACCEPTABLE_HOLD_TIME = 6, "unacceptable hold time"
    UNSUPPORTED_CAPABILITY = 7, "unsupported capability"
    ROLE_MISMATCH = 11, "role mismatch"


class UpdateError(Numbered):
    """Subcodes of Code.UPDATE (RFC 4271 section 6.3)."""

    MALFORMED_ATTRIBUTES = 1, "malformed attribute list"
    UNRECOGNIZED_WELL_KNOWN = 2, "unrecognized well-known attribute"
    MISSING_WELL_KNOWN = 3, "missing well-known attribute"
    ATTRIBUTE_FLAGS = 4, "attribute flags error"
    ATTRIBUTE_LENGTH = 5, "attribute length error"
    INVALID_ORIGIN = 6, "invalid ORIGIN attribute"
    ROUTING_LOOP = 7, "AS routing loop"
    INVALID_NEXT_HOP = 8, "invalid NEXT_HOP attribute"
    OPTIONAL_ATTRIBUTE = 9, "optional attribute error"
    INVALID_NETWORK = 10, "invalid network field"
    MALFORMED_AS_PATH = 11, "malformed AS_PATH"


class StateError(Numbered):
    """Subcodes of Code.STATE_MACHINE (RFC 6608): the state in which the message was not expected."""

    UNSPECIFIED = 0, "unspecified state"
    OPEN_SENT = 1, "in state OpenSent"
    OPEN_CONFIRM = 2, "in state OpenConfirm"
    ESTABLISHED = 3, "in state Established"


class Cease(Numbered):
    """Subcodes of Code.CEASE (RFC 4486, 8538, 9384)."""

    UNSPECIFIED = 0, "no reason given"
    MAXIMUM_PREFIXES = 1, "maximum number of prefixes reached"
    ADMINISTRATIVE_SHUTDOWN = 2, "administrative shutdown"
    PEER_DECONFIGURED = 3, "peer de-configured"
    ADMINISTRATIVE_RESET = 4, "administrative reset"
    CONNECTION_REJECTED = 5, "connection rejected"
    OTHER_CHANGE = 6, "other configuration change"
    COLLISION = 7, "connection collision resolution"
    OUT_OF_RESOURCES = 8, "out of resources"
    HARD_RESET = 9, "hard reset"
    BFD_DOWN = 10, "BFD down"


class RefreshError(Numbered):
    """Subcodes of Code.ROUTE_REFRESH (RFC 7313 section 5)."""

    INVALID_LENGTH = 1, "invalid message length"


_SUBCODES: dict[int, type[Numbered]] = {
    Code.HEADER: Header,
    Code.OPEN: OpenError,
    Code.UPDATE: UpdateError,
    Code.STATE_MACHINE: StateError,
    Code.CEASE: Cease,
    Code.ROUTE_REFRESH: RefreshError,
}
_MESSAGES = {1: "OPEN", 2: "UPDATE", 3: "NOTIFICATION", 4: "KEEPALIVE", 5: "ROUTE-REFRESH"}
_SHUTDOWN = (Cease.ADMINISTRATIVE_SHUTDOWN, Cease.ADMINISTRATIVE_RESET)
_SHOWN = 64
"""Bytes of data shown in hexadecimal, at most."""


class Refusal(Exception):
    """What came from the peer cannot be accepted: the NOTIFICATION that answers it, and why, for the operator."""

    def __init__(self, code: int, subcode: int, data: bytes = b"", why: str = "") -> None:
        super().__init__(why or text(code, subcode, data))
        self.code = code
        self.subcode = subcode
        self.data = data[:LONGEST]
        self.why = str(self)


def text(code: int, subcode: int, data: bytes = b"") -> str:
    """Return what a NOTIFICATION says, on one line of printable characters."""
    said = _name(Code, code) or f"error code {code}"
    subcodes = _SUBCODES.get(code)
    if subcodes is not None:
        told = _name(subcodes, subcode) or (f"subcode {subcode}" if subcode else "")
        said += f", {told}" if told else ""
    elif subcode:
        said += f", subcode {subcode}"
    if data:
        said += f": {_data(code, subcode, data) or _hexadecimal(data)}"
    return said


def shutdown_data(message: str) -> bytes:
    """Return a message for people as data of Cease, administrative shutdown or reset (RFC 9003 section 2).

    At most 255 bytes of UTF-8 after the length, cut between characters.
    """
    whole = message.encode("utf-8", "replace")[:LONGEST_SHUTDOWN].decode("utf-8", "ignore").encode()
    return bytes([len(whole)]) + whole if whole else b""


def _name(numbers: type[Numbered], number: int) -> str:
    return next((member.text for member in numbers if member == number), "")


def _hexadecimal(data: bytes) -> str:
    return data[:_SHOWN].hex(" ") + (f" ... ({len(data)} bytes)" if len(data) > _SHOWN else "")


def _data(code: int, subcode: int, data: bytes) -> str:
    """Return what the data of a known form says; empty for any other."""
    number = int.from_bytes(data, "big")
    match code, subcode, len(data):
        case Code.HEADER, Header.BAD_LENGTH, 2:
            return f"length {number}"
        case Code.HEADER, Header.BAD_TYPE, 1:
            return f"type {number}"
        case Code.OPEN, OpenError.UNSUPPORTED_VERSION, 2:
            return f"version {number} is supported"
        case Code.OPEN, OpenError.BAD_PEER_AS, 2 | 4:
            return f"AS {number} was claimed"
        case Code.OPEN, OpenError.BAD_IDENTIFIER, 4:
            return f"{IPv4Address(number)}"
        case Code.OPEN, OpenError.UNACCEPTABLE_HOLD_TIME, 2:
            return f"{number} s"
        case Code.STATE_MACHINE, _, 1:
            return _MESSAGES.get(number, f"type {number}")
        case Code.CEASE, Cease.MAXIMUM_PREFIXES, 7:
            return f"{number & 0xFFFFFFFF} (AFI {number >> 40}, SAFI {number >> 32 & 0xFF})"
        case Code.CEASE, Cease.HARD_RESET, length if length >= 2:
            # RFC 8538 section 3.1: inside is the NOTIFICATION that would have been sent. One level, or a peer could
            # have us descend two thousand.
            inner = data[0], data[1], data[2:]
            if inner[:2] == (Code.CEASE, Cease.HARD_RESET):
                return ""
            return text(*inner)
        case Code.CEASE, subcode, length if subcode in _SHUTDOWN and data[0] == length - 1:
            return _printable(data[1:])
    return ""


def _printable(said: bytes) -> str:
    """Return the words of a stranger as one line that does nothing to a terminal, empty if they are not UTF-8."""
    try:
        decoded = said.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    shown = "".join(character if character.isprintable() else " " for character in decoded)
    return '"' + " ".join(shown.split()) + '"'
