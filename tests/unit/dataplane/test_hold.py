"""While the flow table is copied, new flows of tracked slots go where they would go if nothing were remembered."""

from __future__ import annotations

import pytest

from appliance.dataplane.abi import NARROW_TRACKED, NO_DESTINATION, TRACKED
from appliance.dataplane.enums import State
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import Shape
from appliance.dataplane.slots import Slot, SlotTable
from appliance.dataplane.tables import Tables
from tests.unit.dataplane.clients import Clients, flow
from tests.unit.dataplane.desires import DEAD, SHAPE, WEB, desired, later, member, memory_at, service, tables_at, web
from tests.unit.dataplane.recorded import Store, image, recorded


def living(tables: Tables) -> set[int]:
    """The indexes of a service's backends that may receive something."""
    entry, memory = tables.entry(WEB), tables.memory
    assert entry is not None
    return {index for index in range(entry.capacity) if memory.state(entry.destinations + index) >= State.DRAINING}


def slots_of(tables: Tables) -> SlotTable:
    """The slots of the service."""
    slots = tables.slots(WEB)
    assert slots is not None
    return slots


@pytest.mark.parametrize(("wide", "bit"), [(True, TRACKED), (False, NARROW_TRACKED)])
def test_tracked_slots_go_back_to_a_living_former_owner(wide: bool, bit: int) -> None:
    memory = Memory.plain(Shape(services=2, destinations=32, slots=8, sets=2, wide=wide))
    slots = SlotTable(memory, 0, 5)
    slots.assign([1, 2, 3, 4, 5], 1_000)
    slots.assign([1, 5, 5, 5, NO_DESTINATION], 1_010)
    slots.hold({1, 2, 5})
    assert memory.slots[:5].tolist() == [1, bit | 2, bit | 5, bit | 5, bit | 5]
    assert slots.slot(1) == Slot(tracked=True, now=2, was=2, changed=1_010, diverted=0)
    assert slots.slot(2) == Slot(tracked=True, now=5, was=3, changed=1_010, diverted=0)
    slots.assign([1, 5, 5, 5, NO_DESTINATION], 1_020)
    assert slots.owners() == [1, 5, 5, 5, NO_DESTINATION]
    assert [slots.slot(number).was for number in range(5)] == [1, 2, 3, 4, 5]
    # Flows may have begun at the former owner until now, so the window begins again.
    assert [slots.slot(number).changed for number in range(1, 5)] == [1_020, 1_010, 1_010, 1_020]


def test_holding_twice_is_holding_once() -> None:
    tables = tables_at()
    tables.apply(web(1, 2, 3))
    tables.apply(web(1, 2))
    slots = slots_of(tables)
    slots.hold(living(tables))
    held = image(tables.memory)
    slots.hold(living(tables))
    assert image(tables.memory) == held


def test_settled_slots_are_left_alone() -> None:
    memory, log = recorded(memory_at(1_000))
    tables = Tables(memory)
    tables.apply(web(1, 2, 3))
    log.clear()
    slots_of(tables).hold(living(tables))
    assert [event for event in log if isinstance(event, Store)] == []


def test_nothing_that_begins_meanwhile_needs_remembering() -> None:
    """New flows may be lost from the flow table, and still stay where they began."""
    tables = Tables(memory_at(1_000, SHAPE))
    clients = Clients(tables.memory)
    after = desired(service(WEB, [member(1), member(2, 1, DEAD), member(3), member(4), member(5)]))
    tables.apply(web(1, 2, 3, 4))
    clients.open_many(WEB, range(100))
    tables.apply(after)
    later(tables, 3)
    clients.open_many(WEB, range(100, 200))
    assert clients.lost() == []
    slots = slots_of(tables)
    owners, kept = slots.owners(), tables.memory.flows.tolist()
    slots.hold(living(tables))
    assert owners != slots.owners()
    clients.open_many(WEB, range(200, 500))
    # The copy was made before they began.
    flows = tables.memory.flows
    for number, entry in enumerate(kept):
        flows[number] = entry
    assert clients.lost() == []
    slots.assign(owners, tables.memory.time)
    assert slots.owners() == owners
    assert clients.lost() == []
    assert {clients.open(flow(WEB, number)) for number in range(500, 600)} == set(tables.numbers(WEB)) - {
        member(2).address
    }


def test_without_holding_they_are_lost() -> None:
    """The test above has flows that depend on it."""
    tables = Tables(memory_at(1_000, SHAPE))
    clients = Clients(tables.memory)
    tables.apply(web(1, 2, 3, 4))
    tables.apply(web(1, 2, 3, 4, 5))
    kept = tables.memory.flows.tolist()
    clients.open_many(WEB, range(300))
    flows = tables.memory.flows
    for number, entry in enumerate(kept):
        flows[number] = entry
    assert len(clients.lost()) > 20
