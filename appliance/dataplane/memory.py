"""Typed views of the tables' memory: mapped from the kernel, or plain bytes where nothing is loaded (model, tests).

Every store here is one store of a whole aligned element, since another CPU may look at any moment. `fence` keeps stores
in order on processors that would reorder them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, Protocol

from appliance.dataplane.abi import (
    COEFFICIENTS,
    DESTINATION,
    HISTORY,
    IDENTITY,
    KEYS,
    LEG,
    LOOKUP,
    MAPPED,
    MAPS,
    NARROW_TRACKED,
    REASON_STRIDE,
    SERVICE,
    SETTINGS,
    SOURCE_PARTS,
    TRACKED,
    VIP,
    WORDS,
)
from appliance.dataplane.aside import DROPPED, NOTE, TUNNEL
from appliance.dataplane.enums import State
from appliance.dataplane.shape import Shape
from appliance.dataplane.spec import MapKind
from appliance.dataplane.structs import Struct
from appliance.model import Address

COUNTERS = ("packets", "octets", "flows", "drops")
_U64 = (1 << 64) - 1
_PAGE_WAYS = 512
_SAMPLED_PAGES = 32
_CURRENT = (
    *(("coefficient", at) for at in range(COEFFICIENTS)),
    *(("wide", at) for at in range(SOURCE_PARTS)),
    *(("wide_vip", at) for at in range(WORDS)),
)
"""Where the coefficients lie, in the order of `hashing.coefficients`."""
_PREVIOUS = (
    *(("previous", at) for at in range(COEFFICIENTS)),
    *(("previous_wide", at) for at in range(SOURCE_PARTS)),
    *(("previous_wide_vip", at) for at in range(WORDS)),
)
Code = Literal["B", "H", "I", "Q"]
FORMATS: dict[str, Code] = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q"}
_MAPPED: dict[Code, int] = {"B": 1, "H": 2, "I": 4, "Q": 8}


def no_fence() -> None:
    """For memory that nobody else reads."""


def no_door(leg: int, interface: int) -> None:
    """For memory that nothing is redirected by."""


class KeySet(Protocol):
    """A set of keys, in the kernel or not."""

    def __iter__(self) -> Iterator[bytes]: ...
    def add(self, key: bytes, /) -> None: ...
    def discard(self, key: bytes, /) -> None: ...


class Elements:
    """An array of structs in memory, read and written field by field."""

    def __init__(self, memory: memoryview[int], struct: Struct) -> None:
        self._struct = struct
        self._views: dict[Code, memoryview[int]] = {
            code: memory[: len(memory) // size * size].cast(code) for code, size in _MAPPED.items()
        }
        self._places = {
            f.name: (FORMATS[f.type], struct.size // _MAPPED[FORMATS[f.type]], struct.offsets[f.name])
            for f in struct.fields
        }
        self._memory = memory

    def get(self, element: int, name: str, at: int = 0) -> int:
        """Return item `at` of a field."""
        code, stride, offset = self._places[name]
        return self._views[code][element * stride + offset // _MAPPED[code] + at]

    def column(self, name: str) -> list[int]:
        """Return one field of all elements."""
        code, stride, offset = self._places[name]
        return self._views[code][offset // _MAPPED[code] :: stride].tolist()

    def put(self, element: int, name: str, value: int, at: int = 0) -> None:
        """Store into a field, only where it differs."""
        code, stride, offset = self._places[name]
        view, index = self._views[code], element * stride + offset // _MAPPED[code] + at
        if view[index] != value:
            view[index] = value

    def put_word(self, element: int, **values: int) -> None:
        """Store fields that share an aligned word of 8 bytes all at once, only where it differs; the others stay."""
        places = [(self._struct.offsets[name], _MAPPED[self._places[name][0]], value) for name, value in values.items()]
        start = (element * self._struct.size + places[0][0]) // 8
        word = bytearray(self._memory[start * 8 : start * 8 + 8])
        for offset, size, value in places:
            at = element * self._struct.size + offset - start * 8
            word[at : at + size] = value.to_bytes(size, sys.byteorder)
        if len(word) != 8:
            raise ValueError(f"{', '.join(values)} share no word")
        view, stored = self._views["Q"], int.from_bytes(word, sys.byteorder)
        if view[start] != stored:
            view[start] = stored

    def bytes_of(self, element: int, name: str, size: int) -> bytes:
        """Return `size` bytes from a field on."""
        start = element * self._struct.size + self._struct.offsets[name]
        return bytes(self._memory[start : start + size])

    def put_bytes(self, element: int, name: str, value: bytes) -> None:
        """Store bytes, where they differ, into a field that no packet reads half-written."""
        if self.bytes_of(element, name, len(value)) != value:
            start = element * self._struct.size + self._struct.offsets[name]
            self._memory[start : start + len(value)] = value

    def copy(self, source: int, target: int, count: int) -> None:
        """Copy `count` whole elements to a place that nothing refers to yet."""
        size = self._struct.size
        self._memory[target * size : (target + count) * size] = bytes(
            self._memory[source * size : (source + count) * size]
        )

    def clear(self, element: int, count: int = 1) -> None:
        """Zero whole elements that nothing refers to."""
        size = self._struct.size
        self._memory[element * size : (element + count) * size] = bytes(count * size)


@dataclass
class Memory:
    """All tables of one generation of the program."""

    shape: Shape
    raw: Mapping[str, memoryview[int]]
    fence: Callable[[], None] = no_fence
    window: Callable[[str, int, int], memoryview[int]] | None = None
    """Maps a part of a map, offset and length in bytes, where mapping it all would be costly."""
    door: Callable[[int, int], None] = no_door
    """Lets the program redirect by a leg to an interface, given its index."""
    blocked: KeySet = field(default_factory=set[bytes])
    """The blocked prefixes as keys of the trie (block.py)."""
    returns: MutableMapping[bytes, int] = field(default_factory=dict)
    """Endpoints behind NAT, as vc5_endpoint: their destinations."""
    outlets: MutableMapping[bytes, int] = field(default_factory=dict)
    """Indexes of interfaces that routes lead by, 4 bytes of the host's order: legs."""
    slots: memoryview[int] = field(init=False)
    tracked: int = field(init=False)
    """The tracked bit of a slot; the bits below it are the index."""
    displacements: memoryview[int] = field(init=False)
    counters: memoryview[int] = field(init=False)
    reasons: memoryview[int] = field(init=False)
    suspects: memoryview[int] = field(init=False)
    """A bit for each start of a source, clear where nothing is blocked."""
    settings: Elements = field(init=False)
    lookup: Elements = field(init=False)
    keys: Elements = field(init=False)
    services: Elements = field(init=False)
    vips: Elements = field(init=False)
    histories: Elements = field(init=False)
    destinations: Elements = field(init=False)
    identities: Elements = field(init=False)
    legs: Elements = field(init=False)
    fragments: memoryview[int] = field(init=False)
    """The table of datagrams in pieces, a word for each way."""
    notes: Elements = field(init=False)
    tunnels: Elements = field(init=False)

    def __post_init__(self) -> None:
        self.slots = self.raw["vc5_slots"].cast("H" if self.shape.wide else "B")
        self.tracked = TRACKED if self.shape.wide else NARROW_TRACKED
        self.displacements = self.raw["vc5_displacements"].cast("H")
        self.counters = self.raw["vc5_counters"].cast("Q")
        self.reasons = self.raw["vc5_reasons"].cast("Q")
        self.suspects = self.raw["vc5_suspects"].cast("Q")
        self.settings = Elements(self.raw["vc5_settings"], SETTINGS)
        self.lookup = Elements(self.raw["vc5_lookup"], LOOKUP)
        self.keys = Elements(self.raw["vc5_keys"], KEYS)
        self.services = Elements(self.raw["vc5_services"], SERVICE)
        self.vips = Elements(self.raw["vc5_vips"], VIP)
        self.histories = Elements(self.raw["vc5_histories"], HISTORY)
        self.destinations = Elements(self.raw["vc5_destinations"], DESTINATION)
        self.identities = Elements(self.raw["vc5_identities"], IDENTITY)
        self.legs = Elements(self.raw["vc5_legs"], LEG)
        self.fragments = self.raw["vc5_fragments"].cast("Q")
        self.notes = Elements(self.raw["vc5_notes"], NOTE)
        self.tunnels = Elements(self.raw["vc5_tunnels"], TUNNEL)

    @property
    def flows(self) -> memoryview[int]:
        """The flow table. Mapped from the kernel it counts as resident, all of it, for as long as somebody holds it."""
        return self.raw["vc5_flows"].cast("Q")

    @property
    def sources(self) -> memoryview[int]:
        """How many sampled packets came from each prefix of a source; large, as the flow table is."""
        return self.raw["vc5_sources"].cast("I")

    @property
    def drops(self) -> Elements:
        """Packets that were dropped, first by CPU, then by reason; seldom looked at."""
        return Elements(self.raw["vc5_drops"], DROPPED)

    def flow_part(self, first: int, count: int) -> memoryview[int]:
        """Some of the ways; `first` and `count` are multiples of 8,192, so that only whole pages need mapping."""
        if self.window is not None:
            return self.window("vc5_flows", first * 8, count * 8).cast("Q")
        return self.raw["vc5_flows"][first * 8 : (first + count) * 8].cast("Q")

    def owner_part(self, first: int, count: int) -> memoryview[int]:
        """The owners of the same ways."""
        if self.window is not None:
            return self.window("vc5_owners", first * 2, count * 2).cast("H")
        return self.owners[first : first + count]

    @property
    def owners(self) -> memoryview[int]:
        """The destination number that each way of the flow table stands for, where it is known; 0 elsewhere."""
        return self.raw["vc5_owners"].cast("H")

    @classmethod
    def plain(cls, shape: Shape) -> Memory:
        """Memory of this process alone, all zero."""
        raw = {
            layout.name: memoryview(bytearray(layout.spec(shape).value_size))
            for layout in MAPS
            if layout.kind is MapKind.ARRAY
        }
        return cls(shape, raw)

    @property
    def time(self) -> int:
        """The coarse clock, seconds."""
        return self.settings.get(0, "time")

    @property
    def copy(self) -> int:
        """Which copy of the lookup tables is in force, 0 or 1."""
        return self.lookup.get(0, "multiplier") & 1

    def coefficients(self, *, previous: bool = False) -> tuple[int, ...]:
        """The coefficients of the keyed hash in force, or those of before the last hash change."""
        return tuple(self.keys.get(self.copy, name, at) for name, at in (_PREVIOUS if previous else _CURRENT))

    def put_coefficients(self, copy: int, current: Sequence[int], previous: Sequence[int]) -> None:
        """Store the coefficients of the keyed hash, and those of before, into one copy."""
        for places, values in ((_CURRENT, current), (_PREVIOUS, previous)):
            for (name, at), value in zip(places, values, strict=True):
                self.keys.put(copy, name, value, at)

    def state(self, number: int) -> State:
        """The state of a destination."""
        return State(self.destinations.get(number, "state"))

    def backend(self, number: int) -> Address:
        """The address of a destination."""
        return self.address(number, "backend")

    def address(self, number: int, name: str) -> Address:
        """An address out of a destination's identity: `backend`, `vip` or `own`."""
        packed = self.identities.bytes_of(number, name, 16)
        return IPv4Address(packed[12:]) if packed[:12] == MAPPED else IPv6Address(packed)

    def flows_used(self) -> int:
        """About how many ways of the flow table hold an entry, expired ones included.

        Counted in a few evenly spaced pages, since the whole table may have many millions of ways.
        """
        flows = self.flows
        pages = max(1, len(flows) // _PAGE_WAYS)
        step = max(1, pages // _SAMPLED_PAGES)
        sampled = range(0, pages, step)
        found = sum(_PAGE_WAYS - flows[p * _PAGE_WAYS : (p + 1) * _PAGE_WAYS].tolist().count(0) for p in sampled)
        return found * pages // len(sampled)

    def counter_place(self, row: int, number: int, name: str) -> int:
        """Where a counter lies among the words of `counters`; there is a row for each CPU, then the daemon's."""
        group, at = divmod(COUNTERS.index(name), 2)
        return ((row * 2 + group) * self.shape.destinations + number) * 2 + at

    def counter(self, number: int, name: str) -> int:
        """The sum over all CPUs of one counter (`packets octets flows drops`) of a destination, modulo 2^64."""
        at = self.counter_place(0, number, name)
        stride = self.shape.destinations * 4
        return sum(self.counters[cpu * stride + at] for cpu in range(self.shape.cpus + 1)) & _U64

    def counts(self, first: int, count: int) -> list[tuple[int, ...]]:
        """All counters (`packets octets flows drops`) of `count` destinations from `first` on; as in `counter`."""
        pairs = []
        for group in range(2):
            starts = (((row * 2 + group) * self.shape.destinations + first) * 2 for row in range(self.shape.cpus + 1))
            rows = [self.counters[start : start + 2 * count].tolist() for start in starts]
            pairs.append([sum(column) & _U64 for column in zip(*rows, strict=True)])
        (one, two) = pairs
        return list(zip(one[::2], one[1::2], two[::2], two[1::2], strict=True))

    def packets(self, first: int, count: int) -> int:
        """How many packets `count` destinations from `first` on were sent together; as in `counter`."""
        starts = ((row * 2 * self.shape.destinations + first) * 2 for row in range(self.shape.cpus + 1))
        return sum(sum(self.counters[start : start + 2 * count].tolist()[::2]) for start in starts) & _U64

    def set_counter(self, number: int, name: str, value: int) -> None:
        """Make a counter's sum `value`, by the daemon's own row: the other rows belong to the program."""
        row = self.counter_place(self.shape.cpus, number, name)
        missing = value - self.counter(number, name)
        if missing:
            self.counters[row] = (self.counters[row] + missing) & _U64

    def counted(self, number: int, count: int) -> bool:
        """Whether any counter of `count` destinations from `number` on has ever been touched, on any CPU."""
        stride = self.shape.destinations * 2
        rows = range(number * 2, (self.shape.cpus + 1) * 2 * stride, stride)
        return any(any(self.counters[first : first + 2 * count].tolist()) for first in rows)

    def reason(self, reason: int) -> int:
        """The sum over all CPUs of the packets that left for a reason."""
        return sum(self.reasons[cpu * REASON_STRIDE + reason] for cpu in range(self.shape.cpus + 1)) & _U64

    def add_reason(self, reason: int, number: int) -> None:
        """Add packets that an earlier generation counted."""
        row = self.shape.cpus * REASON_STRIDE + reason
        self.reasons[row] = (self.reasons[row] + number) & _U64
