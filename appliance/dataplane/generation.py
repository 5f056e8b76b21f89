"""One generation of the data plane in the kernel: its maps, its programs, and its pins.

A generation is pinned as a directory of its own, `N-DIGEST` (a counter, the digest of the program text). Maps that two
generations share are the same kernel objects, pinned in both. The live one is that whose main program the links run; so
a directory half-written by a killed daemon, or one left over, is recognised and removed.
"""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.dataplane.abi import DESTINATION, DIRECT_NAME, HISTORY, MAPS, SERVICE, WAYS, Use
from appliance.dataplane.enums import Tail
from appliance.dataplane.kernel import Map, Program, fence
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import Shape
from appliance.dataplane.spec import BPF_F_RDONLY_PROG, MapKind, MapSpec, relocate
from appliance.dataplane.text import FUNCTIONS
from appliance.errors import KernelError


class _Mapped(Mapping[str, memoryview]):
    """The memory of the arrays; all of it stays mapped but the flow table with its owners: large, seldom looked at."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._maps = maps
        self._arrays = [layout.name for layout in MAPS if layout.kind is MapKind.ARRAY]
        self._held = {name: maps[name].memory() for name in self._arrays if name not in ("vc5_flows", "vc5_owners")}

    def __getitem__(self, name: str) -> memoryview:
        return self._held[name] if name in self._held else self._maps[name].memory()

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


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
        self.memory = Memory(self.shape, _Mapped(self.maps), fence, self._window, self._open_door)

    def _window(self, name: str, offset: int, length: int) -> memoryview[int]:
        return self.maps[name].memory(offset, length)

    def _open_door(self, leg: int, interface: int) -> None:
        """Let the program redirect by a leg. Where the interface has just gone, its packets are counted as such."""
        try:
            self.maps["vc5_doors"].update(leg.to_bytes(4, sys.byteorder), interface.to_bytes(4, sys.byteorder))
        except KernelError as error:
            if error.errno not in (errno.ENODEV, errno.EINVAL):
                raise

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
                programs[name] = Program.load(name, relocate(code[name], fds))
            for tail, name in ((Tail.COLD, "vc5_cold"), (Tail.COLD6, "vc5_cold_ipv6")):
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
        except BaseException:
            remove(directory)
            raise
        self.directory = directory

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

    def main_id(self) -> int:
        """The kernel's number of the main program."""
        return self.programs["vc5_main"].info().id

    def close(self) -> None:
        """Let go of all descriptors; pinned or attached objects live on."""
        for item in (*self.maps.values(), *self.programs.values()):
            item.close()


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
    return Shape(
        cpus=cpus,
        services=size("vc5_services") // (2 * SERVICE.size),
        destinations=size("vc5_destinations") // DESTINATION.size,
        slots=slots,
        sets=size("vc5_flows") // (8 * WAYS),
        direct=maps["vc5_keys"].spec().name == DIRECT_NAME,
        wide=size("vc5_slots") == 2 * slots,
        tracks_all=size("vc5_owners") > 2 * WAYS,
    )
