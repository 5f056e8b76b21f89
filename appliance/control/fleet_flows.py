"""Remembered flows on their way between this node's flow table and the fleet. flowshare.py has the theory.

The program puts each flow that it remembers or confirms into a ring. The first after a pause is told at once: should
this node die, others have it; what follows gathers there for a moment, and is told together. As long as slots are
tracked, flows that live are told again, a piece of the table in each second, and once in each round. What others tell
is stored into the table.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from math import ceil, inf

from appliance.dataplane.abi import HALF_TIME
from appliance.dataplane.flowshare import PIECE, FlowLearner, Foreign, News, flows_of, name_bits, round_time, whose
from appliance.dataplane.generation import Generation
from appliance.dataplane.memory import Memory
from appliance.dataplane.newsring import NewsRing
from appliance.dataplane.tables import Tables
from appliance.fleet.records import CANDIDATE, OLDEST, OPENED, WHOLE_NAME, Flow, Flows, Record
from appliance.model import Address, ServiceKey

GATHERED = 0.003
"""Seconds at least between two looks into the ring: flows that begin together share a datagram."""
AT_ONCE = 2000
"""Flows that are told, or remembered late, in one turn of the loop: some milliseconds."""
ENTRIES = 500
"""Flows in one record of those that a joining node is told."""
UNUSED = 2.0
"""Seconds after which the flow table is let go of: mapped as a whole, all of it counts as this process's memory."""

EARLY, EARLY_FLOWS = 60.0, 10_000
"""Seconds for which flows of a backend are kept that this node does not know yet, and how many, at most."""

Owner = tuple[ServiceKey, Address]


class FlowNews:
    """Tells what the program of one generation puts into its ring."""

    def __init__(self, generation: Generation, tell: Callable[[Sequence[Record]], None]) -> None:
        """Raises KernelError."""
        self.generation = generation
        self.taken = 0
        """How many there were."""
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._ring = NewsRing(generation.maps["vc5_news"])
        self._later: asyncio.TimerHandle | None = None
        self._looked = -inf
        self._listen()

    def close(self) -> None:
        """Let go of the ring; what is in it stays there."""
        if self._later is not None:
            self._later.cancel()
        self._loop.remove_reader(self._ring.fileno())
        self._ring.close()

    def _listen(self) -> None:
        self._later = None
        self._loop.add_reader(self._ring.fileno(), self._wait)

    def _wait(self) -> None:
        self._loop.remove_reader(self._ring.fileno())
        self._later = self._loop.call_at(self._looked + GATHERED, self.take)

    def take(self) -> None:
        """Tell the next news."""
        self._looked = self._loop.time()
        news = self._ring.take(AT_ONCE)
        self.taken += len(news)
        if news:
            self._tell(list(told_at_once(self.generation.memory, news)))
        if len(news) == AT_ONCE:
            self._later = self._loop.call_later(0, self.take)
        else:
            self._listen()


def told_at_once(memory: Memory, news: Iterable[News]) -> Iterator[Flows]:
    """Yield records of flows that were just remembered or confirmed; of each flow the last word, if it just began."""
    time = memory.time
    latest: dict[int, tuple[int, Flow]] = {}
    for one in news:
        before = latest.pop(one.name, None)
        opened = one.opened or (before is not None and before[0] == one.destination and bool(before[1].flags & OPENED))
        flags = (CANDIDATE if one.candidate else 0) | (OPENED if opened else 0)
        left = max(0, min(OLDEST, one.expiry - time))
        latest[one.name] = one.destination, Flow(one.name, left, flags)
    found: dict[int, list[Flow]] = {}
    for number, flow in latest.values():
        found.setdefault(number, []).append(flow)
    for number, flows in found.items():
        owner = whose(memory, number)
        if owner is not None:
            yield Flows(*owner, tuple(flows))


