"""Random histories of one slot: the tracking rules keep every flow, and obvious simpler ones do not.

One slot, four backends that die, return, drain and change weight; clients that open flows (reusing 5-tuples), sleep
and go on. A packet of an established flow that reaches another backend than the one it began with, while that one
lives, is a misroute. The control half is the real one; the packet half is written here once more from its rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from random import Random
from typing import Protocol

import pytest

from appliance.dataplane.abi import INDEX_LIMIT, TRACKED
from appliance.dataplane.enums import State
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import Shape
from appliance.dataplane.slots import SlotTable
from tests.profile import FUZZ
from tests.unit.dataplane.packets import Steering

HISTORIES = 2_000 if FUZZ else 300
STEPS = 4_000
IDLE = 100
UDP_GRACE = 30
BASE = 16
BACKENDS = (1, 2, 3, 4)
"""Indexes of destinations inside the service."""


class Rules(Protocol):
    """A control half and a packet half."""

    def state(self, index: int, state: State) -> None: ...
    def now(self) -> int: ...
    def change(self, new: int) -> None: ...
    def pass_time(self, time: float) -> None: ...
    def packet(self, flow: int, *, opens: bool) -> int: ...


class Settled:
    """The real slots, swept as often as the clock moves."""

    table: type[SlotTable] = SlotTable
    udp = False
    grace = IDLE

    def __init__(self) -> None:
        self.memory = Memory.plain(Shape(services=2, destinations=32, slots=4, sets=2))
        self.memory.settings.put(0, "idle", IDLE)
        self.steering = Steering(self.memory)
        self.slots = self.table(self.memory, 1, 1)
        self.time = 1
        for index in BACKENDS:
            self.state(index, State.AVAILABLE)
        self.slots.assign([BACKENDS[0]], self.time)

    def state(self, index: int, state: State) -> None:
        self.memory.destinations.put(BASE + index, "state", state)

    def now(self) -> int:
        return self.slots.owners()[0]

    def change(self, new: int) -> None:
        self.slots.assign([new], self.time)

    def pass_time(self, time: float) -> None:
        if int(time) + 1 > self.time:
            self.time = int(time) + 1
            self.memory.settings.put(0, "time", self.time)
            self.slots.sweep(self.time, IDLE, self.grace)

    def packet(self, flow: int, *, opens: bool) -> int:
        return self.steering.choose(1, BASE, flow, syn=opens and not self.udp, udp=self.udp)


class Datagrams(Settled):
    """The same for UDP, where no packet says that it is the first."""

    udp = True
    grace = UDP_GRACE


class HastyTable(SlotTable):
    """Un-tracks at the first quiet moment after `was := now`."""

    def sweep(self, time: int, idle: int, grace: int) -> int:
        histories = self.memory.histories
        for number in sorted(self.tracked):
            if time - histories.get(self.first + number, "changed") > grace:
                histories.put(self.first + number, "was", self.owners()[number])
                if time - histories.get(self.first + number, "diverted") > idle:
                    self.memory.slots[self.first + number] = self.owners()[number]
                    self.tracked.discard(number)
        return 0


class Hasty(Settled):
    """The real packet half with too hasty a control half."""

    table = HastyTable


class HastyDatagrams(Datagrams):
    """The same for UDP."""

    table = HastyTable


class ForgetfulTable(SlotTable):
    """Takes the former answer afresh at every change, also where the slot is tracked already."""

    def assign(self, owners: list[int], time: int, *, remember: bool = True, idle: int | None = None) -> int:
        for number, word in enumerate(self.memory.slots[self.first : self.first + self.count].tolist()):
            if word & TRACKED and word % INDEX_LIMIT != owners[number]:
                self.memory.slots[self.first + number] = word % INDEX_LIMIT
        return super().assign(owners, time, remember=remember, idle=idle)


class Forgetful(Settled):
    """The real packet half with a control half that loses the first of two changes."""

    table = ForgetfulTable


class Simple:
    """Both halves simpler: a dead owner's slot needs no tracking, and only new flows are remembered."""

    def __init__(self) -> None:
        self.states = dict.fromkeys(BACKENDS, State.AVAILABLE)
        self.answer = self.was = BACKENDS[0]
        self.tracked = False
        self.diverted = self.time = -1e9
        self.flows: dict[int, list[float]] = {}

    def state(self, index: int, state: State) -> None:
        self.states[index] = state

    def now(self) -> int:
        return self.answer

    def change(self, new: int) -> None:
        if new == self.answer:
            return
        if self.states[self.answer] is State.DEAD:
            self.answer = self.was = new
            self.tracked = False
            return
        if not self.tracked:
            self.was = self.answer
        self.answer, self.tracked, self.diverted = new, True, self.time

    def pass_time(self, time: float) -> None:
        self.time = time
        if self.tracked and time - self.diverted > IDLE:
            self.tracked, self.was = False, self.answer

    def packet(self, flow: int, *, opens: bool) -> int:
        if not self.tracked:
            return self.answer
        entry = self.flows.get(flow)
        if entry and self.time - entry[1] <= IDLE and self.states[int(entry[0])] is not State.DEAD:
            entry[1] = self.time
            if entry[0] != self.answer:
                self.diverted = self.time
            return int(entry[0])
        if opens:
            if self.answer != self.was:
                self.flows[flow] = [self.answer, self.time]
            return self.answer
        self.diverted = self.time
        return self.was


