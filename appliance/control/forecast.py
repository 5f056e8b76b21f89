"""What a reload would do to the slots: the tables as they are, held against those that the plan asks for. Pure.

A slot *moves* if it has a backend now and is to have another one, or none. Backends that are new are taken to pass
their checks, so a service's `moved` says where the reload ends; `at_once` says what it does before the first verdicts.
Where the hash changes (another seed, more slots, `sticky` new or gone), the answers of before have nothing to do with
those of after: all slots move. That may have to wait for its turn (dataplane/hashchange.py); it is told all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from appliance.dataplane import maglev
from appliance.dataplane.desired import DesiredService
from appliance.dataplane.enums import State as Receives
from appliance.dataplane.hashchange import slot_counts
from appliance.dataplane.lookup import Entry
from appliance.model import Address, Health, Service, ServiceKey


class Cause(StrEnum):
    """Why slots move."""

    NONE = ""
    BACKENDS = "backends"
    REMOVED = "removed"
    SEED = "hash seed"
    SLOTS = "number of slots"
    STICKY = "sticky"


@dataclass(frozen=True)
class Seat:
    """A service as the tables hold it: its slots as they were read, the index of a backend in the bits of `mask`."""

    entry: Entry
    words: Sequence[int]
    mask: int
    names: Mapping[int, Address]

    def owners(self) -> list[Address | None]:
        """The backend of each slot; None where it has none."""
        get, mask = self.names.get, self.mask
        return [get(word & mask) for word in self.words]


@dataclass(frozen=True)
class Move:
    """What happens to the slots of one service; `slots` is how many it has, with a changed hash: how many it gets."""

    slots: int
    moved: int = 0
    at_once: int = 0
    cause: Cause = Cause.NONE
    left: Mapping[Address, int] = field(default_factory=dict)
    """How many slots leave each backend."""
    held: Mapping[Address, int] = field(default_factory=dict)
    """How many slots those backends have now."""

    @property
    def share(self) -> float:
        """The share of slots that move, 0 to 1."""
        return self.moved / self.slots if self.slots else 0.0


Members = tuple[tuple[Address, int], ...]
"""Who gets new flows, by address and weight, in the order of the service's backends."""
TableOf = Callable[[Members, int], tuple[int, ...]]


