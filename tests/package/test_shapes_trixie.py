"""Byte code of Debian 13's compiler: the verifier takes it for every shape, and it does what the model says."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.dataplane.encapsulation import ALL
from appliance.dataplane.generation import Generation
from appliance.dataplane.render import render
from appliance.dataplane.shape import Shape
from appliance.dataplane.text import FUNCTIONS
from appliance.model import Mode
from appliance.paths import TEMPLATES
from tests.dataplane.test_shapes import EVERYTHING
from tests.lab.backend import REPOSITORY
from tests.package.building import missing_tools
from tests.package.compiler import TREE, Compiler
from tests.package.debian import DebianError, ready

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.appliance, pytest.mark.timeout(900)]

MODES = {
    "simple": (Mode.SIMPLE, False),
    "vlan": (Mode.VLAN, False),
    "vlan-mixed": (Mode.VLAN, True),
    "multi-nic": (Mode.MULTI_NIC, False),
}
LITTLE = Shape(services=256, destinations=4096, cpus=2, direct=True, wide=False)
ORDINARY = replace(EVERYTHING, tunnels=(), nat=False, tracks_all=False)
KINDS = {
    "little": LITTLE,
    "ordinary": ORDINARY,
    "tunnels": replace(LITTLE, tunnels=ALL, narrow=True),
    "nat": replace(LITTLE, nat=True, narrow=True, tracks_all=True),
    "everything": EVERYTHING,
}
LESS: dict[str, dict[str, object]] = {
    "direct": {"direct": True},
    "no-previous": {"previous": False},
    "no-resets": {"resets": False},
    "no-blocks": {"blocks": False, "counts_sources": False},
    "one-buffer": {"multi_buffer": False},
    "one-mtu": {"narrow": False},
    "narrow-slots": {"wide": False},
    "no-udp-tunnels": {"tunnels": tuple(name for name in ALL if not name.startswith(("fou", "gue")))},
    "no-dscp": {"tunnels": tuple(name for name in ALL if name != "dscp")},
    "ipip4": {"tunnels": ("ipip4",)},
}
"""What is left out of everything."""
SHAPES = {
    **{
        f"{mode}-{family}-{kind}": replace(shape, mode=mode_, mixed=mixed, ipv6=family == "ipv6")
        for mode, (mode_, mixed) in MODES.items()
        for family in ("ipv4", "ipv6")
        for kind, shape in KINDS.items()
    },
    **{name: replace(EVERYTHING, **less) for name, less in LESS.items()},  # type: ignore[arg-type]
}
PACKETS = (
    *sorted(str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("tests/dataplane/test_packets*.py")),
    "tests/dataplane/equivalence/test_equivalence.py",
)


@pytest.fixture(scope="module")
def tree() -> Path:
    """The system of Debian 13 that compiles."""
    if missing := missing_tools("mmdebstrap"):
        pytest.skip(f"no system can be built here: there is no {', '.join(missing)} (sh tests/setup.sh package)")
    try:
        return ready("trixie", lambda line: print(line, file=sys.stderr))
    except DebianError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_compiles_and_loads(tree: Path, name: str) -> None:
    shape = SHAPES[name]
    compiled = Compiler(tree).compile_text(render(shape, TEMPLATES), FUNCTIONS)
    assert compiled.warnings == ""
    Generation.load(shape, name, compiled.code).close()


def test_packets_go_as_the_model_says(tree: Path) -> None:
    """The tests of single packets, and the comparison with the model, once more: with this byte code."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.package.compiler", *PACKETS]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, TREE: str(tree)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    print(done.stdout)
    assert done.returncode == 0
