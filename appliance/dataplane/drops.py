"""Reading what the program wrote down of packets that it dropped. Pure, but that the program may write meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from appliance.dataplane.abi import REASON_STRIDE
from appliance.dataplane.aside import DROP_OCTETS, DROP_REASONS, DROPPED, DROPS_KEPT, DROPS_NUMBER
from appliance.dataplane.enums import DROPS, Reason
from appliance.dataplane.memory import Elements, Memory


@dataclass(frozen=True)
class Dropped:
    """A packet that was dropped. `at` is nanoseconds of CLOCK_MONOTONIC; `interface` the index of where it came in.

    `octets` are its first bytes, from the destination MAC on, of `length` in all; as it was when it was dropped: a few
    reasons come up after the time to live was decremented, or a tag or an outer header was given up half-way.
    """

    reason: Reason
    at: int
    interface: int
    length: int
    octets: bytes


def dropped(memory: Memory) -> Iterator[tuple[Reason, list[Dropped]]]:
    """Yield each reason for drops with what is kept of it, the newest first, of all CPUs together."""
    drops, reasons, cpus = memory.drops, memory.reasons, range(memory.shape.cpus)
    for reason in DROPS:
        # Most CPUs have never dropped a packet for this.
        rows = [cpu for cpu in cpus if reasons[cpu * REASON_STRIDE + reason + DROPS_NUMBER]]
        found = [one for cpu in rows for one in _ring(drops, (cpu * DROP_REASONS + reason) * DROPS_KEPT, reason)]
        yield reason, list(islice(sorted(found, key=lambda one: -one.at), DROPS_KEPT))


def _ring(drops: Elements, first: int, reason: Reason) -> Iterator[Dropped]:
    for place in range(first, first + DROPS_KEPT):
        number = drops.get(place, "number")
        record = drops.bytes_of(place, "number", DROPPED.size)
        # It changes first and last, so what was read in between is whole.
        if number and number == _word(record, "number", 8) == drops.get(place, "number"):
            kept = min(_word(record, "kept"), DROP_OCTETS)
            start = DROPPED.offsets["octets"]
            octets = record[start : start + kept]
            yield Dropped(reason, _word(record, "at", 8), _word(record, "interface"), _word(record, "length"), octets)


def _word(record: bytes, name: str, size: int = 4) -> int:
    start = DROPPED.offsets[name]
    return int.from_bytes(record[start : start + size], sys.byteorder)
