"""Connections that this node should know and does not: how many, and what had happened just before. Pure.

Theory of operation. A node of a fleet remembers every connection of a tracked slot, and is told of those that come by
other nodes. The program counts packets there that begin no connection and are of none that it knows; it then remembers
the flow, so each such connection counts about once. It has been answered as older flows of its slot are. That is right
for many, so the count says how many connections may have broken, and not how many have. There are two kinds:

  unknown    the slot has been tracked for longer than `idle`, so every connection that lives was to be known here;
  first      it has changed since then. Those that are older than the change come once here and are answered rightly:
             in the first SETTLING seconds many, which the program leaves out, then ever fewer. What others know and
             this node does not looks the same, but comes all at once, when a router has found other ways.

Of the first kind each counts. Of the second those count that are more than came just before, and only after routers
or this node have changed something (ROUTER, RESTART). That many come at once in a moment in which nothing is known to
have happened is taken for a change of a router, too. For GROWN seconds after more slots have become tracked nobody can
tell, and none is counted. Of slots that are not tracked nothing is counted, and nothing has to be: all nodes of a fleet
answer alike there, unless their tables differ (`vc5 fleet`).

What it was, nobody tells. The daemon knows what happened: then what comes within WINDOW of it is put down to it, and of
several happenings to the latest. That another node is gone is noticed later than its routes are: so what came is
looked at EARLY seconds later. As many as usually come with nothing happening (a running mean) are put down to `idle`
also then: connections that spoke again after a longer silence than is remembered, or scans.

Times are seconds of one monotonic clock, passed in as `now`; `wall` is for people.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any

from appliance.model import EventKind

WINDOW = 60.0
"""Seconds after a happening within which packets are put down to it: most connections have spoken by then."""
TOGETHER = 5.0
"""Seconds within which happenings of one kind are one."""
REMEMBERED = 32
"""Happenings that are remembered."""
TEXTS = 4
"""Different texts of one happening that are kept."""
USUAL = 300.0
"""Seconds over which the mean of what usually comes is taken."""
BLINK = 5.0
"""Seconds without a reading after which the next one only tells where counters stand."""
EARLY = 5.0
"""Seconds by which flows may come by another way before it is known why."""
JUST_BEFORE = 5.0
"""Seconds over which the mean is taken of connections that come for the first time."""
GROWN = 20.0
"""Seconds after more slots have become tracked within which the mean is found of those that come for the first time."""
MANY, TIMES_MORE = 10, 5
"""More in a second than so many, and so many times the mean, are many at once."""
MANY_AT_ONCE = "many connections came at once that this node had not seen"


class Cause(StrEnum):
    """What connections that are not known here are put down to."""

    ROUTER = "router"
    """Routers send flows by other nodes than before."""
    REFUSED = "refused"
    """There was no room to remember flows."""
    RESTART = "restart"
    """The daemon or the program was started anew."""
    POOL = "pool"
    """Backends came or went, so slots changed."""
    IDLE = "idle"
    """None of these: a connection was silent for longer than it is remembered, or it is none."""


CAUSE_TEXT = {
    Cause.ROUTER: "routers send flows by other nodes than before",
    Cause.REFUSED: "there was no room to remember flows",
    Cause.RESTART: "the daemon or the program was started anew",
    Cause.POOL: "backends came or went",
    Cause.IDLE: "nothing had happened: silent for longer than is remembered, or no connection",
}


@dataclass(frozen=True)
class Reading:
    """Counters of the program, since it was loaded, and the flows that are remembered now."""

    unknown: int
    first: int
    refused: int
    packets: int
    flows: int
    tracked: int = 0
    """Slots, now."""


@dataclass(frozen=True)
class _Second:
    """What came between two readings; `at` is the later one's time."""

    at: float
    wall: float
    passed: float
    unknown: int
    first: int
    packets: int
    grown: bool
    """Whether more slots had become tracked shortly before."""


