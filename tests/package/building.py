"""Making the package by the script that `make deb` runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.lab.backend import REPOSITORY
from tests.lab.namespace import run

TOOLS = ("dpkg-buildpackage", "dh", "dh_python3")


def missing_tools(*names: str) -> list[str]:
    """Return those of these commands that are not here; `sh tests/setup.sh deb package` brings them."""
    return [name for name in names if shutil.which(name) is None]


def built(directory: Path, version: str | None = None) -> Path:
    """Return a package made from the working tree, which says it is this version. Raises LabError."""
    words = [str(directory), *([version] if version else [])]
    return Path(run("sh", str(REPOSITORY / "packaging/build.sh"), *words, timeout=200).strip())
