"""One BFD session (RFC 5880 section 6.8): packets, wishes and `now` in; packets, changes and a deadline out. Pure.

Theory of operation. Both ends send packets all the time and say in each whether they hear the other. `TRANSITIONS` is
the whole state machine. Beside it there are two clocks:

    next_send     the next periodic packet. It is due after the slower of what we want to send and what the peer can
                  take, less a random 0..25 % (section 6.8.7), so that many sessions do not send in step.
    silent_at     the end of the detection time: the peer's multiplier times the slower of what it sends and what we
                  can take, counted from its last packet (section 6.8.4). Then the path is broken.

While a session is not up it sends once a second at most, whatever is configured, so that a peer that is not there is
not flooded. A change of an interval is agreed by a poll: packets have P set until the peer answers with F (section
6.5). Until then whatever might make one end take the other for dead stays as it was: `_desired` and `_required` are
in force, `desired` and `required` are what the packets tell.

The C bit is set: whether packets are forwarded does not depend on the daemon, whose program and tables are pinned in
the kernel, nor is this engine run by it. A peer may so take our silence for a broken path, even while it keeps the
routes of a BGP session that restarts gracefully (RFC 5882 section 4.3).

Demand mode is never asked for. A peer that asks for it gets no periodic packets while both ends are up, as section
6.8.7 demands; it goes on to send, and we to listen. There is neither echo nor authentication.

Randomness comes from the caller: `chance` returns numbers from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from math import inf
from typing import Any, NamedTuple

from appliance.routing.bfd.packet import Diagnostic, Packet, State, diagnostic_words, encode

SLOW = 1_000_000
"""Microseconds between packets, at least, of a session that is not up (RFC 5880 section 6.8.3)."""


class Timing(NamedTuple):
    """What we want: microseconds between packets in either direction, and how many may be missing (1..255)."""

    interval: int
    multiplier: int


class Event(Enum):
    """What can move a session: the state that the peer tells, or that it tells nothing."""

    HEARD_ADMIN_DOWN = auto()
    HEARD_DOWN = auto()
    HEARD_INIT = auto()
    HEARD_UP = auto()
    SILENCE = auto()


HEARD = {
    State.ADMIN_DOWN: Event.HEARD_ADMIN_DOWN,
    State.DOWN: Event.HEARD_DOWN,
    State.INIT: Event.HEARD_INIT,
    State.UP: Event.HEARD_UP,
}

TRANSITIONS: Mapping[tuple[State, Event], tuple[State, Diagnostic]] = {
    (State.DOWN, Event.HEARD_DOWN): (State.INIT, Diagnostic.NONE),
    (State.DOWN, Event.HEARD_INIT): (State.UP, Diagnostic.NONE),
    (State.INIT, Event.HEARD_INIT): (State.UP, Diagnostic.NONE),
    (State.INIT, Event.HEARD_UP): (State.UP, Diagnostic.NONE),
    (State.INIT, Event.HEARD_ADMIN_DOWN): (State.DOWN, Diagnostic.NEIGHBOUR_DOWN),
    (State.INIT, Event.SILENCE): (State.DOWN, Diagnostic.SILENCE),
    (State.UP, Event.HEARD_DOWN): (State.DOWN, Diagnostic.NEIGHBOUR_DOWN),
    (State.UP, Event.HEARD_ADMIN_DOWN): (State.DOWN, Diagnostic.NEIGHBOUR_DOWN),
    (State.UP, Event.SILENCE): (State.DOWN, Diagnostic.SILENCE),
}
"""RFC 5880 sections 6.2 and 6.8.6. What is not here changes nothing; AdminDown is entered by `close`, and not left."""


class Send(NamedTuple):
    """A packet is to go out now."""

    data: bytes


class Changed(NamedTuple):
    """The session has left the state `was` at the time `at`, and why, in words."""

    was: State
    state: State
    diagnostic: Diagnostic
    why: str
    at: float


Action = Send | Changed


class Session:
    """Our end of one session. Times are seconds of the clock that the caller uses for `now`; intervals microseconds."""

    KEPT = (
        *("discriminator", "state", "diagnostic", "since", "why", "remote_discriminator", "remote_state"),
        *("remote_diagnostic", "remote_multiplier", "remote_desired", "remote_required", "remote_demand"),
        *("remote_independent", "heard_at", "desired", "required", "_desired", "_required", "_polling", "_polled"),
        *("_again", "next_send", "silent_at", "_pace", "sent", "heard"),
    )
    __slots__ = ("_chance", "timing", *KEPT)

    def __init__(self, discriminator: int, timing: Timing, now: float, chance: Callable[[], float]) -> None:
        """Begin in state Down. `discriminator` is random, not 0, and of no other session of this process."""
        self._chance = chance
        self.timing = timing
        self.discriminator = discriminator
        self.state = State.DOWN
        self.diagnostic = Diagnostic.NONE
        self.since = now
        """When the state was entered."""
        self.why = "nothing has been heard from the peer yet"
        self.desired = self._desired = max(SLOW, timing.interval)
        self.required = self._required = timing.interval
        self._forget()
        self.heard_at = -inf
        self.next_send = now
        self.silent_at = inf
        self._pace = inf
        """The interval that `next_send` was made with."""
        self.sent = self.heard = 0
        """Packets."""

    def _forget(self) -> None:
        """Know nothing of the peer, as at the beginning (RFC 5880 section 6.8.1)."""
        self.remote_discriminator = 0
        self.remote_state = State.DOWN
        self.remote_diagnostic = 0
        self.remote_multiplier = 0
        self.remote_desired = 0
        self.remote_required = 1
        self.remote_demand = self.remote_independent = False
        self._polling = self._polled = self._again = False
        self._desired, self._required = self.desired, self.required

    # ---- what is in force

    @property
    def deadline(self) -> float:
        """When `expire` is to be called; never inf for long, unless the peer wants no packets."""
        return min(self.next_send, self.silent_at)

    @property
    def transmit_us(self) -> int:
        """Microseconds between our packets, before jitter; 0: none are sent periodically (RFC 5880 section 6.8.7)."""
        if not self.remote_required:
            return 0
        both_up = self.state is State.UP and self.remote_state is State.UP
        if self.remote_demand and both_up and not self._polling:
            return 0
        return max(self._desired, self.remote_required)

    @property
    def detection_us(self) -> int:
        """Microseconds of silence after which the path is broken; 0 while the peer has said nothing."""
        return self.remote_multiplier * max(self._required, self.remote_desired)

    @property
    def polling(self) -> bool:
        """Whether a change of intervals waits for the peer's answer."""
        return self._polling

    # ---- what happens

    def receive(self, packet: Packet, now: float) -> list[Action]:
        """Take a packet of this session's peer (RFC 5880 section 6.8.6, from where the session is found)."""
        self.heard += 1
        if self.state is State.ADMIN_DOWN:
            return []
        self.remote_discriminator = packet.mine
        self.remote_state = packet.state
        self.remote_diagnostic = packet.diagnostic
        self.remote_multiplier = packet.multiplier
        self.remote_desired = packet.desired_us
        self.remote_required = packet.required_us
        self.remote_demand = packet.demand
        self.remote_independent = packet.control_independent
        self.heard_at = now
        if packet.final and self._polled:
            self._agreed()
        actions = self._move(HEARD[packet.state], now)
        self._keep_pace(now)
        self.silent_at = now + self.detection_us / 1e6
        if packet.poll:
            actions.append(self._send(final=True))
            if len(actions) > 1:
                self._wait(now)
        elif actions:
            actions.append(self._send_in_turn(now))
        return actions

    def expire(self, now: float) -> list[Action]:
        """Do what is due at `now`: notice silence, send. Packets that have come must have been given before."""
        actions: list[Action] = []
        if now >= self.silent_at:
            self.silent_at = inf
            actions = self._move(Event.SILENCE, now)
            self._forget()
            self._keep_pace(now)
        if now >= self.next_send or actions:
            actions.append(self._send_in_turn(now))
        return actions

    def retime(self, timing: Timing, now: float) -> None:
        """Want other intervals, or another multiplier, from now on; the session is not disturbed."""
        self.timing = timing
        self._advertise()
        self._keep_pace(now)
        if self.remote_multiplier:
            self.silent_at = self.heard_at + self.detection_us / 1e6

    def close(self, now: float) -> list[Action]:
        """Go to AdminDown (RFC 5880 section 6.8.16): the peer is told at once, and nothing it says counts any more."""
        if self.state is State.ADMIN_DOWN:
            return []
        was, self.state, self.diagnostic = self.state, State.ADMIN_DOWN, Diagnostic.ADMINISTRATIVELY_DOWN
        self.since, self.why, self.silent_at = now, "the session is not wanted any more", inf
        self._advertise()
        self._desired, self._required = self.desired, self.required
        self._polling = self._polled = self._again = False
        return [Changed(was, self.state, self.diagnostic, self.why, now), self._send_in_turn(now)]

    def say_again(self) -> Send:
        """Return the packet as it would be sent now, beside the periodic ones."""
        return self._send()

    # ---- state

    def _move(self, event: Event, now: float) -> list[Action]:
        made = TRANSITIONS.get((self.state, event))
        if made is None:
            return []
        was = self.state
        self.state, self.diagnostic = made
        self.since, self.why = now, self._reason(event)
        self._advertise()
        if self.state is not State.UP:
            self._desired, self._required = self.desired, self.required
        return [Changed(was, self.state, self.diagnostic, self.why, now)]

    def _reason(self, event: Event) -> str:
        if event is Event.SILENCE:
            return f"the peer has not been heard for {self.detection_us / 1e6:g} s"
        if event is Event.HEARD_ADMIN_DOWN:
            return "the peer has ended the session: it is administratively down"
        if self.state is State.UP:
            return "both ends hear each other"
        if self.state is State.INIT:
            return "the peer is heard, and does not hear us yet"
        return f"the peer says that it is down: {diagnostic_words(self.remote_diagnostic)}"

    # ---- intervals

    def _advertise(self) -> None:
        """Tell what is wanted now; put in force at once whatever cannot make one end take the other for dead."""
        up = self.state is State.UP
        desired = self.timing.interval if up else max(SLOW, self.timing.interval)
        required = self.timing.interval
        if (desired, required) == (self.desired, self.required):
            return
        self.desired, self.required = desired, required
        if not self.remote_discriminator:
            self._desired, self._required = desired, required
            return
        # RFC 5880 section 6.8.3: while up, neither slower packets nor a shorter patience before the peer knows.
        if not up or desired < self._desired:
            self._desired = desired
        if not up or required > self._required:
            self._required = required
        # An answer to packets that told other values does not count for these.
        self._again = self._polled
        self._polling = True

    def _agreed(self) -> None:
        """The peer has answered a poll."""
        if self._again:
            self._again = self._polled = False
            return
        self._polling = self._polled = False
        self._desired, self._required = self.desired, self.required

    def _keep_pace(self, now: float) -> None:
        """Let the next packet be no later than the intervals in force say."""
        interval = self.transmit_us or inf
        if interval == inf:
            self.next_send = inf
        elif interval < self._pace:
            self.next_send = min(self.next_send, now + self._jittered(interval))
        self._pace = interval

    def _jittered(self, interval: float) -> float:
        """Seconds: 75..100 % of an interval, 75..90 % where a single missing packet counts (section 6.8.7)."""
        spread = 0.15 if self.timing.multiplier == 1 else 0.25
        return interval / 1e6 * (0.75 + spread * self._chance())

    def _wait(self, now: float) -> None:
        interval = self.transmit_us or inf
        self._pace = interval
        self.next_send = now + self._jittered(interval) if interval < inf else inf

    # ---- sending

    def _send_in_turn(self, now: float) -> Send:
        self._wait(now)
        poll = self._polling
        self._polled = self._polled or poll
        return self._send(poll=poll)

    def _send(self, *, poll: bool = False, final: bool = False) -> Send:
        self.sent += 1
        return Send(
            encode(
                Packet(
                    state=self.state,
                    mine=self.discriminator,
                    yours=self.remote_discriminator,
                    diagnostic=self.diagnostic,
                    poll=poll,
                    final=final,
                    control_independent=True,
                    multiplier=self.timing.multiplier,
                    desired_us=self.desired,
                    required_us=self.required,
                )
            )
        )

    # ---- from one process to the next

    def keep(self) -> dict[str, Any]:
        """Return all of it, in JSON's terms (`inf` included, as Python writes it)."""
        values = {name: getattr(self, name) for name in self.KEPT}
        return values | {"interval": self.timing.interval, "multiplier": self.timing.multiplier}

    @classmethod
    def restore(cls, kept: Mapping[str, Any], chance: Callable[[], float]) -> Session:
        """Go on with what `keep` gave, on the same clock. What another version has not kept is as in a new session.

        Raises ValueError, KeyError or TypeError where it makes no sense.
        """
        timing = Timing(int(kept["interval"]), int(kept["multiplier"]))
        session = cls(int(kept["discriminator"]), timing, float(kept["since"]), chance)
        for name in cls.KEPT:
            if name in kept:
                setattr(session, name, type(getattr(session, name))(kept[name]))
        return session