@dataclass
class Happening:
    """Something that may break connections, and what came of it."""

    cause: Cause
    texts: list[str]
    at: float
    """Monotonic seconds; of the first one, where several were taken together."""
    wall: float
    flows: int = 0
    """How many were remembered when it happened."""
    more: int = 0
    """Further ones whose texts are not kept."""
    last: float = 0.0
    """The last time that one was added."""
    begun: float = 0.0
    """When it may have begun to break something: `at`, or what came before it was known."""
    until: float = 0.0
    """When the last connection was put down to it."""
    connections: int = 0
    packets: int = 0
    """Those that were forwarded from `begun` to `until`."""
    pending: int = 0
    """Those since `until`."""
    peak: int = 0
    """Connections in the worst second."""

    @property
    def text(self) -> str:
        """What happened, in words."""
        return "; ".join(self.texts) + (f"; and {self.more} more" if self.more else "")

    def as_json(self) -> dict[str, Any]:
        """Return it for the status."""
        seconds = max(1.0, self.until - self.begun)
        return {
            "cause": str(self.cause),
            "text": self.text,
            "at": round(self.wall, 3),
            "connections": self.connections,
            "for_s": round(seconds, 1) if self.connections else 0.0,
            "per_second": round(self.connections / seconds, 2),
            "peak_per_second": self.peak,
            "share_of_flows": round(min(1.0, self.connections / self.flows), 6) if self.flows else None,
            "share_of_packets": round(min(1.0, self.connections / self.packets), 9) if self.packets else None,
        }


