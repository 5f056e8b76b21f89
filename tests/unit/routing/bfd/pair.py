"""Two engines and the two ways between them: a network of numbers, in which an hour takes milliseconds."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from math import inf

from appliance.routing.bfd.packet import Packet, Unusable, decode
from appliance.routing.bfd.session import Action, Changed, Send, Session, Timing

Fate = Callable[[float], list[float]]
"""What becomes of a packet that is sent at a time: when each of its copies arrives, none where it is lost."""


@dataclass
class End:
    """One end: its session, and all that has happened to it."""

    session: Session
    fate: Fate
    changes: list[Changed] = field(default_factory=list)
    sent: list[tuple[float, Packet]] = field(default_factory=list)
    refused: int = 0
    asleep: bool = False
    """Whether it is stopped: it neither sends nor hears, and what comes is lost."""


def straight(now: float) -> list[float]:
    """No loss, and a millisecond on the way."""
    return [now + 0.001]


class Pair:
    """Two ends. Ends are 0 and 1."""

    def __init__(
        self,
        timings: tuple[Timing, Timing] = (Timing(300_000, 3), Timing(300_000, 3)),
        chance: Callable[[], float] = lambda: 0.5,
        fates: tuple[Fate, Fate] = (straight, straight),
        now: float = 1000.0,
    ) -> None:
        self.now = now
        self.ends = [
            End(Session(number, timing, now, chance), fate)
            for number, timing, fate in zip((0x11111111, 0x22222222), timings, fates, strict=True)
        ]
        self._order = count()
        self._ways: list[tuple[float, int, int, bytes]] = []

    def act(self, end: int, actions: list[Action]) -> None:
        """Do what an engine wants done."""
        for action in actions:
            if isinstance(action, Changed):
                self.ends[end].changes.append(action)
                continue
            assert isinstance(action, Send)
            self.ends[end].sent.append((self.now, decode(action.data)))
            for at in self.ends[end].fate(self.now):
                heapq.heappush(self._ways, (max(at, self.now), next(self._order), 1 - end, action.data))

    def step(self, until: float) -> bool:
        """Go to the next thing that happens, `until` at the latest; False where nothing happens before."""
        arrival = self._ways[0][0] if self._ways else inf
        deadlines = [inf if end.asleep else end.session.deadline for end in self.ends]
        at = min(arrival, *deadlines)
        if at > until:
            self.now = until
            return False
        self.now = max(self.now, at)
        if arrival <= at:
            _, _, number, data = heapq.heappop(self._ways)
            end = self.ends[number]
            if not end.asleep:
                self.deliver(number, data)
        else:
            number = deadlines.index(at)
            self.act(number, self.ends[number].session.expire(self.now))
        return True

    def deliver(self, number: int, data: bytes) -> None:
        """Give bytes to one end as its process does."""
        end = self.ends[number]
        try:
            packet = decode(data)
        except Unusable:
            end.refused += 1
            return
        if packet.yours not in (0, end.session.discriminator):
            end.refused += 1
            return
        self.act(number, end.session.receive(packet, self.now))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self.step(until):
            pass

    @property
    def states(self) -> tuple[str, str]:
        """Of both ends, in words."""
        return self.ends[0].session.state.words, self.ends[1].session.state.words