@dataclass
class Outcome:
    """What was seen in a history."""

    packets: int = 0
    misrouted: int = 0
    misrouted_after_flap: int = 0
    to_draining: int = 0
    through_tracked: int = 0

    def add(self, other: Outcome) -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


class Backends:
    """What happens to the backends of the slot, and what the control plane answers to it."""

    def __init__(self, rules: Rules, random: Random) -> None:
        self.rules, self.random = rules, random
        self.dead: set[int] = set()
        self.draining: set[int] = set()
        self.died = dict.fromkeys(BACKENDS, -1.0)

    def live(self) -> list[int]:
        return [b for b in BACKENDS if b not in self.dead | self.draining]

    def _set(self, b: int) -> None:
        state = State.DEAD if b in self.dead else State.DRAINING if b in self.draining else State.AVAILABLE
        self.rules.state(b, state)

    def _leave(self, b: int) -> None:
        if self.rules.now() == b:
            self.rules.change(self.random.choice([other for other in self.live() if other != b]))

    def event(self, x: float, time: float) -> bool:
        """One death, return, change of weight, drain or its end, as `x` in [0, 1) says; False where it is none."""
        random, live = self.random, self.live()
        if x < 0.01 and len(live) > 1:
            b = random.choice(BACKENDS)
            if b not in self.dead and [other for other in live if other != b]:
                self.dead.add(b)
                self.draining.discard(b)
                self.died[b] = time
                self._set(b)
                self._leave(b)
        elif x < 0.02 and self.dead:
            b = random.choice(sorted(self.dead))
            self.dead.discard(b)
            self._set(b)
            if random.random() < 0.7:
                self.rules.change(b)
        elif x < 0.03:
            self.rules.change(random.choice(live))
        elif x < 0.035 and len(live) > 2:
            b = random.choice(live)
            self.draining.add(b)
            self._set(b)
            self._leave(b)
        elif x < 0.04 and self.draining:
            b = random.choice(sorted(self.draining))
            self.draining.discard(b)
            self._set(b)
        else:
            return False
        return True


def history(make: Callable[[], Rules], seed: int, silence: float, pace: float) -> Outcome:
    """One random history. Flows are silent for at most `silence` seconds; `pace` is how fast time passes."""
    random = Random(seed)
    rules = make()
    backends = Backends(rules, random)
    flows: dict[int, tuple[int, float]] = {}
    seen, time = Outcome(), 0.0
    clients = random.choice((2, 5, 40))
    for _ in range(STEPS):
        time += random.random() * 4 * pace / clients
        rules.pass_time(time)
        x = random.random()
        if backends.event(x, time):
            continue
        if x < 0.25:
            flow = random.randrange(clients)
            flows.pop(flow, None)
            first = rules.packet(flow, opens=True)
            seen.to_draining += first in backends.draining
            seen.packets += 1
            if rules.packet(flow, opens=False) == first:
                flows[flow] = first, time
            else:
                seen.misrouted += 1
        elif flows:
            flow = random.choice(sorted(flows))
            owner, last = flows.pop(flow)
            if time - last > silence:
                continue
            answer = rules.packet(flow, opens=False)
            if owner in backends.dead:
                continue
            seen.packets += 1
            if answer == owner:
                flows[flow] = owner, time
            elif backends.died[owner] >= last:
                seen.misrouted_after_flap += 1
            else:
                seen.misrouted += 1
    return seen


def total(make: Callable[[], Rules], histories: int, silence: float = 0.9 * IDLE, pace: float = 40.0) -> Outcome:
    """The sum of many histories."""
    seen = Outcome()
    for seed in range(histories):
        seen.add(history(make, seed, silence, pace))
    return seen


def test_no_established_connection_moves() -> None:
    seen = total(Settled, HISTORIES)
    assert seen.packets > 2_500 * HISTORIES
    assert (seen.misrouted, seen.misrouted_after_flap, seen.to_draining) == (0, 0, 0)


def test_no_udp_flow_moves() -> None:
    """As long as it is not silent for longer than the grace. To whom a new one goes is another matter."""
    seen = total(Datagrams, HISTORIES // 2, 0.9 * UDP_GRACE, 12.0)
    assert seen.packets > 2_500 * (HISTORIES // 2)
    assert (seen.misrouted, seen.misrouted_after_flap) == (0, 0)


@pytest.mark.parametrize(
    ("make", "silence", "pace", "draining"),
    [
        (Simple, 0.9 * IDLE, 40.0, True),
        (Hasty, 0.9 * IDLE, 40.0, False),
        (Forgetful, 0.9 * IDLE, 40.0, False),
        (HastyDatagrams, 0.9 * UDP_GRACE, 12.0, False),
        # UDP flows that are silent for longer than the grace are not promised anything.
        (Datagrams, 0.9 * IDLE, 40.0, False),
    ],
)
def test_simpler_rules_are_found_out(make: Callable[[], Rules], silence: float, pace: float, draining: bool) -> None:
    """The histories are hard enough to tell right rules from wrong ones."""
    seen = total(make, 60, silence, pace)
    assert seen.misrouted > 10
    assert not draining or seen.to_draining > 10
