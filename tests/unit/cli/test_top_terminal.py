"""`vc5 top` in a real pseudo terminal: keys, sizes, daemons that go and come, and the terminal as it was."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance import paths
from appliance.cli.main import main
from appliance.cli.terminal import BEGIN, END
from appliance.control.socket import Request
from appliance.paths import Root
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.unit.cli.snapshots import snapshot
from tests.unit.control.running import running
from tests.unit.house.tree import ROOT

COLUMNS, LINES = 100, 20


class Daemon:
    """What answers: a second has passed each time."""

    def __init__(self, backends: int = 40, started: float = 0.0) -> None:
        self.asked = 0
        self.stuck = False
        self._backends, self._started = backends, started

    async def metrics(self, _: Request) -> Any:
        """Answer, or never."""
        import asyncio

        self.asked += 1
        if self.stuck:
            await asyncio.sleep(3600)
        body = snapshot(self._backends, 1000.0 + self.asked)
        return body | {"started": body["started"] + self._started}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """Return a root that the commands of the test find through VC5_ROOT."""
    monkeypatch.setenv("VC5_ROOT", str(tmp_path))
    return paths.root(str(tmp_path))


class Screen:
    """`vc5 top` at one end of a pseudo terminal, and we at the other."""

    def __init__(self, *arguments: str) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(COLUMNS, LINES)
        self.before = termios.tcgetattr(self.slave)
        self.written = b""
        # A session of its own with this as its terminal: Ctrl-C and the size reach it as they do from a shell.
        program = ["setsid", "--ctty", sys.executable, "-m", "appliance", "top", "--interval", "0.2", *arguments]
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
        self.process = subprocess.Popen(
            program, cwd=ROOT, stdin=self.slave, stdout=self.slave, stderr=self.slave, env=environment
        )

    def resize(self, columns: int, lines: int) -> None:
        """Make the terminal larger or smaller."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, text: str) -> None:
        """Type."""
        os.write(self.master, text.encode())

    def shown(self) -> list[str]:
        """Return the lines of the last whole frame."""
        self.read()
        frames = self.written.split(b"\x1b[H")[1:]
        whole = [frame for frame in frames if b"\x1b[J" in frame]
        text = whole[-1].partition(b"\x1b[J")[0].decode() if whole else ""
        return [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line).rstrip("\r") for line in text.split("\n")]

    def read(self) -> bytes:
        """Take what there is."""
        while select.select([self.master], [], [], 0)[0]:
            self.written += os.read(self.master, 65536)
        return self.written

    def wait(self, *words: str) -> list[str]:
        """Wait until the frame has all of these."""

        def look() -> list[str]:
            lines = self.shown()
            text = "\n".join(lines)
            return lines if all(one in text for one in words) else []

        try:
            return wait_for(f"{words} on the screen", look)
        except LabError as error:
            raise LabError(f"{error}; there is\n" + "\n".join(self.shown())) from None

    def wait_lines(self, number: int) -> None:
        """Wait until a frame has so many lines."""
        wait_for(f"a frame of {number} lines", lambda: len(self.shown()) == number)

    def end(self) -> int:
        """Wait for the end; assert that the terminal is as it was. Return the exit status."""
        wait_for("the end", lambda: self.read() is not None and self.process.poll() is not None)
        self.read()
        assert self.written.count(BEGIN) == self.written.count(END) > 0
        assert self.written.endswith(END)
        assert termios.tcgetattr(self.slave) == self.before
        return int(self.process.returncode)


@contextmanager
def top(*arguments: str) -> Iterator[Screen]:
    """Yield a running `vc5 top`."""
    screen = Screen(*arguments)
    try:
        yield screen
    finally:
        screen.process.kill()
        screen.process.wait()
        os.close(screen.master)
        os.close(screen.slave)


def test_it_draws_hears_keys_and_ends(root: Root) -> None:
    daemon = Daemon()
    with running(root.control_socket, {"metrics": daemon.metrics}), top() as screen:
        lines = screen.wait("2 services", "40 backends", "PKT/S", "█")
        assert len(lines) == LINES
        assert max(map(len, lines)) <= COLUMNS
        screen.press("\x1b[B\r")
        screen.wait("10.1.0.15", "escape back")
        screen.press("\x1b")
        screen.wait("enter backends")
        screen.press("/shop-1\r")
        screen.wait("only 'shop-1'")
        screen.press("?")
        screen.wait("any key ends it")
        screen.press("xq")
        assert screen.end() == 0


def test_it_begins_with_one_service(root: Root) -> None:
    with running(root.control_socket, {"metrics": Daemon().metrics}), top("shop-1") as screen:
        screen.wait("203.0.113.2:443/tcp  shop-1", "10.1.1.15")
        screen.press("q")
        assert screen.end() == 0


ENDS = [("\x03", 0), (signal.SIGTERM, -15), (signal.SIGHUP, -1), (signal.SIGINT, 0), (signal.SIGQUIT, -3), ("\x1c", -3)]


