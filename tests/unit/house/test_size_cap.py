"""A file is a noun, and short: near 250 lines, never above the cap."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.unit.house import tree

CAP = 400
SUFFIXES = frozenset({".py", ".c", ".h", ".j2", ".js", ".sh"})

# path from the root -> why this one may be longer, and what was tried to shorten it
EXCEPTIONS: dict[str, str] = {}


def too_long(files: Iterable[Path], root: Path) -> list[str]:
    """Return `path: lines` for every source file above the cap that has no argued exception."""
    found = []
    for file in files:
        name = str(file.relative_to(root))
        if file.suffix in SUFFIXES and name not in EXCEPTIONS:
            lines = len(file.read_bytes().splitlines())
            if lines > CAP:
                found.append(f"{name}: {lines} lines, the cap is {CAP}; split it along its nouns")
    return found


def test_no_file_is_above_the_cap() -> None:
    assert too_long(tree.files(), tree.ROOT) == []


def test_a_long_file_is_found(tmp_path: Path) -> None:
    for name, lines in (("long.py", CAP + 1), ("just.c", CAP), ("long.md", 2 * CAP), ("long.h", CAP + 2)):
        tmp_path.joinpath(name).write_text("x\n" * lines, encoding="ascii")
    found = too_long(sorted(tmp_path.iterdir()), tmp_path)
    assert [line.partition(":")[0] for line in found] == ["long.h", "long.py"]


def test_no_exception_outlives_its_file() -> None:
    assert [name for name in EXCEPTIONS if not tree.ROOT.joinpath(name).is_file()] == []
