"""The largest programs there are: everything that a configuration may ask for, in each mode, goes through the compiler,
whose stack is small, and past this kernel's verifier."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.dataplane.compile import compile_text
from appliance.dataplane.encapsulation import ALL
from appliance.dataplane.generation import Generation
from appliance.dataplane.render import render
from appliance.dataplane.shape import Shape
from appliance.dataplane.text import FUNCTIONS
from appliance.model import Mode
from appliance.paths import TEMPLATES

EVERYTHING = Shape(
    destinations=8192,
    services=1024,
    direct=False,
    previous=True,
    ipv6=True,
    tunnels=ALL,
    wide=True,
    multi_buffer=True,
    narrow=True,
    counts_sources=True,
    blocks=True,
    nat=True,
    tracks_all=True,
    fleet=True,
    resets=True,
)


@pytest.mark.root
@pytest.mark.parametrize(
    ("mode", "mixed"),
    [(Mode.SIMPLE, False), (Mode.VLAN, False), (Mode.VLAN, True), (Mode.MULTI_NIC, False)],
    ids=["simple", "vlan", "vlan-mixed", "multi-nic"],
)
def test_everything_at_once_compiles_and_loads(mode: Mode, mixed: bool) -> None:
    shape = replace(EVERYTHING, mode=mode, mixed=mixed)
    compiled = compile_text(render(shape, TEMPLATES), FUNCTIONS)
    assert compiled.warnings == ""
    Generation.load(shape, "everything", compiled.code).close()
