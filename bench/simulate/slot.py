"""One slot's run: its connections, packet by packet, past every scheme at once, so that all meet the same."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import accumulate
from random import Random

from appliance.dataplane.abi import NO_DESTINATION
from bench.simulate.churn import Cause
from bench.simulate.copies import Copies
from bench.simulate.ground import Ground, Views
from bench.simulate.lifetimes import QUANTILES, Kind
from bench.simulate.router import FOR_EVER, Router
from bench.simulate.schemes import CLOSING, GOING_ON, OPENING, Connection, Scheme

RETRY = 1.0
"""Seconds after which a client repeats a SYN that nobody answered (RFC 6298 section 2)."""
ROUND_TRIP = 0.05
"""Seconds from a SYN to the client's next packet."""
WATCHED = 4
"""Balancers whose copies are looked at once a minute, to see how many are tracked."""


@dataclass
class Outcome:
    """What came of a slot's connections."""

    connections: int = 0
    packets: int = 0
    moved: int = 0
    """Connections that the router moved to another balancer, each time."""
    lost: int = 0
    """Connections whose backend went away; and openings that met none, or a dead one."""
    broken: dict[str, dict[Cause, int]] = field(default_factory=dict)
    """By scheme and cause, connections that met another backend while theirs lived."""
    names: dict[str, list[int]] = field(default_factory=dict)
    """By scheme, which connections; for comparisons."""
    tracked: dict[str, list[float]] = field(default_factory=dict)
    """By scheme and minute, the share of balancers that track the slot."""


