"""What a balancer makes of what another one says: the door to the product's rules of learning.

They work on whole services; here a table is one slot, and destinations have the same numbers everywhere.
"""

from __future__ import annotations

from appliance.dataplane.flowshare import WHOLE, FlowLearner, name_bits
from appliance.dataplane.hashing import whole_name
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.dataplane.slots import SlotTable, ToldSlot
from bench.simulate.schemes import Telling


def told_slot(table: SlotTable, number: int, time: int) -> ToldSlot:
    """What a balancer says of a slot at a coarse time."""
    slot = table.slot(number)
    return ToldSlot(slot.was, slot.now, max(0, time - slot.changed), max(0, time - slot.diverted))


def learn_slot(table: SlotTable, number: int, told: ToldSlot, time: int, idle: int, *, joining: bool = False) -> None:
    """A tracked slot of another's; what is about to be un-tracked there is left alone, as in `slotshare.learn`."""
    if number in table.tracked or told.changed <= 2 * idle or told.diverted <= idle:
        table.learn(number, told, time, joining=joining)


def learn_flow(memory: Memory, entry: Entry, flow: int, index: int, telling: Telling, left: int) -> None:
    """A remembered flow of another's, by its hash, with so many seconds to live. The clock of `memory` is right."""
    FlowLearner(memory).learn(
        entry,
        index,
        whole_name(flow),
        left,
        bits=WHOLE if telling.news else name_bits(memory),
        candidate=telling.candidate,
        opened=telling.opened,
    )
