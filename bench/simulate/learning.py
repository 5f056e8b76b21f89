"""What a balancer makes of a record that another one sent: the door to the product's merge rules.

A slot: one that is not tracked becomes so with `was` as its own present answer; `changed` and `diverted` become the
later of the two. A joining balancer takes the other's `was`. A flow: an entry that is there is only ever made to last
longer. Ages travel, not times.
"""

from __future__ import annotations

from appliance.dataplane.abi import EXPIRY_BITS, WAYS
from appliance.dataplane.hashing import flow_name
from appliance.dataplane.memory import Memory
from appliance.dataplane.model.tracking import Flow
from appliance.dataplane.slots import SlotTable

CLOCK = 1 << EXPIRY_BITS


def learn_slot(
    table: SlotTable, number: int, was: int | None, changed_age: int, diverted_age: int | None, time: int
) -> None:
    """A tracked slot of another's; `was` is given to those that join. Ages in seconds, `time` the coarse clock's."""
    memory, at = table.memory, table.first + number
    slot = table.slot(number)
    if not slot.tracked:
        memory.histories.put(at, "was", slot.now if was is None else was)
        memory.histories.put(at, "changed", max(0, time - changed_age))
    elif time - changed_age > slot.changed:
        memory.histories.put(at, "changed", time - changed_age)
    if diverted_age is not None and time - diverted_age > slot.diverted:
        memory.histories.put(at, "diverted", time - diverted_age)
    if not slot.tracked:
        memory.fence()
        memory.slots[at] = memory.tracked | slot.now
        table.tracked.add(number)


def learn_flow(memory: Memory, flow: int, index: int, left: int, time: int) -> bool:
    """A remembered flow of another's, by its hash, with so many seconds to live; whether anything changed."""
    if left <= 0:
        return False
    number, tag = flow_name(flow, memory.shape.sets)
    ways = [(number * WAYS + way, memory.flows[number * WAYS + way]) for way in range(WAYS)]
    held = [(at, Flow.of(word)) for at, word in ways if word]
    mine = [(at, known) for at, known in held if known.tag == tag]
    fresh = Flow(tag, index, True, (time + left) % CLOCK)
    if mine:
        at, known = mine[-1]
        if not known.expired(time) and (known.expiry - time) % CLOCK >= left:
            return False
        memory.flows[at] = (
            fresh.way if known.expired(time) else Flow(tag, known.index, known.candidate, fresh.expiry).way
        )
        return True
    free = [at for at, word in ways if not word or Flow.of(word).expired(time)]
    if not free:
        return False
    memory.flows[free[-1]] = fresh.way
    return True