class Run:
    """Moves time on from packet to packet."""

    def __init__(self, ground: Ground, router: Router, schemes: Sequence[Scheme], views: Views) -> None:
        history, site = ground.history, ground.history.site
        self.outcome = Outcome(broken={scheme.name: {} for scheme in schemes})
        self._ground, self._router, self._schemes, self._views = ground, router, schemes, views
        self._site, self._roster = site, history.roster
        self._random = Random(f"{site.seed} slot {ground.slot}")
        self._routes = 0
        self._joined: dict[int, float] = {}
        self._rate = site.arrivals / site.table
        self._shares = list(accumulate(kind.share for kind in site.kinds))
        self._queue: list[tuple[float, int, Connection]] = []
        self._number = 0
        moments = [(minute * 60.0, 0, -1) for minute in range(int(site.duration // 60) + 1)]
        moments += [(event.time, 1, who) for event in history.churn.balancers if event.up for who in event.balancers]
        self._moments = sorted(moments, reverse=True)
        self._copies = [scheme for scheme in schemes if isinstance(scheme, Copies)]
        self.outcome.tracked = {scheme.name: [] for scheme in self._copies}
        self.outcome.names = {scheme.name: [] for scheme in schemes}

    def all(self) -> Outcome:
        """Run to the end."""
        self._older()
        queue, random = self._queue, self._random
        arrival = random.expovariate(self._rate)
        while True:
            time = min(arrival, queue[0][0] if queue else FOR_EVER)
            while self._moments and self._moments[-1][0] <= min(time, self._site.duration):
                self._moment(*self._moments.pop())
            if time > self._site.duration:
                break
            while self._routes < len(self._router.times) and self._router.times[self._routes] <= time:
                self._routes += 1
            if arrival <= time:
                self._open(self._new(self._kind(), time), time)
                arrival = time + random.expovariate(self._rate)
            else:
                flow = heappop(queue)[2]
                if flow.last:
                    self._packet(flow, time)
                else:
                    self._open(flow, time)
        for _, _, flow in queue:
            self._close(flow, self._site.duration)
        return self.outcome

    def _moment(self, time: float, joins: int, who: int) -> None:
        if joins:
            self._joined[who] = time
            for scheme in self._schemes:
                scheme.joined(who, time)
            return
        count = self._site.balancers
        watched = [at * count // WATCHED for at in range(min(WATCHED, count))]
        there = [one for one in watched if self._roster.there(one, time)]
        for copies in self._copies:
            share = sum(copies.tracked(one, time) for one in there) / len(there) if there else 0.0
            self.outcome.tracked[copies.name].append(share)

    def _older(self) -> None:
        """The connections that are open at the start: as many as are on average, longer ones more likely."""
        for kind in self._site.kinds:
            expected, random = self._rate * kind.share * kind.mean, self._random
            elapsed = random.expovariate(1.0)
            weights = list(accumulate(kind.lifetimes))
            while elapsed < expected:
                life = kind.lifetimes[min(bisect_right(weights, random.random() * weights[-1]), QUANTILES - 1)]
                flow = self._new(kind, 0.0)
                flow.end = life * random.random()
                self._open(flow, 0.0, older=True)
                elapsed += random.expovariate(1.0)
        heapify(self._queue)

    def _kind(self) -> Kind:
        at = bisect_right(self._shares, self._random.random() * self._shares[-1])
        return self._site.kinds[min(at, len(self._shares) - 1)]

    def _new(self, kind: Kind, time: float) -> Connection:
        random = self._random
        life = kind.lifetimes[int(random.random() * QUANTILES)]
        self.outcome.connections += 1
        return Connection(random.getrandbits(64), time + life, kind.pauses)

    def _push(self, flow: Connection, time: float) -> None:
        self._number += 1
        heappush(self._queue, (time, self._number, flow))

    def _pause(self, flow: Connection) -> float:
        return flow.pauses[int(self._random.random() * QUANTILES)]

    def _open(self, flow: Connection, time: float, *, older: bool = False) -> None:
        """The first packet, or that of a connection which was there before the start."""
        who = self._router.balancer(flow.bits, self._routes)
        if not self._roster.there(who, time):
            flow.end += RETRY
            self._push(flow, time + RETRY)
            return
        flow.owner = owner = self._views.step(who, time).owner
        flow.dies = self._ground.ends(owner, time)
        if owner == NO_DESTINATION or flow.dies <= time:
            self.outcome.lost += 1
            return
        flow.balancer, flow.last, flow.opened, flow.packets = who, max(time, 1e-9), time, 1
        for scheme in self._schemes:
            if scheme.answer(flow, who, time, OPENING) != owner:
                raise AssertionError(f"{scheme.name} sends a new connection elsewhere than the slot says")
        self._push(flow, min(time + (self._pause(flow) if older else ROUND_TRIP), flow.end))

    def _packet(self, flow: Connection, time: float) -> None:
        if time >= flow.dies:
            self.outcome.lost += 1
            self._close(flow, flow.dies)
            return
        who = self._router.balancer(flow.bits, self._routes)
        closing = time >= flow.end
        if self._roster.there(who, time):
            self._meet(flow, who, time, closing)
        if closing:
            self._close(flow, time)
        else:
            self._push(flow, min(time + self._pause(flow), flow.end))

    def _meet(self, flow: Connection, who: int, time: float, closing: bool) -> None:
        """A packet at a balancer that is there: what each scheme makes of it."""
        self.outcome.packets += 1
        self.outcome.moved += who != flow.balancer
        transport = CLOSING if closing else GOING_ON
        for number, scheme in enumerate(self._schemes):
            if flow.broken >> number & 1:
                continue
            if scheme.answer(flow, who, time, transport) != flow.owner:
                flow.broken |= 1 << number
                cause = self._cause(flow, who, time, scheme)
                causes = self.outcome.broken[scheme.name]
                causes[cause] = causes.get(cause, 0) + 1
                self.outcome.names[scheme.name].append(flow.name)
                scheme.closed(flow, time)
        flow.balancer, flow.last = who, time
        flow.packets += 1

    def _cause(self, flow: Connection, who: int, time: float, scheme: Scheme) -> Cause:
        """What a break is put down to: long silence, the router, or the last change of the slot."""
        if time - flow.last > self._site.idle:
            return Cause.SILENCE
        if scheme.name not in ("stateless", "second chance"):
            if who != flow.balancer:
                return self._router.causes[self._routes - 1]
            if self._joined.get(who, 0.0) > flow.last:
                return Cause.BALANCER_JOINED
        return self._views.step(who, time).cause or self._router.causes[self._routes - 1]

    def _close(self, flow: Connection, time: float) -> None:
        for number, scheme in enumerate(self._schemes):
            if not flow.broken >> number & 1:
                scheme.closed(flow, time)
