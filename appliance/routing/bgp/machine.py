"""The state machine of one BGP connection, as a table (RFC 4271, section 8).

Theory of operation. A peer has up to two connections: the one that we open, and the one that it opens. Each has a
machine of its own, as RFC 4271 (8.2.1) has it, and session.py decides between them. A machine begins when somebody
wants a connection, and ends in IDLE. What stands in TABLE may happen; whatever else a peer does is an error of its own
kind, with the subcode of RFC 6608 that says in which state it was done. Of the RFC's optional attributes there are:
delays and passive starts (by session.py), damping of peers that oscillate (the back-off there), and the closing of
connections that collide.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from appliance.routing.bgp.notification import StateError
from appliance.routing.status import SessionState as State


class Input(Enum):
    """What can happen to a connection; the numbers are those of the events in RFC 4271, 8.1."""

    STOP = 2
    START = 3
    CONNECT_TIMEOUT = 9
    HOLD_TIMEOUT = 10
    KEEPALIVE_DUE = 11
    TCP_OPEN = 17
    TCP_ENDED = 18
    OPEN = 19
    REFUSED = 22
    """What came is against the rules: events 21, 22 and 28."""
    COLLISION = 23
    NOTIFICATION = 25
    KEEPALIVE = 26
    UPDATE = 27
    REFRESH = 29
    """A ROUTE-REFRESH (RFC 2918), which RFC 4271 does not know."""
    SEND_TIMEOUT = 30
    """The peer has taken nothing for too long (RFC 9687)."""


class Action(Enum):
    """What is to be done; in the order of the table."""

    DIAL = auto()
    SEND_OPEN = auto()
    SEND_KEEPALIVE = auto()
    WAIT_LONG = auto()
    """Start the hold timer with the large value (RFC 4271 suggests 4 minutes)."""
    WAIT = auto()
    """Start the hold timer again with what was agreed."""
    ESTABLISH = auto()
    TAKE_UPDATE = auto()
    SEND_ALL_AGAIN = auto()
    NOTIFY = auto()
    """Say why with a NOTIFICATION."""
    CLOSE = auto()


@dataclass(frozen=True)
class Step:
    """Where an input leads, and what is done on the way."""

    state: State
    actions: tuple[Action, ...] = ()


_END = Step(State.IDLE, (Action.CLOSE,))
_END_TOLD = Step(State.IDLE, (Action.NOTIFY, Action.CLOSE))

TABLE: Final[dict[tuple[State, Input], Step]] = {
    (State.IDLE, Input.START): Step(State.CONNECT, (Action.DIAL,)),
    # One that the peer has opened begins here.
    (State.IDLE, Input.TCP_OPEN): Step(State.OPEN_SENT, (Action.SEND_OPEN, Action.WAIT_LONG)),
    (State.CONNECT, Input.TCP_OPEN): Step(State.OPEN_SENT, (Action.SEND_OPEN, Action.WAIT_LONG)),
    (State.CONNECT, Input.TCP_ENDED): _END,
    (State.CONNECT, Input.CONNECT_TIMEOUT): _END,
    (State.CONNECT, Input.STOP): _END,
    (State.CONNECT, Input.COLLISION): _END,
    (State.OPEN_SENT, Input.OPEN): Step(State.OPEN_CONFIRM, (Action.SEND_KEEPALIVE, Action.WAIT)),
    (State.OPEN_CONFIRM, Input.KEEPALIVE_DUE): Step(State.OPEN_CONFIRM, (Action.SEND_KEEPALIVE,)),
    (State.OPEN_CONFIRM, Input.KEEPALIVE): Step(State.ESTABLISHED, (Action.WAIT, Action.ESTABLISH)),
    (State.ESTABLISHED, Input.KEEPALIVE_DUE): Step(State.ESTABLISHED, (Action.SEND_KEEPALIVE,)),
    (State.ESTABLISHED, Input.KEEPALIVE): Step(State.ESTABLISHED, (Action.WAIT,)),
    (State.ESTABLISHED, Input.UPDATE): Step(State.ESTABLISHED, (Action.WAIT, Action.TAKE_UPDATE)),
    (State.ESTABLISHED, Input.REFRESH): Step(State.ESTABLISHED, (Action.WAIT, Action.SEND_ALL_AGAIN)),
    **{
        (state, given): step
        for state in (State.OPEN_SENT, State.OPEN_CONFIRM, State.ESTABLISHED)
        for given, step in {
            Input.STOP: _END_TOLD,
            Input.HOLD_TIMEOUT: _END_TOLD,
            Input.SEND_TIMEOUT: _END_TOLD,
            Input.REFUSED: _END_TOLD,
            Input.COLLISION: _END_TOLD,
            Input.NOTIFICATION: _END,
            Input.TCP_ENDED: _END,
        }.items()
    },
}
"""Everything that may happen. IDLE ignores the rest; elsewhere it is an error."""

UNEXPECTED: Final = {
    State.OPEN_SENT: StateError.OPEN_SENT,
    State.OPEN_CONFIRM: StateError.OPEN_CONFIRM,
    State.ESTABLISHED: StateError.ESTABLISHED,
}
"""The subcodes of the error of a message that has no place in a state (RFC 6608)."""


def step(state: State, given: Input) -> Step | None:
    """Return what an input leads to; None where it must not happen."""
    return TABLE.get((state, given))
