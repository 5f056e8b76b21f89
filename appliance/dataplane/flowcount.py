"""How many flows each backend has, of services that remember every flow: read from the flow table, a part at a time.

A flow counts from its second packet on, until it is reset, said good-bye to (FIN), or silent for `idle` less FIN_LIFE
seconds. So what is too high by: flows that ended without a word to the balancer (the backend's RST is not seen), for as
long as that; and by up to a second of FINs. Too low by: flows that were refused for want of room (counted as such), and
flows that have been silent for longer. A part's count is as old as the round, TOTAL / PART seconds at most.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from appliance.dataplane.abi import CANDIDATE, EXPIRY_BITS, FIN_LIFE, HALF_TIME
from appliance.dataplane.memory import Memory

PART = 65_536
"""Ways looked at in one step: 5 ms where they are empty, 25 ms where all are full."""
_MASK = (1 << EXPIRY_BITS) - 1


@dataclass
class FlowCount:
    """The counts of each part, and where the round is."""

    at: int = 0
    parts: dict[int, Counter[int]] = field(default_factory=dict)
    known: bool = False
    """Whether every part has been looked at."""

    def step(self, memory: Memory, idle: int) -> bool:
        """Look at the next part; returns whether that ended a round."""
        total = memory.shape.owners
        if self.at >= total:
            self.at = 0
        count = min(PART, total)
        ways, owners = memory.flow_part(self.at, count), memory.owner_part(self.at, count)
        time, closing = memory.time, FIN_LIFE if idle > FIN_LIFE else 0
        self.parts[self.at] = Counter(
            owner
            for way, owner in zip(ways.tolist(), owners.tolist(), strict=True)
            if owner and not way & CANDIDATE and closing < ((way - time) & _MASK) <= HALF_TIME
        )
        self.at += count
        if self.at < total:
            return False
        self.at, self.known = 0, True
        return True

    def flows(self, number: int) -> int:
        """The flows of a destination, at the last look."""
        return sum(part[number] for part in self.parts.values())
