"""Many events, one message: what waits to be told at one outlet. Pure; time passed in, in monotonic seconds.

The first event waits a moment, since trouble comes in company; after a message the next one waits longer. What happens
meanwhile is not kept as a list of events but as what became of each thing, so a server that goes up and down a thousand
times takes no more room than one that went down once. Beyond `MOST` things, events are only counted, by kind and
outcome.

A message that could not be sent goes back to what has happened since, and the next attempt tells both.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import IntEnum

from appliance.model import EventKind, Severity
from appliance.telemetry.alerts.notice import Notice

MOST = 500
"""Things of which one message knows more than their number."""
OUTCOMES = 100
"""Different kinds and outcomes in what is only counted; the words are few, but they come from a file."""
WAIT = 2.0
PAUSE = 30.0


class Standing(IntEnum):
    """What became of something, in the order in which it is told."""

    BAD = 0
    FLAPPING = 1
    """It is as it was before, and has been otherwise meanwhile."""
    GOOD = 2
    SAID = 3
    """Something happened that is no state."""


@dataclass(frozen=True)
class Entry:
    """What became of one thing since the message before."""

    first: Notice
    last: Notice
    severity: Severity
    """The gravest."""
    events: int = 1
    bad: bool = False
    good: bool = False
    """Whether it was ever so meanwhile."""

    @classmethod
    def of(cls, told: Notice) -> Entry:
        return cls(told, told, told.severity, 1, not told.good, told.good)

    def then(self, later: Entry) -> Entry:
        """Both, one after the other."""
        return replace(
            self,
            last=later.last,
            severity=min(self.severity, later.severity),
            events=self.events + later.events,
            bad=self.bad or later.bad,
            good=self.good or later.good,
        )

    @property
    def standing(self) -> Standing:
        if not self.last.subject:
            return Standing.SAID
        if self._was_good() == self.last.good and (self.bad if self.last.good else self.good):
            return Standing.FLAPPING
        return Standing.GOOD if self.last.good else Standing.BAD

    def _was_good(self) -> bool | None:
        """Whether it was well before; None where that is not known."""
        before = self.first.before
        if before == "unknown":
            return None
        return replace(self.first, outcome=before).good if before else not self.first.good


@dataclass
class Batch:
    """What one message tells of."""

    entries: dict[tuple[str, str, str], Entry] = field(default_factory=dict)
    counted: Counter[tuple[EventKind, str]] = field(default_factory=Counter)
    """Events that are in no entry, by kind and outcome."""
    gravest: Severity = Severity.DEBUG
    events: int = 0
    oldest: int = 0
    """The lowest sequence number in it."""
    began: float = 0.0
    ended: float = 0.0
    """Of the events, wall-clock seconds; 0.0 where that is not known."""

    def add(self, told: Notice) -> None:
        self._entry(told.key, Entry.of(told))
        self._span(1, told.severity, told.sequence, told.at, told.at)

    def follow(self, later: Batch) -> None:
        """Take in what happened after this."""
        for key, entry in later.entries.items():
            self._entry(key, entry)
        for (kind, outcome), events in later.counted.items():
            self._count(kind, outcome, events)
        self._span(later.events, later.gravest, later.oldest, later.began, later.ended)

    def _entry(self, key: tuple[str, str, str], entry: Entry) -> None:
        known = self.entries.get(key)
        if known is not None:
            self.entries[key] = known.then(entry)
        elif len(self.entries) < MOST:
            self.entries[key] = entry
        else:
            self._count(entry.last.kind, entry.last.outcome, entry.events)

    def _count(self, kind: EventKind, outcome: str, events: int) -> None:
        known = (kind, outcome) in self.counted or len(self.counted) < OUTCOMES
        self.counted[kind, outcome if known else ""] += events

    def _span(self, events: int, severity: Severity, sequence: int, began: float, ended: float) -> None:
        self.oldest = min(self.oldest, sequence) if self.events else sequence
        self.events += events
        self.gravest = min(self.gravest, severity)
        self.began = min(self.began or began, began or self.began)
        self.ended = max(self.ended, ended)


class Grouping:
    """What waits at one outlet: at most one message under way, and one in the making."""

    def __init__(self, wait: float = WAIT, pause: float = PAUSE) -> None:
        self._wait = wait
        self._pause = pause
        self._making = Batch()
        self._sending: Batch | None = None
        self._since: float | None = None
        self._not_before = 0.0

    @property
    def untold(self) -> int | None:
        """The lowest sequence number that is not told yet; None where all are."""
        found = [batch.oldest for batch in (self._making, self._sending) if batch is not None and batch.events]
        return min(found, default=None)

    @property
    def waiting(self) -> int:
        """How many events are not told yet."""
        return self._making.events + (self._sending.events if self._sending is not None else 0)

    def take(self, told: Notice) -> None:
        """An event that is to be told."""
        self._making.add(told)

    def due(self, now: float) -> bool:
        """Whether it is time for a message; to be asked often, since an event's wait begins when it is."""
        if self._sending is not None or not self._making.events:
            return False
        if self._since is None:
            self._since = now
        return now >= max(self._since + self._wait, self._not_before)

    def begin(self, now: float) -> Batch:
        """Return what the message tells, which is under way from now on."""
        assert self._sending is None
        self._sending, self._making, self._since = self._making, Batch(), None
        self._not_before = now + self._pause
        return self._sending

    def done(self) -> int:
        """The message is told, or given up. Returns how many events it had."""
        assert self._sending is not None
        events, self._sending = self._sending.events, None
        return events

    def again(self, now: float, delay: float) -> None:
        """The message could not be told; what it said is told with what comes, after `delay` seconds or later."""
        assert self._sending is not None
        sent, self._sending = self._sending, None
        sent.follow(self._making)
        self._making, self._since = sent, now - self._wait
        self._not_before = now + delay
