"""This working tree in a machine, and its tests run there by Debian's own pytest."""

from __future__ import annotations

import io
import re
import tarfile
from typing import Final

from tests.lab.namespace import LabError
from tests.unit.house import tree
from tests.vm.machine import Vm

PLACE: Final = "/srv/vc5"
# Every instruction is emulated there.
SLOWNESS: Final = "VC5_SLOWNESS=8"
# What most tests import, so that every machine made from the saved one finds it read and compiled.
WARM_UP: Final = ("tests/netns/test_daemon_life.py", "--collect-only", "-q")


def packed() -> bytes:
    """Return the files that belong to the repository, as they are now, as a compressed tar archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
        for path in tree.files():
            archive.add(path, str(path.relative_to(tree.ROOT)), recursive=False)
    return file.getvalue()


def install(vm: Vm) -> None:
    """Copy the working tree into the machine."""
    vm.run("mkdir", "-p", PLACE)
    vm.put(packed(), f"{PLACE}.tar.gz")
    vm.run("tar", "-xzf", f"{PLACE}.tar.gz", "-C", PLACE, "--no-same-owner")
    _pytest(vm, WARM_UP, 120)


def vc5(vm: Vm, *arguments: str, limit: float = 60) -> str:
    """Run the `vc5` of the working tree in the machine; return its standard output. Raises LabError."""
    return vm.run("env", "-C", PLACE, "python3", "-m", "appliance", *arguments, limit=limit)


def pytest(vm: Vm, *arguments: str, limit: float = 360) -> str:
    """Run these tests in the machine and return what pytest printed.

    Raises LabError with that where one failed, none ran, or one was skipped: there is no reason to, in there.
    """
    printed = _pytest(vm, ("--timeout=300", *arguments), limit)
    summary = printed.rstrip().rpartition("\n")[2]
    if not re.search(r"\bpassed\b", summary) or re.search(r"\b(skipped|xfailed|deselected)\b", summary):
        raise LabError(f"in the guest not every test ran:\n{printed}")
    return printed


def _pytest(vm: Vm, arguments: tuple[str, ...], limit: float) -> str:
    return vm.run(
        "env", "-C", PLACE, SLOWNESS, "python3", "-m", "pytest", "-p", "no:cacheprovider", *arguments, limit=limit
    )
