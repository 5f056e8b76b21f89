"""Writing the lookup tables: a whole copy beside the one in force, then one store that switches.

Fields that may change while packets use them (whether a VIP is up, `on_dead`) are stored in place.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from operator import is_

from appliance.dataplane.enums import ServiceFlag
from appliance.dataplane.hashing import (
    PerfectHash,
    direct_hash,
    direct_position,
    fold,
    fold_multipliers,
    halves,
    hash_factors,
    perfect_hash,
    position,
    unmapped,
    word16,
    word32,
)
from appliance.dataplane.memory import Memory
from appliance.model import Address, Protocol, ServiceKey
from appliance.model_address import differing


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
    previous_sticky: bool = False
    sticky: bool = False
    """Whether ports have no part in the hash."""
    remember_all: bool = False

    @property
    def flags(self) -> int:
        """What the program calls flags."""
        previous = ServiceFlag.PREVIOUS_STICKY if self.previous_sticky else 0
        return previous | (ServiceFlag.REMEMBER_ALL if self.remember_all else 0)


@dataclass(frozen=True)
class Keys:
    """The coefficients of the keyed hash, and those of before the last hash change."""

    current: tuple[int, ...]
    previous: tuple[int, ...]


_FAMILY = 1 << 40
"""Set in the keys of IPv6."""
FIELDS = ("slots", "slot_count", "destinations", "capacity", "on_dead", "previous_slots", "previous_count")


def keys(memory: Memory) -> Keys:
    """The keys of the copy in force."""
    return Keys(memory.coefficients(), memory.coefficients(previous=True))


def key_word(key: ServiceKey, folding: Sequence[int] = (0, 0)) -> int:
    """A service's key as the program compares it, with the multipliers that fold IPv6 addresses."""
    return vip_word(key.vip, folding) | int(key.protocol) << 32 | word16(key.port) << 48


def vip_word(vip: Address, folding: Sequence[int] = (0, 0)) -> int:
    """A VIP's key in the table of VIPs."""
    return fold(folding, vip) | _FAMILY if vip.version == 6 else word32(int(vip))


def _key(memory: Memory, at: int) -> ServiceKey:
    word = memory.services.get(at, "key")
    vip: Address = IPv4Address(word32(word & 0xFFFFFFFF))
    if word & _FAMILY:
        vip = _address(memory.services.get(at, "source_factor"), memory.services.get(at, "vip_low"))
    return ServiceKey(vip, word16(word >> 48), Protocol(word >> 32 & 0xFF))


def _address(high: int, low: int) -> Address:
    return unmapped(high.to_bytes(8, "little") + low.to_bytes(8, "little"))


def entries(memory: Memory) -> dict[ServiceKey, Entry]:
    """The services of the copy in force, as another process may have written them."""
    first = memory.copy * memory.shape.services
    found = {}
    for at in range(first, first + memory.shape.services):
        if memory.services.get(at, "key"):
            flags = memory.services.get(at, "flags")
            values = {name: memory.services.get(at, name) for name in FIELDS}
            entry = Entry(
                _key(memory, at),
                **values,
                previous_sticky=bool(flags & ServiceFlag.PREVIOUS_STICKY),
                sticky=not memory.services.get(at, "ports_factor"),
                remember_all=bool(flags & ServiceFlag.REMEMBER_ALL),
            )
            found[entry.key] = entry
    return found


def vips(memory: Memory) -> dict[Address, bool]:
    """The VIPs of the copy in force, and whether they are up."""
    first = memory.copy * memory.shape.services
    found: dict[Address, bool] = {}
    for at in range(first, first + memory.shape.services):
        high, low = memory.vips.get(at, "high"), memory.vips.get(at, "low")
        if high or low:
            found[_address(high, low)] = bool(memory.vips.get(at, "up"))
    return found