@dataclass
class Misroutes:
    """The meter."""

    counts: dict[Cause, int] = field(default_factory=lambda: dict.fromkeys(Cause, 0))
    happenings: deque[Happening] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    rate: float = 0.0
    """Connections in the last second that was looked at."""
    _before: Reading | None = None
    _read: float = 0.0
    _waiting: deque[_Second] = field(default_factory=deque)
    """What is to be looked at when all is known of its time."""
    _usual: float = 0.0
    """Connections a second that come with nothing happening."""
    _owed: float = 0.0
    """What of these has not been counted yet."""
    _firsts: float = 0.0
    """Connections a second that came for the first time just before."""
    _grown: float = -inf
    """When more slots have become tracked."""

    def happened(self, cause: Cause, text: str, now: float, wall: float) -> None:
        """Take note that something happened that may break connections."""
        for one in reversed(self.happenings):
            if one.cause is cause and abs(now - one.last) <= TOGETHER:
                one.last = max(one.last, now)
                if text not in one.texts:
                    if len(one.texts) < TEXTS:
                        one.texts.append(text)
                    else:
                        one.more += 1
                return
        flows = self._before.flows if self._before is not None else 0
        self.happenings.append(Happening(cause, [text], now, wall, flows=flows, last=now, begun=now, until=now))

    def count(self, reading: Reading, now: float, wall: float) -> None:
        """Take the counters, once a second."""
        before, passed = self._before, now - self._read
        self._before, self._read = reading, now
        if before is None or reading.tracked > before.tracked:
            self._grown = now
        if before is not None and 0 < passed <= BLINK:
            self._take(before, reading, passed, now, wall)
        while self._waiting and now - self._waiting[0].at >= EARLY:
            self._look(self._waiting.popleft())

    def _take(self, before: Reading, reading: Reading, passed: float, now: float, wall: float) -> None:
        """Note what came between two readings."""
        pairs = zip(_counted(reading), _counted(before), strict=True)
        if any(after < former for after, former in pairs):
            self.happened(Cause.RESTART, "the program was loaded anew, and counts from 0", now, wall)
            before = Reading(0, 0, 0, 0, 0)
        if (refused := reading.refused - before.refused) > 0:
            self.happened(Cause.REFUSED, f"no room for {refused} flow{'' if refused == 1 else 's'}", now, wall)
        unknown, first = reading.unknown - before.unknown, reading.first - before.first
        packets, grown = reading.packets - before.packets, now - self._grown < GROWN
        self._waiting.append(_Second(now, wall, passed, unknown, first, packets, grown))

    def _look(self, came: _Second) -> None:
        """Put down what came in a second."""
        first = self._more(came)
        open_ = [one for one in self.happenings if _may(one, came.at)]
        for one in open_:
            one.pending += came.packets
        if not open_:
            self._usual += (came.unknown / came.passed - self._usual) * min(1.0, came.passed / USUAL)
            self._owed = 0.0
            usual = came.unknown
        else:
            self._owed = min(self._owed + self._usual * came.passed, max(1.0, 2 * self._usual))
            usual = min(came.unknown, int(self._owed))
            self._owed -= usual
        self.counts[Cause.IDLE] += usual
        self._put(came.unknown - usual, open_, came)
        self._put(first, [one for one in open_ if one.cause in (Cause.ROUTER, Cause.RESTART)], came)
        self.rate = (came.unknown + first) / came.passed

    def _more(self, came: _Second) -> int:
        """Return how many more came for the first time than just before, if that may be because their way changed."""
        usual = self._firsts * came.passed
        if (
            not came.grown
            and came.first > MANY + TIMES_MORE * usual
            and not any(_turns(one, came.at) for one in self.happenings)
        ):
            self.happened(Cause.ROUTER, MANY_AT_ONCE, came.at, came.wall)
        if not came.grown and any(_turns(one, came.at) for one in self.happenings):
            return max(0, came.first - round(usual))
        self._firsts += (came.first / came.passed - self._firsts) * min(1.0, came.passed / JUST_BEFORE)
        return 0

    def _put(self, connections: int, among: list[Happening], came: _Second) -> None:
        """Put connections down to the latest of some happenings."""
        if not connections:
            return
        latest = max(among, key=_likely)
        self.counts[latest.cause] += connections
        latest.connections += connections
        latest.peak = max(latest.peak, round(connections / came.passed))
        latest.packets, latest.pending = latest.packets + latest.pending, 0
        latest.begun, latest.until = min(latest.begun, came.at), max(latest.until, came.at)

    def numbers(self) -> dict[str, Any]:
        """Return what metrics tell."""
        return {"misroutes_total": {str(cause): count for cause, count in self.counts.items()}}

    def as_json(self) -> dict[str, Any]:
        """Return it for the status; the latest happening first, and only those that something was put down to."""
        return {
            "total": sum(self.counts.values()),
            "per_second": round(self.rate, 2),
            "causes": {str(cause): count for cause, count in self.counts.items()},
            "happenings": [one.as_json() for one in reversed(self.happenings) if one.connections],
        }


def _counted(reading: Reading) -> tuple[int, ...]:
    """The counters that only grow."""
    return reading.unknown, reading.first, reading.refused, reading.packets


def _may(one: Happening, at: float) -> bool:
    """Whether what came at a time may be put down to it. What routers do is known late."""
    return one.at - (EARLY if one.cause is Cause.ROUTER else 0.0) <= at <= one.last + WINDOW


def _turns(one: Happening, at: float) -> bool:
    """Whether flows may have come another way then because of it, or were forgotten."""
    return one.cause in (Cause.ROUTER, Cause.RESTART) and _may(one, at)


def _likely(one: Happening) -> tuple[bool, float]:
    """The latest is; but a flow that found no room is missed by nobody until something else happens."""
    return one.cause is not Cause.REFUSED, one.last


def cause_of(kind: EventKind, outcome: str, *, backend: bool) -> Cause | None:
    """Return what an event of the log may break connections by; None if it does not. `backend`: it is about one."""
    if kind is EventKind.BGP:
        return Cause.ROUTER if outcome in ("established", "down") else None
    if kind is EventKind.DAEMON:
        return Cause.RESTART if outcome == "started" else None
    if kind is EventKind.RELOAD:
        return Cause.POOL if outcome == "ok" else None
    return Cause.POOL if backend and kind in (EventKind.BACKEND, EventKind.OPERATOR) else None
