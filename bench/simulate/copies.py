"""Settled slots: all balancers' copies of one slot, in one memory, with the product's rules for both halves.

What comes to a balancer: its own sight of each change; from the exchange that others track the slot, what they have
`diverted`, and their remembered flows: at once what the program tells as news, and the rest in the daemon's rounds, by
those who saw the packets. A record is on its way for `delay`, and `repair` longer each time that it is lost. Where all
say the same at about the same time (that a slot has changed), the first and the last stand for all.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from itertools import islice

from appliance.dataplane.abi import FIN_LIFE
from appliance.dataplane.enums import DeadPolicy, Reason
from appliance.dataplane.flowshare import round_time
from appliance.dataplane.hashing import MASK
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.dataplane.model.packet import FIN, Transport
from appliance.dataplane.model.tracking import Tracking
from appliance.dataplane.shape import Shape, power_of_two
from appliance.dataplane.slots import SlotTable, ToldSlot
from appliance.dataplane.slotshare import retell
from appliance.model import Protocol, ServiceKey
from bench.simulate.ground import Ground
from bench.simulate.learning import learn_flow, learn_slot, told_slot
from bench.simulate.router import FOR_EVER
from bench.simulate.schemes import Connection, Kept, Telling, hash_at
from bench.simulate.site import Site

SERVICE = ServiceKey(IPv4Address("192.0.2.1"), 443, Protocol.TCP)
ROOM = 12
"""Ways for each flow that is open in the slot: so sets do not run over."""


def second(time: float) -> int:
    """The coarse clock at a time; it never stands at 0."""
    return int(time) + 1


def next_round(flow: Connection, who: int, time: float, idle: int) -> float:
    """When a balancer's round comes to a flow next. A round takes all the time there is, so each flow has its own."""
    every = round_time(idle)
    begins = ((flow.name + who * 0x9E3779B97F4A7C15) * 0xD6E8FEB86659FD93 >> 16 & 0xFFFFFFFF) * every / 2**32
    return begins + ((time - begins) // every + 1) * every


def first_retelling(who: int, idle: int) -> float:
    """When a balancer says all about its tracked slots for the first time; from then on it does so regularly."""
    return (who * 0xD6E8FEB86659FD93 & 0xFFFFFFFF) * retell(idle, idle) / 2**32


@dataclass(frozen=True)
class Channel:
    """How long records take, by sender and receiver; drawn, but always the same."""

    site: Site

    def delay(self, what: int, receiver: int) -> float:
        """Seconds that record `what` takes to a receiver."""
        taken, drawn = self.site.delay, what * 0x9E3779B97F4A7C15 + receiver * 0xD6E8FEB86659FD93 + self.site.seed
        while True:
            drawn = ((drawn ^ drawn >> 31) * 0xBF58476D1CE4E5B9) & MASK
            drawn ^= drawn >> 29
            if drawn >= self.site.loss * (MASK + 1):
                return taken
            taken += self.site.repair


class Copies:
    """Settled slots; with a channel balancers tell each other, without one they do not."""

    def __init__(
        self, ground: Ground, channel: Channel | None, flows: float, rules: Callable[..., SlotTable] = SlotTable
    ) -> None:
        """`flows`: how many connections are open in the slot at a time; `rules` as in a test of wrong ones."""
        site = ground.history.site
        self.name = "settled slots" if channel else "settled slots, no exchange"
        self._ground, self._channel, self._rules = ground, channel, rules
        self._idle, self._round, self._retell = site.idle, round_time(site.idle), retell(site.idle, site.idle)
        capacity, steps = power_of_two(len(ground.backends), 2), len(ground.steps)
        shape = Shape(
            services=2,
            destinations=power_of_two(capacity * steps, 4),
            slots=power_of_two(site.balancers, 4),
            sets=power_of_two(int(ROOM * (flows + 100)) // 8, 64),
            fragment_sets=2,
            fleet=channel is not None,
        )
        self._memory = Memory.plain(shape)
        self._memory.settings.put(0, "idle", site.idle)
        self._entries = []
        for at, step in enumerate(ground.steps):
            for index, state in enumerate(step.states):
                self._memory.destinations.put(at * capacity + index, "state", state)
            self._entries.append(Entry(SERVICE, 0, 1, at * capacity, capacity, DeadPolicy.RESELECT))
        self._tracking = Tracking(self._memory, self._count)
        self._remembered = False
        self.refused = 0
        self._tables: list[SlotTable | None] = [None] * site.balancers
        self._births: dict[int, int] = {}
        """How often a balancer has come anew."""
        self._born: dict[int, float] = {}
        """When it did so last."""
        self._at = [0] * site.balancers
        self._swept = [0] * site.balancers
        self._due = [-FOR_EVER] * site.balancers
        self._coming: list[list[tuple[float, int]]] = [[] for _ in range(site.balancers)]
        self._looked = [-FOR_EVER] * site.balancers
        self._diverted: list[Telling] = []
        self._last_diverted: dict[int, Telling] = {}
        self.told: dict[int, int] = {}
        """By minute: entries about flows that the exchange carried."""
        self.kept: list[tuple[float, float]] = []
        """From when to when a balancer remembered a flow; with an exchange, all of them."""

    def _count(self, reason: Reason) -> None:
        if reason is Reason.REMEMBERED:
            self._remembered = True
        elif reason is Reason.REFUSED:
            self.refused += 1

    def answer(self, flow: Connection, who: int, time: float, transport: Transport) -> int:
        """What the model answers at this balancer."""
        table, coarse = self._current(who, time), second(time)
        if self._channel and (flow.balancer != who or self._born.get(who, -1.0) > flow.last):
            self._learn(flow, who, time)
        self._clock(coarse)
        self._remembered = False
        entry = self._entries[self._at[who]]
        choice = self._tracking.answer(entry, who, self._hash(flow, who), transport)
        if table.tracked:
            self._note(flow, who, time, transport, table)
        return choice.index

    def tracked(self, who: int, time: float) -> bool:
        """Whether a balancer tracks the slot."""
        return bool(self._current(who, time).tracked)

    def joined(self, who: int, time: float) -> None:
        """A balancer comes; its peers, where they talk, tell it what they track, before it answers anything."""
        self._births[who] = self._births.get(who, 0) + 1
        self._born[who], self._swept[who] = time, second(time)
        self._memory.histories.clear(who)
        table = self._begin(who, time)
        there = self._ground.history.roster.there
        peer = next((one for one in range(len(self._at)) if one != who and there(one, time)), None)
        if self._channel is None or peer is None:
            return
        other, coarse = self._current(peer, time), second(time)
        if other.tracked:
            learn_slot(table, 0, told_slot(other, 0, coarse), coarse, self._idle, joining=True)
        elif other.owners() != table.owners():  # as `slotshare.learn_table`
            now = other.owners()[0]
            learn_slot(table, 0, ToldSlot(now, now, 0, self._idle), coarse, self._idle, joining=True)

    def closed(self, flow: Connection, time: float) -> None:
        """Note for how long the flow was remembered."""
        kept = flow.kept.pop(self.name, None)
        if kept is not None:
            told = max((telling.value + self._idle for telling in kept.tellings if telling.told), default=kept.until)
            self.kept.append((kept.since, told))

    def _hash(self, flow: Connection, who: int) -> int:
        return hash_at(flow, who | self._births.get(who, 0) << 16)

    def _clock(self, coarse: int) -> None:
        self._memory.settings.put(0, "time", coarse)

    def _current(self, who: int, time: float) -> SlotTable:
        """A balancer's copy with all that has come to it done, each thing at its time."""
        table = self._tables[who]
        if table is None:
            table = self._begin(who, -FOR_EVER)
        if time >= self._due[who] or (self._diverted and self._channel):
            self._catch_up(table, who, time)
        self._sweep(table, who, time)
        self._looked[who] = time
        return table

    def _begin(self, who: int, born: float) -> SlotTable:
        """The copy as it is filled at first: at the start, or where the balancer comes later, then."""
        ground = self._ground
        self._at[who] = at = ground.known(who, born)
        table = self._tables[who] = self._rules(self._memory, who, 1)
        table.fill([ground.steps[at].owner])
        coming = []
        for number in range(1, len(ground.steps)):
            if number > at:
                coming.append((ground.arrival(number, who), number))
            step = ground.steps[number]
            others = ground.history.seen(step.number).by_others(who) if self._channel and step.moved else None
            if self._channel and others:
                delay = self._channel.delay(step.number, who)
                coming += [(seen + delay, -number) for seen in others if seen + delay > born]
        self._coming[who] = sorted(coming, reverse=True)
        self._due[who] = self._coming[who][-1][0] if coming else FOR_EVER
        self._looked[who] = born
        return table

    def _catch_up(self, table: SlotTable, who: int, time: float) -> None:
        coming = self._coming[who]
        arrived = [(*coming.pop(), None) for _ in range(sum(1 for entry in coming if entry[0] <= time))]
        self._due[who] = coming[-1][0] if coming else FOR_EVER
        events: list[tuple[float, int, Telling | None]] = [*arrived, *self._heard(who, time)]
        events.sort(key=lambda event: event[:2])
        for when, number, telling in events:
            coarse = second(when)
            self._sweep(table, who, when)
            if telling is not None and telling.slot is not None:
                told = replace(telling.slot, diverted=second(telling.time) - telling.value)
                learn_slot(table, 0, told, coarse, self._idle)
            elif number < 0:
                step = self._ground.steps[-number]
                learn_slot(table, 0, ToldSlot(step.former, step.owner, 0, 2 * self._idle), coarse, self._idle)
            else:
                self._at[who] = number
                table.assign([self._ground.steps[number].owner], coarse)

    def _sweep(self, table: SlotTable, who: int, time: float) -> None:
        """As every second begins with one; what changes within a second waits for the next."""
        coarse = second(time)
        if table.tracked and coarse > self._swept[who]:
            table.sweep(coarse, self._idle, self._idle)
            self._swept[who] = coarse

    def _heard(self, who: int, time: float) -> list[tuple[float, int, Telling]]:
        """What others have said of diverted flows since this balancer was looked at."""
        if self._channel is None:
            return []
        found = []
        longest = self._ground.history.site.delay + 20 * self._ground.history.site.repair
        first = bisect_left(self._diverted, self._looked[who] - longest, key=lambda telling: telling.time)
        for telling in islice(self._diverted, first, None):
            if telling.time > time:
                break
            if telling.sender != who and telling.told:
                arrival = telling.time + self._channel.delay(telling.name, who)
                if self._looked[who] < arrival <= time:
                    found.append((arrival, 0, telling))
        return found

    def _learn(self, flow: Connection, who: int, time: float) -> None:
        """What others have told of a flow that comes to a balancer; the latest that has arrived counts."""
        kept = flow.kept.get(self.name)
        if self._channel is None or kept is None:
            return
        coarse = second(time)
        self._clock(coarse)
        for telling in kept.tellings:
            own = telling.sender == who and telling.time >= self._born.get(who, 0.0)
            if telling.told and not own and telling.time + self._channel.delay(telling.name, who) <= time:
                left = telling.value + self._idle - coarse
                learn_flow(self._memory, self._entries[self._at[who]], self._hash(flow, who), flow.owner, telling, left)

    def _note(self, flow: Connection, who: int, time: float, transport: Transport, table: SlotTable) -> None:
        """After a packet of a tracked slot: what is remembered now, and what will be told of it, and when."""
        coarse, kept = second(time), flow.kept.get(self.name)
        news = list(self._tracking.news)
        self._tracking.news.clear()
        if self._remembered:
            if kept is None:
                kept = flow.kept[self.name] = Kept(time, who)
            elif self._channel is None and kept.where != who:
                self.kept.append((kept.since, kept.until))
                kept.since = time
            kept.where = who
        if kept is None:
            return
        closing = bool(transport.flags & FIN) and self._idle > FIN_LIFE
        kept.until = time + (FIN_LIFE if closing else self._idle)
        if self._channel is None:
            return
        for one in news:
            value = one.expiry - self._idle
            kept.tellings.append(Telling(time, who, value, news=True, candidate=one.candidate, opened=one.opened))
            self._count_entry(time)
        self._in_round(kept, flow, who, time, closing=closing)
        del kept.tellings[:-6]
        if self._memory.histories.get(who, "diverted") == coarse:
            self._divert(who, time, coarse, table)

    def _count_entry(self, time: float) -> None:
        minute = int(time // 60)
        self.told[minute] = self.told.get(minute, 0) + 1

    def _in_round(self, kept: Kept, flow: Connection, who: int, time: float, *, closing: bool) -> None:
        """The daemon's next round tells of the flow again, if it is still alive then; what has ended it leaves out."""
        pending = next((one for one in reversed(kept.tellings) if one.sender == who and one.time >= time), None)
        if pending is not None and not pending.news:
            pending.value = second(time)
            pending.told = pending.told and not closing
            return
        when = next_round(flow, who, time, self._idle)
        told = not closing and self._ground.history.roster.goes(who, time) > when
        kept.tellings.append(Telling(when, who, second(time), told))
        if told:
            self._count_entry(when)

    def _divert(self, who: int, time: float, coarse: int, table: SlotTable) -> None:
        """A flow went elsewhere than the present answer: others hear of it with the tracked slots, again and again."""
        last = self._last_diverted.get(who)
        if last is not None and last.time >= time:
            last.value = coarse
            return
        when = first_retelling(who, self._idle)
        while when <= time:
            when += self._retell
        slot = replace(told_slot(table, 0, coarse), changed=second(when) - table.slot(0).changed)
        told = self._ground.history.roster.goes(who, time) > when
        self._last_diverted[who] = telling = Telling(when, who, coarse, told, slot=slot)
        insort(self._diverted, telling)
