"""How many flows each backend has, of services that remember every flow: read from the flow table, piece by piece.

A flow counts from its second packet on, until it is reset, said good-bye to (FIN), or silent for `idle` less FIN_LIFE
seconds. The figure is too high by flows that ended without a packet of the client's, for as long as that; it is too low
by flows that were refused for want of room (they are counted as such) and by those that have been silent for longer. It
is as old as a round takes: a second for every 25,000 flows. Flows that another node of a fleet told of, and that have
sent nothing here since, are that node's to count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import repeat

from appliance.dataplane.abi import CANDIDATE, EXPIRY_BITS, FIN_LIFE, HALF_TIME
from appliance.dataplane.flowshare import Foreign
from appliance.dataplane.memory import Memory
from appliance.model import Address, ServiceKey

PIECE = 8192
"""Ways that are looked at together; where they are nobody's, that costs next to nothing."""
PIECES = 256
"""So many pieces are looked at in one step at most."""
BUSY = 49_152
"""A step ends where it has met so many bytes of owners, of which a flow has one or two: some 10 ms."""
_MASK = (1 << EXPIRY_BITS) - 1


def nobody(service: ServiceKey) -> Mapping[Address, int]:
    """Where there are no other nodes."""
    return {}


@dataclass
class FlowCount:
    """The counts of each piece, and where the round is."""

    at: int = 0
    pieces: dict[int, Counter[int]] = field(default_factory=dict)
    total: Counter[int] = field(default_factory=Counter)
    known: bool = False
    """Whether every piece has been looked at."""
    foreign: Foreign | None = None
    """What others told of, in the same memory; None: nobody does."""
    elsewhere: Callable[[ServiceKey], Mapping[Address, int]] = nobody
    """How many flows other nodes count for each backend of a service."""

    def step(self, memory: Memory, idle: int) -> bool:
        """Look at the next pieces, once a second; returns whether that ended a round."""
        ways, busy = memory.shape.owners, 0
        for _ in range(PIECES):
            if self.at >= ways:
                break
            busy += self._look(memory, self.at, min(PIECE, ways), idle)
            self.at += PIECE
            if busy >= BUSY:
                break
        if self.at < ways:
            return False
        self.at, self.known = 0, True
        return True

    def _look(self, memory: Memory, first: int, count: int, idle: int) -> int:
        """Count the flows of one piece anew; returns how many bytes of the owners are not 0."""
        owners = memory.owner_part(first, count)
        before, now = self.pieces.pop(first, None), None
        busy = count * 2 - bytes(owners).count(0)
        if busy:
            time, closing = memory.time, FIN_LIFE if idle > FIN_LIFE else 0
            told = self.foreign.piece(first) if self.foreign is not None else None
            pairs = zip(memory.flow_part(first, count).tolist(), owners.tolist(), told or repeat(0), strict=False)
            living = [
                owner
                for way, owner, foreign in pairs
                if owner and way != foreign and not way & CANDIDATE and closing < ((way - time) & _MASK) <= HALF_TIME
            ]
            now = self.pieces[first] = Counter(living)
        if before:
            self.total.subtract(before)
        if now:
            self.total.update(now)
        return busy

    def flows(self, number: int) -> int:
        """The flows of a destination, at the last look."""
        return self.total[number]
