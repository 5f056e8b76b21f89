"""Records in the order in which they were told, each once, whatever becomes of datagrams. Pure.

The datagrams of a stream have numbers, from 1. Who tells keeps the latest KEPT of them. Who hears takes them in order,
and keeps what comes too early; what is missing after NAK_DELAY he asks for by its number, until it comes. That
something is missing he knows from a later datagram, or from a HELLO, which has the last number. What cannot be had any
more ends the stream: he has to ask for everything, and goes on from there.

Who tells may die before anybody misses a datagram. So the latest ones are sent a second time, unasked; and what is told
after a pause is sent at once, while of more that follows as much as comes within PACKING shares a datagram.
"""

from __future__ import annotations

from collections import deque
from math import inf

from appliance.fleet.messages import RANGES, ROOM, Range, Records

KEPT = 4096
"""Datagrams that can be asked for again."""
HELD = 2048
"""Datagrams of one stream that came too early, at most."""
NAK_DELAY = 0.007
"""Seconds that a missing datagram has to come late, before it is asked for."""
RETRY, LONGEST_RETRY = 0.03, 0.5
"""Seconds until it is asked for again: the first, doubled each time, and the longest."""
TRIES = 10
"""After so many in vain (some 4 seconds) the stream cannot be mended."""
ASKED = 256
"""Datagrams that are asked for at once, at most."""
PACKING = 0.003
"""Seconds from one datagram to the next, in which records gather that share it; one that is full goes at once."""
AGAIN = 0.005
"""Seconds after which a datagram is sent a second time: not lost in the same burst, and before it would be missed."""
LATEST = 4
"""So many wait for that; with more, the oldest go without: no burst is sent twice as a whole."""
BACKLOG = 1024
"""Datagrams that wait to be sent: with more, remembered flows are not told."""


class Outgoing:
    """Our own stream: `last` is the number of the last datagram, `sent` of the last one that was sent."""

    def __init__(self) -> None:
        self.last = 0
        self.sent = 0
        self._kept: dict[int, bytes] = {}
        self._open: list[bytes] = []
        self._size = 0
        self._flushed = -inf
        self._second: deque[tuple[float, int]] = deque(maxlen=LATEST)
        self.flush_at = inf

    @property
    def oldest(self) -> int:
        """Number of the oldest datagram that is kept; `last` + 1 where there is none."""
        return self.last - len(self._kept) + 1

    @property
    def backlog(self) -> int:
        """Datagrams that wait to be sent."""
        return self.last - self.sent

    @property
    def left(self) -> int:
        """Octets that the datagram has room for which waits for more records."""
        return ROOM - self._size

    def add(self, piece: bytes, now: float) -> None:
        """Tell a record, after all others."""
        if self._size + len(piece) > ROOM:
            self.flush(now)
        if not self._open:
            self.flush_at = max(now, self._flushed + PACKING)
        self._open.append(piece)
        self._size += len(piece)

    def flush(self, now: float) -> None:
        """Close the datagram that waits for more records, if there is one."""
        if not self._open:
            return
        self._flushed = now
        self.last += 1
        self._kept[self.last] = b"".join(self._open)
        if len(self._kept) > KEPT:
            del self._kept[self.last - KEPT]
        self._open, self._size, self.flush_at = [], 0, inf

    def next(self, now: float) -> Records | None:
        """Return the next datagram that was not sent yet; it counts as sent. One that is not kept is passed over."""
        if self.sent >= self.last:
            return None
        self.sent = max(self.sent + 1, self.oldest)
        self._second.append((now + AGAIN, self.sent))
        return Records(self.sent, self._kept[self.sent])

    @property
    def second_at(self) -> float:
        """When there will be a datagram to send a second time."""
        return self._second[0][0] if self._second else inf

    def second(self, now: float) -> Records | None:
        """Return a datagram that is to be sent a second time now, unasked."""
        return self.again(self._second.popleft()[1]) if now >= self.second_at else None

    def skip(self) -> None:
        """There is nobody who could hear what waits: it counts as sent."""
        self.sent = self.last
        self._second.clear()

    def again(self, number: int) -> Records | None:
        """Return a datagram that was sent before; None where it is not kept, or not sent."""
        return Records(number, self._kept[number]) if self.oldest <= number <= self.sent else None


