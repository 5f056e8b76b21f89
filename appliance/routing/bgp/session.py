"""BGP with one peer: when to connect, which of two connections lives, what the peer is told. Pure.

Theory of operation. `now` is seconds of a clock that never goes back. Whoever has the sockets tells what happens to
them (`opened`, `received`, `closed`), calls `tick` when `deadline` has come, and does what `orders` says. What is worth
telling people is in `news`.

After each failure the next attempt comes later, up to a minute, and never in step with others; a session that has lived
for a while ends that. A peer that is passive is waited for. After BFD has found the way broken, nothing is tried until
it finds it whole, or for a while: a router that has BFD no more must not be without a session for ever.

Two connections collide where both have opened one at the same time. That of the speaker with the higher router id lives
(RFC 4271, 6.8; RFC 6286 for equal ids). One that comes while a session is established is refused, but for a peer that
restarts gracefully: it has forgotten the session, so the new connection is in place of it (RFC 4724, 4.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from appliance.model_address import Address
from appliance.routing.bgp.agreement import Agreement, Local
from appliance.routing.bgp.connection import Connection, Ending, Order
from appliance.routing.bgp.machine import Input
from appliance.routing.bgp.message import Message, Open, RouteRefresh, Update
from appliance.routing.bgp.notification import Cease, Code
from appliance.routing.bgp.outbox import Outbox
from appliance.routing.route import Routes
from appliance.routing.status import Direction
from appliance.routing.status import SessionState as State
from appliance.telemetry.back_off import BackOff

FIRST, MOST = 1.0, 60.0
"""Seconds before another attempt, at first and at most."""
MOST_LOCAL = 2.0
"""The same for a router daemon on this machine."""
PROVEN = 30.0
"""Seconds that a session must have lived for the back-off to begin again."""
BROKEN = 30.0
"""Seconds for which BFD alone keeps a session from being tried."""
OPENING = frozenset({State.OPEN_SENT, State.OPEN_CONFIRM})


@dataclass(frozen=True)
class News:
    """What an operator is told. `ending` is how a session ended, or why none came to be; None: it is established."""

    at: float
    before: State
    ending: Ending | None = None
    lasted: float | None = None
    """How long the session was established that is over, seconds; None where there was none."""


class Session:
    """All that there is with one peer. `chance` returns numbers from 0 to 1, evenly."""

    def __init__(self, local: Local, chance: Callable[[], float], now: float) -> None:
        peer = local.peer
        self.local = local
        self.orders: list[Order] = []
        self.news: list[News] = []
        self.outbox: Outbox | None = None
        self.connections: dict[int, Connection] = {}
        self.counts: Counter[tuple[Direction, type[Message]]] = Counter()
        self.errors: Counter[tuple[Direction, int | None]] = Counter()
        self.last_error: tuple[float, Ending] | None = None
        self.last_end: tuple[float, Ending] | None = None
        """How the last session ended that was established; attempts that failed since then do not hide it."""
        self.malformed = ""
        """What was wrong with the last UPDATE that was treated as a withdrawal."""
        self.established_count = self.attempts = self.treated_as_withdraw = self.ignored = 0
        self.octets: Counter[Direction] = Counter()
        self.tap: Callable[[Direction, bytes], None] | None = None
        """Sees whole messages, one or more."""
        self._chance = chance
        self._back_off = BackOff(chance, FIRST, MOST_LOCAL if peer.address.is_loopback else MOST)
        self._serial = 0
        self._dial_at: float | None = None
        self._stopped = True
        self._bfd_down, self._broken_until = False, now
        self._state, self.since = State.STOPPED, now
        self._serving: Connection | None = None

    # ---- how it stands

    @property
    def state(self) -> State:
        """That of the connection that has come furthest."""
        return self._state

    @property
    def agreement(self) -> Agreement | None:
        """What holds for the session that is established; None without one."""
        return self._serving.agreement if self._serving else None

    @property
    def serving(self) -> Connection | None:
        """The connection of the session that is established."""
        return self._serving

    @property
    def next_attempt(self) -> float | None:
        """When the next attempt is due."""
        return self._dial_at

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do next."""
        due = [one.deadline for one in self.connections.values()]
        return min((at for at in (self._dial_at, *due) if at is not None), default=None)

    # ---- what is wanted

    def start(self, now: float) -> None:
        """Have a session, from now on."""
        self._stopped = False
        self._dial_soon(now, 0.0)
        self._look(now)

    def resume(
        self, agreement: Agreement, opened_with: bytes, local_address: Address, now: float, *, inbound: bool
    ) -> Connection:
        """Go on with a session that another program has left (succession.py); return its connection."""
        self._stopped = False
        connection = self._connection(inbound=inbound)
        connection.resume(agreement, opened_with, local_address, now)
        self._serving, self.outbox = connection, self._outbox(agreement)
        self.local = replace(self.local, restarting=False, preserved=True)
        self._look(now)
        return connection

    def stop(self, subcode: int, why: str, now: float, data: bytes = b"") -> None:
        """Have none any more; the peer is told why by a Cease (RFC 4486)."""
        self._stopped, self._dial_at = True, None
        self._end_all(Ending(Direction.SENT, why, Code.CEASE, subcode, data), now)
        self._look(now)

    def bfd(self, *, down: bool, why: str, now: float) -> None:
        """Take what BFD says: what it has seen break ends the session at once (RFC 5882, 4.2)."""
        if down == self._bfd_down:
            return
        self._bfd_down, self._broken_until = down, now + BROKEN if down else now
        if down:
            self._end_all(Ending(Direction.SENT, f"BFD: {why}", Code.CEASE, Cease.BFD_DOWN), now)
            self._dial_soon(now, BROKEN)
        elif not self.connections:
            self._dial_soon(now, 0.0)
        self._look(now)

    def want(self, routes: Routes) -> None:
        """Have the peer know exactly these routes."""
        if self.outbox is not None:
            self.outbox.want(routes)

    # ---- what happens

    def accepted(self, local_address: Address, now: float) -> int | None:
        """Take a connection that the peer has opened; None where there is to be none."""
        if self._stopped or now < self._broken_until:
            return None
        for other in [one for one in self.connections.values() if one.inbound and one is not self._serving]:
            other.collide("the peer has opened another connection", now)
        connection = self._connection(inbound=True)
        connection.opened(local_address, now)
        self._look(now)
        return connection.serial

    def opened(self, serial: int, local_address: Address, now: float) -> None:
        """A connection of ours is open.

        Where the peer may take another one for established by now, since our KEEPALIVE has been sent there, an OPEN
        would have both ends choose, and perhaps not alike: a session would end that has just begun.
        """
        connection = self.connections.get(serial)
        if connection is None:
            return
        if any(one.state is State.OPEN_CONFIRM for one in self.connections.values()):
            connection.collide("the peer's own connection is further", now)
        else:
            connection.opened(local_address, now)
        self._look(now)

    def received(self, serial: int, data: bytes, now: float) -> None:
        """Take bytes of the peer."""
        if serial in self.connections:
            self.connections[serial].receive(data, now)
            self._look(now)

    def closed(self, serial: int, why: str, now: float) -> None:
        """A connection has ended, or could not be opened."""
        if serial in self.connections:
            self.connections[serial].closed(why, now)
            self._look(now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        for connection in list(self.connections.values()):
            connection.tick(now)
        if self._dial_at is not None and now >= self._dial_at:
            self._dial_at = None
            if not self._stopped and all(one.inbound for one in self.connections.values()):
                self.attempts += 1
                self._connection(inbound=False).dial(now)
        self._look(now)

    def supply(self, serial: int, room: int) -> bytes:
        """Return what brings the peer nearer to what it should know: about `room` bytes, whole messages."""
        if self.outbox is None or self._serving is None or self._serving.serial != serial:
            return b""
        before = self.outbox.messages
        data = self.outbox.take(room)
        if data:
            self.counts[Direction.SENT, Update] += self.outbox.messages - before
            self._note(Direction.SENT, data)
        return data

    def breathe(self, now: float) -> None:
        """Have the peer hear of us now, and not only when it is due."""
        if self._serving is not None:
            self._serving.happen(Input.KEEPALIVE_DUE, now)

    # ---- what connections ask (Owner of connection.py)

    def may_open(self, connection: Connection, received: Open, now: float) -> bool:
        """Decide between this connection and another one, now that the peer is known; return whether this one lives."""
        for other in [one for one in self.connections.values() if one is not connection]:
            if other is self._serving:
                # One that was there before the session is the other of two that collided.
                graceful = other.agreement is not None and other.agreement.graceful_restart is not None
                if not graceful or connection.began_at <= other.established_at:
                    connection.collide("there is a session already", now)
                    return False
                other.closed("the peer has opened another connection: it has restarted", now)
            elif other.state in OPENING:
                remote_as = received.as_number
                ours = (self.local.router_id, self.local.peer.local_as) > (received.router_id, remote_as)
                loser = other if other.inbound == ours else connection
                loser.collide("both have opened a connection, and the other one is kept", now)
                if loser is connection:
                    return False
        return True

    def established(self, connection: Connection, now: float) -> None:
        """Begin to tell routes."""
        assert connection.agreement is not None
        self._serving = connection
        self.established_count += 1
        # Whoever meets us again has met this daemon, which has forwarded packets since.
        self.local = replace(self.local, restarting=False, preserved=True)
        self._dial_at = None
        self.outbox = self._outbox(connection.agreement)
        for other in [one for one in self.connections.values() if one is not connection]:
            other.collide("another connection was first", now)
        self.news.append(News(now, State.OPEN_CONFIRM))

    def _outbox(self, agreement: Agreement) -> Outbox:
        return Outbox(
            four_octet=agreement.four_octet,
            families=agreement.families,
            enhanced_refresh=agreement.received.enhanced_refresh,
        )

    def update(self, received: Update) -> None:
        """Count routes of the peer: they are not for us."""
        if received.trouble:
            self.treated_as_withdraw += 1
            self.malformed = received.trouble
        self.ignored += sum(len(one) for one in received.announced)

    def refresh(self, received: RouteRefresh) -> None:
        """Tell everything again."""
        if self.outbox is not None and received.family is not None and received.subtype == 0:
            self.outbox.resend(received.family)

    def ended(self, connection: Connection, before: State, ending: Ending, now: float) -> None:
        """Forget a connection, and think of the next one."""
        del self.connections[connection.serial]
        collided = ending.code == Code.CEASE and ending.direction is Direction.SENT and self.connections
        lasted = None
        if connection is self._serving:
            lasted = now - connection.established_at
            self._serving = self.outbox = None
            self.last_end = (now, ending)
            if lasted >= PROVEN:
                self._back_off.succeeded()
        elif collided:
            return
        self.errors[ending.direction, ending.code] += 1
        self.last_error = (now, ending)
        self.news.append(News(now, before, ending, lasted))
        if ending.seen and ending.direction is Direction.SENT:
            self._note(Direction.RECEIVED, ending.seen)
        if not self._stopped and not self.connections:
            self._dial_soon(now, max(self._back_off.failed(), self._broken_until - now))

    def count(self, direction: Direction, message: Message, whole: bytes) -> None:
        """Count a message, and show it to who looks on."""
        self.counts[direction, type(message)] += 1
        self._note(direction, whole)

    # ---- within

    def _connection(self, *, inbound: bool) -> Connection:
        self._serial += 1
        made = Connection(self._serial, self.local, self, self.orders, self._chance, inbound=inbound)
        self.connections[self._serial] = made
        return made

    def _note(self, direction: Direction, whole: bytes) -> None:
        self.octets[direction] += len(whole)
        if self.tap is not None:
            self.tap(direction, whole)

    def _dial_soon(self, now: float, delay: float) -> None:
        if not self.local.peer.passive and not self._stopped:
            self._dial_at = now + delay

    def _end_all(self, ending: Ending, now: float) -> None:
        for connection in list(self.connections.values()):
            connection.stop(ending, now)

    def _look(self, now: float) -> None:
        """See how far the session is."""
        order = list(State)
        furthest = max((one.state for one in self.connections.values()), key=order.index, default=State.IDLE)
        if self._stopped:
            furthest = State.STOPPED
        elif furthest is State.IDLE and self.local.peer.passive:
            furthest = State.ACTIVE
        if furthest is not self._state:
            self._state, self.since = furthest, now
