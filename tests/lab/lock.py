"""Locks among the processes that run labs, and the directory in which labs live."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PLACE = Path("/run/vc5-lab")
"""Fixed, not below TMPDIR: a lab must be visible to the sweep of every other run on this machine."""


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Hold the lock `name` for the time of the block; waits for whoever has it."""
    PLACE.mkdir(mode=0o755, exist_ok=True)
    with (PLACE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def take(path: Path) -> IO[str] | None:
    """Lock the file at `path` for as long as the returned file stays open; None if somebody else has it."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
