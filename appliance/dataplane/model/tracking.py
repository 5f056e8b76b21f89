"""Which destination a packet of a service belongs to: settled slots and the flow table.

A slot holds `now`, the destination of new flows. While it is tracked it also has `was`, the destination of flows that
nothing is remembered of. A destination is named by its index inside the service; index 0 is "no backend".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

from appliance.dataplane.abi import (
    ASK_PREVIOUS,
    CANDIDATE,
    EXPIRY_BITS,
    FIN_LIFE,
    HALF_TIME,
    INDEX_BITS,
    INDEX_LIMIT,
    NO_DESTINATION,
    RST_LIFE,
    SETTLING,
    WAYS,
)
from appliance.dataplane.aside import NEWS
from appliance.dataplane.enums import DeadPolicy, Reason, State
from appliance.dataplane.flowshare import News
from appliance.dataplane.hashing import flow_hash, flow_name, slot_of, whole_name
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.dataplane.model.packet import FIN, RST, UDP, Ip, Transport

CLOCK = 1 << EXPIRY_BITS
"""Expiry times are kept modulo this many seconds."""
TIMES = 1 << 32
"""The coarse clock itself is a word."""
NEWS_TAKES = NEWS.size + 8
"""Bytes of the ring that one of them takes, with the kernel's header (Documentation/bpf/ringbuf.rst)."""


@dataclass(frozen=True)
class Flow:
    """A remembered flow. `expiry` is the coarse time, modulo CLOCK, from which on it is forgotten."""

    tag: int
    index: int
    candidate: bool
    expiry: int

    @classmethod
    def of(cls, way: int) -> Self:
        """What a way of the flow table holds."""
        return cls(
            tag=way >> (EXPIRY_BITS + 1 + INDEX_BITS),
            index=(way >> (EXPIRY_BITS + 1)) % INDEX_LIMIT,
            candidate=bool(way & CANDIDATE),
            expiry=way % CLOCK,
        )

    @property
    def way(self) -> int:
        """The word that stands for it."""
        mark = CANDIDATE if self.candidate else 0
        return ((self.tag << INDEX_BITS | self.index) << (EXPIRY_BITS + 1)) | mark | self.expiry

    def expired(self, time: int) -> bool:
        """Whether its time has come; what lies more than half of the clock ahead is taken to be past."""
        return not 1 <= (self.expiry - time) % CLOCK <= HALF_TIME


@dataclass(frozen=True)
class Choice:
    """An index inside the service; `dead` where the packet's flow ended with that destination."""

    index: int
    dead: bool = False


@dataclass(frozen=True)
class _Before:
    """Where older flows belong. Who had to be `asked` for in the generation before is remembered in this one."""

    was: int
    asked: bool


@dataclass(frozen=True)
class _Place:
    """Where a flow was found in its set, perhaps expired."""

    way: int
    flow: Flow


