"""Any sequence of changes, deaths, returns, restarts and quiet times: right tables, unmoved flows, numbers at rest.

Two worlds see the same: in one the daemon is started anew before every change, in the other never. Their memory must
stay equal byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from appliance.dataplane import lookup
from appliance.dataplane.desired import Desired, Member
from appliance.dataplane.enums import Refusal, State
from appliance.dataplane.memory import Memory
from appliance.dataplane.numbering import REUSE_MARGIN
from appliance.dataplane.shape import Shape
from appliance.dataplane.tables import Tables
from appliance.model import Address, Protocol, ServiceKey
from tests.profile import EXAMPLES
from tests.unit.dataplane.desires import (
    AVAILABLE,
    DEAD,
    DRAINING,
    GRACE,
    IDLE,
    LOG,
    OTHER,
    TLS,
    WEB,
    assert_tables,
    backend,
    desired,
    hop,
    member,
    memory_at,
    numbers_in,
    service,
)
from tests.unit.dataplane.packets import Flow, Packets
from tests.unit.dataplane.recorded import image

NARROW = Shape(services=128, destinations=4096, slots=1 << 15, sets=2, direct=True, wide=False)
WIDE = replace(NARROW, services=16, direct=False, wide=True)
KEYS = (WEB, TLS, LOG, OTHER)
BACKENDS = 40
STEP = GRACE - 5
"""Flows send a packet at least this often, seconds."""
FLOWS = 12
"""Of each service."""

keys = st.sampled_from(KEYS)
numbers = st.integers(1, BACKENDS)
pools = st.sets(numbers, min_size=1, max_size=BACKENDS)
states = st.sampled_from([AVAILABLE, AVAILABLE, DRAINING, DEAD, State.NONE])


@dataclass
class World:
    """Tables, and the packets that meet them."""

    memory: Memory
    tables: Tables
    packets: Packets

    @classmethod
    def new(cls, shape: Shape) -> World:
        memory = memory_at(1_000, shape)
        return cls(memory, Tables(memory), Packets(memory))


@dataclass
class Wish:
    """A service as it is going to be desired."""

    members: dict[int, Member] = field(default_factory=dict)
    tracking: bool = True


def _key(name: object) -> ServiceKey:
    assert isinstance(name, Flow)
    return name.key


class TablesMachine(RuleBasedStateMachine):
    """The worlds, what was desired last, and what must be remembered to judge them."""

    shape = NARROW

    def __init__(self) -> None:
        super().__init__()
        self.worlds = (World.new(self.shape), World.new(self.shape))
        self.wishes: dict[ServiceKey, Wish] = {}
        self.up: dict[Address, bool] = {}
        self.wanted = Desired()
        self.flows: dict[Flow, Address] = {}
        self.opened = 0
        # number -> who had it last, and until when (None: has it)
        self.held: dict[int, tuple[ServiceKey, Address, int | None]] = {}

    @property
    def time(self) -> int:
        return self.worlds[0].memory.time

    @initialize(pool=pools)
    def begin(self, pool: set[int]) -> None:
        self._add(WEB, pool)
        self._apply()
        self._open()

    # What may be desired.

    def _add(self, key: ServiceKey, pool: set[int]) -> None:
        wish = self.wishes.setdefault(key, Wish())
        for number in pool:
            wish.members.setdefault(number, member(number))
        self.up.setdefault(key.vip, True)

    @rule(key=keys, pool=pools)
    def add_backends(self, key: ServiceKey, pool: set[int]) -> None:
        self._add(key, pool)
        self._apply()

    @rule(key=keys, pool=pools)
    def remove_backends(self, key: ServiceKey, pool: set[int]) -> None:
        if key in self.wishes:
            for number in pool:
                self.wishes[key].members.pop(number, None)
        self._apply()

    @rule(key=keys, number=numbers, state=states, weight=st.integers(0, 3), version=st.none() | st.integers(0, 2))
    def change_backend(self, key: ServiceKey, number: int, state: State, weight: int, version: int | None) -> None:
        members = self.wishes[key].members if key in self.wishes else {}
        if members:
            number = sorted(members)[number % len(members)]
            way = None if version is None else hop(number, version)
            members[number] = replace(members[number], state=state, weight=weight, hop=way)
        self._apply()

    @rule(pool=pools, state=states)
    def change_many(self, pool: set[int], state: State) -> None:
        """A host, or many, seen by all services at once."""
        for wish in self.wishes.values():
            for number in pool & wish.members.keys():
                wish.members[number] = replace(wish.members[number], state=state)
        self._apply()

    @rule(key=keys, again=st.booleans())
    def remove_service(self, key: ServiceKey, again: bool) -> None:
        wish = self.wishes.pop(key, None)
        self._apply()
        if again and wish is not None:
            self.wishes[key] = wish
            self._apply()

    @rule(old=keys, new=keys, pool=pools)
    def replace_service(self, old: ServiceKey, new: ServiceKey, pool: set[int]) -> None:
        self.wishes.pop(old, None)
        self._add(new, pool)
        self._apply()

    @rule(key=keys)
    def forget_flows_of_datagrams(self, key: ServiceKey) -> None:
        if key in self.wishes and key.protocol is Protocol.UDP:
            self.wishes[key].tracking = not self.wishes[key].tracking
        self._apply()

    @rule(vip=st.sampled_from([WEB.vip, LOG.vip, IPv4Address("192.0.2.99")]), up=st.none() | st.booleans())
    def change_vip(self, vip: IPv4Address, up: bool | None) -> None:
        if up is not None:
            self.up[vip] = up
        elif all(key.vip != vip for key in self.wishes):
            self.up.pop(vip, None)
        self._apply()

    # Time and packets.

    @rule(seconds=st.sampled_from([1, STEP, GRACE + 1, IDLE + 1, IDLE + REUSE_MARGIN + 1, 2 * IDLE + 1, 5 * IDLE]))
    def pass_time(self, seconds: int) -> None:
        while seconds > 0:
            passed = min(seconds, STEP)
            seconds -= passed
            for world in self.worlds:
                world.memory.settings.put(0, "time", world.memory.time + passed)
            self._go_on()
            settled = [world.tables.sweep(self.wanted.services) for world in self.worlds]
            assert settled[0] == settled[1]

    @rule()
    def open_flows(self) -> None:
        self._open()

    def _open(self) -> None:
        for one in self.wanted.services:
            known = [flow for flow in self.flows if flow.key == one.key]
            for _ in range(FLOWS - len(known)):
                self.opened += 1
                # Ports come round again, so that flows reuse the names of older ones.
                flow = Flow(one.key, IPv4Address("203.0.113.0") + self.opened % 3, 40_000 + self.opened % 17)
                self.flows.pop(flow, None)
                owner = self._send(flow, syn=True)
                if owner is None:
                    continue
                state = next((m.state for m in one.members if m.address == owner), None)
                if one.key.protocol is Protocol.TCP:
                    assert state is AVAILABLE, "a new connection went to a backend that should get none"
                if one.tracking:
                    self.flows[flow] = owner

    def _send(self, flow: Flow, *, syn: bool = False) -> Address | None:
        """The backend that a packet reaches; the same in both worlds."""
        sent = [world.packets.send(flow, syn=syn) for world in self.worlds]
        assert sent[0] == sent[1]
        if sent[0] is None or sent[0].refusal not in (Refusal.NOTHING, Refusal.UNRESOLVED):
            return None
        return self.worlds[0].memory.backend(sent[0].number)

    def _go_on(self) -> None:
        for flow, owner in sorted(self.flows.items(), key=lambda item: (item[0].port, item[0].source, item[0].key)):
            assert self._send(flow) == owner, "an established flow was moved"

    # What is checked.

    def _apply(self) -> None:
        services = [
            service(key, list(wish.members.values()), tracking=wish.tracking) for key, wish in self.wishes.items()
        ]
        for key in self.wishes:
            self.up.setdefault(key.vip, True)
        before, self.wanted = self.wanted, desired(*services, vips=dict(self.up))
        # What flows of a removed service are remembered by means something else when it comes back: see
        # test_a_service_that_comes_back_knows_nothing_of_its_former_flows.
        known = {one.key for one in before.services}
        for world in self.worlds:
            world.packets.flows = {name: way for name, way in world.packets.flows.items() if _key(name) in known}
        self.worlds[1].tables = Tables(self.worlds[1].memory)
        changed = [world.tables.apply(self.wanted).changed for world in self.worlds]
        assert changed[0] == changed[1]
        assert_tables(self.worlds[0].memory, self.wanted)
        held = image(self.worlds[0].memory)
        assert Tables(self.worlds[0].memory).apply(self.wanted).changed == {}
        assert image(self.worlds[0].memory) == held
        self._judge_numbers()
        self._end_flows(before)
        self._go_on()

    def _end_flows(self, before: Desired) -> None:
        """Flows end with their backend, and those that have just lost their service or its memory."""
        tracking = {one.key for one in before.services if one.tracking}
        living = {
            (one.key, m.address)
            for one in self.wanted.services
            for m in one.members
            if m.state in (AVAILABLE, DRAINING) and one.tracking and one.key in tracking
        }
        self.flows = {flow: owner for flow, owner in self.flows.items() if (flow.key, owner) in living}

    def _judge_numbers(self) -> None:
        """A number means another backend only when flows have forgotten the one before."""
        memory, now = self.worlds[0].memory, {}
        for key, entry in lookup.entries(memory).items():
            now.update({number: (key, address) for address, number in numbers_in(memory, entry).items()})
        for number, (key, address) in now.items():
            if number in self.held:
                *who, until = self.held[number]
                assert tuple(who) == (key, address) or (until and self.time - until > IDLE + REUSE_MARGIN)
        for number, (key, address, until) in self.held.items():
            if until is None and number not in now:
                self.held[number] = key, address, self.time
        self.held.update({number: (*who, None) for number, who in now.items()})

    @invariant()
    def both_worlds_are_equal(self) -> None:
        assert image(self.worlds[0].memory) == image(self.worlds[1].memory)


class WideTablesMachine(TablesMachine):
    """The same with slots of two bytes and displacements."""

    shape = WIDE


TestTables = TablesMachine.TestCase
TestTables.settings = settings(max_examples=max(25, EXAMPLES // 4), stateful_step_count=30)
TestWideTables = WideTablesMachine.TestCase
TestWideTables.settings = settings(max_examples=max(10, EXAMPLES // 8), stateful_step_count=30)


def test_backends_are_told_apart() -> None:
    """What the machine compares by address is one backend each."""
    assert len({backend(number) for number in range(BACKENDS + 1)}) == BACKENDS + 1
