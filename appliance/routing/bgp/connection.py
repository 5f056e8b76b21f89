"""One TCP connection with a peer, from its opening to its end: messages in and out, and timers. Pure.

What is to be done with the socket is put into `orders`; what concerns more than this connection is asked of its owner
(session.py). Times are seconds of one clock that never goes back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from appliance.model_address import Address
from appliance.routing.bgp.agreement import Agreement, Local, agree, offer
from appliance.routing.bgp.machine import UNEXPECTED, Action, Input, step
from appliance.routing.bgp.message import Keepalive, Message, Notification, Open, Reader, RouteRefresh, Update, encode
from appliance.routing.bgp.notification import Cease, Code, Refusal, text
from appliance.routing.status import Direction
from appliance.routing.status import SessionState as State

DIAL_TIME = 10.0
"""Seconds for TCP to be opened."""
OPEN_TIME = 240.0
"""Seconds for an OPEN to come (RFC 4271, 8.2.2)."""
SEND_TIME = 480.0
"""Seconds for which a peer may take nothing, or twice the hold time if that is more (RFC 9687)."""


@dataclass(frozen=True)
class Dial:
    """Open TCP to the peer."""

    serial: int


@dataclass(frozen=True)
class Send:
    """Send these bytes, before anything that `supply` gives later."""

    serial: int
    data: bytes


@dataclass(frozen=True)
class Close:
    """Close, once everything is sent."""

    serial: int


Order = Dial | Send | Close


@dataclass(frozen=True)
class Ending:
    """How a connection ended, or why it did not come to be: a NOTIFICATION of ours or of the peer's, or neither."""

    direction: Direction
    text: str
    code: int | None = None
    subcode: int | None = None
    data: bytes = b""
    seen: bytes = b""
    """What the peer sent that led to it, as it came."""


class Owner(Protocol):
    """What a connection asks of the session."""

    def may_open(self, connection: Connection, received: Open, now: float) -> bool:
        """Decide between this connection and another one, now that the peer is known; return whether this one lives."""

    def established(self, connection: Connection, now: float) -> None:
        """The peer can be told routes."""

    def update(self, received: Update) -> None:
        """The peer has told of routes of its own."""

    def refresh(self, received: RouteRefresh) -> None:
        """The peer wants to hear everything again."""

    def ended(self, connection: Connection, before: State, ending: Ending, now: float) -> None:
        """It is over."""

    def count(self, direction: Direction, message: Message, whole: bytes) -> None:
        """A message was sent or received, as `whole` is."""


