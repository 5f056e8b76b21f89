"""When each probe runs: spread, jittered, quicker where something seems to change, and never too many at once.

Theory of operation. A probe is a number here. It is either waiting for its time or outstanding.

* The first time comes within min(interval, 0.5 s): verdicts come at once, yet not all in the same instant. New probes
  run in the order in which they were given, which is that of the services: where there are so many that all cannot run
  in this time, a service has all its verdicts soon after its first one, instead of every service waiting for the last.
* Then one `interval` after the start of the last run, +-10 % so that probes which started together drift apart; a probe
  that took longer than that runs again at once. On a grid (grid.py) that is the nearest moment to this time.
* `settled` is the outcome that is taken as normal. A different one is followed up quickly, after a quarter of the
  interval (at least 0.2 s), until max(rise, fall) results in a row agree; these become the settled outcome. So a change
  is decided soon without more load while nothing changes. A probe that never agrees with itself settles after twice as
  many results, so flapping cannot hold the quick pace. The first good outcome of a new probe settles it.
* Somebody else may have found something else (`prompt`): then a probe runs at once, and what it finds is confirmed each
  0.2 s. A probe has that once in an interval at most, and more than a few only as fast as all probes run anyway: nobody
  can make this one ask more than twice as often.
* At most `limit` probes are outstanding. Those that must wait keep their order, so an overload delays all alike.
* At most `each` of them concern one backend. Those that must wait for another probe of the same backend stand in a line
  of their own, and nobody else waits for them: whoever finishes hands its place to the first in the line.
* A probe may follow another one, its leader, which asks the same of the same backend by another way. It may lean on the
  leader's answer while that is good and fresh (`leans`), and has only to look at its own way then. When a leader ceases
  to be OK, those that follow it have their turn soon, to see for themselves.

Times are seconds of one monotonic clock, passed in as `now`; random numbers come from a function that is passed in.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf

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
PROMPT_WITHIN = 0.2
"""Seconds over which probes are spread that are to come at once, because somebody else has found something else ..."""
PROMPT_EVERY = 1.0
"""... and how many intervals must be between two times at which one does: half of all runs at most are of this kind."""
PROMPT_RATE = 50.0
"""Of these in a second more may come than all probes of the schedule together."""
POSTPONE = 0.2
"""Seconds after which a probe that could not be sent is tried again."""
FRESH = 1.5
"""Intervals for which a leader's good answer counts for others: one, its jitter, and some time to answer."""


