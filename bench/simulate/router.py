"""Which balancer the router sends a flow to, and who is there: ECMP over the routes of the moment."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from random import Random

from bench.simulate.churn import BalancerEvent, Cause

BUCKETS_EACH = 32
"""Buckets of a resilient group for each balancer."""
FOR_EVER = float("inf")


class Router:
    """Routes over time. `at` is the number of changes of routes so far, which callers count up as time passes.

    Resilient: a flow's hash names one of many buckets; those of a next hop that goes are given to others, one that
    comes gets its share from all, and other buckets stay. Not resilient: the hash's range is divided evenly (RFC 2992,
    and Linux without resilient groups), so that a change moves between a quarter and half of all flows.
    """

    def __init__(self, balancers: int, events: Sequence[BalancerEvent], *, resilient: bool, seed: int) -> None:
        self.times: list[float] = []
        self.causes: list[Cause] = []
        self._resilient = resilient
        present = set(range(balancers))
        random = Random(f"{seed} router")
        count = BUCKETS_EACH * balancers
        buckets = array("H", (bucket % balancers for bucket in range(count)))
        self._tables = [buckets if resilient else array("H", sorted(present))]
        for event in sorted(events, key=lambda event: event.routed):
            self.times.append(event.routed)
            self.causes.append(event.cause)
            if not event.up:
                present -= set(event.balancers)
                left = sorted(present)
                if resilient:
                    buckets = array("H", (at if at in present else random.choice(left) for at in buckets))
            else:
                buckets = buckets[:]
                for who in event.balancers:
                    present.add(who)
                    for bucket in random.sample(range(count), count // len(present)) if resilient else ():
                        buckets[bucket] = who
            self._tables.append(buckets if resilient else array("H", sorted(present)))

    def balancer(self, bits: int, at: int) -> int:
        """Where a flow with these 32 bits goes after `at` changes."""
        table = self._tables[at]
        return table[bits * len(table) >> 32]


class Roster:
    """When each balancer is there."""

    def __init__(self, events: Sequence[BalancerEvent]) -> None:
        self._turns: dict[int, list[float]] = {}
        """Times at which a balancer went, came, went ... in turn."""
        for event in sorted(events, key=lambda event: event.time):
            for who in event.balancers:
                self._turns.setdefault(who, []).append(event.time)

    def there(self, who: int, time: float) -> bool:
        """Whether a balancer answers at a time."""
        turns = self._turns.get(who)
        return turns is None or bisect_right(turns, time) % 2 == 0

    def goes(self, who: int, after: float) -> float:
        """When a balancer that is there goes."""
        turns = self._turns.get(who)
        at = bisect_right(turns, after) if turns else 0
        return turns[at] if turns and at < len(turns) else FOR_EVER
