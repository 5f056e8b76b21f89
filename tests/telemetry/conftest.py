"""Fixtures: `elasticsearch`, one real node for a worker; `namespace`, which keeps tests apart in it; `certificates`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.elasticsearch import Elasticsearch
from tests.lab.namespace import LabError, run


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


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ca.pem, and server.pem and client.pem that it has signed, each with its key."""
    place = tmp_path_factory.mktemp("certificates")
    files = str(place)
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=lab", "-keyout",
        f"{files}/ca.key", "-out", f"{files}/ca.pem")  # fmt: skip
    for name in ("server", "client"):
        place.joinpath("extensions").write_text("subjectAltName=IP:127.0.0.1\n")
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout",
            f"{files}/{name}.key", "-out", f"{files}/{name}.csr")  # fmt: skip
        run("openssl", "x509", "-req", "-in", f"{files}/{name}.csr", "-CA", f"{files}/ca.pem", "-CAkey",
            f"{files}/ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{files}/extensions", "-out",
            f"{files}/{name}.pem")  # fmt: skip
    return place
