"""Fixtures shared by the tests that run in network namespaces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.addresses import VIP
from tests.lab.lock import exclusive
from tests.lab.programs import make_shelf, remove_shelf
from tests.lab.topology import Lab
from tests.netns.watch_scene import Scene, make_scene

_SHELF = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Let daemons lend each other what they compile, those of workers too."""
    config.stash[_SHELF] = make_shelf()


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.stash[_SHELF]:
        remove_shelf()


@pytest.fixture
def straight_lab() -> Iterator[Lab]:
    """A lab of two backends whose router sends the VIP past the balancer, directly to b1."""
    with Lab(backends=2) as lab:
        lab.route_vip(VIP, lab.backends["b1"].address)
        yield lab


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Two namespaces for a host watch."""
    with make_scene() as made:
        yield made


@pytest.fixture
def kept_labs() -> Iterator[None]:
    """Labs that are left standing: one test at a time, or who sweeps them would end another's."""
    with exclusive("kept"):
        yield
