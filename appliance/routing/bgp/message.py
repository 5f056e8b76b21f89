"""The messages of BGP (RFC 4271 section 4, RFC 2918, RFC 7313): between objects and bytes. Pure.

A message is 16 bytes of ones, its length (19..4096, with this header), its type, and a body. `Reader` takes bytes in
any pieces and gives whole messages; what cannot be accepted is a Refusal, which says how to answer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address

from appliance.routing.bgp.attribute import AS_TRANS
from appliance.routing.bgp.capability import Capabilities, Family, decode_parameters, encode_parameters
from appliance.routing.bgp.frame import HEADER, MARKER, MAX_MESSAGE, Kind, framed
from appliance.routing.bgp.notification import LONGEST, Code, Header, OpenError, RefreshError, Refusal
from appliance.routing.bgp.update import Update, parse

__all__ = ["Keepalive", "Kind", "Message", "Notification", "Open", "Reader", "Refresh", "RouteRefresh", "Update"]
__all__ += ["encode"]

VERSION = 4


@dataclass(frozen=True)
class Open:
    """Who one side is, and what it can do."""

    as_number: int
    """The real one: that of the four-octet capability, where there is one."""
    hold_time: int
    """Seconds: 0 (never) or 3..65535."""
    router_id: IPv4Address
    capabilities: Capabilities
    version: int = VERSION
    as_field: int = -1
    """What the field of two octets says; by default the AS number, or AS_TRANS where it does not fit."""

    def __post_init__(self) -> None:
        if self.as_field < 0:
            object.__setattr__(self, "as_field", self.as_number if self.as_number <= 0xFFFF else AS_TRANS)


@dataclass(frozen=True)
class Notification:
    """The end of a session. Code 0 is one received that was too short to have a code; `data` is all of it."""

    code: int
    subcode: int = 0
    data: bytes = b""


@dataclass(frozen=True)
class Keepalive:
    """The peer is there."""


class Refresh(IntEnum):
    """What a ROUTE-REFRESH is about (RFC 7313 section 3.2); any other number is to be ignored."""

    REQUEST = 0
    BEGIN = 1
    END = 2


@dataclass(frozen=True)
class RouteRefresh:
    """A request to send all routes of a family again, or what is before and behind them.

    `family` None, when received: one that we do not know, or a subtype that we do not; to be ignored.
    """

    family: Family | None
    subtype: int = Refresh.REQUEST


Message = Open | Update | Notification | Keepalive | RouteRefresh


def encode(message: Open | Notification | Keepalive | RouteRefresh) -> bytes:
    """Return a whole message; raises ValueError for values that have no form on the wire."""
    match message:
        case Open():
            return _encode_open(message)
        case Notification(code, subcode, data):
            if not 0 <= code <= 255 or not 0 <= subcode <= 255:
                raise ValueError(f"a NOTIFICATION cannot say {code}/{subcode}: both are numbers of one octet")
            return framed(Kind.NOTIFICATION, bytes([code, subcode]) + data[:LONGEST])
        case Keepalive():
            return framed(Kind.KEEPALIVE, b"")
        case RouteRefresh(family, subtype):
            if family is None or not 0 <= subtype <= 255:
                raise ValueError(f"a ROUTE-REFRESH cannot name {family} and {subtype}")
            return framed(Kind.ROUTE_REFRESH, struct.pack(">HBB", family.afi, subtype, family.safi))


def _encode_open(message: Open) -> bytes:
    four_octet = message.capabilities.as_number
    if four_octet not in (None, message.as_number) or (message.as_number > 0xFFFF and four_octet is None):
        raise ValueError(f"AS {message.as_number} is announced, and the capability says {four_octet}")
    if not 0 <= message.as_field <= 0xFFFF or not 0 <= message.hold_time <= 0xFFFF or not 0 <= message.version <= 255:
        raise ValueError(f"{message} has a value that does not fit into its field")
    head = struct.pack(">BHH", message.version, message.as_field, message.hold_time) + message.router_id.packed
    return framed(Kind.OPEN, head + encode_parameters(message.capabilities))


class Reader:
    """What a peer sends, as messages.

    What was agreed about the session decides how UPDATEs are read; it can be set at any time, for instance between two
    messages of one iteration.
    """

    def __init__(self) -> None:
        self.four_octet = False
        """Whether AS numbers in AS_PATH have four octets: both sides said so (RFC 6793)."""
        self.internal = False
        """Whether the peer is of our AS."""
        self.extended_next_hop = False
        """Whether IPv4 routes may have an IPv6 next hop (RFC 8950)."""
        self.last = b""
        """The message that was given last, as it came; of one that is refused, what there is of it."""
        self._buffer = bytearray()
        self._refusal: Refusal | None = None

    @property
    def rest(self) -> bytes:
        """What is there of a message that is not whole yet."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes, as they came. Nothing counts any more after a Refusal."""
        if self._refusal is None:
            self._buffer += data

    def messages(self) -> Iterator[Message]:
        """Yield the messages that are whole; raises Refusal where no more can follow, and then each time."""
        if self._refusal is not None:
            raise self._refusal
        try:
            while (length := self._length()) and length <= len(self._buffer):
                self.last = whole = bytes(self._buffer[:length])
                del self._buffer[:length]
                yield self._decode(whole)
                self.last = b""
        except Refusal as refusal:
            self._refusal = refusal
            self.last = self.last or bytes(self._buffer[:MAX_MESSAGE])
            self._buffer.clear()
            raise

    def _length(self) -> int:
        """Return the length of the message that the buffer begins with, 0 if that is not known yet.

        What is wrong is refused as soon as it can be seen: something else that connects here may send no 19 bytes.
        """
        head = bytes(self._buffer[:HEADER])
        if not MARKER.startswith(head[: len(MARKER)]):
            raise Refusal(
                Code.HEADER,
                Header.NOT_SYNCHRONIZED,
                why=f"the peer sent {head.hex(' ')} where a message begins with 16 bytes of ff; is it a BGP speaker?",
            )
        if len(head) < len(MARKER) + 2:
            return 0
        length = int.from_bytes(head[16:18], "big")
        if not HEADER <= length <= MAX_MESSAGE:
            raise _bad_length(length, f"lengths are 19 to {MAX_MESSAGE}")
        if len(head) < HEADER:
            return 0
        kind = head[HEADER - 1]
        if kind not in _LENGTHS:
            raise Refusal(
                Code.HEADER,
                Header.BAD_TYPE,
                bytes([kind]),
                f"the peer sent a message of type {kind}; there are 1 (OPEN) to 5 (ROUTE-REFRESH)",
            )
        least, most = _LENGTHS[kind]
        if not least <= length <= most:
            allowed = str(least) if least == most else f"{least} to {most}"
            raise _bad_length(length, f"the length of {Kind(kind).label} is {allowed}")
        return length

    def _decode(self, whole: bytes) -> Message:
        body = whole[HEADER:]
        match whole[HEADER - 1]:
            case Kind.OPEN:
                return _decode_open(body)
            case Kind.UPDATE:
                return parse(
                    body,
                    four_octet=self.four_octet,
                    internal=self.internal,
                    extended_next_hop=self.extended_next_hop,
                )
            case Kind.NOTIFICATION:
                # RFC 4271 section 6.4: an error in a NOTIFICATION is not answered by another.
                return Notification(body[0], body[1], body[2:]) if len(body) >= 2 else Notification(0, 0, body)
            case Kind.ROUTE_REFRESH:
                return _decode_refresh(whole)
            case _:
                return Keepalive()