class Tables:
    """Maglev tables of a forecast: those in force are kept elsewhere, by a thread that must not be disturbed."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Members, int], tuple[int, ...]] = {}
        self._size = 0

    def table(self, members: Members, count: int) -> tuple[int, ...]:
        """As `maglev.table`."""
        name = (members, count)
        found = self._kept.get(name)
        if found is None:
            if self._size + count > maglev.KEPT_SLOTS:
                self._kept.clear()
                self._size = 0
            found = self._kept[name] = maglev.compute(members, count)
            self._size += count
        return found


def members_of(service: DesiredService) -> Members:
    """Those of a service that get new flows."""
    return tuple(
        (member.address, member.weight)
        for member in service.members
        if member.state is Receives.AVAILABLE and member.weight > 0
    )


def moves(
    seats: Mapping[ServiceKey, Seat],
    after: Iterable[DesiredService],
    at_once: Iterable[DesiredService] | None = None,
    now: Mapping[ServiceKey, DesiredService] | None = None,
    *,
    reseeded: bool,
) -> dict[ServiceKey, Move]:
    """What happens to the slots of every service of the tables, and of the plan.

    `after` are the services once new backends are up, `at_once` before that (None: the same). `now` are those that
    the tables have been brought to: what is asked of them again moves nothing. `reseeded`: the seed is another one.
    """
    wanted = {service.key: service for service in after}
    first = wanted if at_once is None else {service.key: service for service in at_once}
    entries = {key: seat.entry for key, seat in seats.items()}
    counts = slot_counts(entries, ((one.key, len(one.members), one.sticky) for one in wanted.values()))
    tables = Tables()
    found: dict[ServiceKey, Move] = {}
    for key in sorted(seats.keys() | wanted.keys()):
        seat, service = seats.get(key), wanted.get(key)
        if seat is None:
            found[key] = Move(counts[key])
        elif service is None:
            found[key] = _all(seat, seat.entry.slot_count, Cause.REMOVED)
        elif (cause := _rehash(seat.entry, service, counts[key], reseeded=reseeded)) is not Cause.NONE:
            found[key] = _all(seat, counts[key], cause)
        else:
            present = now.get(key) if now else None
            found[key] = _moved(seat, present, service, first[key], tables.table)
    return found


def _rehash(entry: Entry, service: DesiredService, count: int, *, reseeded: bool) -> Cause:
    if reseeded:
        return Cause.SEED
    if entry.slot_count < count:
        return Cause.SLOTS
    return Cause.STICKY if entry.sticky != service.sticky else Cause.NONE


def _all(seat: Seat, count: int, cause: Cause) -> Move:
    held = _held(seat)
    # Of a service that goes, only slots with a backend lose one; a hash that changes concerns them all.
    moved = sum(held.values()) if cause is Cause.REMOVED else count
    return Move(count, moved, moved, cause, held, held)


def _held(seat: Seat) -> dict[Address, int]:
    return dict(Counter(owner for owner in seat.owners() if owner is not None))


def _moved(
    seat: Seat, now: DesiredService | None, after: DesiredService, first: DesiredService, table: TableOf
) -> Move:
    count, wanted, soon = seat.entry.slot_count, members_of(after), members_of(first)
    if now is not None and members_of(now) == wanted == soon:
        return Move(count)
    owners = seat.owners()
    left = Counter(was for was, to in zip(owners, _answers(wanted, count, table), strict=True) if was not in (None, to))
    moved = sum(left.values())
    if soon == wanted:
        at_once = moved
    else:
        answers = _answers(soon, count, table)
        at_once = sum(was not in (None, to) for was, to in zip(owners, answers, strict=True))
    if not moved and not at_once:
        return Move(count)
    return Move(count, moved, at_once, Cause.BACKENDS, {who: n for who, n in left.items() if who}, _held(seat))


def _answers(members: Members, count: int, table: TableOf) -> list[Address | None]:
    who = [*(address for address, _ in members), None]  # the position -1 is nobody's
    return [who[position] for position in table(members, count)]


@dataclass(frozen=True)
class Verdicts:
    """The health that a forecast goes by: what is known, and of backends that nobody knows yet what is assumed."""

    now: Callable[[ServiceKey, Address], Health]
    known: frozenset[tuple[ServiceKey, Address]]
    unchecked: frozenset[ServiceKey]
    """Services without checks, whose backends are taken to be up."""
    assumed: Health

    def __call__(self, key: ServiceKey, address: Address) -> Health:
        """The health of a backend."""
        if key in self.unchecked:
            return Health.UP
        return self.now(key, address) if (key, address) in self.known else self.assumed


def pairs(services: Iterable[Service]) -> frozenset[tuple[ServiceKey, Address]]:
    """The backends of services, each with its service."""
    return frozenset((service.key, backend.address) for service in services for backend in service.backends)


def unchecked(services: Iterable[Service]) -> frozenset[ServiceKey]:
    """Those of the services that have no checks."""
    return frozenset(service.key for service in services if not service.checks)


def vips(before: Mapping[Address, bool], at_once: Mapping[Address, bool], after: Mapping[Address, bool]) -> VipChanges:
    """Which VIPs go down with the reload, and which come up with it or once new backends are up."""
    order = sorted({*before, *after}, key=lambda vip: (vip.version, int(vip)))
    withdrawn = tuple(vip for vip in order if before.get(vip) and not (at_once.get(vip) and after.get(vip)))
    return VipChanges(tuple(vip for vip in order if after.get(vip) and not before.get(vip)), withdrawn)


@dataclass(frozen=True)
class VipChanges:
    """VIPs in ascending order. One that is withdrawn only until new backends are up is among the withdrawn."""

    announced: tuple[Address, ...]
    withdrawn: tuple[Address, ...]


def flows_leaving(move: Move, flows: Mapping[Address, int]) -> int:
    """An estimate of the flows in the slots that move: of each backend's flows the share of its slots that leave it."""
    return round(sum(flows.get(who, 0) * slots / move.held[who] for who, slots in move.left.items()))