class Tracking:
    """The program's half of settled slots; the control plane's half is `slots`."""

    def __init__(self, memory: Memory, count: Callable[[Reason], None]) -> None:
        """`count` is told of every decision about a packet in a tracked slot."""
        self._memory = memory
        self._count = count
        self.news: deque[News] = deque()
        """The ring: what nobody has taken yet."""

    def slot(self, service: Entry, ip: Ip, transport: Transport) -> tuple[int, int]:
        """The slot of a packet, counted over all services, and the hash that the packet's flow is remembered by.

        Where the service is sticky, ports have no part in the slot; yet each flow is remembered for itself.
        """
        whole = self._hash(ip, transport)
        place = self._hash(ip, transport, sticky=True) if service.sticky else whole
        return service.slots + slot_of(place, service.slot_count), whole

    def spread(self, service: Entry, ip: Ip, transport: Transport) -> int:
        """The hash that decides the slot."""
        return self._hash(ip, transport, sticky=service.sticky)

    def _hash(self, ip: Ip, transport: Transport, *, sticky: bool = False, previous: bool = False) -> int:
        k = self._memory.coefficients(previous=previous)
        ports = transport.source_port, ip.destination, transport.destination_port
        return flow_hash(k, ip.source, *ports, ip.protocol, sticky=sticky)

    def choose(self, service: Entry, ip: Ip, transport: Transport) -> Choice:
        """Decide, and remember what has to be."""
        slot, flow = self.slot(service, ip, transport)
        previous = partial(self._previous, service, ip, transport)
        return self.answer(service, slot, flow, transport, udp=ip.protocol == UDP, previous=previous)

    def answer(
        self,
        service: Entry,
        slot: int,
        flow: int,
        transport: Transport,
        *,
        udp: bool = False,
        previous: Callable[[], int] | None = None,
    ) -> Choice:
        """As `choose`, for a packet whose slot, counted over all services, and whose flow's hash are known.

        Of the transport header only the flags are read. `previous` says where the flow belongs by the hash of before
        the last hash change; without it there was none.
        """
        word = self._memory.slots[slot]
        now = word % self._memory.tracked
        if now == word:
            return Choice(now)
        was = self._memory.histories.get(slot, "was")
        asked = was == ASK_PREVIOUS and self._memory.shape.previous
        if asked and previous is not None:
            was = previous()
        before = _Before(was % INDEX_LIMIT, asked)
        return self._choose_tracked(service, slot, now, before, flow, udp, transport)

    def peek(self, service: Entry, ip: Ip, transport: Transport) -> Choice:
        """Where an older flow belongs, as `choose` would say, but nothing is remembered, refreshed or counted."""
        memory = self._memory
        slot, flow = self.slot(service, ip, transport)
        word = memory.slots[slot]
        now = word % memory.tracked
        if now == word:
            return Choice(now)
        owner = memory.histories.get(slot, "was")
        if owner == ASK_PREVIOUS and memory.shape.previous:
            owner = self._previous(service, ip, transport)
        owner %= INDEX_LIMIT
        found = self._find(*self._set(flow))
        if found and not found.flow.expired(memory.time) and found.flow.index < service.capacity:
            owner = found.flow.index
        if self._state(service, owner) >= State.DRAINING:
            return Choice(owner)
        if ip.protocol == UDP or owner == NO_DESTINATION or service.on_dead == DeadPolicy.RESELECT:
            return Choice(now)
        return Choice(owner, dead=True)

    def _previous(self, service: Entry, ip: Ip, transport: Transport) -> int:
        """Where an older flow belongs by the slots and the hash of before the last hash change."""
        flow = self._hash(ip, transport, previous=True)
        place = self._hash(ip, transport, sticky=service.previous_sticky, previous=True)
        slot = service.previous_slots + slot_of(place, service.previous_count)
        word = self._memory.slots[slot]
        now = word % self._memory.tracked
        if now == word:
            return now
        first, tag = self._set(flow)
        mine = [known for known in self._flows(first) if known.tag == tag and known.index < service.capacity]
        living = [known for known in mine if not known.expired(self._memory.time)]
        if living:
            return living[-1].index
        was = self._memory.histories.get(slot, "was")
        return now if was == ASK_PREVIOUS else was % INDEX_LIMIT

    def _flows(self, first: int) -> list[Flow]:
        """The flows of a set, in the order of their ways."""
        return [Flow.of(word) for word in self._memory.flows[first : first + WAYS].tolist() if word]

    def _choose_tracked(
        self, service: Entry, slot: int, now: int, before: _Before, flow: int, udp: bool, transport: Transport
    ) -> Choice:
        memory, time, was = self._memory, self._memory.time, before.was
        first, tag = self._set(flow)
        found = self._find(first, tag)
        # An index beyond the service's destinations is left from a larger service of the same name.
        living = found and not found.flow.expired(time) and found.flow.index < service.capacity
        known = found.flow if found and living else None
        owner = known.index if known else was
        state = self._state(service, owner)
        expiry = (time + self._life(transport.flags)) % CLOCK

        if known and state >= State.DRAINING and not (transport.opens and state is State.DRAINING):
            # A remembered flow stays where it is; a packet that does not open it again confirms it.
            fresh = replace(known, candidate=known.candidate and transport.opens, expiry=expiry)
            assert found is not None
            # The first packet of a second has written all that the others would.
            if fresh.way != memory.flows[first + found.way]:
                if service.remember_all or memory.shape.fleet:
                    memory.owners[first + found.way] = service.destinations + owner
                memory.flows[first + found.way] = fresh.way
                longer = (fresh.expiry - known.expiry) % CLOCK
                silent = memory.settings.get(0, "idle") // 4 < longer < HALF_TIME
                if not fresh.candidate and (known.candidate or silent):
                    self._tell(service, slot, flow, owner, transport, candidate=False)
                if owner != now and not fresh.candidate:
                    memory.histories.put(slot, "diverted", time)
            self._count(Reason.TRACKED_HIT)
            return Choice(owner)

        # Another node of a fleet may answer otherwise where this one sees no difference.
        every = before.asked or service.remember_all or memory.shape.fleet
        if not transport.opens and state >= State.DRAINING:
            # Nothing is remembered of an older flow: it began when `was` was the answer.
            self._count(Reason.TRACKED_OLD)
            if memory.shape.fleet and not udp and not transport.flags & RST:
                age = (time - memory.histories.get(slot, "changed")) % TIMES
                if age > memory.settings.get(0, "idle"):
                    # By now every living connection has sent a packet, and is remembered.
                    self._count(Reason.TRACKED_UNKNOWN)
                elif age > SETTLING:
                    # Most of them have.
                    self._count(Reason.TRACKED_FIRST)
            worth = (was != now or every) and not transport.flags & RST
            if worth and self._remember(service, first, found, Flow(tag, was, True, expiry)):
                self._tell(service, slot, flow, was, transport)
            return Choice(was)

        if not transport.opens and not udp:
            # An established connection whose backend is dead. Where there was none, the packet has nothing to lose.
            if owner == NO_DESTINATION or service.on_dead == DeadPolicy.RESELECT:
                return Choice(now)
            return Choice(owner, dead=True)

        # A new flow; or a datagram whose flow's backend is dead, which is as good as new.
        self._count(Reason.TRACKED_NEW)
        stale = found is not None
        worth = now != NO_DESTINATION and (now != was or stale or every)
        if worth and self._remember(service, first, found, Flow(tag, now, True, expiry)):
            self._tell(service, slot, flow, now, transport, opened=True)
        return Choice(now)

    def _tell(
        self,
        service: Entry,
        slot: int,
        flow: int,
        index: int,
        transport: Transport,
        *,
        candidate: bool = True,
        opened: bool = False,
    ) -> None:
        """Tell the fleet of a flow. Candidates are told only while the ring is less than half full."""
        shape, taken = self._memory.shape, len(self.news) * NEWS_TAKES
        if not shape.fleet:
            return
        # The kernel fills all of a ring but its last byte.
        if (candidate and taken > shape.news // 2) or taken + NEWS_TAKES > shape.news - 1:
            self._count(Reason.UNTOLD)
            return
        expiry = (self._memory.time + self._life(transport.flags)) % TIMES
        number = service.destinations + index
        self.news.append(News(whole_name(flow), number, slot, expiry, candidate=candidate, opened=opened))

    def _state(self, service: Entry, index: int) -> State:
        return self._memory.state(service.destinations + index)

    def _life(self, flags: int) -> int:
        """Seconds for which a flow is remembered after a packet with these flags."""
        idle = self._memory.settings.get(0, "idle")
        if flags & RST:
            return min(idle, RST_LIFE)
        if flags & FIN:
            return min(idle, FIN_LIFE)
        return idle

    def _set(self, flow: int) -> tuple[int, int]:
        """The first way of a flow's set, and its tag."""
        number, tag = flow_name(flow, self._memory.shape.sets)
        return number * WAYS, tag

    def _find(self, first: int, tag: int) -> _Place | None:
        """The last way of a set that holds the tag; an expired one counts, since it must not stay beside a new one."""
        for way in reversed(range(WAYS)):
            word = self._memory.flows[first + way]
            if word and Flow.of(word).tag == tag:
                return _Place(way, Flow.of(word))
        return None

    def _remember(self, service: Entry, first: int, found: _Place | None, flow: Flow) -> bool:
        """Write a new entry in the place of the flow's former one, else of one that may go; False: there is none."""
        way = found.way if found else self._victim(first)
        if way is None:
            self._count(Reason.REFUSED)
            return False
        self._memory.flows[first + way] = flow.way
        if self._memory.shape.tracks_all or self._memory.shape.fleet:
            owned = service.remember_all or self._memory.shape.fleet
            self._memory.owners[first + way] = service.destinations + flow.index if owned else 0
        self._count(Reason.REMEMBERED)
        return True

    def _victim(self, first: int) -> int | None:
        """The last empty or expired way of a set, else the last candidate's; confirmed flows are never put out."""
        words = self._memory.flows[first : first + WAYS].tolist()
        time = self._memory.time
        free = [way for way, word in enumerate(words) if not word or Flow.of(word).expired(time)]
        candidates = [way for way, word in enumerate(words) if Flow.of(word).candidate]
        ways = free or candidates
        return ways[-1] if ways else None
