"""What a balancer's program would do with the next packet of an older flow, read from its tables, with nothing touched.

It is the rule of templates/bpf/tracking.h for a packet other than a SYN, without counters and refreshing.
"""

from __future__ import annotations

from ipaddress import ip_address

from appliance.dataplane.abi import (
    ASK_PREVIOUS,
    EXPIRY_BITS,
    HALF_TIME,
    INDEX_LIMIT,
    WAY_INDEX_SHIFT,
    WAY_TAG_SHIFT,
    WAYS,
)
from appliance.dataplane.enums import State
from appliance.dataplane.hashing import flow_hash, flow_name, slot_of
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.dataplane.slots import SlotTable
from appliance.dataplane.tables import Tables
from appliance.model import Address, ServiceKey
from tests.lab.namespace import LabError

_EXPIRY_MASK = (1 << EXPIRY_BITS) - 1


class Answers:
    """The answers of one balancer for one service."""

    def __init__(self, tables: Tables, service: ServiceKey) -> None:
        """Read what all flows have in common. Raises LabError where the service is not in the tables."""
        entry, table = tables.entry(service), tables.slots(service)
        if entry is None or table is None:
            raise LabError(f"{service} is not in the tables")
        self._memory: Memory = tables.memory
        self._entry: Entry = entry
        self._table: SlotTable = table
        self._current = self._memory.coefficients()
        self._previous = self._memory.coefficients(previous=True)

    def of(self, source: str, port: int) -> Address | None:
        """Return the backend to which an older flow's next packet goes; None for none."""
        hashed = self._hash(self._current, source, port)
        slot = self._table.slot(slot_of(hashed, self._table.count))
        if not slot.tracked:
            return self._name(slot.now)
        index = self._remembered(hashed)
        if index is None:
            index = self._asked(source, port) if slot.was == ASK_PREVIOUS else slot.was
        return self._name(index if self._lives(index) else slot.now)

    def text(self, source: str, port: int) -> str:
        """Return what an answer is made of, for whoever wonders about it."""
        hashed = self._hash(self._current, source, port)
        number = slot_of(hashed, self._table.count)
        slot, index = self._table.slot(number), self._remembered(hashed)
        age = self._memory.time - slot.changed
        found = f"slot {number}{' tracked' if slot.tracked else ''}, changed {age} s ago"
        return f"{found}, was {slot.was}, now {slot.now}, remembered {index}"

    def _asked(self, source: str, port: int) -> int:
        """What the slots of before the last change of the hash say."""
        entry = self._entry
        table = SlotTable(self._memory, entry.previous_slots, entry.previous_count)
        hashed = self._hash(self._previous, source, port)
        slot = table.slot(slot_of(hashed, entry.previous_count))
        remembered = self._remembered(hashed) if slot.tracked else None
        if remembered is not None:
            return remembered
        return slot.was if slot.was != ASK_PREVIOUS else slot.now

    def _hash(self, coefficients: tuple[int, ...], source: str, port: int) -> int:
        key = self._entry.key
        return flow_hash(coefficients, ip_address(source), port, key.vip, key.port, int(key.protocol))

    def _remembered(self, hashed: int) -> int | None:
        number, tag = flow_name(hashed, self._memory.shape.sets)
        for way in self._memory.flows[number * WAYS : (number + 1) * WAYS]:
            index = (way >> WAY_INDEX_SHIFT) % INDEX_LIMIT
            expired = ((way - self._memory.time - 1) & _EXPIRY_MASK) >= HALF_TIME
            if way and way >> WAY_TAG_SHIFT == tag and not expired and index < self._entry.capacity:
                return index
        return None

    def _lives(self, index: int) -> bool:
        return bool(index) and self._memory.state(self._entry.destinations + index) >= State.DRAINING

    def _name(self, index: int) -> Address | None:
        return self._memory.backend(self._entry.destinations + index) if index else None
