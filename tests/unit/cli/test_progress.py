"""The line that says what takes so long: on a terminal, for what is slow, and gone when it is done."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import paths
from appliance.cli.client import LONG_VERBS, WAITING
from appliance.cli.progress import progress
from appliance.control.socket import Request
from appliance.paths import Root
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.unit.control.running import running
from tests.unit.house.tree import ROOT


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """Return a root that the commands of the test find through VC5_ROOT."""
    monkeypatch.setenv("VC5_ROOT", str(tmp_path))
    return paths.root(str(tmp_path))


class Slow:
    """A daemon that answers `reload` when the test says so."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.asked = threading.Event()

    async def reload(self, _: Request) -> Any:
        """Wait for the test."""
        self.asked.set()
        while not self.let_go.is_set():
            await asyncio.sleep(0.01)
        return {"message": "in force"}


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A pseudo terminal: our end, and the command's."""
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def read(master: int, before: bytes = b"") -> bytes:
    """Return what was there before with what there is now."""
    while select.select([master], [], [], 0)[0]:
        before += os.read(master, 65536)
    return before


def command(stderr: Any) -> subprocess.Popen[str]:
    """Start `vc5 reload`."""
    program = [sys.executable, "-m", "appliance", "reload"]
    return subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True)


def test_a_slow_daemon_is_waited_for_visibly(root: Root, terminal: tuple[int, int]) -> None:
    slow, (master, slave) = Slow(), terminal
    written = b""

    def seen(text: bytes) -> bool:
        nonlocal written
        written = read(master, written)
        return re.search(text, written) is not None

    with running(root.control_socket, {"reload": slow.reload}), command(slave) as process:
        wait_for("the line", lambda: seen(rb"the daemon reads its configuration"))
        wait_for("the seconds to go on", lambda: seen(rb"\.\.\. [2-9] s"))
        slow.let_go.set()
        assert process.stdout is not None
        assert process.stdout.read() == "in force\n"
        assert process.wait(30) == 0
    written = read(master, written)
    lines = written.split(b"\r")
    assert b"\n" not in written, "it stays in its line"
    assert lines[-1] == b""
    assert lines[-2].strip() == b"", "nothing of it is left"
    assert len(lines[-2]) == max(len(line) for line in lines)


def test_what_is_quick_says_nothing(root: Root, terminal: tuple[int, int]) -> None:
    slow, (master, slave) = Slow(), terminal
    slow.let_go.set()
    with running(root.control_socket, {"reload": slow.reload}), command(slave) as process:
        assert process.wait(30) == 0
    assert read(master) == b""


def test_files_and_pipes_are_told_nothing(root: Root) -> None:
    slow = Slow()
    with running(root.control_socket, {"reload": slow.reload}), command(subprocess.PIPE) as process:
        wait_for("the question", slow.asked.is_set)
        threads = list(Path(f"/proc/{process.pid}/task").iterdir())
        assert len(threads) == 1, "there is nobody who would say anything"
        slow.let_go.set()
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_an_error_ends_the_line_too(terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = terminal
    with os.fdopen(os.dup(slave), "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)

        def work() -> None:
            with progress("thinking") as say:
                say("working")
                wait_for("what never comes", lambda: False, 1.5)

        with pytest.raises(LabError, match="in vain"):
            work()
    written = read(master)
    assert b"thinking" not in written
    assert b"working ... 1 s" in written
    assert written.endswith(b"\r")
    assert not [one for one in threading.enumerate() if one.name == "vc5 progress"]


def test_every_verb_that_may_take_long_says_what_is_done() -> None:
    assert set(WAITING) >= LONG_VERBS
