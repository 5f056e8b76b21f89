"""The verdict on one check of one backend, from probe results alone.

Theory of operation. Each check of each backend is a small state machine. It counts four runs, each the number of
latest results in a row that were ...

    OK         good
    NOT_OK     bad in either way
    NONE       no answer
    ANSWER     an answer, good or bad

... and a run that is long enough moves the check, by the first rule that applies:

    UNKNOWN --- the first result decides -----------> UP, WRONG, DEAD
    UP      --- `fall` x no answer -----------------> DEAD
    UP      --- `fall` x not OK --------------------> WRONG
    WRONG   --- `rise` x OK ------------------------> UP
    WRONG   --- `fall` x no answer -----------------> DEAD
    DEAD    --- `rise` x OK ------------------------> UP
    DEAD    --- `rise` x an answer -----------------> WRONG

With a `window`, not runs are counted but the latest so many results, whatever their order: `rise` good ones of them,
`fall` bad ones of them. As `rise` and `fall` together are more than the window, never both apply.

Runs go on across a transition: a dead backend (`rise` 2) that answers 503, 200, 200 is WRONG after the second result
and UP after the third. A backend is as healthy as its worst check (DEAD, WRONG, UNKNOWN, UP in that order); one without
checks is UP. A verdict that was not reached here (restored from a file, or inherited by a check that a reload added to
a known backend) stands with empty runs until `rise` or `fall` results contradict it, so neither a restart nor a reload
interrupts a service.

No decision depends on time: `now` (wall-clock seconds since the epoch) is only remembered and reported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from appliance.health.diagnostic import printable
from appliance.model import Check, Health, Outcome, ProbeResult


class Run(Enum):
    """A kind of run: the outcomes that make it longer. Every other outcome ends it."""

    OK = frozenset({Outcome.OK})
    NOT_OK = frozenset({Outcome.WRONG, Outcome.NONE})
    NONE = frozenset({Outcome.NONE})
    ANSWER = frozenset({Outcome.OK, Outcome.WRONG})


FIRST = {Outcome.OK: Health.UP, Outcome.WRONG: Health.WRONG, Outcome.NONE: Health.DEAD}
"""The verdict after the first result of a check."""

RULES: dict[Health, tuple[tuple[Run, str, Health], ...]] = {
    Health.UP: ((Run.NONE, "fall", Health.DEAD), (Run.NOT_OK, "fall", Health.WRONG)),
    Health.WRONG: ((Run.OK, "rise", Health.UP), (Run.NONE, "fall", Health.DEAD)),
    Health.DEAD: ((Run.OK, "rise", Health.UP), (Run.ANSWER, "rise", Health.WRONG)),
}
"""For each verdict: which run, of which length (a field of Check), leads where. The first that applies wins."""

BADNESS = {Health.UP: 0, Health.UNKNOWN: 1, Health.WRONG: 2, Health.DEAD: 3}


def worst(verdicts: Sequence[Health]) -> Health:
    """Return the health of a backend whose checks say `verdicts`; UP if there are none."""
    return max(verdicts, key=BADNESS.__getitem__, default=Health.UP)


@dataclass(frozen=True)
class CheckStanding:
    """Where one check of one backend stands. Times are wall-clock seconds, 0 if there was none yet."""

    check: Check
    health: Health
    since: float
    diagnostic: str
    last_outcome: Outcome | None
    last_at: float
    last_ns: int
    """How long the last probe took, in nanoseconds."""
    streak: int
    """How many of the latest results in a row had the same outcome as the last one."""


@dataclass
class CheckState:
    """One machine. `runs` counts the results in a row that fit each kind of run."""

    check: Check
    health: Health = Health.UNKNOWN
    since: float = 0.0
    diagnostic: str = ""
    last_outcome: Outcome | None = None
    last_at: float = 0.0
    last_ns: int = 0
    streak: int = 0
    latest: tuple[Outcome, ...] = ()
    """With a window, the results in it, the last one last."""
    runs: dict[Run, int] = field(default_factory=lambda: dict.fromkeys(Run, 0))
    _name: str = field(default="", init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """`identity` of the check; states that stay get checks of the same one only."""
        if not self._name:
            self._name = sys.intern(identity(self.check))
        return self._name

    def observe(self, result: ProbeResult, now: float) -> None:
        """Count one result and move by the table."""
        self.streak = self.streak + 1 if result.outcome is self.last_outcome else 1
        self.last_outcome, self.last_at, self.last_ns = result.outcome, result.at, result.total_ns
        self.diagnostic = printable(f"{self.check.kind} {self.check.port}: {result.diagnostic}")
        for run in Run:
            self.runs[run] = self.runs[run] + 1 if result.outcome in run.value else 0
        window = self.check.window
        self.latest = (*self.latest, result.outcome)[-window:] if window else ()
        after = self._next(result.outcome)
        if after is not self.health:
            self.health, self.since = after, now

    def _next(self, outcome: Outcome) -> Health:
        if self.health is Health.UNKNOWN:
            return FIRST[outcome]
        for run, threshold, after in RULES[self.health]:
            if self._count(run) >= getattr(self.check, threshold):
                return after
        return self.health

    def _count(self, run: Run) -> int:
        """How many results speak for a rule: the run of them, or those in the window."""
        return sum(outcome in run.value for outcome in self.latest) if self.check.window else self.runs[run]

    def progress(self) -> dict[str, Any]:
        """How far the runs have come, in JSON's terms: what a verdict alone does not tell the next program."""
        return {
            "last": [str(self.last_outcome), self.last_at, self.last_ns],
            "streak": self.streak,
            "latest": [str(outcome) for outcome in self.latest],
            "runs": {run.name: length for run, length in self.runs.items()},
        }

    def proceed(self, saved: Any) -> None:
        """Go on with the runs of `progress`. Raises ValueError, KeyError, TypeError or AttributeError if it is none."""
        outcome, at, taken = saved["last"]
        window = self.check.window
        latest = tuple(Outcome(one) for one in saved["latest"])[-window:] if window else ()
        runs = {run: max(0, int(saved["runs"][run.name])) for run in Run}
        streak = max(0, int(saved["streak"]))
        self.last_outcome, self.last_at, self.last_ns = Outcome(outcome), float(at), int(taken)
        self.runs, self.streak, self.latest = runs, streak, latest

    def standing(self) -> CheckStanding:
        return CheckStanding(
            self.check,
            self.health,
            self.since,
            self.diagnostic,
            self.last_outcome,
            self.last_at,
            self.last_ns,
            self.streak,
        )


def identity(check: Check) -> str:
    """Return what makes a check the same check after a reload, in words that also serve as a key in the snapshot."""
    expect = ",".join(map(str, check.expect)) or "any"
    return f"{check.kind} {check.port} {check.method} {check.host} {check.path} {expect}"


def named(checks: Sequence[CheckState]) -> Iterator[tuple[str, CheckState]]:
    """Give each check a name; equal checks of one backend are told apart by a number."""
    if len(checks) == 1:
        yield checks[0].name, checks[0]
        return
    seen: dict[str, int] = {}
    for state in checks:
        name = state.name
        seen[name] = seen.get(name, 0) + 1
        yield (name if seen[name] == 1 else f"{name} #{seen[name]}"), state
