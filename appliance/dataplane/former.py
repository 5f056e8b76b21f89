"""A generation that another version of the program has pinned, by a layout that differs: read, carried over, removed.

It stands where a Generation of ours would, until the next one takes over: its programs run, its memory is a translation
(migrate.py). None of its maps can be shared, so all are made anew, and everything living is copied.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from appliance.dataplane.abi import MAPS
from appliance.dataplane.generation import DESCRIPTION, Generation, Words
from appliance.dataplane.kernel import Map, Program
from appliance.dataplane.layout import Layout, parsed
from appliance.dataplane.memory import Memory
from appliance.dataplane.migrate import Incompatible, Translation, keys_alike, read_again, translation
from appliance.dataplane.spec import MapKind
from appliance.errors import HostError, Vc5Error

PROGRAMS = ("vc5_main", "vc5_probe")
"""Those that links run, and that come back into them where a swap fails."""


@dataclass
class Former(Generation):
    """Programs and maps of another version. `maps` is empty: there is nothing to share."""

    layout: Layout | None = None
    tables: dict[str, Map] = field(default_factory=dict)
    translation: Translation | None = None

    def __post_init__(self) -> None:
        """The memory is that of the translation."""

    @classmethod
    def find(cls, directory: Path) -> Former:
        """Open a pinned generation of another version. Raises HostError that says why nothing of it can be carried."""
        opened: list[Map | Program] = []
        try:
            with Map.open(directory / DESCRIPTION) as description:
                layout = parsed((description.lookup(bytes(4)) or b"").rstrip(b"\0"))
            tables, programs = {}, {}
            for name in [one.name for one in MAPS if one.name in layout.tables]:
                tables[name] = Map.open(directory / name)
                opened.append(tables[name])
            for name in PROGRAMS:
                programs[name] = Program.open(directory / name)
                opened.append(programs[name])
            raw = _arrays(tables)
            made = translation(layout, raw)
        except (Vc5Error, ValueError, Incompatible) as error:
            for item in opened:
                item.close()
            raise HostError(f"{directory}: {error}") from None
        found = cls(layout.shape, "", {}, programs, directory, layout, tables, made)
        found.memory = found._with_keys(made.memory)
        made.memory = found.memory
        return found

    def _with_keys(self, memory: Memory) -> Memory:
        """The memory with what its maps of keys hold."""
        assert self.layout is not None
        if "vc5_blocked" in self.tables and keys_alike(self.layout, "vc5_blocked"):
            memory.blocked = set(self.tables["vc5_blocked"].keys())
        for name, target in (("vc5_returns", "returns"), ("vc5_outlets", "outlets")):
            if name in self.tables and keys_alike(self.layout, name):
                setattr(memory, target, dict(Words(self.tables[name])))
        return memory

    def read_again(self) -> list[str]:
        """Take in what the program has written since; returns what cannot be carried."""
        assert self.layout is not None
        assert self.translation is not None
        read_again(self.translation, self.layout, _arrays(self.tables))
        return self.translation.notes

    def close(self) -> None:
        """Let go of all descriptors."""
        for item in (*self.tables.values(), *self.programs.values()):
            item.close()


def search(pins: Path, others: Collection[str], running: Collection[int]) -> tuple[Former | None, list[str]]:
    """Find what another version left running, in a directory of `pins` that is not one of `others`.

    Returns it if it can be carried over, and else notes that say why not.
    """
    notes = []
    for layout in sorted(pins.iterdir()) if pins.is_dir() else []:
        if layout.name in others or not layout.is_dir():
            continue
        for directory in sorted(layout.iterdir()):
            if not _runs(directory, running):
                continue
            try:
                return Former.find(directory), []
            except HostError as error:
                notes.append(f"the flows of another version's program are not carried over: {error}")
    return None, notes


def _runs(directory: Path, running: Collection[int]) -> bool:
    """Whether the main program that is pinned there is one of these, the kernel's numbers of those in links."""
    try:
        with Program.open(directory / PROGRAMS[0]) as program:
            return program.info().id in running
    except Vc5Error:
        return False


def _arrays(tables: dict[str, Map]) -> dict[str, memoryview]:
    return {name: one.memory() for name, one in tables.items() if one.spec().kind is MapKind.ARRAY}
