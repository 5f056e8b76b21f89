"""One generation of the data plane in the kernel: its maps, its programs, and its pins.

A generation is pinned as a directory of its own, `N-DIGEST` (a counter, the digest of the program text). Maps that two
generations share are the same kernel objects, pinned in both. The live one is that whose main program the links run; so
a directory half-written by a killed daemon, or one left over, is recognised and removed.
"""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from appliance.dataplane.abi import DESTINATION, DIRECT_NAME, HISTORY, MAPS, SERVICE, WAYS, Use
from appliance.dataplane.aside import TUNNEL
from appliance.dataplane.encapsulation import ALL
from appliance.dataplane.kernel import Map, Program, fence
from appliance.dataplane.layout import described
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import NO_NEWS, Shape
from appliance.dataplane.spec import BPF_F_RDONLY_PROG, MapKind, MapSpec, relocate
from appliance.dataplane.text import FUNCTIONS, TAILS
from appliance.errors import KernelError

DESCRIPTION = "layout"
"""The pin that tells other versions how to read the others (layout.py): a map of one value, JSON."""
LARGE = ("vc5_flows", "vc5_owners", "vc5_sources", "vc5_drops")


class _Mapped(Mapping[str, memoryview]):
    """The memory of the arrays; all of it stays mapped but what is large and seldom looked at."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._maps = maps
        self._arrays = [layout.name for layout in MAPS if layout.kind is MapKind.ARRAY]
        self._held = {name: maps[name].memory() for name in self._arrays if name not in LARGE}

    def __getitem__(self, name: str) -> memoryview:
        return self._held[name] if name in self._held else self._maps[name].memory()

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


class _Trie:
    """The kernel's trie of blocked prefixes as a set of keys."""

    def __init__(self, trie: Map) -> None:
        self._trie = trie

    def __iter__(self) -> Iterator[bytes]:
        return iter(list(self._trie.keys()))

    def add(self, key: bytes) -> None:
        self._trie.update(key, (1).to_bytes(4, sys.byteorder))

    def discard(self, key: bytes) -> None:
        self._trie.delete(key)


class Words(MutableMapping[bytes, int]):
    """A hash map of 32-bit words."""

    def __init__(self, table: Map) -> None:
        self._table = table

    def __getitem__(self, key: bytes) -> int:
        value = self._table.lookup(key)
        if value is None:
            raise KeyError(key)
        return int.from_bytes(value, sys.byteorder)

    def __setitem__(self, key: bytes, value: int) -> None:
        self._table.update(key, value.to_bytes(4, sys.byteorder))

    def __delitem__(self, key: bytes) -> None:
        if not self._table.delete(key):
            raise KeyError(key)

    def __iter__(self) -> Iterator[bytes]:
        return iter(list(self._table.keys()))

    def __len__(self) -> int:
        return len(list(self._table.keys()))


