"""The fixture `deb`: the package, made from the working tree once for each process of tests."""

from __future__ import annotations

import pytest

from tests.package.archive import Package
from tests.package.building import TOOLS, built, missing_tools


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Package:
    if missing := missing_tools(*TOOLS):
        pytest.skip(f"the package cannot be made here: there is no {', '.join(missing)} (sh tests/setup.sh deb)")
    return Package(built(tmp_path_factory.mktemp("deb")))
