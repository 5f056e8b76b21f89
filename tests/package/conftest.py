"""The fixtures `deb`, the package made from the working tree, and `debian`, a system of each release that has it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.package.archive import Package
from tests.package.building import TOOLS, built, missing_tools
from tests.package.debian import SUITES, Debian, DebianError, ready


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Package:
    if missing := missing_tools(*TOOLS):
        pytest.skip(f"the package cannot be made here: there is no {', '.join(missing)} (sh tests/setup.sh deb)")
    return Package(built(tmp_path_factory.mktemp("deb")))


@pytest.fixture(
    scope="session", params=[SUITES[0], *(pytest.param(suite, marks=pytest.mark.appliance) for suite in SUITES[1:])]
)
def pristine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    """A system of each release that the package is for, as it is before. It may have to be built first."""
    suite: str = request.param
    if missing := missing_tools("mmdebstrap"):
        pytest.skip(f"no system can be built here: there is no {', '.join(missing)} (sh tests/setup.sh package)")
    try:
        tree = ready(suite, lambda line: print(line, file=sys.stderr))
    except DebianError as error:
        pytest.skip(str(error))
    yield from thrown_away(Debian((tree,), tmp_path_factory.mktemp(suite) / "pristine"))


@pytest.fixture(scope="session")
def with_package(pristine: Debian, deb: Package) -> Iterator[Debian]:
    """The same with the package installed, for tests to put their own layer above."""
    system = Debian(pristine.below, pristine.directory.with_name("installed"))
    system.install(deb.file)
    yield from thrown_away(system)


@pytest.fixture
def debian(with_package: Debian, tmp_path: Path) -> Iterator[Debian]:
    """A system of each release with the package, to do with what a test likes."""
    yield from thrown_away(with_package.above(tmp_path / "system"))


def thrown_away(system: Debian) -> Iterator[Debian]:
    """Yield a system and remove it; what it has may be large, and has no use when the test is over."""
    yield system
    shutil.rmtree(system.directory)
