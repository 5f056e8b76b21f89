"""Clearing the flow table of entries that have long expired.

An expiry is kept modulo 2^15 s, and what lies up to half of that ahead counts as alive: an entry that nobody cleared
would come back to life after some hours. So while any slot is tracked, and after that until a whole round has met
nothing at all, a part of the table is looked through every second. The program refreshes entries only while they are
alive, and those are left alone; it may put a new one in the place of an expired one, which is then lost: a chance of
one in many millions, for a flow that begins in the very moment in which its set is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.dataplane.abi import EXPIRY_BITS, HALF_TIME
from appliance.dataplane.memory import Memory

ROUND = 3600
"""Seconds for a round through the largest table; the entries have four and a half hours."""
LEAST = 8192
"""Ways looked at in one step: two thousand a page-sized piece, sixteen of them."""
MARGIN = 60
"""Seconds for which an expired entry is left alone."""
_MASK = (1 << EXPIRY_BITS) - 1


@dataclass
class FlowSweep:
    """Where the round is, and whether another is due."""

    at: int = 0
    left: int = 0
    """Ways still to look at since the last slot was settled and the last entry was seen."""

    def step(self, memory: Memory, tracked: bool) -> int:
        """Look through the next part, if there may be anything in it; returns how many entries were cleared."""
        total = memory.shape.sets * 8
        if tracked:
            self.left = total
        if not self.left:
            return 0
        count = min(max(LEAST, total // ROUND // LEAST * LEAST), total)
        start = self.at if self.at + count <= total else 0
        self.at, self.left = start + count, max(0, self.left - count)
        part, time, cleared, kept = memory.flow_part(start, count), memory.time, 0, False
        for way, entry in enumerate(part.tolist()):
            if not entry:
                continue
            if MARGIN < ((time - entry) & _MASK) < HALF_TIME:
                part[way] = 0
                cleared += 1
            else:
                kept = True
        if kept:
            # It expires later, perhaps after the round that is under way.
            self.left = total
        return cleared
