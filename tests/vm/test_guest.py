"""Every file in tests/vm/guest, run inside a machine of its own by Debian's pytest."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from tests.unit.house import tree
from tests.vm import ahead, worktree
from tests.vm.machine import Vm

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.slow]

FILES = sorted(Path(__file__).parent.glob("guest/test_*.py"))
LONG = {"test_bond", "test_tunnels"}
"""Those that take an emulated machine most of a minute each."""
ALL = [pytest.param(file, marks=pytest.mark.appliance if file.stem in LONG else ()) for file in FILES]


@pytest.mark.parametrize("file", ALL, ids=[file.stem.removeprefix("test_") for file in FILES])
def test_inside(vm: Vm, file: Path) -> None:
    run_inside(vm, file)


def run_inside(vm: Vm, file: Path, *options: str) -> str:
    """Run a file of tests in the machine, with the programs that it wants compiled; return what pytest printed."""
    path = file.relative_to(tree.ROOT)
    for configuration in getattr(import_module(".".join(path.with_suffix("").parts)), "AHEAD", ()):
        ahead.send(vm, configuration)
    return worktree.pytest(vm, str(path), *options, limit=400)
