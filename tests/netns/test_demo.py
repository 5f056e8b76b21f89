"""`make demo` and `make lab` as their users meet them: as commands, on their screen, and by what they leave behind."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.lab.addresses import HTTP, VIP
from tests.lab.backend import REPOSITORY
from tests.lab.demo import Scene, perform
from tests.lab.lock import PLACE
from tests.lab.namespace import NAMESPACES, LabError, Namespace, inhabitants
from tests.lab.playground import sweep
from tests.lab.programme import picture
from tests.lab.requests import RequestRecord
from tests.lab.stage import Stage, Window
from tests.lab.story import Story

PYTHON = "/usr/bin/python3"
"""The demo must do with what Debian's interpreter has."""
LIMIT = 200.0
"""Seconds after which a demo is taken to hang; it takes 30 to 40."""
STEPS = ["lab", "start", "green", "spread", "kill", "return", "drain", "reload", "restart", "cost", "end"]


def leftovers(pid: int) -> list[str]:
    """Return what a demo of this process id left: namespaces and directories."""
    return [str(path) for place in (NAMESPACES, PLACE) for path in place.glob(f"vc5lab-{pid}-*")]


def command_line(pid: int) -> bytes:
    """Return the command line of a process, nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [PYTHON, "-m", "tests.lab.demo", *arguments]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )


@contextmanager
def running_demo(output: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the command in the background; it is interrupted and waited for at the end."""
    process = subprocess.Popen(
        [PYTHON, "-m", "tests.lab.demo", "--output", str(output)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    hanging = threading.Timer(LIMIT, process.kill)
    hanging.start()
    try:
        yield process
    finally:
        hanging.cancel()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait()
        assert process.stdout
        process.stdout.close()


def read_until(process: subprocess.Popen[str], words: str) -> None:
    """Read lines up to one with these words."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return
    pytest.fail(f"{words!r} never came:\n{''.join(lines)}")


# ---- the command


@pytest.mark.root
@pytest.mark.slow
def test_the_demo_holds_what_it_promises(tmp_path: Path) -> None:
    done = run_demo("--output", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines()[-1] == "demo: ok"
    assert "\x1b" not in done.stdout  # no terminal, no colour
    assert [line for line in done.stdout.splitlines() if len(line) > 80 and str(tmp_path) not in line] == []
    found = json.loads((tmp_path / "demo.json").read_text())
    assert found["ok"] is True
    assert (found["failures"], found["broken"], found["failed"]) == (0, 0, [])
    assert [step["name"] for step in found["steps"]] == STEPS
    assert all(step["ok"] for step in found["steps"])
    assert found["requests"] > 3000
    assert found["failed_during_detection"] > 0  # the death was a real one
    assert found["detection_s"] > 0
    assert found["slots"] / 4 < found["moved_slots"] < found["slots"] / 2


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
    with running_demo(tmp_path) as process:
        read_until(process, "Serve 1,000 requests")
        process.send_signal(number)
        rest, _ = process.communicate()
        assert process.returncode == 130
        assert rest.splitlines()[-1].startswith("demo: FAILED: interrupted")
        assert leftovers(process.pid) == []
    assert json.loads((tmp_path / "demo.json").read_text())["ok"] is False


@pytest.mark.root
def test_a_demo_whose_daemon_dies_says_so_and_fails(tmp_path: Path) -> None:
    with running_demo(tmp_path) as process:
        read_until(process, "Serve 1,000 requests")
        for inhabitant in inhabitants([Namespace(f"vc5lab-{process.pid}-1-balancer")]):
            if b"appliance" in command_line(inhabitant):
                os.kill(inhabitant, signal.SIGKILL)
        rest, _ = process.communicate()
        assert process.returncode == 1
        assert "FAIL" in rest
        assert "The daemon's last words" in rest
        assert rest.splitlines()[-1].startswith("demo: FAILED: ")
        assert leftovers(process.pid) == []
    found = json.loads((tmp_path / "demo.json").read_text())
    assert found["ok"] is False
    assert any(failure.startswith("spread: ") for failure in found["failed"])


@pytest.mark.root
@pytest.mark.usefixtures("kept_labs")
def test_a_kept_lab_can_be_used_and_ended(tmp_path: Path) -> None:
    done = run_demo("--keep", "--output", str(tmp_path))
    try:
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert done.stdout.splitlines()[-1] == "lab: ok"
        lab: dict[str, Any] = json.loads((tmp_path / "lab.json").read_text())
        answer = Namespace(lab["namespaces"]["client"]).run("curl", "-s", "--max-time", "5", f"http://{VIP}:{HTTP}/")
        assert answer.strip() in ("b1", "b2", "b3")
        status = subprocess.run(f"{lab['vc5']} status --json", shell=True, capture_output=True, text=True, check=True)
        assert json.loads(status.stdout)["pid"] == lab["pid"]
        assert Path(lab["configuration_file"]).is_file()
        assert Path(lab["control_socket"]).is_socket()
        assert lab["vc5"].endswith(f"--root {lab['root']}")
        for name in ("vc5", "client", "balancer", "b2"):
            assert f"alias {name}=" in done.stdout
    finally:
        ended = run_demo("--sweep", "--output", str(tmp_path))
    assert (ended.returncode, ended.stdout) == (0, f"ended: {lab['name']}\n")
    assert leftovers(int(lab["name"].split("-")[1])) == []
    assert command_line(lab["pid"]) == b""
    assert not (tmp_path / "lab.json").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 3}', '{"name": "vc5lab-0-0/../../etc"}'])
def test_a_damaged_lab_file_ends_no_lab(tmp_path: Path, text: str) -> None:
    (tmp_path / "lab.json").write_text(text)
    assert sweep(tmp_path) == []


# ---- the story


class Terminal(io.StringIO):
    """What a terminal would get."""

    def isatty(self) -> bool:
        return True


def tell(
    out: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
    columns: int = 80,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Story:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", str(columns))
    return Story(out, now=lambda: 12.345)


@pytest.mark.parametrize("columns", [20, 60, 80, 120, 400])
def test_nothing_is_wider_than_the_screen(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    out = io.StringIO()
    story = tell(out, monkeypatch, columns)
    story.begin("one", "A title", "words " * 60)
    story.check(True, "an expectation of many words " * 5, "what was seen, in many words " * 5)
    story.quote("evidence " * 30)
    assert max(map(len, out.getvalue().splitlines())) <= max(60, min(100, columns))


def test_the_picture_fits_eighty_columns_and_is_closed() -> None:
    lines = picture()
    assert max(map(len, lines)) <= 78
    text = "\n".join(lines)
    assert text.isascii()
    assert text.count("+") % 2 == 0


@pytest.mark.parametrize(
    ("out", "environment", "coloured"),
    [
        (Terminal, {}, True),
        (Terminal, {"NO_COLOR": "1"}, False),
        (Terminal, {"NO_COLOR": ""}, True),  # no-color.org: only when it is not empty
        (Terminal, {"TERM": "dumb"}, False),
        (io.StringIO, {}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, out: type[io.StringIO], environment: dict[str, str], coloured: bool
) -> None:
    screen = out()
    tell(screen, monkeypatch, environment=environment).check(True, "it holds", "it did")
    assert ("\x1b[32m" in screen.getvalue()) is coloured


def test_a_failed_expectation_is_told_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    story = tell(out, monkeypatch)
    story.begin("first", "One")
    assert story.check(True, "this holds", "yes")
    story.begin("second", "Two")
    assert not story.check(False, "no request fails", "3 of 10 failed")
    assert [(step.name, step.ok) for step in story.steps] == [("first", True), ("second", False)]
    assert not story.verdict("demo", "")
    last = out.getvalue().splitlines()[-2:]
    assert last == ["failed: second: no request fails (3 of 10 failed)", "demo: FAILED: 1 expectation did not hold"]


def test_a_number_stays_with_its_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    story = tell(out, monkeypatch)
    story.begin("one", "One")
    for length in range(12, 34):
        story.check(True, "x", f"{'y' * length} 5 ms")
    assert not any(line.strip() in ("ms", "s") for line in out.getvalue().splitlines())


def fails(stage: Stage) -> None:
    raise LabError("nginx of b1 ended with 1:\nthe reason")


def works(stage: Stage) -> None:
    stage.story.check(True, "it works", "it does")


@pytest.mark.parametrize(
    ("scenes", "played"),
    [
        ((works, fails, works), [("0", True), ("1", False), ("2", True)]),
        ((works, works), [("0", True), ("1", True)]),
    ],
)
def test_the_story_goes_on_after_a_scene_that_failed(
    monkeypatch: pytest.MonkeyPatch, scenes: tuple[Callable[[Stage], None], ...], played: list[tuple[str, bool]]
) -> None:
    out = io.StringIO()
    story = tell(out, monkeypatch)
    with ExitStack() as stack:
        perform(Stage(story, stack), tuple(Scene(str(at), "a scene", "", play) for at, play in enumerate(scenes)))
    assert [(step.name, step.ok) for step in story.steps] == played
    assert ("the reason" in out.getvalue()) is (fails in scenes)


def test_the_story_ends_where_an_essential_scene_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    story = tell(io.StringIO(), monkeypatch)
    with ExitStack() as stack:
        scenes = (Scene("needed", "a scene", "", fails, essential=True), Scene("later", "a scene", "", works))
        perform(Stage(story, stack), scenes)
    assert [step.name for step in story.steps] == ["needed"]
    assert story.failures


@pytest.mark.parametrize(
    ("began", "seconds", "covered", "why"),
    [
        (5.0, 1.0, False, "over before the death"),
        (9.9, 0.5, True, "under way when it died"),
        (10.5, 0.1, True, "sent to the dead one before that was noticed"),
        (11.0, 0.1, True, "sent at the moment of the removal"),
        (11.1, 0.1, False, "sent after the removal: this must not fail"),
    ],
)
def test_only_the_time_until_detection_excuses_a_failure(began: float, seconds: float, covered: bool, why: str) -> None:
    assert Window(died=10.0, removed=11.0).covers(RequestRecord(0, began, seconds)) is covered, why
