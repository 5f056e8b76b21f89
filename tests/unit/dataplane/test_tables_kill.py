"""The daemon killed at every single store of a change, and another processor that sees stores in another order.

Each scene applies some desired states one after another and then changes to a last one. Every store of that change is
written down. After each of them: packets of established flows go where they belong, new ones reach a backend or a
counted drop, a tracked slot has its history; and a new daemon that adopts this memory brings it to the same end.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from random import Random

import pytest

from appliance.dataplane import lookup
from appliance.dataplane.desired import Desired, DesiredService
from appliance.dataplane.enums import Refusal
from appliance.dataplane.memory import Memory
from appliance.dataplane.numbering import REUSE_MARGIN
from appliance.dataplane.shape import Shape
from appliance.dataplane.tables import Tables
from appliance.model import Address, Protocol, ServiceKey
from tests.profile import FUZZ
from tests.unit.dataplane.desires import (
    AVAILABLE,
    DEAD,
    DRAINING,
    IDLE,
    LOG,
    OTHER,
    TLS,
    WEB,
    assert_tables,
    desired,
    later,
    member,
    memory_at,
    pool,
    service,
    web,
)
from tests.unit.dataplane.packets import Flow, Packets, find_vip
from tests.unit.dataplane.recorded import Fence, Image, Store, image, put, recorded, reordered, restored

SHAPE = Shape(services=64, destinations=512, slots=1 << 13, sets=2, direct=True, wide=False)
FLOWS = 16
"""Established flows of each service."""
STRIDE = 1 if FUZZ else 41
"""Of many stores that are all alike, one in so many is looked at closely."""
SUBSETS = 40 if FUZZ else 6
"""Reorderings of the stores between two fences."""

Step = tuple[Desired, int]
"""A desired state, and how many seconds it is left alone."""


def with_states(*states: object) -> Desired:
    """A service whose backends 1, 2, ... are in these states."""
    members = [member(number, 1, state) for number, state in enumerate(states, 1)]  # type: ignore[arg-type]
    return desired(service(WEB, members))


def datagrams(*numbers: int) -> DesiredService:
    """A UDP service."""
    return service(LOG, [member(number) for number in numbers])


A, D, X = AVAILABLE, DRAINING, DEAD
# What happens -> the states before, and the last one
SCENES: dict[str, tuple[Sequence[Step], Desired]] = {
    "the first service of all": ([], web(1, 2, 3)),
    "a backend joins": ([(web(1, 2, 3), 5)], web(1, 2, 3, 4)),
    "a backend leaves": ([(web(1, 2, 3), 5)], web(1, 3)),
    "a backend dies": ([(with_states(A, A, A), 5)], with_states(A, X, A)),
    "a backend drains": ([(with_states(A, A, A), 5)], with_states(A, D, A)),
    "all die": ([(with_states(A, A), 5)], with_states(X, X)),
    "one returns while tracked": ([(with_states(A, A, A), 5), (with_states(A, X, A), 5)], with_states(A, A, X)),
    "a second change in the window": ([(web(1, 2, 3), 5), (web(1, 2), 5)], web(1, 2, 4, 5)),
    "a weight": (
        [(desired(service(WEB, [member(1), member(2)])), 5)],
        desired(service(WEB, [member(1, 3), member(2)])),
    ),
    "a MAC becomes known": (
        [(desired(service(WEB, [member(1), member(2, version=None)])), 5)],
        desired(service(WEB, [member(1, version=1), member(2)])),
    ),
    "a number is reused": ([(web(1, 2, 3), 5), (web(1, 2), IDLE + REUSE_MARGIN + 1)], web(1, 2, 4)),
    "one comes back to its number": ([(web(1, 2, 3), 5), (web(1, 2), 5)], web(1, 2, 3)),
    "the range of numbers moves": ([(web(*pool(7)), 5)], web(*pool(20))),
    "two ranges move, one service goes": (
        [(desired(*web(*pool(7)).services, datagrams(*pool(7)), service(TLS, [member(1)])), 5)],
        desired(*web(*pool(20)).services, datagrams(*pool(20))),
    ),
    "one service takes the other's place": ([(web(1, 2), 5)], desired(service(OTHER, [member(3), member(4)]))),
    "everything goes": ([(web(1, 2), 5)], Desired(seed=bytes(range(16)), idle=IDLE)),
    "everything at once": (
        [
            (
                desired(
                    service(WEB, [member(1), member(2), member(3), member(4)]),
                    datagrams(1, 2, 3),
                    service(TLS, [member(1), member(2)]),
                ),
                5,
            ),
            (desired(service(WEB, [member(1), member(2), member(3)]), datagrams(2, 3), service(TLS, [member(1)])), 5),
        ],
        desired(
            service(WEB, [member(1, 2), member(2, 1, DEAD), member(4), *[member(n) for n in pool(14, 10)]]),
            datagrams(1, 3),
            service(OTHER, [member(1), member(2)]),
            vips={WEB.vip: False, LOG.vip: True, OTHER.vip: True, IPv4Address("192.0.2.50"): True},
        ),
    ),
}


@dataclass
class Scene:
    """What was before the last change, and every store of it."""

    before: Desired
    after: Desired
    memory: Memory
    """As it was when the change began."""
    packets: Packets
    flows: dict[Flow, Address]
    log: list[Store | Fence]
    end: Image

    @cached_property
    def steady(self) -> dict[Flow, Address]:
        """Established flows whose backend may go on in the last state."""
        may = {(one.key, m.address) for one in self.after.services for m in one.members if m.state in (A, D)}
        return {flow: owner for flow, owner in self.flows.items() if (flow.key, owner) in may}

    @cached_property
    def living(self) -> set[tuple[ServiceKey, Address]]:
        """The backends that a service may send packets to before or after."""
        both = (*self.before.services, *self.after.services)
        return {(one.key, m.address) for one in both for m in one.members if m.state in (A, D)}


def established(packets: Packets, services: Sequence[DesiredService], first: int) -> dict[Flow, Address]:
    """Open flows, each of which has sent two packets."""
    flows: dict[Flow, Address] = {}
    for one in services:
        for number in range(FLOWS):
            flow = Flow(one.key, IPv4Address("203.0.113.0") + number, first + number)
            sent = packets.send(flow, syn=True)
            if sent is not None and sent.refusal is Refusal.NOTHING:
                assert packets.send(flow) == sent
                flows[flow] = packets.memory.backend(sent.number)
    return flows


def play(steps: Sequence[Step], after: Desired) -> Scene:
    """Go through the steps, opening flows in each, and write down the last change."""
    memory = memory_at(1_000, SHAPE)
    tables, packets = Tables(memory), Packets(memory)
    flows: dict[Flow, Address] = {}
    before = Desired()
    for number, (before, seconds) in enumerate(steps):
        tables.apply(before)
        living = {(one.key, m.address) for one in before.services for m in one.members if m.state in (A, D)}
        flows = {flow: owner for flow, owner in flows.items() if (flow.key, owner) in living}
        flows.update(established(packets, before.services, 40_000 + 1_000 * number))
        while seconds > 0:
            later(tables, min(seconds, 25))
            seconds -= 25
            tables.sweep(before.services)
            for flow, owner in flows.items():
                sent = packets.send(flow)
                assert sent is not None
                assert memory.backend(sent.number) == owner
    start = restored(memory, image(memory))
    written, log = recorded(memory)
    writer = Tables(written)
    log.clear()
    writer.apply(after)
    assert_tables(memory, after)
    return Scene(before, after, start, packets, flows, log, image(memory))


@pytest.fixture(scope="module", params=SCENES)
def scene(request: pytest.FixtureRequest) -> Scene:
    """Each scene, played once."""
    steps, after = SCENES[request.param]
    return play(steps, after)


def assert_packets(memory: Memory, packets: Packets, scene: Scene) -> None:
    """Established flows stay; whatever else comes reaches a backend of its service, or a counted drop."""
    seen = Packets(memory, deepcopy(packets.flows))
    for flow, owner in scene.flows.items():
        sent = seen.send(flow)
        if flow in scene.steady:
            assert sent is not None
            assert memory.backend(sent.number) == owner
            assert sent.refusal is Refusal.NOTHING
    for key in {one.key for one in (*scene.before.services, *scene.after.services)}:
        for number in range(8):
            flow = Flow(key, IPv4Address("198.51.100.1"), 50_000 + number)
            for syn in (True, False):
                sent = seen.send(flow, syn=syn)
                if sent is not None and sent.refusal is Refusal.NOTHING:
                    assert (key, memory.backend(sent.number)) in scene.living
                    assert memory.identities.get(sent.number, "port") == key.port
                    assert memory.destinations.get(sent.number, "mac_head")


def assert_in_force(memory: Memory, scene: Scene) -> None:
    """Each lookup gives what was before or what is after, and what does not change is always there."""
    found, before, after = lookup.entries(memory), scene.before.services, scene.after.services
    assert {one.key for one in before} & {one.key for one in after} <= found.keys()
    assert found.keys() <= {one.key for one in (*before, *after)}
    for vip in scene.before.vips.keys() & scene.after.vips.keys():
        assert find_vip(memory, vip) in (scene.before.vips[vip], scene.after.vips[vip])
    assert lookup.vips(memory).keys() <= scene.before.vips.keys() | scene.after.vips.keys()


def interesting(log: Sequence[Store | Fence]) -> list[int]:
    """Behind which stores to look closely: the first and last ones of each kind between two fences, some in between."""
    found: list[int] = []
    epoch: dict[tuple[str, int], list[int]] = {}
    for at, event in enumerate((*log, Fence())):
        if isinstance(event, Store):
            epoch.setdefault((event.map, len(event.content)), []).append(at)
        else:
            for stores in epoch.values():
                found += {*stores[:3], *stores[-2:], *stores[::STRIDE]}
            epoch = {}
    return sorted(found)


def test_a_kill_at_any_store(scene: Scene) -> None:
    memory = restored(scene.memory, image(scene.memory))
    close = set(interesting(scene.log))
    assert len(close) > 3
    for at, event in enumerate(scene.log):
        if isinstance(event, Store):
            put(memory, event)
        if at not in close:
            continue
        seen = restored(memory, image(memory))
        assert_in_force(seen, scene)
        assert_packets(seen, scene.packets, scene)
        # A new daemon, a second later.
        found = restored(memory, image(memory))
        found.settings.put(0, "time", found.time + 1)
        tables = Tables(found)
        tables.apply(scene.after)
        assert_tables(found, scene.after)
        assert_packets(found, scene.packets, scene)
        held = image(found)
        assert tables.apply(scene.after).changed == {}
        assert Tables(found).apply(scene.after).changed == {}
        assert image(found) == held


def test_a_kill_after_which_the_change_is_taken_back(scene: Scene) -> None:
    """What was before comes back, whatever was half done."""
    if not scene.before.services:
        return
    memory = restored(scene.memory, image(scene.memory))
    close = set(interesting(scene.log)[:: 1 if FUZZ else 5])
    for at, event in enumerate(scene.log):
        if isinstance(event, Store):
            put(memory, event)
        if at in close:
            found = restored(memory, image(memory))
            Tables(found).apply(scene.before)
            assert_tables(found, scene.before)
            packets = Packets(found, deepcopy(scene.packets.flows))
            for flow, owner in scene.steady.items():
                sent = packets.send(flow)
                assert sent is not None
                assert found.backend(sent.number) == owner


def test_a_tracked_slot_has_its_history(scene: Scene) -> None:
    """At every store to a slot: who was the answer before, and when that changed, are there already."""
    memory = restored(scene.memory, image(scene.memory))
    index, tracked, size = memory.tracked - 1, memory.tracked, memory.slots.itemsize
    for event in scene.log:
        if not isinstance(event, Store):
            continue
        old = memory.slots.tolist()
        put(memory, event)
        if event.map != "vc5_slots" or len(event.content) != size:
            continue
        number = event.offset // size
        word = memory.slots[number]
        if not word & tracked:
            assert not old[number]
            continue
        assert memory.histories.get(number, "changed") == memory.time
        if old[number] & tracked:
            was = scene.memory.histories.get(number, "was")
        else:
            was = old[number] & index
        assert memory.histories.get(number, "was") == was


def test_stores_that_another_processor_sees_out_of_order(scene: Scene) -> None:
    for stores in reordered(scene.log, Random(1), SUBSETS):
        memory = restored(scene.memory, image(scene.memory))
        for store in stores:
            put(memory, store)
        assert_in_force(memory, scene)
        assert_packets(memory, scene.packets, scene)


def test_a_kill_during_a_sweep() -> None:
    """Settling is safe at every store as well."""
    steps: list[Step] = [(web(1, 2, 3), 5), (web(1, 2), 2 * IDLE + 2)]
    scene = play(steps[:-1], steps[-1][0])
    memory = restored(scene.memory, scene.end)
    packets = Packets(memory, deepcopy(scene.packets.flows))
    tables = Tables(memory)
    for _ in range(9):
        later(tables, 15)
        for flow, owner in scene.steady.items():
            sent = packets.send(flow)
            assert sent is not None
            assert memory.backend(sent.number) == owner
    assert memory.time - scene.memory.time > 2 * IDLE
    start = restored(memory, image(memory))
    written, log = recorded(memory)
    writer = Tables(written)
    writer.apply(scene.after)
    log.clear()
    assert writer.sweep(scene.after.services) > 100
    seen = restored(start, image(start))
    scene = Scene(scene.after, scene.after, start, packets, scene.steady, log, image(memory))
    for number, event in enumerate(log):
        if isinstance(event, Store):
            put(seen, event)
        if number % STRIDE == 0:
            assert_packets(restored(seen, image(seen)), packets, scene)
            found = restored(seen, image(seen))
            adopted = Tables(found)
            adopted.apply(scene.after)
            adopted.sweep(scene.after.services)
            assert image(found) == scene.end


def test_scenes_reach_what_they_are_about() -> None:
    """Tracked slots, moves and both protocols are in them."""
    tracked, moved = 0, 0
    protocols: set[Protocol] = set()
    for steps, after in SCENES.values():
        one = play(steps, after)
        first, last = lookup.entries(one.memory), lookup.entries(restored(one.memory, one.end))
        tracked += any(word & one.memory.tracked for word in one.memory.slots.tolist())
        moved += sum(last[key].capacity != entry.capacity for key, entry in first.items() if key in last)
        protocols |= {flow.key.protocol for flow in one.flows}
    assert tracked >= 4
    assert moved >= 4
    assert protocols == set(Protocol)
