"""The files in tests/vm/guest/systems: longer than `make test` has time for, on cables or with figures of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.vm import lacp
from tests.vm.conftest import place
from tests.vm.machine import Saved, Vm
from tests.vm.test_guest import run_inside

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.slow, pytest.mark.appliance]

INSIDE = Path(__file__).with_name("guest") / "systems"
FIGURES = re.compile(r"\b(?:lacp|ipvs): .*")


@pytest.fixture
def vm(saved: Saved) -> Iterator[Vm]:
    """A machine with its cards on two cables."""
    with place("cabled") as directory, Vm.restore(saved, directory, lacp.CABLES) as machine:
        yield machine


def test_lacp(vm: Vm, say: Callable[[str], None]) -> None:
    for line in FIGURES.findall(run_inside(vm, INSIDE / "test_lacp.py", "-s")):
        say(line)


def test_ipvs(saved: Saved, say: Callable[[str], None]) -> None:
    with place("hub") as directory, Vm.restore(saved, directory) as vm:
        for line in FIGURES.findall(run_inside(vm, INSIDE / "test_ipvs.py", "-s")):
            say(line)
