"""The fixture `vm`: a fresh machine for every test, with this working tree in /srv/vc5.

The machine is booted once and saved; a test gets a copy in a QEMU of its own. What a failed one said on its console
lies in build/vm/failed. Where there can be no machine the tests are skipped and the last lines of the run say why;
with VC5_VM=required (make test-vm) they fail.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pluggy
import pytest

from tests.vm import image, worktree
from tests.vm.absence import image_or_skip, tell
from tests.vm.image import Image
from tests.vm.machine import Saved, Vm

FAILED = image.PLACE / "failed"
LIMIT = 900
"""Seconds: the first test includes building the image."""

UNTESTED = "in the virtual machine"

# What runs inside the machine; outside, test_guest.py has it run there.
collect_ignore = [] if Path(image.MARK).exists() else ["guest"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("vm"):
            item.add_marker(pytest.mark.timeout(LIMIT))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pluggy.Result[pytest.TestReport], None]:
    """Keep what the machine of a failed test has to tell."""
    report = (yield).get_result()
    vm = getattr(item, "funcargs", {}).get("vm")
    if call.when == "call" and report.failed and isinstance(vm, Vm):
        directory = FAILED / re.sub(r"\W+", "-", item.name)
        report.sections.append(("the virtual machine", f"{vm.told()}\nkept in {directory}"))
        shutil.rmtree(directory, ignore_errors=True)
        vm.keep_logs(directory)


@contextmanager
def place(name: str) -> Iterator[Path]:
    """Yield a directory for the files of one machine. They are large, so they do not stay where pytest's stay."""
    directory = image.PLACE / "run" / f"{os.getpid()}-{name}"
    directory.mkdir(parents=True)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def sweep() -> None:
    """Remove the files of machines whose test run was killed."""
    for directory in (image.PLACE / "run").glob("*-*"):
        if not Path(f"/proc/{directory.name.partition('-')[0]}").exists():
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """What puts a line on the terminal at once: of a long wait, or a figure that somebody should read."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    terminal = pytestconfig.pluginmanager.getplugin("terminalreporter")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            if terminal:
                terminal.write_line(f"vm: {line}")

    return say


@pytest.fixture(scope="session")
def built(pytestconfig: pytest.Config, say: Callable[[str], None]) -> Image:
    """The image, built now if need be; this may take a minute, so it is said on the terminal."""
    return image_or_skip(pytestconfig, UNTESTED, lambda: image.ready(say))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tell(terminalreporter, config, UNTESTED)


@pytest.fixture(scope="session")
def saved(built: Image) -> Iterator[Saved]:
    """A machine that has booted and has the working tree, at rest."""
    sweep()
    with place("saved") as directory, Vm.boot(built, directory) as vm:
        worktree.install(vm)
        yield vm.save()


@pytest.fixture
def vm(saved: Saved, request: pytest.FixtureRequest) -> Iterator[Vm]:
    """A machine for one test."""
    with place(re.sub(r"\W+", "-", request.node.name)[:60]) as directory, Vm.restore(saved, directory) as machine:
        yield machine
