"""Programs compiled before they are needed, outside of the machine: the larger ones take its compiler minutes.

A file in tests/vm/guest names the configurations of its daemons in a list AHEAD. Their programs are compiled here,
and lie in the machine where `give` finds them; a daemon takes them for those that it has compiled in an earlier life.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from appliance.config import load_text
from appliance.control.requirements import possible_cpus
from appliance.dataplane.sync import DataPlane
from appliance.paths import Root
from tests.vm.machine import Vm

PLACE = Path("/srv/programs")
MTU = 1500
"""Bytes, of all interfaces."""


def send(vm: Vm, configuration: str) -> None:
    """Compile the program of a configuration, and put it into the machine."""
    config = load_text(configuration, "ahead").config
    assert config is not None, configuration
    cpus = possible_cpus(vm.get("/sys/devices/system/cpu/possible").decode())
    with tempfile.TemporaryDirectory() as directory:
        data = DataPlane(Path("unused"), Path(directory), cpus, pinned=False)
        data.prepare(data.shape_wanted(config, b"", (), MTU))
        [file] = Path(directory).iterdir()
        vm.run("mkdir", "-p", str(PLACE))
        vm.put(file.read_bytes(), str(PLACE / file.name))


def give(places: Root) -> None:
    """Give a daemon that is not started yet what is here. To be called in the machine."""
    shutil.copytree(PLACE, places.state / "programs")