def remembered(memory: Memory, first: int, count: int, least: int = 1, but: Foreign | None = None) -> Iterator[Flows]:
    """Yield the flows in some ways that have at least so many seconds left, `but` for those that go by other nodes."""
    owner_of = lru_cache(None)(lambda number: whose(memory, number))
    bits = name_bits(memory)
    for start in range(first, first + count, PIECE):
        found: dict[int, list[Flow]] = {}
        for name, number, left, candidate in flows_of(memory, start, min(PIECE, first + count - start), least, but):
            found.setdefault(number, []).append(Flow(name, left, CANDIDATE if candidate else 0))
        for number, flows in found.items():
            owner = owner_of(number)
            if owner is not None:
                for at in range(0, len(flows), ENTRIES):
                    yield Flows(*owner, tuple(flows[at : at + ENTRIES]), bits)


class FlowRound:
    """Tells flows again that live: all of them once in each round, those that had a packet since the last one."""

    def __init__(self) -> None:
        self._at = 0

    def step(self, memory: Memory, foreign: Foreign) -> Iterator[Flows]:
        """Yield the flows of the next second's part of the table, but for those that go by other nodes."""
        ways, idle = memory.shape.owners, min(memory.settings.get(0, "idle"), HALF_TIME)
        seconds = round_time(idle)
        count = -(-ways // seconds // PIECE) * PIECE
        first, self._at = self._at, self._at + count
        if self._at >= ways:
            self._at = 0
        return remembered(memory, first, min(count, ways - first), max(1, idle - seconds - 1), foreign)


class FlowsLearnt:
    """Stores what others tell of flows. It holds the flow table for as long as it is used.

    Nodes get a new configuration one after the other: flows of a backend that this one does not know yet wait for it.
    """

    def __init__(self) -> None:
        self.foreign = Foreign()
        """What was learnt into the memory in use."""
        self._learner: FlowLearner | None = None
        self._of: Memory | None = None
        self._memory: Memory | None = None
        self._time = -1
        self._used = 0.0
        self.learnt = 0
        """Flows that are remembered as they were told."""
        self.passed = 0
        """Those that are not: something better was known, there was no room, or no such backend."""
        self._early: dict[Owner, deque[tuple[float, Flows]]] = {}
        self._waiting = 0
        """How many flows wait for their backend."""

    def learn(self, tables: Tables, record: Flows, now: float) -> None:
        """Remember flows, as far as they fit with what is known."""
        entry, number = tables.entry(record.service), tables.numbers(record.service).get(record.backend)
        if entry is None or number is None:
            self._wait(record, now)
            return
        self._used, memory = now, tables.memory
        if self._learner is None or self._memory is not memory or self._time != memory.time:
            if self._of is not memory:
                self._of, self.foreign = memory, Foreign()
            self._learner, self._memory, self._time = FlowLearner(memory, self.foreign), memory, memory.time
        index, bits, learn = number - entry.destinations, min(record.name_bits, WHOLE_NAME), self._learner.learn
        found = sum(
            learn(
                entry,
                index,
                name,
                left,
                bits=bits,
                candidate=bool(flags & CANDIDATE),
                opened=bool(flags & OPENED),
            )
            for name, left, flags in record.entries
        )
        self.learnt += found
        self.passed += len(record.entries) - found

    def _wait(self, record: Flows, at: float) -> None:
        if self._waiting + len(record.entries) > EARLY_FLOWS:
            self.passed += len(record.entries)
            return
        self._waiting += len(record.entries)
        self._early.setdefault((record.service, record.backend), deque()).append((at, record))

    def again(self, tables: Tables, now: float) -> None:
        """Remember those whose backends are known by now, some AT_ONCE of them; ask again for the others."""
        left = AT_ONCE
        for owner, early in list(self._early.items()):
            known = owner[1] in tables.numbers(owner[0])
            while early and left > 0 and (known or now - early[0][0] > EARLY):
                at, record = early.popleft()
                self._waiting -= len(record.entries)
                left -= len(record.entries)
                if now - at > EARLY:
                    self.passed += len(record.entries)
                    continue
                entries = tuple(one._replace(left=one.left - ceil(now - at)) for one in record.entries)
                self.learn(tables, replace(record, entries=entries), now)
            if not early:
                del self._early[owner]

    def look(self, now: float) -> None:
        """Let go of the table where nobody has told of flows for a while."""
        if self._learner is not None and now - self._used > UNUSED:
            self._learner = self._memory = None
