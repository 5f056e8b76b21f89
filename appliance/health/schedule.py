"""When each probe runs: spread, jittered, quicker where something seems to change, and never too many at once.

Theory of operation. A probe is a number here. It is either waiting for its time or outstanding.

* The first time comes within min(interval, 0.5 s): verdicts come at once, yet not all in the same instant. New probes
  run in the order in which they were given, which is that of the services: where there are so many that all cannot run
  in this time, a service has all its verdicts soon after its first one, instead of every service waiting for the last.
* Then one `interval` after the start of the last run, +-10 % so that probes which started together drift apart; a probe
  that took longer than that runs again at once.
* `settled` is the outcome that is taken as normal. A different one is followed up quickly, after a quarter of the
  interval (at least 0.2 s), until max(rise, fall) results in a row agree; these become the settled outcome. So a change
  is decided soon without more load while nothing changes. A probe that never agrees with itself settles after twice as
  many results, so flapping cannot hold the quick pace. The first good outcome of a new probe settles it.
* At most `limit` probes are outstanding. Those that must wait keep their order, so an overload delays all alike.

Times are seconds of one monotonic clock, passed in as `now`; random numbers come from a function that is passed in.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appliance.health.lateness import Lateness
from appliance.model import Check, Outcome

FIRST_WITHIN = 0.5
"""Seconds over which the first runs of new probes are spread."""
JITTER = 0.1
"""The share of the interval by which a run may come earlier or later."""
CONFIRM_SHARE = 0.25
"""The share of the interval after which a surprising outcome is checked again ..."""
CONFIRM_LEAST = 0.2
"""... but not sooner than this, in seconds, nor later than the interval itself."""
POSTPONE = 0.2
"""Seconds after which a probe that could not be sent is tried again."""


@dataclass(slots=True)
class _Entry:
    """One probe. `due` is None while it is outstanding."""

    check: Check
    due: float | None
    planned: float | None = None
    """When the outstanding or latest run was due."""
    started: float = 0.0
    settled: Outcome | None = None
    latest: Outcome | None = None
    streak: int = 0
    """Latest outcomes in a row that were equal."""
    surprises: int = 0
    """Latest outcomes in a row that were not the settled one."""

    def learn(self, outcome: Outcome) -> bool:
        """Take one outcome; return whether it should be confirmed quickly."""
        self.streak = self.streak + 1 if outcome is self.latest else 1
        self.latest = outcome
        if outcome is self.settled or (self.settled is None and outcome is Outcome.OK):
            self.settled = outcome
            self.surprises = 0
            return False
        self.surprises += 1
        enough = max(self.check.rise, self.check.fall)
        if self.streak < enough and self.surprises < 2 * enough:
            return True
        self.settled = outcome
        self.surprises = 0
        return False


class Schedule:
    """The order in which probes run. `random` returns numbers in [0, 1); `limit` is the most outstanding at once."""

    def __init__(self, random: Callable[[], float], limit: int) -> None:
        self._random = random
        self._limit = limit
        self._entries: dict[int, _Entry] = {}
        self._heap: list[tuple[float, int]] = []
        self.outstanding = 0
        """Probes that have been started and have neither finished nor been removed."""
        self.lateness = Lateness()
        """By how much they began after they were due."""

    def configure(self, checks: Mapping[int, Check], now: float) -> frozenset[int]:
        """Take the whole new set of probes; return the numbers that were outstanding and are gone.

        A number stands for the same check for ever: probes that stay keep their place and what was learnt of them.
        """
        gone = frozenset(
            number for number, entry in self._entries.items() if entry.due is None and number not in checks
        )
        self.outstanding -= len(gone)
        entries = {}
        new, place = sum(number not in self._entries for number in checks), 0
        for number, check in checks.items():
            entry = self._entries.get(number)
            if entry is None:
                share = (place + self._random()) / new
                entry = _Entry(check, now + share * min(check.interval, FIRST_WITHIN))
                place += 1
            entries[number] = entry
        self._entries = entries
        self._heap = [(entry.due, number) for number, entry in entries.items() if entry.due is not None]
        heapq.heapify(self._heap)
        return gone

    def start_due(self, now: float, most: int) -> list[int]:
        """Return up to `most` probes whose time has come, longest overdue first; they are outstanding from now on."""
        started: list[int] = []
        while self._heap and self._heap[0][0] <= now and len(started) < most and self.outstanding < self._limit:
            number = heapq.heappop(self._heap)[1]
            entry = self._entries[number]
            entry.planned, entry.due, entry.started = entry.due, None, now
            self.outstanding += 1
            started.append(number)
        return started

    def begun(self, number: int, now: float) -> None:
        """Note that the first step of a probe that `start_due` returned is taken, which may be a moment later."""
        entry = self._entries.get(number)
        if entry is not None and entry.planned is not None:
            self.lateness.note(now - entry.planned)

    def finish(self, number: int, outcome: Outcome, now: float) -> bool:
        """Take the outcome of an outstanding probe; return False if there is none of that number (it was removed)."""
        entry = self._entries.get(number)
        if entry is None or entry.due is not None:
            return False
        interval = entry.check.interval
        if entry.learn(outcome):
            interval = min(interval, max(CONFIRM_LEAST, interval * CONFIRM_SHARE))
        jitter = 1 - JITTER + 2 * JITTER * self._random()
        self._wait(number, entry, max(now, entry.started + interval * jitter))
        return True

    def postpone(self, number: int, now: float) -> None:
        """Put back an outstanding probe that could not be sent: no outcome, so nothing is learnt from it."""
        entry = self._entries.get(number)
        if entry is not None and entry.due is None:
            self._wait(number, entry, now + POSTPONE * (1 + self._random()))

    def next_due(self) -> float | None:
        """Return when `start_due` will next have something; None if nothing waits or the limit is reached."""
        return self._heap[0][0] if self._heap and self.outstanding < self._limit else None

    def _wait(self, number: int, entry: _Entry, due: float) -> None:
        entry.due = due
        self.outstanding -= 1
        heapq.heappush(self._heap, (due, number))