def write(
    memory: Memory,
    services: Sequence[Entry],
    up: Mapping[Address, bool],
    new: Keys | None = None,
    known: tuple[Sequence[Entry], Mapping[Address, bool]] | None = None,
) -> None:
    """Put these services, VIPs and keys in force, all at once; without keys those in force stay.

    `known` is what the copy in force says, for those who wrote it; without, it is read.
    """
    present = keys(memory)
    new = new or present
    before, was_up = known or (list(entries(memory).values()), vips(memory))
    moved, turned = _moved(before, services), differing(was_up, up)
    same = new == present and all(address in was_up and address in up for address in turned)
    if same and moved is not None:
        for entry in moved:
            memory.services.put(_position(memory, entry.key), "on_dead", entry.on_dead)
        for address in turned:
            memory.vips.put(_position(memory, address), "up", int(up[address]))
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
    addresses = sorted(up, key=lambda address: (address.version, int(address)))
    folding = fold_multipliers({address for address in (*up, *(key.vip for key in wanted)) if address.version == 6})
    place = direct_hash if memory.shape.direct else perfect_hash
    hashes: tuple[PerfectHash, PerfectHash] = (
        place([key_word(entry.key, folding) for entry in table], size, copy),
        place([vip_word(address, folding) for address in addresses], size),
    )
    memory.put_coefficients(copy, new.current, new.previous)
    for at, multiplier in enumerate(folding):
        memory.keys.put(copy, "fold", multiplier, at)
    memory.keys.put(copy, "vip_multiplier", hashes[1].multiplier)
    for which, made in enumerate(hashes):
        start = (copy * 2 + which) * size
        if made.displacements:
            memory.displacements[start : start + size] = memoryview(array("H", made.displacements))
    memory.services.clear(copy * size, size)
    memory.vips.clear(copy * size, size)
    for entry, spot in zip(table, hashes[0].positions, strict=True):
        at = copy * size + spot
        memory.services.put(at, "key", key_word(entry.key, folding))
        for name in FIELDS:
            memory.services.put(at, name, getattr(entry, name))
        memory.services.put(at, "flags", entry.flags)
        vip = entry.key.vip
        factors = hash_factors(new.current, vip, int(entry.key.protocol), sticky=entry.sticky)
        memory.services.put(at, "ports_factor", factors.ports)
        memory.services.put(at, "rest", factors.rest)
        high, low = halves(vip) if vip.version == 6 else (factors.source, 0)
        memory.services.put(at, "source_factor", high)
        memory.services.put(at, "vip_low", low)
    for address, spot in zip(addresses, hashes[1].positions, strict=True):
        high, low = halves(address)
        memory.vips.put(copy * size + spot, "high", high)
        memory.vips.put(copy * size + spot, "low", low)
        memory.vips.put(copy * size + spot, "up", int(up[address]))
    return hashes[0].multiplier


def _moved(before: Sequence[Entry], after: Sequence[Entry]) -> list[Entry] | None:
    """The entries that say something else than before which can be stored in place; None where not all can be."""
    if len(before) != len(after):
        return None
    if all(map(is_, before, after)):
        return []
    known = {entry.key: entry for entry in before}
    found = [entry for entry in after if known.get(entry.key) is not entry]
    in_place = all(entry.key in known and _place(known[entry.key]) == _place(entry) for entry in found)
    return found if in_place else None


def _place(entry: Entry) -> tuple[object, ...]:
    return (entry.sticky, entry.flags, *(getattr(entry, name) for name in FIELDS if name != "on_dead"))


def _position(memory: Memory, what: ServiceKey | Address) -> int:
    """Where a service or a VIP lies in the copy in force, in which it must be."""
    copy, size = memory.copy, memory.shape.services
    folding = [memory.keys.get(copy, "fold", at) for at in range(2)]
    if isinstance(what, ServiceKey):
        word, multiplier, which = key_word(what, folding), memory.lookup.get(0, "multiplier"), 0
    else:
        word, multiplier, which = vip_word(what, folding), memory.keys.get(copy, "vip_multiplier"), 1
    if memory.shape.direct:
        return copy * size + direct_position(word, multiplier, size)
    start = (copy * 2 + which) * size
    return copy * size + position(word, multiplier, memory.displacements[start : start + size])
