"""What `vc5 drill` sends, shows and prints, and how it ends."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from appliance import paths
from appliance.cli.drill import Line, lines, progress_text
from appliance.cli.main import main
from appliance.cli.tables import Screen
from appliance.control.socket import Request
from tests.unit.control.running import running

BACKEND = {
    "address": "10.1.10.11",
    "flows": 4,
    "open": 3,
    "ended": 0,
    "broken": 1,
    "resets": 1,
    "failed": 0,
    "moved": 0,
    "answered": 1234,
    "wrong": 0,
}
BODY: dict[str, Any] = {
    "service": "203.0.113.10:80/tcp",
    "verdict": "FAIL",
    "reasons": ["1 flow through 10.1.10.11 broke during `disable 10.1.10.11`: connection reset\x1b[2J"],
    "seconds": 35.0,
    "by": "uid 0 (root)",
    "asked": "http",
    "notes": ["flows: some"],
    "backends": [BACKEND, BACKEND | {"address": "10.1.10.12", "open": 4, "broken": 0, "resets": 0}],
    "new_flows": {"opened": 4, "refused": 0, "to_withdrawn": 0},
    "steps": [
        {"action": "open flows", "backend": None, "at_s": 0.0, "in_force_ms": None, "carried": None, "open": 8},
        {"action": "disable", "backend": "10.1.10.11", "at_s": 3.1, "in_force_ms": 2.34, "carried": 3, "open": 7},
        {"action": "reload", "backend": None, "at_s": 6.1, "in_force_ms": None, "open": 7, "trouble": "refused: why"},
    ],
}
TEXT = """\
drill    203.0.113.10:80/tcp, 35.0 s, by uid 0 (root)
asked    http
flows: some

BACKEND     FLOWS  OPEN  BROKEN  RESETS  FAILED  MOVED  ENDED  ANSWERED  WRONG
10.1.10.11      4     3       1       1       0      0      0     1.23k      0
10.1.10.12      4     4       0       0       0      0      0     1.23k      0

  AT  STEP                IN FORCE  CARRIED  OPEN  TROUBLE
0.0s  open flows                                8
3.1s  disable 10.1.10.11     2.3ms        3     7
6.1s  reload                                    7  refused: why

new flows while a backend was out: 4 opened, 0 without service, to the backend that was out: 0
verdict  FAIL
  - 1 flow through 10.1.10.11 broke during `disable 10.1.10.11`: connection reset\\x1b[2J"""
PROGRESS = {"at_s": 4.5, "of_s": 35.0, "step": "disable 10.1.10.11", "steps": [2, 10], "flows": 8, "broken": 0}


def test_the_report_is_aligned_and_harmless() -> None:
    assert "\n".join(lines(BODY, Screen())) == TEXT


@pytest.mark.parametrize("body", [{}, {"backends": 3, "steps": [7], "new_flows": [], "reasons": "x", "notes": None}])
def test_a_report_of_another_version_is_shown_as_far_as_it_goes(body: dict[str, Any]) -> None:
    assert lines(body, Screen(40))


def test_progress_is_one_harmless_line() -> None:
    assert progress_text(PROGRESS) == "4.5 of 35.0 s, step 2 of 10: disable 10.1.10.11, 8 flows open, 0 broken"
    assert progress_text({"steps": 3, "step": "\x1b"}).isprintable()


class Drilled:
    """A daemon that has a drill done after so many questions."""

    def __init__(self, body: dict[str, Any], questions: int) -> None:
        self.asked: list[dict[str, Any]] = []
        self._body = body
        self._questions = questions

    async def answer(self, request: Request) -> dict[str, Any]:
        self.asked.append(dict(request.arguments))
        action = request.arguments["action"]
        if action == "start":
            return {"drill": 7, "of_s": 35.0}
        self._questions -= 1
        if action == "watch" and not self._questions:
            os.kill(os.getpid(), signal.SIGTERM)
        over = action == "end" or self._questions == -1
        return {"progress": PROGRESS, "report": self._body if over else None}


def run(tmp_path: Path, drilled: Drilled, *argv: str) -> int:
    root = paths.root(str(tmp_path))
    with running(root.control_socket, {"drill": drilled.answer}):
        return main(["--root", str(tmp_path), "drill", "203.0.113.10:80/tcp", *argv])


@pytest.mark.parametrize(("verdict", "status"), [("PASS", 0), ("FAIL", 1)])
def test_the_verdict_is_the_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verdict: str, status: int
) -> None:
    drilled = Drilled(BODY | {"verdict": verdict}, 0)
    assert run(tmp_path, drilled, "--flows", "12", "--seconds", "60.5", "--backends", "1", "--json") == status
    output = capsys.readouterr()
    assert json.loads(output.out)["verdict"] == verdict
    assert output.err == ""
    started = drilled.asked[0]
    assert (started["service"], started["flows"], started["seconds"], started["backends"]) == (
        "203.0.113.10:80/tcp",
        12,
        60.5,
        1,
    )
    assert drilled.asked[-1] == {"action": "watch", "drill": 7}


def test_a_signal_ends_the_drill_before_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drilled = Drilled(BODY, 2)
    before = signal.getsignal(signal.SIGTERM)
    assert run(tmp_path, drilled) == 1
    assert drilled.asked[-1] == {"action": "end", "drill": 7}
    assert "verdict  FAIL" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == before


def test_on_a_terminal_the_line_is_written_over(monkeypatch: pytest.MonkeyPatch) -> None:

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "40")
    line = Line(terminal)
    line.show(PROGRESS)
    line.clear()
    assert terminal.getvalue() == "\r\x1b[K4.5 of 35.0 s, step 2 of 10: disable 1…\r\x1b[K"


@pytest.mark.parametrize("argv", [("--flows", "0"), ("--flows", "1.5"), ("--seconds", "nan"), ("--backends", "-1")])
def test_nonsense_is_refused_here(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", "203.0.113.10:80/tcp", *argv]) == 2
    assert "above 0" in capsys.readouterr().err