@dataclass(slots=True)
class _Entry:
    """One probe. `due` is None while it is outstanding."""

    check: Check
    due: float | None
    backend: int = 0
    leader: int = 0
    followers: tuple[int, ...] = ()
    answered: float = -inf
    """When it was last found OK without leaning on another one; minus infinity once it was not."""
    planned: float | None = None
    """When the outstanding or latest run was due."""
    started: float = 0.0
    settled: Outcome | None = None
    latest: Outcome | None = None
    streak: int = 0
    """Latest outcomes in a row that were equal."""
    surprises: int = 0
    """Latest outcomes in a row that were not the settled one."""
    prompted: float = -inf
    """When it was last to run at once."""
    urgent: bool = False
    """Whether what it finds is to be confirmed as soon as possible."""

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
        """What waits for its time; an item whose time is not that of its entry any more is void."""
        self._each = 0
        self._grid = 0.0
        self._rate = PROMPT_RATE
        self._prompts_until = -inf
        """Until when probes that were to run at once take all that is for them; in seconds of the clock."""
        self._busy: dict[int, int] = {}
        """For each backend, how many probes are outstanding or have a place."""
        self._lines: dict[int, deque[int]] = {}
        """For each backend, those whose time has come and that wait for a place."""
        self._placed: deque[tuple[float, int]] = deque()
        """Those that were given a place, and when."""
        self.outstanding = 0
        """Probes that have been started and have neither finished nor been removed."""
        self.lateness = Lateness()
        """By how much they began after they were due."""

    def configure(
        self,
        checks: Mapping[int, Check],
        now: float,
        *,
        backends: Mapping[int, int] | None = None,
        leaders: Mapping[int, int] | None = None,
        each: int = 0,
        grid: float = 0.0,
    ) -> frozenset[int]:
        """Take the whole new set of probes; return the numbers that were outstanding and are gone.

        A number stands for the same probe for ever: those that stay keep their place and what was learnt of them, while
        `rise` and `fall` of a check may change. `backends` tells which backend each concerns (absent or 0: none that
        counts), `each` how many of one backend may be outstanding (0: any number), `leaders` which probe others follow.
        Usual rounds begin at multiples of `grid` seconds (0: at any time).
        """
        backends, leaders = backends or {}, leaders or {}
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
            entry.check, entry.backend, entry.leader = check, backends.get(number, 0), leaders.get(number, 0)
            entry.followers = ()
            entries[number] = entry
        following: dict[int, list[int]] = {}
        for number, leader in leaders.items():
            following.setdefault(leader, []).append(number)
        for leader, followers in following.items():
            if leader in entries:
                entries[leader].followers = tuple(followers)
        self._entries, self._each, self._grid = entries, each, grid
        self._rate = max(PROMPT_RATE, sum(1 / check.interval for check in checks.values()))
        self._busy, self._lines, self._placed = {}, {}, deque()
        for entry in entries.values():
            if entry.due is None:
                self._busy[entry.backend] = self._busy.get(entry.backend, 0) + 1
        self._heap = [(entry.due, number) for number, entry in entries.items() if entry.due is not None]
        heapq.heapify(self._heap)
        return gone

    def start_due(self, now: float, most: int) -> list[int]:
        """Return up to `most` probes whose time has come, longest overdue first; they are outstanding from now on."""
        started: list[int] = []
        while len(started) < most and self.outstanding < self._limit:
            if self._placed:
                number = self._placed.popleft()[1]
                entry = self._entries[number]
            elif self._heap and self._heap[0][0] <= now:
                due, number = heapq.heappop(self._heap)
                entry = self._entries[number]
                if entry.due != due or not self._may_start(number, entry.backend):
                    continue
            else:
                break
            entry.planned, entry.due, entry.started = entry.due, None, now
            self.outstanding += 1
            started.append(number)
        return started

    def begun(self, number: int, now: float) -> None:
        """Note that the first step of a probe that `start_due` returned is taken, which may be a moment later."""
        entry = self._entries.get(number)
        if entry is not None and entry.planned is not None:
            self.lateness.note(now - entry.planned)

    def leans(self, number: int, now: float) -> int:
        """Return the leader on whose latest answer a probe may lean now, 0 if it has to ask for itself."""
        entry = self._entries.get(number)
        leader = self._entries.get(entry.leader) if entry is not None and entry.leader else None
        if entry is None or leader is None or now - leader.answered > FRESH * leader.check.interval:
            return 0
        return entry.leader

    def doubted(self, number: int) -> bool:
        """Return whether the latest outcome of a probe was bad, and will be confirmed."""
        entry = self._entries.get(number)
        return entry is not None and entry.latest is not Outcome.OK and entry.surprises > 0

    def telling(self, number: int) -> bool:
        """Return whether the latest outcome of a probe may change a verdict, so that somebody may wait for it.

        It may as long as no more than `rise` or `fall` in a row were like it.
        """
        entry = self._entries.get(number)
        return entry is None or entry.streak <= max(entry.check.rise, entry.check.fall)

    def finish(self, number: int, outcome: Outcome, now: float, *, leaning: bool = False) -> bool:
        """Take the outcome of an outstanding probe; return False if there is none of that number (it was removed).

        `leaning` says that the outcome rests on that of the leader.
        """
        entry = self._entries.get(number)
        if entry is None or entry.due is not None:
            return False
        interval, grid = entry.check.interval, self._grid
        if entry.learn(outcome):
            share = 0.0 if entry.urgent else CONFIRM_SHARE
            interval, grid = min(interval, max(CONFIRM_LEAST, interval * share)), 0.0
        else:
            entry.urgent = False
        due = entry.started + interval * (1 - JITTER + 2 * JITTER * self._random())
        if grid:
            due = round(due / grid) * grid
        if outcome is not Outcome.OK:
            if entry.followers and entry.answered > -inf:
                self._hurry(entry.followers, now)
            entry.answered = -inf
        elif not leaning:
            entry.answered = now
        self._wait(number, entry, max(now, due), now)
        return True

    def prompt(self, numbers: Iterable[int], now: float) -> None:
        """Let probes run at once, since somebody else has found something else; unknown numbers are left out."""
        for number in numbers:
            entry = self._entries.get(number)
            if entry is None or now - entry.prompted < PROMPT_EVERY * entry.check.interval:
                continue
            self._prompts_until = max(self._prompts_until, now) + 1 / self._rate
            due = max(now, self._prompts_until - PROMPT_WITHIN)
            if entry.due is not None:
                if due >= entry.due:
                    continue  # its own time comes sooner
                entry.due = due
                heapq.heappush(self._heap, (due, number))
            entry.prompted, entry.urgent = now, True

    def postpone(self, number: int, now: float) -> None:
        """Put back an outstanding probe that could not be sent: no outcome, so nothing is learnt from it."""
        entry = self._entries.get(number)
        if entry is not None and entry.due is None:
            self._wait(number, entry, now + POSTPONE * (1 + self._random()), now)

    def next_due(self) -> float | None:
        """Return when `start_due` will next have something; None if nothing waits or the limit is reached."""
        if self.outstanding >= self._limit:
            return None
        if self._placed:
            return self._placed[0][0]
        while self._heap and self._entries[self._heap[0][1]].due != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _may_start(self, number: int, backend: int) -> bool:
        """Take one of the backend's places; where there is none, stand in line and return False."""
        if backend and self._each:
            busy = self._busy.get(backend, 0)
            if busy >= self._each:
                self._lines.setdefault(backend, deque()).append(number)
                return False
            self._busy[backend] = busy + 1
        return True

    def _hurry(self, numbers: tuple[int, ...], now: float) -> None:
        """Let waiting probes have their turn soon, as if their own outcome had to be confirmed."""
        for number in numbers:
            entry = self._entries.get(number)
            if entry is None or entry.due is None:
                continue
            interval = entry.check.interval
            due = now + self._random() * min(interval, max(CONFIRM_LEAST, interval * CONFIRM_SHARE))
            if due < entry.due:  # those that stand in line are overdue
                entry.due = due
                heapq.heappush(self._heap, (due, number))

    def _wait(self, number: int, entry: _Entry, due: float, now: float) -> None:
        entry.due = due
        self.outstanding -= 1
        heapq.heappush(self._heap, (due, number))
        if entry.backend and self._each:
            line = self._lines.get(entry.backend)
            if line and self._busy[entry.backend] <= self._each:  # a reload may have allowed fewer
                self._placed.append((now, line.popleft()))
            else:
                self._busy[entry.backend] -= 1
