"""Much at once, to one who asks: the parts of an answer, in a window, acknowledged. Pure.

Who tells makes parts when there is room in the window, so that an answer of any length takes little memory. Who has
asked takes them in order and says every few parts how far he is and what is missing, which is sent again. Either gives
up after PATIENCE seconds in which nothing came.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from appliance.fleet.messages import LAST, RANGES, STOP, Ack, Part, Range, Request, What

WINDOW = 128
"""Parts on their way, at most."""
EACH = 16
"""Parts after which they are acknowledged."""
ACK_DELAY = 0.005
"""Seconds after which they are, in any case."""
GAP_DELAY = 0.02
"""Seconds between two acknowledgements that tell of the same gap."""
RESEND = 0.2
"""Seconds without an acknowledgement after which parts are sent again."""
RESENT = 8
"""So many at most."""
ASK_AGAIN = 0.3
"""Seconds in which something of an answer has to come, or the request is made again."""
PATIENCE = 3.5
"""Seconds."""


class Telling:
    """An answer on its way. `parts` yields flags and octets; the flag LAST is added here."""

    def __init__(self, asked_by: int, request: Request, parts: Iterator[tuple[int, bytes]], now: float) -> None:
        self.life, self.request = asked_by, request
        self._parts = parts
        self._following = next(parts, (0, b""))
        self._window: dict[int, Part] = {}
        self._lost: list[int] = []
        self._made = self._acknowledged = 0
        self._ended = False
        self.heard_at = self._moved_at = now

    def has_next(self, now: float) -> bool:
        """Whether something is to be sent now."""
        self._resend(now)
        return bool(self._lost) or (not self._ended and len(self._window) < WINDOW)

    def next(self, now: float) -> Part:
        """Return the next part to be sent. Raises ValueError where a record cannot be told."""
        self._moved_at = now
        while self._lost:
            part = self._window.get(self._lost.pop())
            if part is not None:
                return part
        flags, octets = self._following
        following = next(self._parts, None)
        if following is None:
            self._ended = True
            flags |= LAST
        else:
            self._following = following
        part = Part(self.life, self.request.id, self._made, flags, octets)
        self._window[self._made] = part
        self._made += 1
        return part

    def acknowledge(self, ack: Ack, now: float) -> bool:
        """Take an ACK; returns whether all is done."""
        self.heard_at = now
        for number in range(self._acknowledged, min(ack.next, self._made)):
            self._window.pop(number, None)
        if ack.next > self._acknowledged:
            self._acknowledged = min(ack.next, self._made)
            self._moved_at = now
        if ack.missing:
            missing = {n for one in ack.missing for n in range(one.first, one.first + min(one.length, WINDOW))}
            self._lost = sorted(missing.intersection(self._window), reverse=True)
        return ack.next == STOP or (self._ended and not self._window)

    def _resend(self, now: float) -> None:
        if not self._lost and self._window and now >= self._moved_at + RESEND:
            self._lost = sorted(self._window)[:RESENT][::-1]

    @property
    def is_state(self) -> bool:
        """Whether it is a whole state, not a table."""
        return self.request.what is not What.TABLE

    def given_up(self, now: float) -> bool:
        """Whether nothing was acknowledged for PATIENCE seconds."""
        return now >= self.heard_at + PATIENCE

    @property
    def resend_at(self) -> float:
        """When parts are to be sent again, if nothing is acknowledged before."""
        return self._moved_at + RESEND if self._window else inf

    @property
    def deadline(self) -> float:
        """When it is given up."""
        return self.heard_at + PATIENCE


class Asking:
    """A request, and what has come of the answer."""

    def __init__(self, life: int, request: Request, now: float) -> None:
        self.life, self.request = life, request
        self.next = 0
        self.done = False
        self._held: dict[int, Part] = {}
        self._unacknowledged = 0
        self._greatest = -1
        self.ack_at = inf
        self._gap_at = -inf
        self.heard_at = self.asked_at = now

    def take(self, part: Part, now: float) -> list[Part]:
        """Take a part; returns those that can be used now, in order."""
        self.heard_at = now
        ready: list[Part] = []
        if part.number >= self.next + WINDOW:
            return ready
        self._greatest = max(self._greatest, part.number)
        if part.number < self.next or part.number in self._held:
            self.ack_at = min(self.ack_at, now + ACK_DELAY)
            return ready
        self._held[part.number] = part
        while self.next in self._held:
            ready.append(self._held.pop(self.next))
            self.next += 1
        self.done = self.done or any(one.flags & LAST for one in ready)
        self._unacknowledged += len(ready)
        gap = bool(self._held) and now >= self._gap_at
        if self.done or gap or self._unacknowledged >= EACH:
            self.ack_at = now
        else:
            self.ack_at = min(self.ack_at, now + ACK_DELAY)
        return ready

    def acknowledge(self, now: float) -> Ack:
        """Return the ACK to be sent now."""
        self.ack_at, self._unacknowledged = inf, 0
        missing: list[Range] = []
        if self._held and now >= self._gap_at:
            self._gap_at = now + GAP_DELAY
            for number in range(self.next, self._greatest):
                if number in self._held:
                    continue
                if missing and sum(missing[-1]) == number:
                    missing[-1] = Range(missing[-1].first, missing[-1].length + 1)
                elif len(missing) < RANGES:
                    missing.append(Range(number, 1))
        if self._held and not missing:
            self.ack_at = self._gap_at
        return Ack(self.life, self.request.id, self.next, tuple(missing))

    def deadline(self, unanswered: float) -> float:
        """When to acknowledge, to ask again, or to give up."""
        if self._started:
            return min(self.ack_at, self.heard_at + PATIENCE)
        return min(self.asked_at + ASK_AGAIN, self.heard_at + unanswered)

    def given_up(self, now: float, unanswered: float) -> bool:
        """Whether nothing has come for long: PATIENCE seconds, or `unanswered` ones where nothing ever came."""
        return now >= self.heard_at + (PATIENCE if self._started else unanswered)

    def asks_again(self, now: float) -> bool:
        """Whether the request is to be made again now; then it counts as made."""
        if self._started or now < self.asked_at + ASK_AGAIN:
            return False
        self.asked_at = now
        return True

    @property
    def _started(self) -> bool:
        return self._greatest >= 0