@pytest.mark.parametrize(("how", "status"), ENDS, ids=[repr(one[0]) for one in ENDS])
def test_whatever_ends_it_the_terminal_is_put_back(root: Root, how: Any, status: int) -> None:
    with running(root.control_socket, {"metrics": Daemon().metrics}), top() as screen:
        screen.wait("40 backends")
        if isinstance(how, str):
            screen.press(how)
        else:
            screen.process.send_signal(how)
        assert screen.end() == status


def test_the_size_is_followed(root: Root) -> None:
    with running(root.control_socket, {"metrics": Daemon(2000).metrics}), top() as screen:
        screen.wait("2,000 backends")
        for columns, lines in ((140, 40), (80, 12), (40, 3)):
            screen.resize(columns, lines)
            screen.wait_lines(lines)
        screen.press("q")
        assert screen.end() == 0


def test_ctrl_z_gives_the_terminal_back_meanwhile(root: Root) -> None:
    """There is no shell that would let it go on, so the kernel does not stop it (POSIX: an orphaned group)."""
    with running(root.control_socket, {"metrics": Daemon().metrics}), top() as screen:
        screen.wait("40 backends")
        screen.press("\x1a")
        wait_for("the terminal, given and taken", lambda: END + BEGIN in screen.read())
        screen.press("q")
        assert screen.end() == 0


def test_keys_are_heard_while_the_daemon_does_not_answer(root: Root) -> None:
    daemon = Daemon()
    with running(root.control_socket, {"metrics": daemon.metrics}), top() as screen:
        screen.wait("40 backends")
        daemon.stuck = True
        asked = daemon.asked
        wait_for("the next question", lambda: daemon.asked > asked)
        screen.press("?")
        screen.wait("any key ends it")
        screen.press("xq")
        assert screen.end() == 0


def test_a_daemon_that_goes_and_comes_is_told(root: Root) -> None:
    with ExitStack() as stack:
        with running(root.control_socket, {"metrics": Daemon().metrics}):
            screen = stack.enter_context(top())
            screen.wait("40 backends")
        screen.wait("no answer for", "asking on", "40 backends")
        with running(root.control_socket, {"metrics": Daemon(20, started=500.0).metrics}):
            lines = screen.wait("the daemon was started again", "20 backends")
            assert not any("no answer" in line for line in lines)
            screen.press("q")
            assert screen.end() == 0


def test_without_a_daemon_it_ends_at_once(root: Root) -> None:
    with top() as screen:
        wait_for("the end", lambda: screen.read() is not None and screen.process.poll() is not None)
        assert screen.process.returncode == 1
        assert b"no vc5 daemon answers here" in screen.read()
        assert BEGIN not in screen.written


def test_colours_are_for_those_who_want_them(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with running(root.control_socket, {"metrics": Daemon().metrics}), top() as screen:
        screen.wait("40 backends")
        assert re.search(rb"\x1b\[[0-9;]*m", screen.written) is None
        screen.press("q")
        assert screen.end() == 0


def test_once(root: Root, capsys: pytest.CaptureFixture[str]) -> None:
    with running(root.control_socket, {"metrics": Daemon().metrics}):
        assert main(["top", "--once", "--interval", "0.2"]) == 0
        text = capsys.readouterr().out
        assert "2 services" in text
        assert "203.0.113.2:443/tcp" in text
        assert "\x1b" not in text
        assert main(["top", "--once", "--interval", "0.2", "203.0.113.2"]) == 0
        assert "10.1.1.11" in capsys.readouterr().out
        assert main(["top", "--once", "--json", "--interval", "0.2"]) == 0
        assert json.loads(capsys.readouterr().out)["interval_s"] == 1.0
        assert main(["top", "--once", "nowhere"]) == 1
        assert "no service and no VIP is called nowhere" in capsys.readouterr().err


def test_json_goes_on_until_interrupted_and_tells_of_a_daemon_that_is_gone(root: Root) -> None:
    program = [sys.executable, "-m", "appliance", "top", "--json", "--interval", "0.2"]
    with running(root.control_socket, {"metrics": Daemon().metrics}):
        process = subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert [len(json.loads(process.stdout.readline())["services"]) for _ in range(2)] == [2, 2]
    with process:
        while "error" not in (line := json.loads(process.stdout.readline())):
            assert len(line["services"]) == 2
        assert "no vc5 daemon answers here" in line["error"]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


BAD = [
    (["top"], "this needs a terminal; --once prints one frame"),
    (["top", "--once", "--interval", "0"], "--interval '0': write seconds, from 0.2 to 3600"),
    (["top", "--once", "--interval", "soon"], "--interval 'soon': write seconds"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_wrong_usage(root: Root, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str) -> None:
    assert main(arguments) == 2
    assert text in capsys.readouterr().err
