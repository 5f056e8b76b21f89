"""Asking members for what they know, and telling them: whole states and tables. Pure.

A member's records follow each other in its stream, and a stream has to begin somewhere. Of a node that has just begun
and knows nothing (LEARNING, no flows, no tracked slots, its stream kept whole) that is number 1. Any other is asked,
one after the other, for EVERYTHING: its own facts and what is true for the whole fleet. With it comes how far it has
learnt each stream, its own included; there those streams begin. So only the first one has to be asked for everything,
and the others only for their OWN facts; what they had said before these counts no more (`Peer.own_from`).

A member that was gone for a while has its stream kept by number in the same way. If what is missing of it is not kept
any more, it is asked for everything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import inf

from appliance.fleet import codec
from appliance.fleet.envelope import Drop, Kind, Unusable
from appliance.fleet.members import SyncState
from appliance.fleet.messages import (
    POSITIONS,
    ROOM,
    STOP,
    Ack,
    Part,
    Request,
    What,
    decode_positions,
    encode_ack,
    encode_part,
    encode_positions,
    encode_request,
)
from appliance.fleet.orders import Failed, Learn, Local, Synced, TableTold
from appliance.fleet.outbox import Outbox
from appliance.fleet.peer import Peer
from appliance.fleet.records import SHARED, NodeState, Record
from appliance.fleet.stream import Outgoing
from appliance.fleet.table import decode_table, encode_table
from appliance.fleet.transfer import Asking, Telling
from appliance.model_address import ServiceKey

UNANSWERED = 1.2
"""Seconds in which an answer has to begin, or another member is asked."""
PAUSE = 1.0
"""Seconds until one that has not answered is asked again."""
TELLINGS = 8
"""Answers on their way at once, at most."""
TABLES = 4
"""Tables that are asked for at once, at most; the others wait."""
WANTED = 8192
"""Tables that wait, at most."""
MOST_TABLE = 1 << 25
"""Octets of a table, at most."""
COVERED = 256
"""Streams of which it is kept where they would begin."""


class Syncing:
    """Both directions. `peers` are the session's, and change as it says."""

    def __init__(self, local: Local, peers: dict[int, Peer], stream: Outgoing, outbox: Outbox) -> None:
        self._local, self._peers, self._stream, self._outbox = local, peers, stream, outbox
        self._asking: Asking | None = None
        self._positions: dict[int, int] = {}
        self._covered: dict[int, int] = {}
        self._tables: dict[int, tuple[Asking, bytearray]] = {}
        self._wanted: deque[tuple[int, ServiceKey]] = deque()
        self._telling: dict[tuple[int, int], Telling] = {}
        self._id = 0

    # ---- asking for the state

    def consider(self, peer: Peer, now: float) -> None:
        """A member has said HELLO: begin with its stream where that is possible without asking."""
        member = peer.member
        if member.sync is not SyncState.WAITING or member.life in self._covered:
            return
        facts = member.facts
        knows_nothing = facts.state is NodeState.LEARNING and not facts.flows and not facts.tracked_slots
        if knows_nothing and peer.oldest == 1:
            member.sync = SyncState.DONE
            self._begin(peer, 1, now)

    def resync(self, peer: Peer) -> None:
        """The stream of a member cannot be mended: ask for everything."""
        if self._asking is not None and self._asking.life == peer.member.life:
            self._asking = None
        self._covered.pop(peer.member.life, None)
        peer.stream.stop()
        peer.member.sync = SyncState.WAITING
        peer.member.resyncs += 1
        self._outbox.counters.resyncs += 1

    def forget(self, peer: Peer) -> None:
        """A member is gone: neither wait for it, nor tell it anything."""
        life = peer.member.life
        if self._asking is not None and self._asking.life == life:
            self._asking = None
        for key in [key for key in self._telling if key[0] == life]:
            del self._telling[key]
        for number in [number for number, (asking, _) in self._tables.items() if asking.life == life]:
            self._told(number, None)
        for wanted in [one for one in self._wanted if one[0] == life]:
            self._wanted.remove(wanted)
            self._outbox.order(TableTold(peer.member, wanted[1], None))

    def remember(self, life: int, taken: int) -> None:
        """A stream has been learnt so far: should it ever go on, then from there."""
        self._covered[life] = max(taken, self._covered.pop(life, 0))
        while len(self._covered) > COVERED:
            del self._covered[next(iter(self._covered))]

    def choose(self, now: float) -> None:
        """Ask the next member, if one has to be asked: ready ones first, of those the one that knows most."""
        if self._asking is not None:
            return
        waiting = [peer for peer in self._waiting() if now >= peer.ask_after]
        if not waiting:
            return
        peer = max(waiting, key=_worth)
        life = peer.member.life
        enough = self._covered.get(life, -1) + 1 >= peer.oldest
        peer.member.sync = SyncState.ASKING
        self._positions = {}
        self._asking = self._ask(life, What.OWN if enough else What.EVERYTHING, None, now)

    def _waiting(self) -> list[Peer]:
        return [one for one in self._peers.values() if one.member.sync is SyncState.WAITING and one.greeted]

    def _ask(self, life: int, what: What, service: ServiceKey | None, now: float) -> Asking:
        self._id = (self._id + 1) % STOP
        asking = Asking(life, Request(life, self._id, what, service), now)
        self._request(asking)
        return asking

    def _request(self, asking: Asking) -> None:
        to = self._peers[asking.life].member.address
        self._outbox.send(Kind.REQUEST, encode_request(asking.request), to)

    def _asked(self) -> Iterator[Asking]:
        if self._asking is not None:
            yield self._asking
        yield from [asking for asking, _ in self._tables.values()]

    # ---- what comes of it

    def part(self, peer: Peer, part: Part, now: float) -> None:
        """Take a part of an answer. Raises Unusable where nothing was asked."""
        asking = self._asking
        if asking is not None and (asking.life, asking.request.id) == (peer.member.life, part.id):
            for one in asking.take(part, now):
                self._state(peer, asking, one)
            if asking.done:
                self._acknowledge(asking, now)
                self._asking = None
                self._synced(peer, asking.request.what, now)
            return
        asking, octets = self._tables.get(part.id, (None, bytearray()))
        if asking is None or asking.life != peer.member.life:
            # It may be that our last word was lost.
            self._outbox.send(Kind.ACK, encode_ack(Ack(peer.member.life, part.id, STOP)), peer.member.address)
            raise Unusable(Drop.STRAY)
        for one in asking.take(part, now):
            octets += one.octets
        if asking.done or len(octets) > MOST_TABLE:
            self._acknowledge(asking, now)
            self._told(part.id, bytes(octets))
            self._ask_wanted(now)

    def _state(self, peer: Peer, asking: Asking, part: Part) -> None:
        try:
            if part.flags & POSITIONS:
                self._positions = decode_positions(part.octets)
                return
            records, unknown = codec.decode(part.octets)
        except ValueError:
            self._outbox.counters.dropped[Drop.MALFORMED] += 1
            return
        counters = self._outbox.counters
        counters.unknown += unknown
        found = peer.whole(records)
        if found:
            counters.learnt += len(found)
            self._outbox.order(Learn(peer.member, tuple(found), sync=True))

    def _synced(self, peer: Peer, what: What, now: float) -> None:
        member = peer.member
        own = self._positions.get(member.life)
        start = own if what is What.EVERYTHING else self._covered.get(member.life)
        if own is None or start is None:
            member.sync, peer.ask_after = SyncState.WAITING, now + PAUSE
            return
        if what is What.EVERYTHING:
            for life, number in self._positions.items():
                if life not in (member.life, self._outbox.life):
                    self.remember(life, number)
        self._covered.pop(member.life, None)
        peer.own_from = own
        member.sync = SyncState.DONE
        self._outbox.counters.syncs += 1
        self._outbox.order(Synced(member))
        self._begin(peer, min(start, own) + 1, now)

    def _begin(self, peer: Peer, number: int, now: float) -> None:
        first = max(number, 1)
        learn(peer, peer.stream.begin(first, now), self._outbox)
        peer.stream.told(peer.member.told, now)

    def _acknowledge(self, asking: Asking, now: float) -> None:
        peer = self._peers.get(asking.life)
        if peer is not None:
            ack = asking.acknowledge(now)
            self._outbox.send(Kind.ACK, encode_ack(ack), peer.member.address)

    # ---- tables

    def ask_table(self, life: int, service: ServiceKey, now: float) -> bool:
        """Ask for a table, in its turn; returns whether that is possible."""
        if life not in self._peers or len(self._wanted) >= WANTED:
            return False
        self._wanted.append((life, service))
        self._ask_wanted(now)
        return True

    def _ask_wanted(self, now: float) -> None:
        while self._wanted and len(self._tables) < TABLES:
            life, service = self._wanted.popleft()
            asking = self._ask(life, What.TABLE, service, now)
            self._tables[asking.request.id] = (asking, bytearray())

    def _told(self, number: int, octets: bytes | None) -> None:
        asking, _ = self._tables.pop(number)
        service, peer = asking.request.service, self._peers.get(asking.life)
        table = None
        if octets:
            try:
                table = decode_table(octets)
            except ValueError:
                self._outbox.counters.dropped[Drop.MALFORMED] += 1
        if table is not None and table.service != service:
            table = None
        if peer is not None and service is not None:
            self._outbox.order(TableTold(peer.member, service, table))

    # ---- telling

    def request(self, peer: Peer, request: Request, now: float) -> None:
        """Begin to answer; the same request again changes nothing. Raises Unusable where there are too many."""
        key = (peer.member.life, request.id)
        if key in self._telling:
            return
        if request.what is not What.TABLE:
            for other in [one for one, told in self._telling.items() if one[0] == key[0] and told.is_state]:
                del self._telling[other]
        if len(self._telling) >= TELLINGS:
            raise Unusable(Drop.CROWDED)
        parts = self._state_parts(request.what) if request.service is None else self._table_parts(request.service)
        self._telling[key] = Telling(peer.member.life, request, parts, now)
        self._outbox.counters.served += 1

    def acknowledged(self, peer: Peer, ack: Ack, now: float) -> None:
        """Take an ACK. Raises Unusable where nothing is being told."""
        key = (peer.member.life, ack.id)
        if key not in self._telling:
            raise Unusable(Drop.STRAY)
        if self._telling[key].acknowledge(ack, now):
            del self._telling[key]

    def _state_parts(self, what: What) -> Iterator[tuple[int, bytes]]:
        positions = {self._outbox.life: self._stream.last}
        if what is What.EVERYTHING:
            positions |= {
                life: peer.stream.next - 1 for life, peer in self._peers.items() if peer.stream.next is not None
            }
        yield POSITIONS, encode_positions(positions)
        waiting: list[bytes] = []
        size = 0
        for record in self._local.state(what is What.EVERYTHING):
            for piece in self._pieces(record, ROOM - size):
                if size + len(piece) > ROOM:
                    yield 0, b"".join(waiting)
                    waiting, size = [], 0
                waiting.append(piece)
                size += len(piece)
        if waiting:
            yield 0, b"".join(waiting)

    def _pieces(self, record: Record, left: int) -> list[bytes]:
        try:
            return list(codec.pieces(record, ROOM, left))
        except ValueError as error:
            self._outbox.order(Failed(str(error)))
            return []

    def _table_parts(self, service: ServiceKey) -> Iterator[tuple[int, bytes]]:
        table = self._local.table(service)
        try:
            octets = b"" if table is None else encode_table(table)
        except ValueError as error:
            self._outbox.order(Failed(str(error)))
            octets = b""
        for first in range(0, len(octets), ROOM):
            yield 0, octets[first : first + ROOM]

    # ---- time

    def tell(self, now: float) -> bool:
        """Send one part of one answer, of each in turn; returns whether there was something to send."""
        for key, telling in self._telling.items():
            if telling.has_next(now):
                part = telling.next(now)
                self._outbox.send(Kind.PART, encode_part(part), self._peers[key[0]].member.address)
                del self._telling[key]
                self._telling[key] = telling
                return True
        return False

    def can_tell(self, now: float) -> bool:
        """Whether `tell` has something to send."""
        return any(telling.has_next(now) for telling in self._telling.values())

    def due(self, now: float) -> None:
        """Acknowledge, ask again, give up, ask the next one."""
        for asking in list(self._asked()):
            if asking.given_up(now, UNANSWERED):
                self._give_up(asking, now)
            elif now >= asking.ack_at:
                self._acknowledge(asking, now)
            elif asking.asks_again(now):
                self._request(asking)
        for key in [key for key, telling in self._telling.items() if telling.given_up(now)]:
            del self._telling[key]
        self._ask_wanted(now)
        self.choose(now)

    def _give_up(self, asking: Asking, now: float) -> None:
        if asking is not self._asking:
            self._told(asking.request.id, None)
            return
        self._asking = None
        peer = self._peers.get(asking.life)
        if peer is not None:
            peer.member.sync, peer.ask_after = SyncState.WAITING, now + PAUSE

    def resend_at(self) -> float:
        """When `tell` will have something to send, because nothing is acknowledged."""
        return min((telling.resend_at for telling in self._telling.values()), default=inf)

    def deadline(self) -> float:
        """When `due` has something to do; that there is something to tell is not counted."""
        times = [asking.deadline(UNANSWERED) for asking in self._asked()]
        times += [telling.deadline for telling in self._telling.values()]
        if self._asking is None:
            times += [peer.ask_after for peer in self._waiting()]
        return min(times, default=inf)


def learn(peer: Peer, bodies: list[bytes], outbox: Outbox) -> None:
    """Learn datagrams of a member's stream, the last of which is the one before `peer.stream.next`."""
    if not bodies:
        return
    assert peer.stream.next is not None
    number = peer.stream.next - len(bodies)
    found: list[Record] = []
    for octets in bodies:
        try:
            records, unknown = codec.decode(octets)
        except ValueError:
            outbox.counters.dropped[Drop.MALFORMED] += 1
        else:
            outbox.counters.unknown += unknown
            if number <= peer.own_from:
                records = [record for record in records if isinstance(record, SHARED)]
            found += peer.whole(records)
        number += 1
    peer.member.taken = peer.stream.next - 1
    if found:
        outbox.counters.learnt += len(found)
        outbox.order(Learn(peer.member, tuple(found)))


def _worth(peer: Peer) -> tuple[bool, bool, int]:
    facts = peer.member.facts
    settled = facts.state in (NodeState.READY, NodeState.DRAINING)
    return settled, facts.state is NodeState.READY, facts.flows + facts.tracked_slots
