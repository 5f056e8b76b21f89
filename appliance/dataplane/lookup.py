"""Writing the lookup tables: a whole copy beside the one in force, then one store that switches.

Fields that may change while packets use them (whether a VIP is up, `on_dead`) are stored in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from appliance.dataplane.hashing import direct_hash, perfect_hash, word16, word32
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


def key_word(key: ServiceKey) -> int:
    """A service's key as the program compares it."""
    return word32(int(key.vip)) | word16(key.port) << 32 | int(key.protocol) << 48


def _key(word: int) -> ServiceKey:
    return ServiceKey(address_of(word & 0xFFFFFFFF), word16(word >> 32 & 0xFFFF), Protocol(word >> 48))


def address_of(word: int) -> IPv4Address:
    """The address that a word of the tables stands for."""
    return IPv4Address(word32(word))


def entries(memory: Memory) -> dict[ServiceKey, Entry]:
    """The services of the copy in force, as another process may have written them."""
    first = (memory.settings.get(0, "lookup") & 1) * memory.shape.services
    found = {}
    for at in range(first, first + memory.shape.services):
        word = memory.services.get(at, "key")
        if word:
            names = ("slots", "slot_count", "destinations", "capacity", "on_dead")
            entry = Entry(_key(word), *(memory.services.get(at, name) for name in names))
            found[entry.key] = entry
    return found


def vips(memory: Memory) -> dict[Address, bool]:
    """The VIPs of the copy in force, and whether they are up."""
    first = (memory.settings.get(0, "lookup") & 1) * memory.shape.services
    found: dict[Address, bool] = {}
    for at in range(first, first + memory.shape.services):
        address = memory.vips.get(at, "address")
        if address:
            found[address_of(address)] = bool(memory.vips.get(at, "up"))
    return found


def write(memory: Memory, services: Sequence[Entry], up: Mapping[Address, bool]) -> None:
    """Put these services and VIPs in force, all at once."""
    current = entries(memory)
    wanted = {entry.key: entry for entry in services}
    same = current.keys() == wanted.keys() and vips(memory).keys() == up.keys()
    if same and all(_place(current[key]) == _place(entry) for key, entry in wanted.items()):
        _in_place(memory, wanted, up)
        return
    copy = 1 - (memory.settings.get(0, "lookup") & 1)
    fill(memory, copy, services, up)
    memory.fence()
    memory.settings.put(0, "lookup", copy)
    # What services had that are gone is given away next.
    memory.fence()


def fill(memory: Memory, copy: int, services: Sequence[Entry], up: Mapping[Address, bool]) -> None:
    """Write one copy, which nobody reads yet."""
    size = memory.shape.services
    wanted = {entry.key: entry for entry in services}
    table = sorted(wanted.values(), key=lambda entry: entry.key)
    addresses = sorted(up, key=int)
    place = direct_hash if memory.shape.direct else perfect_hash
    hashes = (
        place([key_word(entry.key) for entry in table], size),
        place([word32(int(address)) for address in addresses], size),
    )
    for which, made in enumerate(hashes):
        memory.multipliers[copy * 2 + which] = made.multiplier
        start = (copy * 2 + which) * size
        for at, displacement in enumerate(made.displacements):
            memory.displacements[start + at] = displacement
    for at in range(copy * size, (copy + 1) * size):
        memory.services.clear(at)
        memory.vips.clear(at)
    for entry, position in zip(table, hashes[0].positions, strict=True):
        at = copy * size + position
        memory.services.put(at, "key", key_word(entry.key))
        for name in ("slots", "slot_count", "destinations", "capacity", "on_dead"):
            memory.services.put(at, name, getattr(entry, name))
    for address, position in zip(addresses, hashes[1].positions, strict=True):
        memory.vips.put(copy * size + position, "address", word32(int(address)))
        memory.vips.put(copy * size + position, "up", int(up[address]))


def _place(entry: Entry) -> tuple[int, int, int, int]:
    return entry.slots, entry.slot_count, entry.destinations, entry.capacity


def _in_place(memory: Memory, services: Mapping[ServiceKey, Entry], up: Mapping[Address, bool]) -> None:
    first = (memory.settings.get(0, "lookup") & 1) * memory.shape.services
    for at in range(first, first + memory.shape.services):
        word = memory.services.get(at, "key")
        if word:
            memory.services.put(at, "on_dead", services[_key(word)].on_dead)
        address = memory.vips.get(at, "address")
        if address:
            memory.vips.put(at, "up", int(up[address_of(address)]))
