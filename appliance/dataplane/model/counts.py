"""What the program counts: by reason, by destination, and by prefix of the source."""

from __future__ import annotations

from ipaddress import IPv4Address

from appliance.dataplane.abi import REASON_STRIDE, SOURCE_PREFIX, SOURCE_SAMPLE
from appliance.dataplane.enums import Reason
from appliance.dataplane.memory import Memory
from appliance.model import Address

_WORD = (1 << 64) - 1


class Counts:
    """The counters of the CPU that has a packet. `source` is that of a packet to a VIP."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._cpu = 0
        self.source: Address | None = None

    def begin(self, cpu: int) -> None:
        """Another packet, on this CPU."""
        self._cpu, self.source = cpu, None

    def count(self, reason: Reason) -> None:
        """One more for a reason."""
        at = self._cpu * REASON_STRIDE + reason
        self._memory.reasons[at] = (self._memory.reasons[at] + 1) & _WORD
        if reason < Reason.TRACKED_HIT:
            self._sample(self._memory.reasons[at])

    def add(self, number: int, *, packets: int = 0, octets: int = 0, flows: int = 0, drops: int = 0) -> None:
        """So much more for a destination."""
        for name, more in (("packets", packets), ("octets", octets), ("flows", flows), ("drops", drops)):
            at = self._memory.counter_place(self._cpu, number, name)
            self._memory.counters[at] = (self._memory.counters[at] + more) & _WORD
            if name == "packets" and more:
                self._sample(self._memory.counters[at])

    def _sample(self, counted: int) -> None:
        """Count by source one of many packets to VIPs that are counted alike."""
        if self._memory.shape.counts_sources and isinstance(self.source, IPv4Address) and not counted % SOURCE_SAMPLE:
            place = int(self.source) >> 32 - SOURCE_PREFIX
            self._memory.sources[place] = (self._memory.sources[place] + 1) & 0xFFFFFFFF