class Repeats:
    """What one member has asked for again, in the order of its numbers. Bounded; who is not satisfied asks again."""

    def __init__(self) -> None:
        self._numbers: deque[int] = deque()
        self._waiting: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def add(self, missing: tuple[Range, ...], oldest: int, last: int) -> None:
        """Remember what is missing, as far as it is kept: `oldest` to `last`."""
        for one in missing:
            for number in range(max(one.first, oldest), min(one.first + one.length, last + 1)):
                if len(self._numbers) >= ASKED:
                    return
                if number not in self._waiting:
                    self._waiting.add(number)
                    self._numbers.append(number)

    def pop(self) -> int:
        """Return the first one."""
        number = self._numbers.popleft()
        self._waiting.discard(number)
        return number


class Incoming:
    """The stream of one member. `next` is the number that is taken next; None while it is not known where to begin."""

    def __init__(self) -> None:
        self.next: int | None = None
        self.known = 0
        """The greatest number that has been heard of."""
        self.held: dict[int, bytes] = {}
        self.nak_at = inf
        self._tries = 0
        self._asked = 0
        """The greatest number that has been asked for."""
        self.losses = 0

    def begin(self, number: int, now: float) -> list[bytes]:
        """Go on with this number; returns what can be taken at once."""
        self.next = number
        self.held = {one: octets for one, octets in self.held.items() if one >= number}
        self._tries = 0
        return self._ready(now)

    def stop(self) -> None:
        """Take nothing until it is known again where to begin."""
        self.next, self.nak_at = None, inf

    def told(self, last: int, now: float) -> None:
        """A HELLO has said what the last number is."""
        if last > self.known:
            self.known = last
        self._watch(now)

    def take(self, records: Records, now: float, room: bool) -> list[bytes]:
        """Take a datagram; returns what can be learnt now, in order. What has come before changes nothing.

        Without `room` nothing is held; what is not held is asked for later.
        """
        number, octets = records
        self.known = max(self.known, number)
        if self.next is not None and (number < self.next or number in self.held):
            return []
        if number == self.next:
            self.held[number] = octets
            return self._ready(now)
        if room and len(self.held) < HELD and (self.next is None or number < self.next + HELD):
            self.held[number] = octets
        self._watch(now)
        return []

    def _ready(self, now: float) -> list[bytes]:
        assert self.next is not None
        ready = []
        while self.next in self.held:
            ready.append(self.held.pop(self.next))
            self.next += 1
        if ready:
            self._tries = 0
            self.nak_at = inf if self.next > self.known else now + (RETRY if self._asked >= self.next else NAK_DELAY)
        self._watch(now)
        return ready

    def _watch(self, now: float) -> None:
        if self.next is not None and self.next <= self.known and self.nak_at == inf:
            self.nak_at = now + NAK_DELAY

    @property
    def exhausted(self) -> bool:
        """Whether it has been asked for often enough."""
        return self._tries >= TRIES

    def ask(self, now: float) -> tuple[Range, ...]:
        """Return what is missing, if it is time to ask for it: ASKED datagrams and RANGES ranges at most."""
        if now < self.nak_at or self.next is None or self.next > self.known:
            return ()
        ranges: list[Range] = []
        total = 0
        for number in range(self.next, self.known + 1):
            if number in self.held:
                continue
            if ranges and sum(ranges[-1]) == number:
                ranges[-1] = Range(ranges[-1].first, ranges[-1].length + 1)
            elif len(ranges) < RANGES:
                ranges.append(Range(number, 1))
            else:
                break
            total += 1
            if number > self._asked:
                self._asked = number
                self.losses += 1
            if total >= ASKED:
                break
        self.nak_at = now + min(RETRY * 2**self._tries, LONGEST_RETRY)
        self._tries += 1
        return tuple(ranges)
