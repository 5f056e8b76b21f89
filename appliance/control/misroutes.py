"""Connections that this node should know and does not: how many, and what had happened just before. Pure.

Theory of operation. In a slot that has been tracked for long enough, every connection that lives is remembered. The
program counts those packets there that begin no connection and are of none that it knows (`tracked-unknown`); it then
remembers the flow, so each such connection counts about once. It has been answered as older flows of its slot are. That
is right for many, so the count says how many connections may have broken, and not how many have.

Of slots that are not tracked nothing is counted, and nothing has to be: all nodes of a fleet answer alike there, unless
their tables differ (`vc5 fleet`). In slots that have changed within the last `idle` seconds nobody can tell.

What it was, nobody tells. The daemon knows what happened: then what comes within WINDOW of it is put down to it, and of
several happenings to the latest. As many as usually come with nothing happening (a running mean) are put down to `idle`
also then: connections that spoke again after a longer silence than is remembered, or scans.

Times are seconds of one monotonic clock, passed in as `now`; `wall` is for people.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
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
    refused: int
    packets: int
    flows: int


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
    until: float = 0.0
    """When the last connection was put down to it."""
    connections: int = 0
    packets: int = 0
    """Those that were forwarded from `at` to `until`."""
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
        seconds = max(1.0, self.until - self.at)
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
    """Connections in the last second that was read."""
    _before: Reading | None = None
    _read: float = 0.0
    _usual: float = 0.0
    """Connections a second that come with nothing happening."""
    _owed: float = 0.0
    """What of these has not been counted yet."""

    def happened(self, cause: Cause, text: str, now: float, wall: float) -> None:
        """Take note that something happened that may break connections."""
        for one in reversed(self.happenings):
            if one.cause is cause and now - one.last <= TOGETHER:
                one.last = now
                if text not in one.texts:
                    if len(one.texts) < TEXTS:
                        one.texts.append(text)
                    else:
                        one.more += 1
                return
        flows = self._before.flows if self._before is not None else 0
        self.happenings.append(Happening(cause, [text], now, wall, flows=flows, last=now, until=now))

    def count(self, reading: Reading, now: float, wall: float) -> None:
        """Take the counters, once a second."""
        before, passed = self._before, now - self._read
        self._before, self._read = reading, now
        if before is None or passed > BLINK or passed <= 0:
            return
        if reading.unknown < before.unknown or reading.packets < before.packets or reading.refused < before.refused:
            self.happened(Cause.RESTART, "the program was loaded anew, and counts from 0", now, wall)
            before = Reading(0, 0, 0, 0)
        if (refused := reading.refused - before.refused) > 0:
            self.happened(Cause.REFUSED, f"no room for {refused} flow{'' if refused == 1 else 's'}", now, wall)
        unknown, packets = reading.unknown - before.unknown, reading.packets - before.packets
        self.rate = unknown / passed
        open_ = [one for one in self.happenings if now - one.last <= WINDOW]
        for one in open_:
            one.pending += packets
        if not open_:
            self._usual += (self.rate - self._usual) * min(1.0, passed / USUAL)
            self._owed = 0.0
            self.counts[Cause.IDLE] += unknown
            return
        self._owed = min(self._owed + self._usual * passed, max(1.0, 2 * self._usual))
        usual = min(unknown, int(self._owed))
        self._owed -= usual
        self.counts[Cause.IDLE] += usual
        rest = unknown - usual
        if rest:
            latest = max(open_, key=_likely)
            self.counts[latest.cause] += rest
            latest.connections += rest
            latest.peak = max(latest.peak, round(rest / passed))
            latest.packets, latest.pending, latest.until = latest.packets + latest.pending, 0, now

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
