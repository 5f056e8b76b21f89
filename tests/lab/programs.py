"""Compiled programs that the daemons of one test run lend each other: to compile the same text again proves nothing.

A daemon keeps what it compiled below its state directory, under the name of the text. On the shelf is what all of them
kept, as hard links. There is none unless a test run makes it: benchmarks and the demo start from nothing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.lab.lock import PLACE

SHELF = "VC5_LAB_PROGRAMS"
"""The variable that names the directory, for the processes of a test run."""


def make_shelf() -> bool:
    """Make a shelf for this process and those it starts; returns whether there was none yet."""
    if SHELF in os.environ:
        return False
    PLACE.mkdir(mode=0o755, exist_ok=True)
    os.environ[SHELF] = tempfile.mkdtemp(prefix="programs-", dir=PLACE)
    return True


def remove_shelf() -> None:
    """Remove the shelf of `make_shelf`."""
    shutil.rmtree(os.environ.pop(SHELF))


def lend(kept: Path) -> None:
    """Put everything there is into the directory of a daemon that has none yet."""
    if SHELF in os.environ and not kept.exists():
        kept.mkdir(mode=0o700, parents=True)
        for file in Path(os.environ[SHELF]).iterdir():
            os.link(file, kept / file.name)


def take(kept: Path) -> None:
    """Keep for others what a daemon has compiled."""
    if SHELF in os.environ and kept.exists():
        for file in kept.glob("*.json"):
            with suppress(FileExistsError):
                os.link(file, Path(os.environ[SHELF]) / file.name)