class Connection:
    """One connection. `serial` names it to whoever has the socket; `chance` returns numbers from 0 to 1, evenly."""

    def __init__(
        self,
        serial: int,
        local: Local,
        owner: Owner,
        orders: list[Order],
        chance: Callable[[], float],
        *,
        inbound: bool,
    ) -> None:
        self.serial, self.inbound = serial, inbound
        self.state = State.IDLE
        self.local_address: Address | None = None
        self.agreement: Agreement | None = None
        self.opened_with = b""
        """The peer's OPEN, as it came."""
        self.uncertain = False
        """Whether it was taken over from a program that may have been killed amid a message."""
        self.began_at = math.inf
        """When TCP was open."""
        self.established_at = 0.0
        self.heard_at = 0.0
        self._local, self._owner, self._orders, self._chance = local, owner, orders, chance
        self.reader = Reader()
        self._dial_until: float | None = None
        self._hold_until: float | None = None
        self._keepalive_at: float | None = None
        self._send_until: float | None = None
        self._ending: Ending | None = None

    @property
    def hold_time(self) -> int:
        """Seconds: as agreed, before that as offered."""
        return self.agreement.hold_time if self.agreement else self._local.peer.hold_time

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do next."""
        return min(
            (at for at in (self._dial_until, self._hold_until, self._keepalive_at, self._send_until) if at is not None),
            default=None,
        )

    @property
    def hold_until(self) -> float | None:
        """When the session ends if the peer stays silent."""
        return self._hold_until

    def dial(self, now: float) -> None:
        """Begin, by opening TCP."""
        self.happen(Input.START, now)

    def opened(self, local_address: Address, now: float) -> None:
        """TCP is open."""
        self.local_address, self.began_at = local_address, now
        self.happen(Input.TCP_OPEN, now)

    def closed(self, why: str, now: float) -> None:
        """TCP has ended, or could not be opened."""
        self.happen(Input.TCP_ENDED, now, Ending(Direction.LOCAL, why))

    def stop(self, ending: Ending, now: float) -> None:
        """End it, and tell the peer why."""
        self.happen(Input.STOP, now, ending)

    def collide(self, why: str, now: float) -> None:
        """Give way to another connection with the same peer (RFC 4271, 6.8)."""
        self.happen(Input.COLLISION, now, Ending(Direction.SENT, why, Code.CEASE, Cease.COLLISION))

    def blocked(self, now: float) -> None:
        """The peer takes nothing at the moment."""
        if self._send_until is None:
            self._send_until = now + max(SEND_TIME, 2.0 * self.hold_time)

    def unblocked(self) -> None:
        """The peer takes what is sent to it."""
        self._send_until = None

    def receive(self, data: bytes, now: float) -> None:
        """Take what the peer has sent."""
        self.reader.feed(data)
        try:
            for message in self.reader.messages():
                self._take(message, now)
                if self.state is State.IDLE:
                    return
        except Refusal as refusal:
            self._refuse(refusal, now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self._dial_until is not None and now >= self._dial_until:
            self.happen(Input.CONNECT_TIMEOUT, now, Ending(Direction.LOCAL, f"no answer within {DIAL_TIME:g} s"))
        elif self._hold_until is not None and now >= self._hold_until:
            silent = f"nothing was heard for {now - self.heard_at:.0f} s"
            self.happen(Input.HOLD_TIMEOUT, now, Ending(Direction.SENT, silent, Code.HOLD_TIMER, 0))
        elif self._send_until is not None and now >= self._send_until:
            why = "the peer took nothing of what was sent to it for too long"
            self.happen(Input.SEND_TIMEOUT, now, Ending(Direction.SENT, why, Code.SEND_HOLD_TIMER, 0))
        elif self._keepalive_at is not None and now >= self._keepalive_at:
            self.happen(Input.KEEPALIVE_DUE, now)

    def _take(self, message: Message, now: float) -> None:
        self.heard_at, self.uncertain = now, False
        self._owner.count(Direction.RECEIVED, message, self.reader.last)
        match message:
            case Open():
                self._take_open(message, now)
            case Keepalive():
                self.happen(Input.KEEPALIVE, now)
            case Update():
                self.happen(Input.UPDATE, now, message=message)
            case RouteRefresh():
                self.happen(Input.REFRESH, now, message=message)
            case Notification():
                words = text(message.code, message.subcode, message.data)
                ending = Ending(
                    Direction.RECEIVED, words, message.code, message.subcode, message.data, self.reader.last
                )
                self.happen(Input.NOTIFICATION, now, ending)

    def _take_open(self, received: Open, now: float) -> None:
        if self.state is State.OPEN_SENT:
            agreement = agree(self._local, received)
            if not self._owner.may_open(self, received, now):
                return
            self.opened_with = self.reader.last
            self._agreed(agreement)
        self.happen(Input.OPEN, now)

    def _agreed(self, agreement: Agreement) -> None:
        self.agreement = agreement
        self.reader.four_octet, self.reader.internal = agreement.four_octet, agreement.ibgp
        self.reader.extended_next_hop = agreement.extended_next_hop

    def resume(self, agreement: Agreement, opened_with: bytes, local_address: Address, now: float) -> None:
        """Be established, as another program has left it; the peer hears of us at once."""
        self._agreed(agreement)
        self.opened_with, self.local_address = opened_with, local_address
        self.state = State.ESTABLISHED
        self.established_at = self.heard_at = now
        self._do(Action.WAIT, now, None, None)
        self._keepalive_at = now if self.hold_time else None

    def _refuse(self, refusal: Refusal, now: float) -> None:
        if self.uncertain and refusal.code == Code.HEADER:
            self.closed("the former program was killed amid a message", now)
            return
        ending = Ending(Direction.SENT, refusal.why, refusal.code, refusal.subcode, refusal.data, self.reader.last)
        self.happen(Input.REFUSED, now, ending)

    def happen(
        self, given: Input, now: float, ending: Ending | None = None, message: Update | RouteRefresh | None = None
    ) -> None:
        """Go where the table leads; what must not happen in this state ends the connection with the RFC's error."""
        found, before = step(self.state, given), self.state
        if found is None:
            if before not in UNEXPECTED:
                return
            what = given.name.lower().replace("_", " ")
            why = f"the peer sent what has no place in state {before}: {what}"
            ending = Ending(Direction.SENT, why, Code.STATE_MACHINE, UNEXPECTED[before], seen=self.reader.last)
            found = step(before, Input.REFUSED)
            assert found is not None
        self.state = found.state
        for action in found.actions:
            self._do(action, now, ending, message)
        if found.state is State.IDLE and ending is not None:
            self._owner.ended(self, before, ending, now)

    def _do(self, action: Action, now: float, ending: Ending | None, message: Update | RouteRefresh | None) -> None:
        match action:
            case Action.DIAL:
                self._dial_until = now + DIAL_TIME
                self._orders.append(Dial(self.serial))
            case Action.SEND_OPEN:
                self._dial_until = None
                self._send(offer(self._local))
            case Action.SEND_KEEPALIVE:
                self._send(Keepalive())
                third = self.hold_time / 3
                self._keepalive_at = now + third * (0.75 + 0.25 * self._chance()) if self.hold_time else None
            case Action.WAIT_LONG:
                self.heard_at, self._hold_until = now, now + OPEN_TIME
            case Action.WAIT:
                self._hold_until = now + self.hold_time if self.hold_time else None
            case Action.ESTABLISH:
                self.established_at = now
                self._owner.established(self, now)
            case Action.TAKE_UPDATE:
                assert isinstance(message, Update)
                self._owner.update(message)
            case Action.SEND_ALL_AGAIN:
                assert isinstance(message, RouteRefresh)
                self._owner.refresh(message)
            case Action.NOTIFY:
                assert ending is not None
                self._send(Notification(ending.code or 0, ending.subcode or 0, ending.data))
            case Action.CLOSE:
                self._dial_until = self._hold_until = self._keepalive_at = self._send_until = None
                self._orders.append(Close(self.serial))

    def _send(self, message: Open | Notification | Keepalive) -> None:
        whole = encode(message)
        self._owner.count(Direction.SENT, message, whole)
        self._orders.append(Send(self.serial, whole))
