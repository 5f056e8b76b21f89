"""Where a child that may read little finds the code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from appliance.child.code import handed_over, readable_by_all

CLOSED: dict[str, Callable[[Path], None]] = {
    "a parent nobody may search": lambda package: package.parent.chmod(0o700),
    "a package nobody may search": lambda package: package.chmod(0o700),
    "files nobody may read": lambda package: Path(package, "__init__.py").chmod(0o600),
}


@pytest.fixture
def package() -> Iterator[Path]:
    """A package in a place that all can search, as `tmp_path` is not."""
    with TemporaryDirectory(prefix="vc5-code-") as name:
        place = Path(name, "home", "appliance")
        Path(place, "inner").mkdir(parents=True)
        Path(place, "__init__.py").write_text("")
        Path(place, "inner", "__init__.py").write_text("print('found')\n")
        for directory in (Path(name), place.parent, place, place / "inner"):
            directory.chmod(0o755)
        yield place


def found(path: str, descriptors: tuple[int, ...]) -> str:
    """What a child prints that imports the inner package."""
    command = [sys.executable, "-PsB", "-c", "import appliance.inner"]
    environment = {"PYTHONPATH": path}
    return subprocess.run(
        command, env=environment, pass_fds=descriptors, cwd="/", check=True, capture_output=True, text=True
    ).stdout


def test_a_package_that_all_can_read_is_used_where_it_is(package: Path) -> None:
    assert readable_by_all(package)
    with handed_over(package) as (path, descriptors):
        assert (path, descriptors) == (str(package.parent), ())
        assert found(path, descriptors) == "found\n"


@pytest.mark.parametrize("close", CLOSED.values(), ids=CLOSED)
def test_else_it_is_handed_over(package: Path, close: Callable[[Path], None]) -> None:
    close(package)
    assert not readable_by_all(package)
    with handed_over(package) as (path, descriptors):
        assert found(path, descriptors) == "found\n"
        with pytest.raises(PermissionError):
            os.pwrite(descriptors[0], b"x", 0)
    assert not Path(path).exists()
