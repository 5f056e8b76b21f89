"""Writing the lookup tables: a whole copy beside the one in force, then one store that switches.

Fields that may change while packets use them (whether a VIP is up, `on_dead`) are stored in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from appliance.dataplane.hashing import PerfectHash, direct_hash, hash_factors, perfect_hash, word16, word32
from appliance.dataplane.memory import Memory
from appliance.model import Address, Protocol, ServiceKey


@dataclass(frozen=True)
class Entry:
    """A service's place in the other tables."""

    key: ServiceKey
    slots: int
    slot_count: int
    destinations: int
    capacity: int
    on_dead: int
    previous_slots: int = 0
    previous_count: int = 0
    """The slots of before the last hash change; a count of 0: there is nothing to ask them any more."""


@dataclass(frozen=True)
class Keys:
    """The coefficients of the keyed hash, and those of before the last hash change."""

    current: tuple[int, ...]
    previous: tuple[int, ...]


FIELDS = ("slots", "slot_count", "destinations", "capacity", "on_dead", "previous_slots", "previous_count")


def keys(memory: Memory) -> Keys:
    """The keys of the copy in force."""
    return Keys(memory.coefficients(), memory.coefficients(previous=True))


def key_word(key: ServiceKey) -> int:
    """A service's key as the program compares it."""
    return word32(int(key.vip)) | int(key.protocol) << 32 | word16(key.port) << 48


def _key(word: int) -> ServiceKey:
    return ServiceKey(address_of(word & 0xFFFFFFFF), word16(word >> 48), Protocol(word >> 32 & 0xFFFF))


def address_of(word: int) -> IPv4Address:
    """The address that a word of the tables stands for."""
    return IPv4Address(word32(word))


def entries(memory: Memory) -> dict[ServiceKey, Entry]:
    """The services of the copy in force, as another process may have written them."""
    first = memory.copy * memory.shape.services
    found = {}
    for at in range(first, first + memory.shape.services):
        word = memory.services.get(at, "key")
        if word:
            entry = Entry(_key(word), *(memory.services.get(at, name) for name in FIELDS))
            found[entry.key] = entry
    return found


def vips(memory: Memory) -> dict[Address, bool]:
    """The VIPs of the copy in force, and whether they are up."""
    first = memory.copy * memory.shape.services
    found: dict[Address, bool] = {}
    for at in range(first, first + memory.shape.services):
        address = memory.vips.get(at, "address")
        if address:
            found[address_of(address)] = bool(memory.vips.get(at, "up"))
    return found


def write(memory: Memory, services: Sequence[Entry], up: Mapping[Address, bool], new: Keys | None = None) -> None:
    """Put these services, VIPs and keys in force, all at once; without keys those in force stay."""
    present = keys(memory)
    new = new or present
    current = entries(memory)
    wanted = {entry.key: entry for entry in services}
    same = current.keys() == wanted.keys() and vips(memory).keys() == up.keys() and new == present
    if same and all(_place(current[key]) == _place(entry) for key, entry in wanted.items()):
        _in_place(memory, wanted, up)
        return
    copy = 1 - memory.copy
    multiplier = fill(memory, copy, services, up, new)
    memory.fence()
    memory.lookup.put(0, "multiplier", multiplier)
    # What services had that are gone is given away next.
    memory.fence()


def fill(memory: Memory, copy: int, services: Sequence[Entry], up: Mapping[Address, bool], new: Keys) -> int:
    """Write one copy, which nobody reads yet; returns the word that puts it in force."""
    size = memory.shape.services
    wanted = {entry.key: entry for entry in services}
    table = sorted(wanted.values(), key=lambda entry: entry.key)
    addresses = sorted(up, key=int)
    place = direct_hash if memory.shape.direct else perfect_hash
    hashes: tuple[PerfectHash, PerfectHash] = (
        place([key_word(entry.key) for entry in table], size, copy),
        place([word32(int(address)) for address in addresses], size),
    )
    for at, (coefficient, previous) in enumerate(zip(new.current, new.previous, strict=True)):
        memory.keys.put(copy, "coefficient", coefficient, at)
        memory.keys.put(copy, "previous", previous, at)
    memory.keys.put(copy, "vip_multiplier", hashes[1].multiplier)
    for which, made in enumerate(hashes):
        start = (copy * 2 + which) * size
        for at, displacement in enumerate(made.displacements):
            memory.displacements[start + at] = displacement
    for at in range(copy * size, (copy + 1) * size):
        memory.services.clear(at)
        memory.vips.clear(at)
    for entry, position in zip(table, hashes[0].positions, strict=True):
        at = copy * size + position
        memory.services.put(at, "key", key_word(entry.key))
        for name in FIELDS:
            memory.services.put(at, name, getattr(entry, name))
        for index, factor in enumerate(hash_factors(new.current, int(entry.key.vip), int(entry.key.protocol))):
            memory.services.put(at, "factor", factor, index)
    for address, position in zip(addresses, hashes[1].positions, strict=True):
        memory.vips.put(copy * size + position, "address", word32(int(address)))
        memory.vips.put(copy * size + position, "up", int(up[address]))
    return hashes[0].multiplier


def _place(entry: Entry) -> tuple[int, ...]:
    return tuple(getattr(entry, name) for name in FIELDS if name != "on_dead")


def _in_place(memory: Memory, services: Mapping[ServiceKey, Entry], up: Mapping[Address, bool]) -> None:
    first = memory.copy * memory.shape.services
    for at in range(first, first + memory.shape.services):
        word = memory.services.get(at, "key")
        if word:
            memory.services.put(at, "on_dead", services[_key(word)].on_dead)
        address = memory.vips.get(at, "address")
        if address:
            memory.vips.put(at, "up", int(up[address_of(address)]))
