"""The numbers of backends: each stands for one backend of one service until nobody can mean that any more.

Inside its service a backend has an index, its number less the service's first; slots and remembered flows hold that.
"""

from __future__ import annotations

from dataclasses import replace

from appliance.dataplane.abi import INDEX_LIMIT, NARROW_TRACKED
from appliance.dataplane.desired import DesiredService
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import destination_count
from appliance.errors import PlanError
from appliance.model import Address

REUSE_MARGIN = 60
"""Seconds beyond `idle` before a destination's number may mean another backend."""
FIRST_DESTINATION = 16
"""Numbers below stand for no destination at all."""


def numbers_of(memory: Memory, entry: Entry) -> dict[Address, int]:
    """The numbers in use in a service's range."""
    identities, found = memory.identities, {}
    for number in range(entry.destinations + 1, entry.destinations + entry.capacity):
        if identities.get(number, "used") and not identities.get(number, "freed"):
            found[memory.backend(number)] = number
    return found


def rests(memory: Memory, freed: int, idle: int) -> bool:
    """Whether a number freed at that coarse time may still be meant by a remembered flow."""
    return bool(freed) and memory.time - freed <= idle + REUSE_MARGIN


def indexes_of(memory: Memory, entry: Entry, service: DesiredService, idle: int) -> tuple[Entry, dict[Address, int]]:
    """The index of each member: the one that it has, or had and flows may still refer to, else a free one.

    Where they are too few, the service needs a larger range of numbers, and the entry has another capacity. Raises
    PlanError where no range would do.
    """
    identities, had, free = memory.identities, {}, []
    for index in range(1, entry.capacity):
        number = entry.destinations + index
        freed = identities.get(number, "freed")
        if identities.get(number, "used"):
            had[memory.backend(number)] = index
            if not freed or rests(memory, freed, idle):
                continue
        free.append(index)
    indexes = {member.address: had[member.address] for member in service.members if member.address in had}
    known = set(indexes.values())
    free = [index for index in free if index not in known]
    new = [member.address for member in service.members if member.address not in had]
    if len(new) > len(free):
        needed = entry.capacity - 1 - len(free) + len(new)
        limit = INDEX_LIMIT if memory.shape.wide or needed >= NARROW_TRACKED else NARROW_TRACKED
        room = destination_count(max(len(service.members), min(needed, INDEX_LIMIT - 1)))
        capacity = min(limit, max(room, 2 * entry.capacity))
        free.extend(range(entry.capacity, capacity))
        entry = replace(entry, capacity=capacity)
    if len(new) > len(free):
        raise PlanError(
            f"service {service.key} has numbers for {INDEX_LIMIT - 1} backends, and {len(new) - len(free)} too few "
            f"are free: those of removed backends are kept for {idle + REUSE_MARGIN} s; add fewer, or wait"
        )
    indexes.update(zip(new, free, strict=False))
    return entry, indexes
