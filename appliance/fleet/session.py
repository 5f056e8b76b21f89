"""The exchange with other nodes: datagrams and `now` in, orders out. Pure.

Theory of operation. Each node says HELLO once a second, and at once when something in it has changed: what it is, a
random nonce, and the nonces of all others that it hears. Who finds his own nonce in the HELLO of a life that he has not
met knows that it lives now (replay.py), and takes it for a member; nothing else of strangers is read. So two nodes are
members of each other after three HELLOs. What a node tells goes to all members in a stream without gaps (stream.py);
what it knew before, it tells to those who ask (syncing.py).

    stranger  --- a HELLO with our nonce ---------------------------> member: Joined
    member    --- nothing for SILENCE seconds ----------------------> gone: SILENT; it may come back, with a new nonce
    member    --- a HELLO that says LEAVING ------------------------> gone: LEFT, for ever
    member    --- the same name at the same address has joined -----> gone: RESTARTED, for ever

Whatever is sent is paid for (pacing.py). HELLOs, NAKs, requests and acknowledgements come first. Of the rest the stream
has half, where there is so much; what was asked for again has a quarter, and so have answers. Datagrams are only taken
by `received`; what is to be sent, `due` sends.

Times are seconds of one clock that never goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from types import MappingProxyType

from appliance.fleet import messages as m
from appliance.fleet.codec import pieces
from appliance.fleet.counters import Counters
from appliance.fleet.envelope import Drop, Header, Kind, Unusable
from appliance.fleet.members import MEMBERS, SILENCE, Member, SyncState
from appliance.fleet.orders import Failed, Gone, Joined, Local, Order, TableTold, Why
from appliance.fleet.outbox import Outbox
from appliance.fleet.peer import Peer
from appliance.fleet.receipts import Said
from appliance.fleet.records import Flows, NodeState, Record
from appliance.fleet.replay import Nonces, Strangers, Window
from appliance.fleet.stream import BACKLOG, Outgoing
from appliance.fleet.syncing import Syncing, learn
from appliance.model_address import Endpoint, ServiceKey
from appliance.model_fleet import Fleet

HELLO_INTERVAL = 1.0
"""Seconds between two HELLOs."""
HELLO_PAUSE = 0.05
"""Seconds between two HELLOs at least, whatever changes."""
TAIL = 0.02
"""Seconds after the last datagram of the stream after which a HELLO tells its number, so that a lost one is missed."""
TURN = 64
"""Datagrams sent by one `due`, besides what comes first; the rest follows at once, after whatever else waits."""
HELD = 8192
"""Datagrams of all streams together that came too early, at most."""
ASLEEP = 1.5
"""Seconds between two calls after which this node was asleep, and others were not silent: it says HELLO each second."""
FAREWELLS = 2
"""Copies of the last word."""


class Exchange:
    """One node's end of it.

    `fleet.peers` is without the node's own addresses (socket.py knows them). `life` is 64 random bits, never used
    before; `nonce` returns 64 random bits each time.
    """

    def __init__(self, fleet: Fleet, local: Local, life: int, nonce: Callable[[], int], now: float) -> None:
        self.life = life
        self._local = local
        self._outbox = Outbox(fleet, life, now)
        self._nonces = Nonces(nonce, now)
        self._strangers = Strangers()
        self._peers: dict[int, Peer] = {}
        self._members: dict[int, Member] = {}
        self._stream = Outgoing()
        self._said = Said()
        self._syncing = Syncing(local, self._peers, self._stream, self._outbox)
        self._hello_at = now
        self._hello_sent = -inf
        self._tail_at = inf
        self._now = now
        self._turn = 0
        self._over = False

    # ---- what there is to see

    @property
    def members(self) -> Mapping[int, Member]:
        """The other nodes that are there, by life."""
        return MappingProxyType(self._members)

    @property
    def counters(self) -> Counters:
        """What has been counted; it goes on to change."""
        return self._outbox.counters

    @property
    def learnt(self) -> bool:
        """Whether there are others that are ready, and all of them have told everything: VIPs may be announced."""
        settled = [
            one.sync is SyncState.DONE
            for one in self._members.values()
            if one.facts.state in (NodeState.READY, NodeState.DRAINING)
        ]
        return bool(settled) and all(settled)

    # ---- hearing

    def received(self, data: bytes, source: Endpoint, now: float) -> list[Order]:
        """Take a datagram. Never raises; what is not from a member changes nothing but `counters`.

        What is to be sent because of it, the next `due` sends: look at `deadline` after a turn of datagrams.
        """
        if self._over:
            return []
        try:
            self._received(data, source, self._at(now))
        except Unusable as unusable:
            self.counters.dropped[unusable.reason] += 1
        return self._outbox.taken()

    def _received(self, data: bytes, source: Endpoint, now: float) -> None:
        header = self._outbox.keys.head(data)
        if header.life == self.life:
            raise Unusable(Drop.OWN)
        peer = self._peers.get(header.life)
        if peer is None and header.kind != Kind.HELLO:
            raise Unusable(Drop.UNPROVED)
        if peer is not None and peer.window.knows(header.sequence):
            raise Unusable(Drop.REPLAYED)
        body = self._outbox.keys.body(data, header)
        try:
            kind = Kind(header.kind)
            message = m.decode(kind, body)
        except ValueError:
            raise Unusable(Drop.MALFORMED) from None
        if peer is None:
            assert isinstance(message, m.Hello)
            peer = self._stranger(header, message, source, now)
        else:
            peer.window.add(header.sequence)
        peer.member.heard_at = now
        self.counters.heard[kind] += 1
        self.counters.heard_octets += len(data)
        if isinstance(message, m.Hello):
            peer.taken.heard(header.sequence, message.last, now)
        self._take(peer, message, source, now)
        peer.note()

    def _take(self, peer: Peer, message: m.Message, source: Endpoint, now: float) -> None:
        if isinstance(message, m.Hello):
            self._hello(peer, message, source, now)
            return
        if isinstance(message, m.Records):
            room = sum(len(one.stream.held) for one in self._peers.values()) < HELD
            learn(peer, peer.stream.take(message, now, room), self._outbox)
            return
        if message.life != self.life:
            raise Unusable(Drop.STRAY)
        match message:
            case m.Nak():
                self._nak(peer, message, now)
            case m.Request():
                self._syncing.request(peer, message, now)
            case m.Part():
                self._syncing.part(peer, message, now)
            case m.Ack():
                self._syncing.acknowledged(peer, message, now)

    def _stranger(self, header: Header, hello: m.Hello, source: Endpoint, now: float) -> Peer:
        """Take a life for a member, if it proves itself; otherwise remember its nonce. Raises Unusable."""
        since = self._strangers.since(header.life)
        if hello.facts.state is NodeState.LEAVING or since == inf:
            raise Unusable(Drop.UNPROVED)
        echo = hello.heard.get(self.life)
        if echo is None or not self._nonces.accepts(echo.nonce, since):
            if self._strangers.show(header.life, hello.nonce, now):
                self._hello_soon(now)
            raise Unusable(Drop.UNPROVED)
        former = next(
            (one for one in self._members.values() if (one.name, one.address) == (hello.facts.name, source)), None
        )
        if former is None and len(self._peers) >= MEMBERS:
            raise Unusable(Drop.CROWDED)
        if former is not None:
            self._gone([(self._peers[former.life], Why.RESTARTED)], now)
        self._strangers.shown.pop(header.life, None)
        self._hello_soon(now)
        member = Member(header.life, source, hello.facts, joined_at=now, heard_at=now)
        peer = Peer(member, Window(header.sequence), hello.nonce)
        self._peers[header.life] = peer
        self._members[header.life] = member
        self._outbox.order(Joined(member))
        return peer

    def _hello(self, peer: Peer, hello: m.Hello, source: Endpoint, now: float) -> None:
        member = peer.member
        member.address, member.facts, member.told = source, hello.facts, hello.last
        echo = hello.heard.get(self.life)
        member.hears_us = echo is not None
        if echo is not None and echo.mark:
            member.knows_since = max(member.knows_since, self._said.when(echo.mark))
        peer.oldest = hello.oldest
        if hello.nonce != peer.nonce:
            peer.nonce = hello.nonce
            self._hello_soon(now)
        if hello.facts.state is NodeState.LEAVING:
            self._gone([(peer, Why.LEFT)], now)
            return
        if peer.stream.next is not None and peer.stream.next < hello.oldest:
            self._syncing.resync(peer)
        self._syncing.consider(peer, now)
        peer.stream.told(hello.last, now)

    def _nak(self, peer: Peer, nak: m.Nak, now: float) -> None:
        gone = [one for one in nak.missing if one.first < self._stream.oldest]
        if gone:
            # Our HELLO says what is not kept any more.
            self.counters.too_old += sum(min(one.length, self._stream.oldest - one.first) for one in gone)
            self._hello_soon(now)
        peer.repeats.add(nak.missing, self._stream.oldest, self._stream.sent)

    def _gone(self, leaving: list[tuple[Peer, Why]], now: float) -> None:
        for peer, why in leaving:
            life = peer.member.life
            self._syncing.forget(peer)
            del self._peers[life]
            del self._members[life]
            self._strangers.depart(life, now, for_ever=why is not Why.SILENT)
            if why is Why.SILENT and peer.stream.next is not None:
                self._syncing.remember(life, peer.stream.next - 1)
            self._outbox.order(Gone(peer.member, why))
        # What they have recorded of our nonce proves nothing any more.
        self._nonces.renew(now)
        self._hello_soon(now)

    # ---- telling

    def publish(self, records: Sequence[Record], now: float) -> list[Order]:
        """Tell all members, in this order, within milliseconds. Records of any length, e.g. all of 10,000 flows.

        Where the rate does not allow it for long, remembered flows are left out, and counted (`Counters.shed`).
        """
        now = self._at(now)
        for record in records:
            if isinstance(record, Flows) and self._stream.backlog >= BACKLOG:
                self.counters.shed += len(record.entries)
                continue
            try:
                for piece in list(pieces(record, m.ROOM, self._stream.left)):
                    self._stream.add(piece, now)
                    self.counters.published += 1
            except ValueError as error:
                self._outbox.order(Failed(str(error)))
        return self._outbox.taken()

    def announce(self, now: float) -> list[Order]:
        """Say at once what `Local.hello` gives now, rather than within a second; at most 20 times a second."""
        self._hello_soon(now)
        return self.due(now)

    def ask_table(self, life: int, service: ServiceKey, now: float) -> list[Order]:
        """Ask a member for the slots of a service; a `TableTold` follows, if there is such a member."""
        if not self._syncing.ask_table(life, service, now) and life in self._members:
            self._outbox.order(TableTold(self._members[life], service, None))
        return self._outbox.taken()

    def configure(self, fleet: Fleet, now: float) -> list[Order]:
        """Go on with other keys, peers or another rate; members stay as long as they are heard."""
        self._outbox.configure(fleet)
        self._hello_soon(now)
        return self.due(now)

    def leave(self, now: float) -> list[Order]:
        """Tell what the rate allows of what waits, and say goodbye. Afterwards the exchange is over."""
        now = self._at(now)
        self._stream.flush(now)
        while self._peers and self._outbox.bucket.allows(now) and (following := self._stream.next(now)) is not None:
            self._outbox.send(Kind.RECORDS, m.encode_records(following), None)
        for _ in range(FAREWELLS):
            self._say_hello(NodeState.LEAVING)
        self._over = True
        return self._outbox.taken()

    # ---- time

    def deadline(self) -> float:
        """When to call `due` next; changes with each call of another method. May be in the past: then at once."""
        if self._over:
            return inf
        bucket = self._outbox.bucket
        first = min(self._hello_at, self._tail_at, self._syncing.deadline())
        first = min([first, *(peer.stream.nak_at for peer in self._peers.values())])
        silent = min((peer.member.heard_at + SILENCE for peer in self._peers.values()), default=inf)
        later = min(self._syncing.resend_at(), self._stream.second_at)
        more = max(bucket.ready_at(), -inf if self._has_more() else later)
        return min(max(first, bucket.urgent_at()), silent, more, self._stream.flush_at, self._nonces.renewal_at)

    def due(self, now: float) -> list[Order]:
        """Do what time asks for. May be called too early, and then does nothing."""
        if self._over:
            return []
        now = self._at(now)
        self._strangers.expire(now)
        silent = [peer for peer in self._peers.values() if now >= peer.member.heard_at + SILENCE]
        if silent:
            self._gone([(peer, Why.SILENT) for peer in silent], now)
        if now >= self._nonces.renewal_at:
            self._nonces.renew(now)
            self._hello_soon(now)
        if now >= self._stream.flush_at:
            self._stream.flush(now)
        bucket = self._outbox.bucket
        if bucket.urgent(now):
            if now >= min(self._hello_at, self._tail_at):
                self._say_hello()
            self._ask_again(now)
            self._syncing.due(now)
        for _ in range(TURN):
            if not bucket.allows(now) or not self._send_more(now):
                break
        return self._outbox.taken()

    def _at(self, now: float) -> float:
        """Note what time it is; what came while this node was asleep is read only now."""
        slept = now - self._now
        if slept > ASLEEP:
            for member in self._members.values():
                member.heard_at += slept
        self._now = max(now, self._now)
        return self._now

    def _hello_soon(self, now: float) -> None:
        self._hello_at = min(self._hello_at, max(now, self._hello_sent + HELLO_PAUSE))

    def _say_hello(self, state: NodeState | None = None) -> None:
        heard = {life: m.Heard(shown.nonce) for life, shown in self._strangers.shown.items()}
        heard |= {life: m.Heard(peer.nonce, peer.taken.mark) for life, peer in self._peers.items()}
        for peer in self._peers.values():
            peer.greeted = True
        last = self._stream.sent
        facts = self._local.hello()
        if state is not None:
            facts = replace(facts, state=state)
        hello = m.Hello(facts, self._nonces.current, heard, last, min(self._stream.oldest, last + 1))
        self._said.add(self._outbox.send(Kind.HELLO, m.encode_hello(hello), None), self._now)
        self._hello_sent = self._now
        self._hello_at = self._now + HELLO_INTERVAL
        self._tail_at = inf

    def _ask_again(self, now: float) -> None:
        for peer in self._peers.values():
            if now < peer.stream.nak_at:
                continue
            if peer.stream.exhausted:
                self._syncing.resync(peer)
                continue
            before = peer.stream.losses
            missing = peer.stream.ask(now)
            if missing:
                self._outbox.send(Kind.NAK, m.encode_nak(m.Nak(peer.member.life, missing)), peer.member.address)
            peer.member.losses += peer.stream.losses - before
            self.counters.lost += peer.stream.losses - before

    def _has_more(self) -> bool:
        if self._stream.backlog or any(peer.repeats for peer in self._peers.values()):
            return True
        return self._syncing.can_tell(self._now)

    def _send_more(self, now: float) -> bool:
        """Send one datagram of what does not come first; returns whether there was one.

        Of four in a row, one is of what was asked for again, and one of answers, if there are any.
        """
        if not self._peers:
            self._stream.skip()
            return False
        ways = (self._send_stream, self._send_again, self._syncing.tell)
        self._turn = (self._turn + 1) % 4
        return any(way(now) for way in (ways[self._turn % 3], *ways))

    def _send_stream(self, now: float) -> bool:
        following = self._stream.next(now)
        if following is not None:
            self._tail_at = max(now + TAIL, self._hello_sent + HELLO_PAUSE)
        else:
            following = self._stream.second(now)
        if following is not None:
            self._outbox.send(Kind.RECORDS, m.encode_records(following), None)
        return following is not None

    def _send_again(self, now: float) -> bool:
        peer = next((one for one in self._peers.values() if one.repeats), None)
        if peer is None:
            return False
        again = self._stream.again(peer.repeats.pop())
        if again is not None:
            self._outbox.send(Kind.RECORDS, m.encode_records(again), peer.member.address)
            self.counters.repeated += 1
        return True