_LENGTHS: dict[int, tuple[int, int]] = {
    Kind.OPEN: (HEADER + 10, MAX_MESSAGE),
    Kind.UPDATE: (HEADER + 4, MAX_MESSAGE),
    Kind.NOTIFICATION: (HEADER, MAX_MESSAGE),
    Kind.KEEPALIVE: (HEADER, HEADER),
    Kind.ROUTE_REFRESH: (HEADER, MAX_MESSAGE),
}
"""The shortest and the longest message of each type; more about NOTIFICATION and ROUTE-REFRESH is found in the body."""


def _bad_length(length: int, expected: str) -> Refusal:
    why = f"the peer sent a message with length {length}; {expected}"
    return Refusal(Code.HEADER, Header.BAD_LENGTH, struct.pack(">H", length), why)


def _decode_open(body: bytes) -> Open:
    version, as_field, hold_time = struct.unpack_from(">BHH", body)
    if version != VERSION:
        raise Refusal(
            Code.OPEN,
            OpenError.UNSUPPORTED_VERSION,
            struct.pack(">H", VERSION),
            f"the peer speaks version {version} of BGP; only version {VERSION} is supported",
        )
    router_id = IPv4Address(body[5:9])
    capabilities = decode_parameters(body[9:])
    as_number = as_field if capabilities.as_number is None else capabilities.as_number
    if not as_field or not as_number:
        raise Refusal(
            Code.OPEN,
            OpenError.BAD_PEER_AS,
            struct.pack(">H", as_field) if not as_field else struct.pack(">I", as_number),
            "the peer says that its AS number is 0, which nobody may have (RFC 7607); look at its configuration",
        )
    if hold_time in (1, 2):
        raise Refusal(
            Code.OPEN,
            OpenError.UNACCEPTABLE_HOLD_TIME,
            struct.pack(">H", hold_time),
            f"the peer wants a hold time of {hold_time} s; it has to be 0 or at least 3 s",
        )
    if not int(router_id) or router_id.is_multicast:
        raise Refusal(
            Code.OPEN,
            OpenError.BAD_IDENTIFIER,
            router_id.packed,
            f"the peer's router id is {router_id}, which is no address of a host; set another one there",
        )
    return Open(as_number, hold_time, router_id, capabilities, version, as_field)


def _decode_refresh(whole: bytes) -> RouteRefresh:
    body = whole[HEADER:]
    if len(body) != 4:
        why = f"the peer sent a ROUTE-REFRESH with length {len(whole)}; it has 23 bytes"
        # RFC 7313 section 5. For a plain request nothing is said; RFC 4271 section 6.1 is for all messages.
        if len(body) > 2 and body[2] in (Refresh.BEGIN, Refresh.END):
            raise Refusal(Code.ROUTE_REFRESH, RefreshError.INVALID_LENGTH, whole, why)
        raise Refusal(Code.HEADER, Header.BAD_LENGTH, struct.pack(">H", len(whole)), why)
    afi, subtype, safi = struct.unpack(">HBB", body)
    return RouteRefresh(Family.find(afi, safi) if subtype in list(Refresh) else None, subtype)
