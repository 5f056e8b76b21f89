"""A copy of the product with a fault in it, to see what it does and whether tests notice."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.backend import REPOSITORY


@dataclass(frozen=True)
class Fault:
    """Text of a file that stands there once, and what takes its place."""

    file: str
    text: str
    instead: str


@contextmanager
def faulty_copy(fault: Fault) -> Iterator[dict[str, str]]:
    """Yield the environment in which `python -m appliance` is a copy of the product with the fault.

    The copy lies where the prober, which has no privileges, can read it too.
    """
    with tempfile.TemporaryDirectory(prefix="vc5-fault-") as name:
        copy = Path(name)
        copy.chmod(0o755)
        for part in ("appliance", "templates"):
            shutil.copytree(REPOSITORY / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        file = copy / fault.file
        text = file.read_text()
        assert text.count(fault.text) == 1, f"{fault.file} has changed: this fault has to be put in anew"
        file.write_text(text.replace(fault.text, fault.instead))
        yield {"PYTHONPATH": str(copy)}
