"""Sticky services: a client meets the same backend on all ports of a VIP, and no established flow moves for it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from appliance.dataplane.desired import Desired, DesiredService
from appliance.dataplane.model.tracking import Tracking
from appliance.dataplane.shape import slot_count
from appliance.dataplane.tables import Tables
from appliance.model import Address, Protocol, ServiceKey
from tests.profile import FUZZ
from tests.unit.dataplane.clients import Clients, flow
from tests.unit.dataplane.desires import (
    AVAILABLE,
    DEAD,
    DRAINING,
    IDLE,
    TLS,
    WEB,
    assert_tables,
    desired,
    later,
    member,
    memory_at,
    pool,
    service,
)
from tests.unit.dataplane.hashes import BOTH, entry, pass_time, seeded, started

HISTORIES = 200 if FUZZ else 10
QUIC = ServiceKey(WEB.vip, 443, Protocol.UDP)
PORTS = (WEB, TLS, QUIC)
HOSTS = range(150)


def sticky(key: ServiceKey, *numbers: int) -> DesiredService:
    return replace(service(key, [member(number) for number in numbers]), sticky=True)


def meets(clients: Clients, key: ServiceKey, host: int, number: int = 0) -> Address | None:
    """The backend that a new flow of a client gets."""
    return clients.open(flow(key, number, host))


def assert_same(clients: Clients) -> set[Address | None]:
    """Each client meets one backend, from whatever port and on whatever port; returns all that are met."""
    found = set()
    for host in HOSTS:
        met = {meets(clients, key, host, number) for key in PORTS for number in (1, 2)}
        assert len(met) == 1, (host, met)
        found |= met
    return found


def test_a_client_meets_the_same_backend_on_all_ports() -> None:
    tables, clients = started(desired(*(sticky(key, 1, 2, 3, 4) for key in PORTS)), 0)
    assert len(assert_same(clients)) == 4
    assert_tables(tables.memory, desired(*(sticky(key, 1, 2, 3, 4) for key in PORTS)))


def test_services_that_are_not_sticky_do_not() -> None:
    _, clients = started(desired(*(service(key, [member(n) for n in pool(4)]) for key in PORTS)), 0)
    met = [{meets(clients, key, host) for key in PORTS} for host in HOSTS]
    assert sum(len(each) > 1 for each in met) > len(HOSTS) / 2


def test_equal_pools_agree_whatever_they_were_before() -> None:
    """One service was larger, one grows, one is new: with equal pools they have equal tables in the end."""
    tables, clients = started(desired(sticky(WEB, *pool(12)), sticky(TLS, *pool(3))), 0)
    wanted = desired(*(sticky(key, *pool(4)) for key in PORTS))
    for _ in range(3):
        tables.apply(wanted)
        pass_time(tables, wanted, IDLE + 2)
    assert {entry(tables, key).slot_count for key in PORTS} == {slot_count(12)}
    pass_time(tables, wanted, 2 * IDLE)
    tables.apply(wanted)
    assert len(assert_same(clients)) == 4


@pytest.mark.parametrize("on", [True, False])
def test_a_change_of_sticky_moves_no_flow_of_any_service(on: bool) -> None:
    plain = desired(*(service(key, [member(n) for n in pool(4)]) for key in PORTS))
    sticking = desired(*(sticky(key, *pool(4)) for key in PORTS))
    before, after = (plain, sticking) if on else (sticking, plain)
    tables, clients = started(before, 0)
    for key in PORTS:
        for host in HOSTS:
            assert meets(clients, key, host) is not None
    one = desired(*after.services[:1], *before.services[1:])
    key = after.services[0].key
    assert tables.needs_previous(after.seed, {}, {}) is False
    assert tables.needs_previous(one.seed, {s.key: 4 for s in one.services}, {s.key: s.sticky for s in one.services})
    places = {other: entry(tables, other) for other in PORTS}
    assert set(tables.apply(one).changed) == {key}
    assert {other for other in PORTS if entry(tables, other) != places[other]} == {key}
    now = entry(tables, key)
    assert (now.sticky, now.previous_sticky, now.previous_count) == (on, not on, places[key].slot_count)
    for second in range(IDLE + 1):
        if second % 20 == 19 or second == IDLE - 1:
            assert clients.lost() == []
        pass_time(tables, one, 1)
    assert entry(tables, key).previous_count == 0
    assert clients.lost() == []


def test_others_wait_for_their_turn() -> None:
    before = desired(*(service(key, [member(n) for n in pool(4)]) for key in (WEB, TLS)))
    tables, clients = started(before)
    tables.apply(seeded(before, 9))
    after = seeded(desired(*(sticky(key, *pool(4)) for key in (WEB, TLS))), 9)
    pass_time(tables, after, 3)
    tables.apply(after)
    assert not entry(tables).sticky
    pass_time(tables, after, IDLE - 4)
    assert clients.lost() == []
    pass_time(tables, after, 4)
    assert not tables.asks()
    tables.apply(after)
    assert entry(tables).sticky
    assert tables.asks()
    pass_time(tables, after, IDLE - 6)
    assert clients.lost() == []


def test_a_service_without_tracking_changes_at_once() -> None:
    before = desired(replace(service(WEB, [member(n) for n in pool(4)]), tracking=False))
    tables = Tables(memory_at(1_000))
    tables.apply(before)
    place = entry(tables)
    tables.apply(desired(replace(before.services[0], sticky=True)))
    assert entry(tables) == replace(place, sticky=True)
    assert tables.tracked()[WEB] == 0


class Life:
    """Clients with several flows each, through changes of everything, `sticky` included."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.states = dict.fromkeys(pool(4), AVAILABLE)
        self.sticky, self.all = self.random.random() < 0.8, False
        self.tables = Tables(memory_at(self.random.choice((1_000, 2**15 - 100)), replace(BOTH, tracks_all=True)))
        self.clients = Clients(self.tables.memory)
        self.spoke: dict[object, int] = {}
        self.tables.apply(self.wanted())

    def wanted(self) -> Desired:
        one = service(WEB, [member(number, 1, state) for number, state in self.states.items()])
        return desired(replace(one, sticky=self.sticky, remember_all=self.all))

    def event(self) -> None:
        random, number = self.random, self.random.choice(list(self.states))
        match random.randrange(6):
            case 0:
                self.sticky = not self.sticky
            case 1:
                self.all = not self.all
            case 2:
                self.tables = Tables(self.tables.memory)
            case _:
                others = [n for n, state in self.states.items() if state is AVAILABLE and n != number]
                if others:
                    self.states[number] = random.choice((AVAILABLE, DRAINING, DEAD))
        self.tables.apply(self.wanted())

    def second(self) -> None:
        later(self.tables, 1)
        time = self.tables.memory.time
        self.tables.sweep(self.wanted().services)
        if self.random.random() < 0.06:
            self.event()
        for one in list(self.clients.owners):
            silence = time - self.spoke[one]
            if silence >= IDLE:
                del self.clients.owners[one]
            elif self.random.random() < (0.05 if silence < IDLE - 1 else 0.9):
                assert self.clients.lost([one]) == [], (time, silence)
                self.spoke[one] = time
        one = flow(WEB, self.random.randrange(6), self.random.randrange(40))
        if one not in self.clients.owners or self.random.random() < 0.3:
            owner = self.clients.open(one)
            assert owner is not None
            assert self.clients.states(WEB)[owner] is AVAILABLE
            self.spoke[one] = time


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_no_established_flow_moves_whatever_happens(seed: int) -> None:
    life = Life(seed)
    for _ in range(600):
        life.second()


