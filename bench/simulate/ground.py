"""One slot: what its answer is over time, who may own it, and what each balancer knows of that from its own view."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.dataplane.abi import NO_DESTINATION
from appliance.dataplane.enums import State
from bench.simulate.churn import Cause
from bench.simulate.history import NOBODY, History
from bench.simulate.router import FOR_EVER


@dataclass(frozen=True)
class Step:
    """The slot after an event that concerns it: its owner (an index, see Ground), and the states of all its owners.

    `former` is who owned it before the last change, `cause` what that was; None before the first.
    """

    number: int
    """Of the event; 0 at the start."""
    owner: int
    former: int
    states: tuple[State, ...]
    moved: bool
    """Whether the event changed the owner."""
    cause: Cause | None


class Ground:
    """A slot's history. Backends that ever own it are numbered from 1, as in a service; 0 is no backend."""

    def __init__(self, history: History, slot: int) -> None:
        self.history, self.slot = history, slot
        changes = dict(history.changes.get(slot, []))
        owners = [history.owners[slot], *changes.values()]
        self.backends = [NOBODY, *sorted({who for who in owners if who != NOBODY})]
        index = {who: at for at, who in enumerate(self.backends)}
        states: dict[int, list[tuple[int, State]]] = {}
        for at, who in enumerate(self.backends[1:], 1):
            for number, state in history.states.get(who, []):
                states.setdefault(number, []).append((at, state))
        now = [State.NONE, *(history.start[who] for who in self.backends[1:])]
        owner = former = index[owners[0]]
        cause: Cause | None = None
        self.steps = [Step(0, owner, former, tuple(now), False, None)]
        for number in sorted({*changes, *states}):
            for at, state in states.get(number, []):
                now[at] = state
            moved = number in changes
            if moved:
                owner, former, cause = index[changes[number]], owner, history.cause(number)
            self.steps.append(Step(number, owner, former, tuple(now), moved, cause))

    def arrival(self, at: int, who: int) -> float:
        """When a balancer does step `at`."""
        return self.history.arrivals[self.steps[at].number][who]

    def known(self, who: int, time: float) -> int:
        """The step that a balancer that looks at everything anew begins with."""
        number = self.history.known(who, time)
        return max(at for at, step in enumerate(self.steps) if step.number <= number)

    def ends(self, owner: int, time: float) -> float:
        """When an owner takes its connections along; at once where there is none."""
        return time if owner == NO_DESTINATION else self.history.ends(self.backends[owner], time)


class Views:
    """The step at which each balancer is, for those who only ever follow the table."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        count = ground.history.site.balancers
        self._at = [0] * count
        self._due = [self._next(who, 1) for who in range(count)]

    def _next(self, who: int, at: int) -> float:
        return self._ground.arrival(at, who) if at < len(self._ground.steps) else FOR_EVER

    def step(self, who: int, time: float) -> Step:
        """Where a balancer is; asked in the order of time."""
        while time >= self._due[who]:
            self._at[who] += 1
            self._due[who] = self._next(who, self._at[who] + 1)
        return self._ground.steps[self._at[who]]