@dataclass
class Generation:
    """Loaded programs and the maps they use."""

    shape: Shape
    digest: str
    maps: dict[str, Map]
    programs: dict[str, Program]
    directory: Path | None = None
    memory: Memory = field(init=False)

    def __post_init__(self) -> None:
        # Nothing in it refers back to this: tables are let go of at once when nobody wants them, not when garbage is
        # collected, for what is mapped stays in memory.
        self.memory = Memory(
            self.shape,
            _Mapped(self.maps),
            fence,
            partial(_window, self.maps),
            partial(_open_door, self.maps["vc5_doors"]),
            _Trie(self.maps["vc5_blocked"]),
            Words(self.maps["vc5_returns"]),
            Words(self.maps["vc5_outlets"]),
        )

    @classmethod
    def load(
        cls, shape: Shape, digest: str, code: Mapping[str, bytes], shared: Mapping[str, Map] | None = None
    ) -> Generation:
        """Make the maps that are not shared, and load the programs.

        Raises KernelError or VerifierError, leaving nothing behind.

        `shared` maps are used where kind and sizes are equal; the caller fills the others.
        """
        maps: dict[str, Map] = {}
        programs: dict[str, Program] = {}
        try:
            for layout in MAPS:
                spec = layout.spec(shape)
                old = (shared or {}).get(layout.name)
                # A program array belongs to one generation: the two swap at different moments.
                if old is not None and layout.kind is not MapKind.PROG_ARRAY and _same(old, spec):
                    maps[layout.name] = old.duplicate()
                else:
                    maps[layout.name] = Map.create(spec)
            fds = {layout.reference: maps[layout.name].fd for layout in MAPS}
            for name in FUNCTIONS:
                programs[name] = Program.load(name, relocate(code[name], fds), frags=shape.multi_buffer)
            for tail, name in TAILS.items():
                place, program = int(tail).to_bytes(4, sys.byteorder), programs[name].fd.to_bytes(4, sys.byteorder)
                maps["vc5_tails"].update(place, program)
        except BaseException:
            for item in (*maps.values(), *programs.values()):
                item.close()
            raise
        return cls(shape, digest, maps, programs)

    def twin(self, code: Mapping[str, bytes]) -> Generation:
        """The same programs on the same tables, but with copies of all that packets write: for `explain`."""
        shared = {layout.name: self.maps[layout.name] for layout in MAPS if layout.use is Use.DAEMON}
        return Generation.load(self.shape, self.digest, code, shared)

    def pin(self, directory: Path) -> None:
        """Pin everything in a new directory; on failure the directory is removed again."""
        directory.mkdir(mode=0o700, parents=True)
        try:
            for name, item in (*self.maps.items(), *self.programs.items()):
                item.pin(directory / name)
            self.describe(directory)
        except BaseException:
            remove(directory)
            raise
        self.directory = directory

    def describe(self, directory: Path) -> None:
        """Pin the description of the maps beside them, if it is not there. Raises KernelError."""
        pin = directory / DESCRIPTION
        if pin.exists():
            return
        text = described(self.shape).encode("ascii")
        with Map.create(MapSpec(DESCRIPTION, MapKind.ARRAY, 4, len(text), 1)) as description:
            description.update(bytes(4), text)
            description.pin(pin)

    @classmethod
    def open(cls, directory: Path, cpus: int) -> Generation:
        """Open a pinned generation; raises KernelError where a pin is missing or of a size that fits no shape."""
        maps: dict[str, Map] = {}
        programs: dict[str, Program] = {}
        try:
            for layout in MAPS:
                maps[layout.name] = Map.open(directory / layout.name)
            for name in FUNCTIONS:
                programs[name] = Program.open(directory / name)
            shape = _shape(maps, cpus)
            for layout in MAPS:
                if not _same(maps[layout.name], layout.spec(shape)):
                    raise KernelError("open", str(directory / layout.name), 22, "the pinned map has another layout")
            digest = directory.name.partition("-")[2]
            return cls(shape, digest, maps, programs, directory)
        except BaseException:
            for item in (*maps.values(), *programs.values()):
                item.close()
            raise

    def own_arrays(self, old: Generation | None) -> set[str]:
        """The arrays that this generation does not share with the one before."""
        if old is None:
            return set()
        arrays = [layout.name for layout in MAPS if layout.kind is MapKind.ARRAY]
        return {
            name for name in arrays if name not in old.maps or old.maps[name].info().id != self.maps[name].info().id
        }

    def main_id(self) -> int:
        """The kernel's number of the main program."""
        return self.programs["vc5_main"].info().id

    def close(self) -> None:
        """Let go of all descriptors; pinned or attached objects live on."""
        for item in (*self.maps.values(), *self.programs.values()):
            item.close()


def _window(maps: Mapping[str, Map], name: str, offset: int, length: int) -> memoryview[int]:
    return maps[name].memory(offset, length)


def _open_door(doors: Map, leg: int, interface: int) -> None:
    """Let the program redirect by a leg. Where the interface has just gone, its packets are counted as such."""
    try:
        doors.update(leg.to_bytes(4, sys.byteorder), interface.to_bytes(4, sys.byteorder))
    except KernelError as error:
        if error.errno not in (errno.ENODEV, errno.EINVAL):
            raise


def remove(directory: Path) -> None:
    """Unpin a generation."""
    shutil.rmtree(directory, ignore_errors=True)


def _same(found: Map, spec: MapSpec) -> bool:
    """Whether a map can stand for a specification. Names tell apart what sizes do not."""
    have = found.spec()
    if have.kind is MapKind.DEVMAP:
        # The kernel adds that programs may only read it.
        have = replace(have, flags=have.flags & ~BPF_F_RDONLY_PROG)
    return have.same_layout(spec) and have.name == spec.name


def _shape(maps: Mapping[str, Map], cpus: int) -> Shape:
    """The shape whose capacities the maps have."""

    def size(name: str) -> int:
        return maps[name].spec().value_size

    slots = size("vc5_histories") // HISTORY.size
    fleet = maps["vc5_news"].spec().max_entries > NO_NEWS
    return Shape(
        cpus=cpus,
        services=size("vc5_services") // (2 * SERVICE.size),
        destinations=size("vc5_destinations") // DESTINATION.size,
        slots=slots,
        sets=size("vc5_flows") // (8 * WAYS),
        direct=maps["vc5_keys"].spec().name == DIRECT_NAME,
        # Which they are does not show in the maps.
        tunnels=ALL if size("vc5_tunnels") > TUNNEL.size else (),
        wide=size("vc5_slots") == 2 * slots,
        fragment_sets=size("vc5_fragments") // (8 * WAYS),
        counts_sources=size("vc5_sources") > 8,
        blocks=size("vc5_suspects") > 8,
        nat=maps["vc5_returns"].spec().max_entries > 1,
        # With a fleet every flow has an owner, and whether services remember all does not show.
        tracks_all=size("vc5_owners") > 2 * WAYS and not fleet,
        fleet=fleet,
    )
