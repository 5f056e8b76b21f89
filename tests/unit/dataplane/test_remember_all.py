"""Services that remember every flow: slots change as often as one likes, and no established flow notices."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from appliance.dataplane.abi import WAYS
from appliance.dataplane.desired import Desired
from appliance.dataplane.enums import Reason
from appliance.dataplane.flowcount import FlowCount
from appliance.dataplane.shape import Shape
from appliance.dataplane.tables import Tables
from appliance.errors import NoRoom
from appliance.model import Address
from tests.unit.dataplane.clients import FIN, Clients, flow
from tests.unit.dataplane.desires import (
    DEAD,
    IDLE,
    SHAPE,
    TLS,
    WEB,
    assert_tables,
    backend,
    desired,
    later,
    member,
    memory_at,
    pool,
    service,
    web,
)
from tests.unit.dataplane.hashes import entry, pass_time

ALL = replace(SHAPE, tracks_all=True)


def everything(weights: dict[int, int]) -> Desired:
    """A service that remembers all, with a weight for each backend."""
    return desired(replace(service(WEB, [member(n, w) for n, w in weights.items()]), remember_all=True))


def opened(shape: Shape = ALL, *numbers: int) -> tuple[Tables, Clients]:
    """Tables with such a service."""
    tables = Tables(memory_at(1_000, shape))
    tables.apply(everything(dict.fromkeys(numbers or (1, 2, 3, 4), 1)))
    return tables, Clients(tables.memory)


def test_every_slot_is_tracked_and_every_flow_remembered() -> None:
    tables, clients = opened()
    assert tables.tracked()[WEB] == entry(tables).slot_count
    clients.open_many(WEB, range(200))
    assert tables.memory.reason(Reason.REMEMBERED) == 200
    assert clients.lost() == []
    assert tables.memory.reason(Reason.REMEMBERED) == 200
    pass_time(tables, everything(dict.fromkeys(pool(4), 1)), 5 * IDLE)
    assert tables.tracked()[WEB] == entry(tables).slot_count


def test_others_remember_nothing() -> None:
    tables = Tables(memory_at(1_000, ALL))
    tables.apply(web(1, 2, 3))
    clients = Clients(tables.memory)
    clients.open_many(WEB, range(100))
    assert tables.memory.flows_used() == 0


def test_a_program_that_cannot_is_refused() -> None:
    with pytest.raises(NoRoom, match=r"remembers all flows"):
        Tables(memory_at(1_000)).apply(everything({1: 1}))


def test_shares_may_change_every_second() -> None:
    tables, clients = opened()
    random, wanted = Random(3), everything({1: 1})
    spoke: dict[object, int] = {}
    for second in range(4 * IDLE):
        if second % 3 == 0:
            wanted = everything({n: random.choice((1, 2, 8, 50)) for n in pool(4)})
            tables.apply(wanted)
            assert_tables(tables.memory, wanted)
        if second in (70, 200):
            tables = Tables(tables.memory)
        pass_time(tables, wanted, 1)
        for one in [one for one in clients.owners if random.random() < 0.1 or second - spoke[one] >= IDLE - 1]:
            assert clients.lost([one]) == []
            spoke[one] = second
        one = flow(WEB, second)
        clients.open(one)
        spoke[one] = second
    assert len(clients.owners) == 4 * IDLE
    assert len(set(clients.owners.values())) == 4


def test_flows_of_before_are_kept_and_remembered() -> None:
    """From a service that remembers what it must to one that remembers all, and back."""
    tables = Tables(memory_at(1_000, ALL))
    clients, plain = Clients(tables.memory), web(1, 2, 3)
    tables.apply(plain)
    clients.open_many(WEB, range(150))
    wanted = everything({1: 1, 2: 1, 3: 1})
    tables.apply(wanted)
    for weights in ({1: 1, 2: 9, 3: 1}, {1: 9, 2: 1, 3: 1}):
        wanted = everything(weights)
        tables.apply(wanted)
        pass_time(tables, wanted, IDLE // 2 - 1)
    assert clients.lost() == []
    tables.apply(plain)
    tables.apply(web(1, 2, 3, 4))
    for _ in range(5):
        pass_time(tables, web(1, 2, 3, 4), IDLE - 1)
        assert clients.lost() == []
    clients.owners.clear()
    pass_time(tables, web(1, 2, 3, 4), 3 * IDLE)
    assert tables.tracked()[WEB] == 0


def test_a_flow_without_room_follows_now() -> None:
    """A set is full of living flows: the next one is refused, and goes where its slot says as long as that stands."""
    tables, clients = opened(replace(ALL, sets=2))
    wanted = everything(dict.fromkeys(pool(4), 1))
    pass_time(tables, wanted, IDLE + 1)
    clients.open_many(WEB, range(12 * WAYS))
    assert tables.memory.reason(Reason.REFUSED) > 0
    assert clients.lost() == []
    # None depends on `was`: that has followed.
    changed = everything({1: 1, 2: 1, 3: 1, 4: 40})
    tables.apply(changed)
    table = tables.slots(WEB)
    assert table is not None
    assert {table.slot(n).was == table.slot(n).now for n in range(table.count)} == {True}
    lost = clients.lost()
    assert 0 < len(lost) <= 10 * WAYS
    assert {to for _, _, to in lost} == {backend(4)}


@pytest.mark.parametrize("anew", [False, True], ids=["the same process", "started anew"])
def test_was_follows_a_change(anew: bool) -> None:
    tables, _ = opened()
    wanted = everything({1: 1, 2: 1, 3: 1, 4: 40})
    tables.apply(wanted)
    if anew:
        tables = Tables(tables.memory)
    table = tables.slots(WEB)
    assert table is not None

    def settled() -> set[bool]:
        return {table.slot(n).was == table.slot(n).now for n in range(table.count)}

    assert settled() == {False, True}
    pass_time(tables, wanted, IDLE + 1)
    assert settled() == {True}


def count(tables: Tables) -> dict[Address, int]:
    """The flows of each backend of the service."""
    flows = FlowCount()
    while not flows.step(tables.memory, IDLE):
        pass
    return {address: flows.flows(number) for address, number in tables.numbers(WEB).items()}


def test_flows_are_counted_by_backend() -> None:
    tables, clients = opened()
    clients.open_many(WEB, range(300))
    owners = list(clients.owners.values())
    found = count(tables)
    assert found == {address: owners.count(address) for address in found}
    for number in range(300, 330):
        clients.send(flow(WEB, number), 2)
    assert count(tables) == found
    later(tables, IDLE - 1)
    half = list(clients.owners)[:100]
    assert clients.lost(half) == []
    later(tables, 2)
    assert sum(count(tables).values()) == 100
    later(tables, IDLE)
    assert sum(count(tables).values()) == 0


def test_a_flow_that_says_good_bye_counts_no_more() -> None:
    tables = Tables(memory_at(1_000, ALL))
    tables.apply(replace(everything({1: 1, 2: 1}), idle=900))
    clients = Clients(tables.memory)
    clients.open_many(WEB, range(50))
    for one in list(clients.owners)[:20]:
        clients.send(one, FIN | 16)
    flows = FlowCount()
    assert flows.step(tables.memory, 900)
    assert sum(flows.flows(number) for number in tables.numbers(WEB).values()) == 30


def test_others_flows_are_not_counted() -> None:
    tables, clients = opened(replace(ALL, sets=2), 1, 2)
    clients.open_many(WEB, range(14))
    later(tables, IDLE + 1)
    plain = service(TLS, [member(1), member(2)])
    both = replace(everything({1: 1, 2: 1}), services=(*everything({1: 1, 2: 1}).services, plain))
    tables.apply(both)
    clients.owners.clear()
    clients.open_many(TLS, range(100))
    dead = replace(plain, members=(member(1, 1, DEAD), member(2), member(3)))
    tables.apply(replace(both, services=(both.services[0], dead)))
    assert clients.lost() == []
    assert tables.memory.flows_used() > 0
    assert sum(count(tables).values()) == 0
