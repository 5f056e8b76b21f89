"""What goes over one BGP session, for people: as lines of text, or as a pcap file for tcpdump and wireshark. Pure.

Both take bytes as the socket had them, in any pieces, and from any point of a session on: what comes before the first
message is shown in hexadecimal, as is everything that cannot be read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, islice

from appliance import pcap
from appliance.model_address import Address
from appliance.routing.bgp.attribute import AS_SET
from appliance.routing.bgp.capability import Capabilities, Family
from appliance.routing.bgp.frame import HEADER, MARKER, MAX_MESSAGE, Kind
from appliance.routing.bgp.message import Keepalive, Message, Notification, Open, Reader, Refresh, RouteRefresh, Update
from appliance.routing.bgp.notification import Refusal, text
from appliance.routing.bgp.received import Path, Prefixes

SHOWN = 16
"""Networks of one list that a line shows, at most."""
_ORIGINS = ("IGP", "EGP", "incomplete")


@dataclass
class Stream:
    """One direction: what did not make a whole message yet, and what its OPEN said."""

    buffer: bytearray = field(default_factory=bytearray)
    opened: Open | None = None


class Transcript:
    """The lines of one session.

    How UPDATEs are to be read is learnt from the OPENs; `four_octet`, `internal` and `extended_next_hop` say it where
    those were before (see Reader).
    """

    def __init__(
        self, peer: Address, *, four_octet: bool = True, internal: bool = False, extended_next_hop: bool = True
    ) -> None:
        self._peer = peer
        self._four_octet, self._internal, self._extended = four_octet, internal, extended_next_hop
        self._streams = {True: Stream(), False: Stream()}

    def lines(self, at: float, *, sent: bool, data: bytes) -> Iterator[str]:
        """Yield a line for each message that is whole now. `at`: seconds since 1970; `sent`: by us, not to us."""
        stream = self._streams[sent]
        stream.buffer += data
        when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = f"{when} {'sent to' if sent else 'received from'} {self._peer}"
        for whole in _split(stream.buffer):
            yield f"{head} {self._line(stream, whole, sent=sent)}"

    def _line(self, stream: Stream, whole: bytes, *, sent: bool) -> str:
        if not whole.startswith(MARKER):
            return f"what is no message: {whole.hex(' ')}"
        # What is ours is read as a peer of our AS would, so that nothing is left out.
        reader = Reader()
        reader.four_octet, reader.internal = self._four_octet, self._internal or sent
        reader.extended_next_hop = self._extended
        reader.feed(whole)
        try:
            message = next(reader.messages())
        except Refusal as refusal:
            kind = whole[HEADER - 1]
            name = Kind(kind).label if kind in list(Kind) else f"type {kind}"
            return f"{name} that cannot be read, {refusal.why}: {whole[HEADER:].hex(' ')}"
        if isinstance(message, Open):
            stream.opened = message
            self._learn()
        said = describe(message)
        if isinstance(message, Update) and (message.trouble or message.discarded):
            said += f": {whole[HEADER:].hex(' ')}"
        return said

    def _learn(self) -> None:
        ours, theirs = (stream.opened for stream in self._streams.values())
        if ours is not None and theirs is not None:
            both = (ours.capabilities, theirs.capabilities)
            self._four_octet = all(one.as_number is not None for one in both)
            self._internal = ours.as_number == theirs.as_number
            self._extended = all((Family.IPV4, Family.IPV6) in one.extended_next_hop for one in both)


def _split(buffer: bytearray) -> Iterator[bytes]:
    """Take whole messages out of a buffer; what stands between them comes as it is."""
    while buffer:
        start = buffer.find(MARKER)
        if start < 0:
            # The end may be the first part of a marker.
            start = len(buffer.rstrip(b"\xff"))
        if start:
            yield bytes(buffer[:start])
            del buffer[:start]
            continue
        if len(buffer) < HEADER:
            return
        length = int.from_bytes(buffer[16:18], "big")
        if not HEADER <= length <= MAX_MESSAGE:
            following = buffer.find(MARKER, HEADER)
            length = following if following > 0 else len(buffer)
        if len(buffer) < length:
            return
        yield bytes(buffer[:length])
        del buffer[:length]


def describe(message: Message) -> str:
    """Return a message in words, on one line."""
    match message:
        case Open():
            said = [f"AS {message.as_number}", f"hold time {message.hold_time} s", f"router id {message.router_id}"]
            return ", ".join(chain([f"OPEN {said[0]}"], said[1:], capability_words(message.capabilities)))
        case Update():
            return f"UPDATE {'; '.join(_update(message))}"
        case Notification(code, subcode, data):
            return f"NOTIFICATION {code}/{subcode} {text(code, subcode, data)}"
        case Keepalive():
            return "KEEPALIVE"
        case RouteRefresh(family, subtype):
            names = {Refresh.REQUEST: "send again", Refresh.BEGIN: "begin of", Refresh.END: "end of"}
            said_ = names.get(Refresh(subtype)) if subtype in list(Refresh) else None
            return f"ROUTE-REFRESH {said_ or f'subtype {subtype}'} {family or 'what is not known here'}"


def capability_words(capabilities: Capabilities) -> Iterator[str]:
    """Yield what one side can do, in words."""
    families = sorted(capabilities.families, key=lambda family: family.value)
    if families:
        yield " and ".join(map(str, families))
    if capabilities.as_number is not None:
        yield "four-octet AS"
    if capabilities.route_refresh:
        yield "route refresh"
    if capabilities.enhanced_refresh:
        yield "enhanced route refresh"
    yield from sorted(f"{route} over {hop}" for route, hop in capabilities.extended_next_hop)
    restart = capabilities.graceful_restart
    if restart is not None:
        kept = " and ".join(f"{family}{' preserved' if kept else ''}" for family, kept in restart.families)
        flags = " restarting" * restart.restarting + " notifications" * restart.notifications
        yield f"graceful restart {restart.time} s{flags}{f' ({kept})' if kept else ''}"
    for number, value in capabilities.unknown:
        yield f"capability {number}{f' {value.hex()}' if value else ''}"


def _update(update: Update) -> Iterator[str]:
    if update.end_of_rib is not None:
        yield f"end of the {update.end_of_rib} RIB"
    for networks in update.withdrawn:
        yield f"withdrawn {_networks(networks)}"
    for networks in update.announced:
        yield f"announced {_networks(networks)}"
    if update.attributes is not None:
        yield from _path(update.attributes)
    if update.trouble:
        yield f"counted as withdrawn because {update.trouble}"
    if update.discarded:
        yield f"left out: {', '.join(update.discarded)}"


def _networks(networks: Prefixes) -> str:
    shown = " ".join(map(str, islice(networks.networks(), SHOWN)))
    return shown if len(networks) <= SHOWN else f"{shown} and {len(networks) - SHOWN} more"


def _path(path: Path) -> Iterator[str]:
    if path.next_hop is not None:
        yield f"next hop {path.next_hop}"
    if path.origin is not None:
        yield f"origin {_ORIGINS[path.origin]}"
    segments = (
        f"{{{' '.join(map(str, numbers))}}}" if kind == AS_SET else " ".join(map(str, numbers))
        for kind, numbers in path.as_path
    )
    yield f"path {' '.join(segments)}" if path.as_path else "empty path"
    if path.med is not None:
        yield f"MED {path.med}"
    if path.local_pref is not None:
        yield f"local preference {path.local_pref}"
    if path.communities:
        yield f"communities {' '.join(map(str, path.communities))}"
    if path.others:
        yield f"attributes {' '.join(map(str, path.others))}"


PCAP_HEADER = pcap.header(pcap.Link.RAW, 0x40000)
"""What a pcap file begins with: packets of at most 256 KiB, and no link layer."""
_SEGMENT = 32768
_TCP, _HOPS, _ACK_PUSH, _WINDOW = 6, 64, 0x18, 65535


class Packets:
    """The packets of one session in a pcap file: what was sent and received, with made-up headers of TCP and IP.

    Both addresses are of one family. Ports and sequence numbers are made up too, unless ports are given; wireshark
    takes it for BGP because of port 179.
    """

    def __init__(self, local: Address, peer: Address, *, local_port: int = 50179, peer_port: int = 179) -> None:
        self._ends = {True: (local.packed, local_port), False: (peer.packed, peer_port)}
        self._next = {True: 1, False: 1}

    def records(self, at: float, *, sent: bool, data: bytes) -> bytes:
        """Return what is to be appended to the file. `at`: seconds since 1970; `sent`: by us, not to us."""
        pieces = (data[begin : begin + _SEGMENT] for begin in range(0, len(data), _SEGMENT))
        return b"".join(self._record(at, sent, piece) for piece in pieces)

    def _record(self, at: float, sent: bool, piece: bytes) -> bytes:
        (source, source_port), (target, target_port) = self._ends[sent], self._ends[not sent]
        sequence, acknowledged = self._next[sent], self._next[not sent]
        self._next[sent] = sequence + len(piece) & 0xFFFFFFFF
        ports = (source_port, target_port)
        head = struct.pack(">HHIIBBHHH", *ports, sequence, acknowledged, 0x50, _ACK_PUSH, _WINDOW, 0, 0)
        length = len(head) + len(piece)
        pseudo = source + target + struct.pack(">II", length, _TCP)
        head = head[:16] + _checksum(pseudo + head + piece) + head[18:]
        packet = _ip(source, target, length) + head + piece
        return pcap.record(at, packet)


def _ip(source: bytes, target: bytes, length: int) -> bytes:
    if len(source) == 16:
        return struct.pack(">IHBB", 6 << 28, length, _TCP, _HOPS) + source + target
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 0, 0, _HOPS, _TCP, 0) + source + target
    return head[:10] + _checksum(head) + head[12:]


def _checksum(data: bytes) -> bytes:
    """Return the checksum of RFC 1071."""
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)
