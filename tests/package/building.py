"""Making the package by the script that `make deb` runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.lab.backend import REPOSITORY
from tests.lab.namespace import run

PRIVATE = "usr/share/vc5-appliance"
TOOLS = ("dpkg-buildpackage", "dh", "dh_python3")


def missing_tools(*names: str) -> list[str]:
    """Return those of these commands that are not here; `sh tests/setup.sh deb package` brings them."""
    return [name for name in names if shutil.which(name) is None]


def built(directory: Path) -> Path:
    """Return a package made from the working tree. Raises LabError."""
    return Path(run("sh", str(REPOSITORY / "packaging/build.sh"), str(directory), timeout=200).strip())


def another(package: Path, directory: Path, version: str, files: Mapping[str, str] | None = None) -> Path:
    """Return the same package as if it were of this version; `files` of the program have another text in it."""
    tree = directory / "tree"
    directory.mkdir(parents=True, exist_ok=True)
    run("dpkg-deb", "--raw-extract", str(package), str(tree))
    for name, pattern, text in (
        ("DEBIAN/control", r"^Version: .*", f"Version: {version}"),
        (f"{PRIVATE}/appliance/__init__.py", r"^__version__ = .*", f'__version__ = "{version}"'),
    ):
        file = tree / name
        file.write_text(re.sub(pattern, text, file.read_text("utf-8"), flags=re.MULTILINE), "utf-8")
    for name, text in (files or {}).items():
        tree.joinpath(PRIVATE, name).write_text(text, "utf-8")
    return Path(run("dpkg-deb", "--root-owner-group", "--build", str(tree), str(directory)).split("'")[-2])
