"""What is written down of packets that are dropped: the first of each coarse second, for each reason and CPU."""

from __future__ import annotations

from appliance.dataplane.abi import REASON_STRIDE
from appliance.dataplane.aside import (
    DROP_OCTETS,
    DROP_REASONS,
    DROPS_A_SECOND,
    DROPS_CLOSED,
    DROPS_KEPT,
    DROPS_NUMBER,
)
from appliance.dataplane.enums import Reason
from appliance.dataplane.memory import Memory

_WORD = (1 << 64) - 1


class Drops:
    """The records of a memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def record(self, cpu: int, reason: Reason, frame: bytes, interface: int) -> None:
        """Write a frame down as it is when it is dropped, unless there were enough at this coarse time.

        The moment itself is not written: here is no clock.
        """
        memory, counter = self._memory, cpu * REASON_STRIDE + reason
        if memory.reasons[counter + DROPS_CLOSED] == memory.time:
            return
        memory.notes.put(cpu, "reason", reason)
        number = (memory.reasons[counter + DROPS_NUMBER] + 1) & _WORD
        ring = (cpu * DROP_REASONS + reason) * DROPS_KEPT
        record, octets = ring + number % DROPS_KEPT, frame[:DROP_OCTETS]
        drops = memory.drops
        for name, value in (
            ("number", number),
            ("time", memory.time),
            ("interface", interface),
            ("length", len(frame)),
            ("kept", len(octets)),
        ):
            drops.put(record, name, value)
        drops.put_bytes(record, "octets", octets)
        memory.reasons[counter + DROPS_NUMBER] = number
        if drops.get(ring + (number + 1 - DROPS_A_SECOND) % DROPS_KEPT, "time") == memory.time:
            memory.reasons[counter + DROPS_CLOSED] = memory.time
