"""What the answer of every slot is over time, and when each balancer comes to know: computed once for all.

All balancers see events in the same order, each at moments of its own. So after so many events every balancer holds the
same table, and one is computed for each event.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import compress
from operator import ne
from random import Random

from appliance.dataplane import maglev
from appliance.dataplane.enums import State
from bench.simulate.churn import Cause, Churn
from bench.simulate.router import FOR_EVER, Roster
from bench.simulate.site import Site

NOBODY = -1
"""The owner of a slot where no backend is available."""
FIRST_BACKEND = IPv4Address("10.0.0.1")


@dataclass(frozen=True)
class Seen:
    """Who has seen an event, by time: the first two and the last two of those who were there."""

    first: tuple[tuple[float, int], ...]
    last: tuple[tuple[float, int], ...]

    def by_others(self, who: int) -> tuple[float, float] | None:
        """When the first and the last other balancer saw it; None where there is no other."""
        first = next((time for time, other in self.first if other != who), None)
        last = next((time for time, other in self.last if other != who), None)
        return None if first is None or last is None else (first, last)


class History:
    """Of every slot the answers in turn; of every backend its states; of every event who sees it when."""

    def __init__(self, site: Site, churn: Churn, progress: Callable[[str], None]) -> None:
        self.site, self.churn = site, churn
        self.roster = Roster(churn.balancers)
        self.states: dict[int, list[tuple[int, State]]] = {}
        """By backend: after which number of events it is in which state."""
        self.changes: dict[int, list[tuple[int, int]]] = {}
        """By slot: after which number of events who owns it. Only slots that ever change."""
        self.changed: list[int] = []
        """By event: how many slots changed their answer."""
        self.left: list[int] = []
        """By event: how many owners those had."""
        now = {who: State.NONE if who in churn.absent else State.AVAILABLE for who in range(site.backends)}
        self.start = dict(now)
        self.owners = owners = self._table(now)
        for number, event in enumerate(churn.backends, 1):
            before = dict(now)
            for who in event.backends:
                now[who] = event.state
                self.states.setdefault(who, []).append((number, event.state))
            takes = event.state is State.AVAILABLE or any(before[who] is State.AVAILABLE for who in event.backends)
            after = self._table(now) if takes else owners
            moved = list(compress(range(site.table), map(ne, owners, after)))
            for slot in moved:
                self.changes.setdefault(slot, []).append((number, after[slot]))
            self.changed.append(len(moved))
            self.left.append(len({owners[slot] for slot in moved}))
            owners = after
            progress(f"tables: {number} of {len(churn.backends)} events")
        self.arrivals = self._arrivals()
        self._seen: dict[int, Seen] = {}

    def _table(self, states: dict[int, State]) -> tuple[int, ...]:
        members = [who for who, state in states.items() if state is State.AVAILABLE]
        found = maglev.compute(tuple((FIRST_BACKEND + who, 1) for who in members), self.site.table)
        return tuple(members[at] for at in found) if members else found

    def _arrivals(self) -> list[array[float]]:
        """By number of events and balancer: when that balancer acts on so many; before the first, always."""
        times = [array("d", [-FOR_EVER]) * self.site.balancers]
        for number, event in enumerate(self.churn.backends, 1):
            random = Random(f"{self.site.seed} event {number}").random
            times.append(array("d", (max(before, event.time + event.sight * random()) for before in times[-1])))
        return times

    def known(self, who: int, time: float) -> int:
        """How many events a balancer has acted on at a time."""
        return bisect_right(self.arrivals, time, key=lambda times: times[who]) - 1

    def seen(self, number: int) -> Seen:
        """Which balancers see an event first and last."""
        if number not in self._seen:
            there = self.roster.there
            all_of = sorted((time, who) for who, time in enumerate(self.arrivals[number]) if there(who, time))
            self._seen[number] = Seen(tuple(all_of[:2]), tuple(reversed(all_of[-2:])))
        return self._seen[number]

    def cause(self, number: int) -> Cause:
        """What the event of this number was."""
        return self.churn.backends[number - 1].cause

    def ends(self, who: int, time: float) -> float:
        """When a backend that has a connection at `time` next dies and takes it along; at once where it is dead."""
        alive = self.start[who] >= State.DRAINING
        for number, state in self.states.get(who, []):
            at = self.churn.backends[number - 1].time
            if at > time and not alive:
                return time
            if at > time and state < State.DRAINING:
                return at
            alive = state >= State.DRAINING
        return FOR_EVER if alive else time