class OneEntry(Tracking):
    """Remembers a sticky client as one, in the place of each of its flows."""

    def slot(self, service, ip, transport):  # type: ignore[no-untyped-def]
        place, whole = super().slot(service, ip, transport)
        return place, self._hash(ip, transport, sticky=True) if service.sticky else whole


def test_one_entry_for_a_client_loses_flows() -> None:
    """Its new connection to `now` takes along those that belong to `was`."""
    tables, clients = started(desired(sticky(WEB, 1, 2)), 0)
    clients.model._tracking = OneEntry(tables.memory, clients.model.counts.count)
    for host in HOSTS:
        meets(clients, WEB, host, 1)
    tables.apply(desired(sticky(WEB, 1, 2, 3, 4)))
    for host in HOSTS:
        meets(clients, WEB, host, 2)
    assert len(clients.lost()) > 20


def test_who_finds_no_room_goes_on_as_it_is() -> None:
    """And what others need is done all the same."""
    before = desired(*(service(key, [member(n) for n in pool(4)]) for key in (WEB, TLS)))
    tables = Tables(memory_at(1_000, replace(BOTH, slots=3 * slot_count(4) - 1)))
    clients = Clients(tables.memory)
    tables.apply(before)
    clients.open_many(TLS, range(60))
    for after in (
        desired(*(sticky(key, *pool(4)) for key in (WEB, TLS))),
        desired(*(sticky(key, 1, 2, 3, 5) for key in (WEB, TLS))),
    ):
        tables.apply(after)
        assert tables.numbers(WEB).keys() == {one.address for one in after.services[0].members}
        assert not entry(tables, WEB).sticky
    for after in (desired(sticky(TLS, *pool(4))), desired(sticky(TLS, *pool(5)))):
        tables.apply(after)
    assert entry(tables, TLS).sticky
    assert clients.lost() == []
