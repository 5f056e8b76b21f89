"""What is foretold of slots is what the tables then do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from appliance.control.forecast import (
    Cause,
    Move,
    Seat,
    VipChanges,
    flows_leaving,
    moves,
    vips,
)
from appliance.dataplane.desired import Desired, DesiredService, Member
from appliance.dataplane.tables import Tables
from appliance.model import Address, ServiceKey
from tests.unit.control.sample import DNS, TLS, WEB, address
from tests.unit.dataplane.desires import (
    DEAD,
    DRAINING,
    IDLE,
    SHAPE,
    desired,
    member,
    pool,
    service,
    tables_at,
)
from tests.unit.dataplane.desires import OTHER as SHOP
from tests.unit.dataplane.desires import WEB as SITE

SEED = bytes(range(1, 17))
"""Another one than that of `desired`."""
REMEMBERING = replace(SHAPE, previous=True)


def seats(tables: Tables) -> dict[ServiceKey, Seat]:
    """The tables as they are."""
    found = {}
    for key in tables.tracked():
        slots, entry = tables.slots(key), tables.entry(key)
        assert slots is not None
        assert entry is not None
        names = {number - entry.destinations: who for who, number in tables.numbers(key).items()}
        words = tables.memory.slots[slots.first : slots.first + slots.count].tolist()
        found[key] = Seat(entry, words, tables.memory.tracked - 1, names)
    return found


def members(*numbers: int, **weights: int) -> list[Member]:
    """Members with these numbers; `w3=5` is number 3 with weight 5."""
    return [*(member(number) for number in numbers), *(member(int(n[1:]), w) for n, w in weights.items())]


def site(*numbers: int, **weights: int) -> DesiredService:
    """The service that most rows change."""
    return service(SITE, members(*numbers, **weights))


def state(number: int, gets: object) -> Member:
    """A backend that gets no new flows."""
    return member(number, 0, gets)  # type: ignore[arg-type]


FOUR = site(1, 2, 3, 4)
OTHER = service(SHOP, members(5, 6))
# before, after, the cause
TABLE: dict[str, tuple[tuple[DesiredService, ...], tuple[DesiredService, ...], Cause]] = {
    "nothing": ((FOUR, OTHER), (FOUR, OTHER), Cause.NONE),
    "a weight": ((FOUR, OTHER), (site(1, 2, 3, w4=3), OTHER), Cause.BACKENDS),
    "weight 0": ((FOUR,), (service(SITE, [*members(1, 2, 3), state(4, DRAINING)]),), Cause.BACKENDS),
    "one dead": ((FOUR,), (service(SITE, [*members(1, 2, 3), state(4, DEAD)]),), Cause.BACKENDS),
    "a backend less": ((FOUR, OTHER), (site(1, 2, 3), OTHER), Cause.BACKENDS),
    "a backend more": ((FOUR, OTHER), (site(1, 2, 3, 4, 7), OTHER), Cause.BACKENDS),
    "others in their place": ((FOUR,), (site(11, 12, 13, 14),), Cause.BACKENDS),
    "none left": ((FOUR,), (service(SITE, [state(1, DRAINING), state(2, DEAD)]),), Cause.BACKENDS),
    "the first ones": ((service(SITE, [state(1, DEAD)]),), (site(1, 2),), Cause.NONE),
    "a service more": ((OTHER,), (FOUR, OTHER), Cause.NONE),
    "a service less": ((FOUR, OTHER), (OTHER,), Cause.REMOVED),
    "sticky": ((FOUR, OTHER), (replace(FOUR, sticky=True), OTHER), Cause.STICKY),
    "not sticky any more": ((replace(FOUR, sticky=True),), (FOUR,), Cause.STICKY),
    "more slots": ((FOUR, OTHER), (site(*pool(40)), OTHER), Cause.SLOTS),
    "the flows of others": ((FOUR,), (replace(FOUR, remember_all=False, clamp=1200),), Cause.NONE),
}


def owners(tables: Tables, key: ServiceKey) -> list[Address | None]:
    """The backend of each slot."""
    found = seats(tables).get(key)
    return found.owners() if found else []


@pytest.mark.parametrize(("before", "after", "cause"), TABLE.values(), ids=TABLE)
def test_what_is_foretold_happens(
    before: tuple[DesiredService, ...], after: tuple[DesiredService, ...], cause: Cause
) -> None:
    tables = tables_at(shape=REMEMBERING)
    tables.apply(desired(*before))
    told = moves(seats(tables), after, now={one.key: one for one in before}, reseeded=False)
    blind = moves(seats(tables), after, reseeded=False)
    assert blind == told, "knowing what the tables were brought to saves work and changes nothing"
    assert told.keys() == {one.key for one in (*before, *after)}
    held = {one.key: owners(tables, one.key) for one in before}
    tables.apply(desired(*after))
    for key, move in told.items():
        entry = tables.entry(key)
        now = owners(tables, key)
        if entry is None:
            assert move.cause is Cause.REMOVED
            assert move.moved == len(held[key]) - held[key].count(None)
        elif key not in held:
            assert move == Move(entry.slot_count)
        elif entry.previous_count:
            assert (move.moved, move.slots, move.share) == (entry.slot_count, entry.slot_count, 1.0)
        else:
            pairs = list(zip(held[key], now, strict=True))
            assert move.moved == sum(was is not None and was != to for was, to in pairs)
            assert move.slots == len(now)
            assert sum(move.left.values()) == move.moved
            assert all(move.held[who] == held[key].count(who) for who in move.left)
    assert told[SITE].cause is cause


def test_another_seed_moves_all() -> None:
    tables = tables_at(shape=REMEMBERING)
    tables.apply(desired(FOUR, OTHER))
    told = moves(seats(tables), (FOUR, OTHER), now={one.key: one for one in (FOUR, OTHER)}, reseeded=True)
    assert {(move.share, move.at_once == move.moved, move.cause) for move in told.values()} == {(1.0, True, Cause.SEED)}
    tables.apply(Desired((FOUR, OTHER), {SITE.vip: True, SHOP.vip: True}, SEED, IDLE))
    for key, move in told.items():
        entry = tables.entry(key)
        assert entry is not None
        assert move.moved == entry.slot_count == len(seats(tables)[key].owners())


def test_new_backends_move_slots_once_they_are_up() -> None:
    tables = tables_at()
    tables.apply(desired(FOUR))
    later = site(1, 2, 3, 7)
    at_once = service(SITE, [*members(1, 2, 3), member(4, 0, DRAINING), member(7, 0, DRAINING)])
    told = moves(seats(tables), (later,), (at_once,), reseeded=False)[SITE]
    was = owners(tables, SITE)
    tables.apply(desired(at_once))
    assert told.at_once == sum(then != now for then, now in zip(was, owners(tables, SITE), strict=True)) > 0
    tables.apply(desired(later))
    assert told.moved == sum(then != now for then, now in zip(was, owners(tables, SITE), strict=True)) > told.at_once


MOVES: dict[ServiceKey, Move] = {
    WEB: Move(1000, 334, 334, Cause.BACKENDS, {address(1): 334}, {address(1): 500}),
    TLS: Move(1000, 1000, 1000, Cause.SEED),
    DNS: Move(1000, 50, 50, Cause.BACKENDS),
}


def test_flows_follow_the_slots_of_their_backend() -> None:
    assert flows_leaving(MOVES[WEB], {address(1): 1500, address(2): 7}) == 1002
    assert flows_leaving(MOVES[WEB], {}) == 0


ONE, TWO = WEB.vip, DNS.vip
VIPS: dict[str, tuple[Mapping[Address, bool], Mapping[Address, bool], Mapping[Address, bool], VipChanges]] = {
    "the same": ({ONE: True}, {ONE: True}, {ONE: True}, VipChanges((), ())),
    "a new one": ({ONE: True}, {ONE: True, TWO: False}, {ONE: True, TWO: True}, VipChanges((TWO,), ())),
    "one less": ({ONE: True, TWO: True}, {ONE: True}, {ONE: True}, VipChanges((), (TWO,))),
    "one less, down": ({ONE: True, TWO: False}, {ONE: True}, {ONE: True}, VipChanges((), ())),
    "down for a moment": ({ONE: True}, {ONE: False}, {ONE: True}, VipChanges((), (ONE,))),
    "down": ({ONE: True}, {ONE: False}, {ONE: False}, VipChanges((), (ONE,))),
    "up": ({ONE: False}, {ONE: True}, {ONE: True}, VipChanges((ONE,), ())),
}


@pytest.mark.parametrize(("before", "at_once", "after", "changes"), VIPS.values(), ids=VIPS)
def test_vips(
    before: Mapping[Address, bool], at_once: Mapping[Address, bool], after: Mapping[Address, bool], changes: VipChanges
) -> None:
    assert vips(before, at_once, after) == changes
