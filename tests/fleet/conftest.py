"""Daemons of one test run lend each other what they compile, as in tests/netns."""

from __future__ import annotations

import pytest

from tests.lab.programs import make_shelf, remove_shelf

_SHELF = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the shelf, unless somebody else has made one."""
    config.stash[_SHELF] = make_shelf()


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.stash[_SHELF]:
        remove_shelf()
