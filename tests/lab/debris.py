"""What a lab leaves on the machine, and its removal: processes, namespaces, pins, files."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from appliance import paths
from tests.lab.lock import PLACE, exclusive, take
from tests.lab.namespace import NAMESPACES, Namespace, inhabitants, run
from tests.lab.patience import wait_for

PREFIX = "vc5lab-"


def lab_directory(name: str) -> Path:
    """Return where the lab of this name keeps its files."""
    return PLACE / name


def roots_of(name: str) -> list[paths.Root]:
    """Return the places of every `vc5 --root` that was used in this lab."""
    directory = lab_directory(name) / "roots"
    return [paths.root(str(root)) for root in sorted(directory.iterdir())] if directory.is_dir() else []


def namespaces_of(name: str) -> list[Namespace]:
    """Return the lab's namespaces, those that its daemons made included."""
    known = {entry.name for entry in NAMESPACES.iterdir()} if NAMESPACES.is_dir() else set()
    own = {entry for entry in known if entry.startswith(f"{name}-")}
    return [Namespace(entry) for entry in sorted(own | {root.namespace for root in roots_of(name)} & known)]


def leftovers_of(root: paths.Root) -> list[str]:
    """Return what the daemon of this root has left: namespace, pins and the socket of BFD as paths, and processes."""
    places = (NAMESPACES / root.namespace, root.pins, root.bfd_socket)
    return [str(path) for path in places if path.exists()] + [f"process {each}" for each in bfd_processes(root)]


def bfd_processes(root: paths.Root) -> list[int]:
    """Return the processes of BFD that serve this root: they outlive their daemon, and are in sessions of their own."""
    place = os.fsencode(root.bfd_socket)
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and place in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def remove_lab(name: str) -> None:
    """Remove the lab of the calling process."""
    remove_from_kernel(name)
    with exclusive("labs"):  # so that no sweep looks at half a directory
        remove_files(name)


def remove_from_kernel(name: str) -> None:
    """Kill whatever runs in the lab's namespaces, then remove these and the daemons' pins."""
    namespaces = namespaces_of(name)
    if namespaces:
        wait_for(f"the processes of {name} to end", lambda: _killed(namespaces))
        run("ip", "-force", "-batch", "-", text="".join(f"netns delete {space.name}\n" for space in namespaces))
    for root in roots_of(name):
        shutil.rmtree(root.pins, ignore_errors=True)


def remove_files(name: str) -> None:
    """Remove the lab's directory, the last of it to go; the lock `labs` must be held."""
    shutil.rmtree(lab_directory(name), ignore_errors=True)


def _killed(namespaces: list[Namespace]) -> bool:
    alive = inhabitants(namespaces)
    for process in alive:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return not alive


def sweep(kept: bool) -> list[str]:
    """Remove the labs whose owner is gone, and with `kept` those that were left standing; return their names.

    A lab's directory is made before its namespaces and removed after them, so namespaces without one are debris, too.
    """
    removed = []
    with exclusive("labs"):
        for name in sorted({entry.name.rpartition("-")[0] for entry in NAMESPACES.glob(f"{PREFIX}*")}):
            if not lab_directory(name).exists():
                remove_from_kernel(name)
                removed.append(name)
        for directory in sorted(PLACE.glob(f"{PREFIX}*")):
            if (directory / "kept").exists() and not kept:
                continue
            owner = take(directory / "owner")
            if owner is None:
                continue
            remove_from_kernel(directory.name)
            remove_files(directory.name)
            owner.close()
            removed.append(directory.name)
    return removed
