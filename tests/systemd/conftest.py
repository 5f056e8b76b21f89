"""The fixture `system`: a booted Debian beside a lab, with this tree installed and nothing started."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.topology import Lab
from tests.netns.scenario_operator import configuration
from tests.systemd.booted import Booted
from tests.vm import image
from tests.vm.absence import image_or_skip, tell
from tests.vm.image import Image, ImageError

PLACE = image.PLACE / "run"


@dataclass(frozen=True)
class Site:
    """A lab whose balancer is a whole system."""

    lab: Lab
    system: Booted


UNTESTED = "under a booted systemd"


@pytest.fixture(scope="session")
def built(pytestconfig: pytest.Config) -> Image:
    """The image of the virtual machine, built now if need be. Where that cannot be, the end of the run says why."""
    return image_or_skip(pytestconfig, UNTESTED, _ready)


def _ready() -> Image:
    if shutil.which("systemd-nspawn") is None:
        raise ImageError("systemd-nspawn is not installed; `sh tests/setup.sh vm` installs what is needed")
    return image.ready(lambda line: None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tell(terminalreporter, config, UNTESTED)


@pytest.fixture(scope="module")
def booted(built: Image) -> Iterator[Site]:
    """A lab and a system for the tests of one module."""
    directory: Path = PLACE / f"{os.getpid()}-booted"
    directory.mkdir(parents=True)
    with Lab(backends=2) as lab, Booted(built, lab.balancer, directory) as system:
        system.install(configuration())
        yield Site(lab, system)


@pytest.fixture
def site(booted: Site) -> Iterator[Site]:
    """The same with nothing running, and the plain configuration."""
    booted.system.configure(configuration())
    yield booted
    booted.system.attempt("systemctl", "stop", "vc5.service", "vc5-prober.service", "vc5-netns.service")
    booted.system.attempt("systemctl", "stop", "vc5-bfd.socket", "vc5-bfd.service")
    booted.system.attempt("systemctl", "reset-failed")
