"""The fixture `elasticsearch`, one real node for a worker, and `namespace`, which keeps its tests apart in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.elasticsearch import Elasticsearch
from tests.lab.namespace import LabError


@contextmanager
def running() -> Iterator[Elasticsearch]:
    """A node; where there can be none, the test fails and says what to install."""
    try:
        node = Elasticsearch().__enter__()
    except LabError as error:
        pytest.fail(f"no real Elasticsearch (sh tests/setup.sh elasticsearch): {error}", pytrace=False)
    try:
        yield node
    finally:
        node.close()


@pytest.fixture(scope="session")
def elasticsearch() -> Iterator[Elasticsearch]:
    """A node that runs until the end; a test that stops it starts it again."""
    with running() as node:
        yield node


@pytest.fixture(scope="module")
def bare_elasticsearch() -> Iterator[Elasticsearch]:
    """A node for the tests of one file, without the templates that other tests install."""
    with running() as node:
        yield node


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """A namespace of data streams (`logs-vc5.probe-NAMESPACE`) that no other test uses."""
    return re.sub(r"[^a-z0-9]+", "_", f"{request.module.__name__}_{request.node.name}".lower())[-90:].strip("_")
