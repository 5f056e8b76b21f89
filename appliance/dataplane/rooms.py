"""What is left of the tables beside the services that stay in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from appliance.dataplane.desired import DesiredService
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.dataplane.numbering import FIRST_DESTINATION
from appliance.dataplane.regions import Room
from appliance.model import Address, ServiceKey


class Lying(Protocol):
    """A service in the tables."""

    @property
    def entry(self) -> Entry:
        """Where it lies."""

    @property
    def numbers(self) -> Mapping[Address, int]:
        """The numbers of its backends."""


@dataclass(frozen=True)
class Rooms:
    """Room for slots, and for destination numbers."""

    slots: Room
    numbers: Room


def rooms(
    memory: Memory,
    placed: Mapping[ServiceKey, Lying],
    wanted: Collection[ServiceKey],
    differing: Iterable[DesiredService],
    rests: Callable[[int], bool],
) -> Rooms:
    """The room beside those `placed` that are `wanted`.

    `differing` are the services that will be written, `rests` tells of a coarse time whether a number that was freed
    then is better left alone.
    """
    shape = memory.shape
    kept = [one.entry for key, one in placed.items() if key in wanted]
    slots = [(entry.slots, entry.slot_count) for entry in kept]
    slots += [(entry.previous_slots, entry.previous_count) for entry in kept if entry.previous_count]
    numbers = [(entry.destinations, entry.capacity) for entry in kept]
    resting: list[tuple[int, int]] = []
    if _numbers_needed(placed, differing):
        gone = [one.entry for key, one in placed.items() if key not in wanted]
        used = zip(memory.identities.column("used"), memory.identities.column("freed"), strict=True)
        resting = [(number, 1) for number, (vip, freed) in enumerate(used) if vip and rests(freed)]
        resting += [(entry.destinations, entry.capacity) for entry in gone]
    return Rooms(
        Room("slots", slots, (), 0, shape.slots),
        Room("destinations", numbers, resting, FIRST_DESTINATION, shape.destinations),
    )


def _numbers_needed(placed: Mapping[ServiceKey, Lying], differing: Iterable[DesiredService]) -> bool:
    """Whether any backend has no number yet: mostly not, and then nobody need look which are free."""
    known = {key: one.numbers.keys() for key, one in placed.items()}
    return any(
        service.key not in known or any(member.address not in known[service.key] for member in service.members)
        for service in differing
    )
