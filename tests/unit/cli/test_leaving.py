"""`vc5 drain --all`: who looks on and who does not, what they see, and that it ends without ending the drain."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import paths
from appliance.cli import leaving
from appliance.cli.arguments import UsageError
from appliance.control import overriding
from appliance.control.socket import Request
from appliance.paths import Root
from tests.lab.patience import wait_for
from tests.unit.cli.test_progress import read
from tests.unit.control.running import running
from tests.unit.house.tree import ROOT

NOW = 1000.0
DEMOTED = {
    "who": "ann",
    "since": 990.0,
    "stage": "demoted",
    "packets_per_second": 50_000.0,
    "packets_per_second_before": 100_000.0,
    "packets_per_second_calm": 1000.0,
    "until": None,
}
FULL, HALF, EMPTY = "#" * 24, "#" * 12 + "." * 12, "." * 24

# What differs -> the line
LINES: list[tuple[dict[str, Any], str]] = [
    ({}, f"[{HALF}] 50.0k packets/s of 100k, routes are withdrawn at 1.00k"),
    ({"until": 1090.0}, f"[{HALF}] 50.0k packets/s of 100k, routes are withdrawn at 1.00k, or in 1m30s"),
    ({"until": 990.0}, f"[{HALF}] 50.0k packets/s of 100k, routes are withdrawn at 1.00k, or in 0s"),
    ({"packets_per_second": 250_000.0}, f"[{FULL}] 250k packets/s of 100k, routes are withdrawn at 1.00k"),
    ({"packets_per_second": 1.0}, f"[#{EMPTY[1:]}] 1 packets/s of 100k, routes are withdrawn at 1.00k"),
    ({"packets_per_second": None}, "counting packets ..."),
    (
        {"packets_per_second": 0.0, "packets_per_second_before": None},
        f"[{EMPTY}] 0 packets/s, routes are withdrawn at 1.00k",
    ),
    (
        {"stage": "withdrawn", "packets_per_second": 0.0},
        f"[{EMPTY}] 0 packets/s of 100k, withdrawn; detaches when nothing comes any more",
    ),
]


@pytest.mark.parametrize(("more", "line"), LINES)
def test_the_line(more: dict[str, Any], line: str) -> None:
    assert leaving.progress_text({**DEMOTED, **more}, NOW) == line


@given(st.dictionaries(st.sampled_from(sorted(DEMOTED)), st.none() | st.integers() | st.text(max_size=5) | st.floats()))
def test_what_another_version_says_is_no_traceback(other: dict[str, Any]) -> None:
    assert leaving.progress_text({**DEMOTED, **other}, NOW)


def arguments(**given: Any) -> Namespace:
    return Namespace(**{"wait": False, "no_wait": False, "deadline": None, "json": False, **given})


def test_what_is_asked_for() -> None:
    assert leaving.given(arguments()) == {}
    assert leaving.given(arguments(deadline="5m")) == {"deadline": 300.0}
    assert leaving.given(arguments(deadline="24h")) == {"deadline": overriding.LONGEST}
    for wrong in ({"deadline": "soon"}, {"deadline": "25h"}, {"wait": True, "no_wait": True}):
        with pytest.raises(UsageError):
            leaving.given(arguments(**wrong))


def test_only_who_asks_for_it_waits_without_a_terminal() -> None:
    assert not leaving.waits(arguments(), {"peers": 1})
    assert leaving.waits(arguments(wait=True), {"peers": 1})
    assert not leaving.waits(arguments(wait=True), {"peers": 0}), "nobody is told, so nothing will ebb"


class Balancer:
    """A daemon whose drain goes on by a step whenever somebody looks."""

    def __init__(self, *stages: dict[str, Any] | None) -> None:
        self.stages = list(stages)
        self.asked = 0
        self.given: dict[str, Any] = {}

    async def drain(self, request: Request) -> Any:
        """Begin."""
        self.given = dict(request.arguments)
        return {"message": "the whole node is drained", "peers": 1, "told": 1}

    async def bgp(self, _: Request) -> Any:
        """Tell how far it is."""
        found = self.stages[min(self.asked, len(self.stages) - 1)]
        self.asked += 1
        return {"drained": None if found is None else {**DEMOTED, **found}, "peers": []}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """A root that the command of the test finds through VC5_ROOT."""
    monkeypatch.setenv("VC5_ROOT", str(tmp_path))
    return paths.root(str(tmp_path))


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A pseudo terminal: our end, and the command's."""
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def command(*words: str, output: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start `vc5 drain --all`."""
    program = [sys.executable, "-m", "appliance", "drain", "--all", *words]
    return subprocess.Popen(program, cwd=ROOT, stdout=output, stderr=output, text=True)


def run(root: Root, balancer: Balancer, *words: str) -> tuple[int, str, str]:
    """Run it without a terminal; returns the exit status and what it said."""
    with running(root.control_socket, {"drain": balancer.drain, "bgp": balancer.bgp}), command(*words) as process:
        try:
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()  # one that never ends fails, and does not hang
    return process.returncode, output, errors


WITHDRAWN: dict[str, Any] = {"stage": "withdrawn", "packets_per_second": 0.0, "packets_per_second_calm": 0.0}
DETACHED: dict[str, Any] = {"stage": "detached", "packets_per_second_calm": None}


def test_a_script_gets_its_prompt_back(root: Root) -> None:
    balancer = Balancer({})
    assert run(root, balancer, "--deadline", "90s") == (0, "the whole node is drained\n", "")
    assert (balancer.asked, balancer.given["deadline"]) == (0, 90.0)


def test_a_script_that_waits_is_told_of_each_step(root: Root) -> None:
    status, output, errors = run(root, Balancer({}, {}, WITHDRAWN, DETACHED), "--wait")
    assert (status, errors) == (0, "")
    assert output.splitlines() == ["the whole node is drained", *leaving.REACHED.values()]


def test_in_json_it_is_one_answer(root: Root) -> None:
    status, output, _ = run(root, Balancer({}, DETACHED), "--wait", "--json")
    assert status == 0
    assert json.loads(output)["drained"]["stage"] == "detached"


def test_nobody_waits_for_the_last_packets_after_the_deadline(root: Root) -> None:
    status, output, _ = run(root, Balancer({"until": 5.0}, {**WITHDRAWN, "until": 5.0}), "--wait")
    assert (status, output.splitlines()[1:]) == (0, [leaving.REACHED["withdrawn"]])


def test_before_the_deadline_the_last_packets_are_waited_for(root: Root) -> None:
    later = time.time() + 3600
    stages = ({"until": later}, {**WITHDRAWN, "until": later}, {**DETACHED, "until": later})
    status, output, _ = run(root, Balancer(*stages), "--wait")
    assert (status, output.splitlines()[1:]) == (0, list(leaving.REACHED.values()))


def test_who_interrupts_it_gets_the_answer_in_json_all_the_same(root: Root) -> None:
    balancer = Balancer({})
    handlers = {"drain": balancer.drain, "bgp": balancer.bgp}
    with running(root.control_socket, handlers), command("--wait", "--json") as process:
        wait_for("a look", lambda: balancer.asked > 1)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert json.loads(output)["drained"]["stage"] == "demoted"
    assert errors.splitlines()[0] == leaving.GOES_ON


def test_a_drain_that_is_taken_back_meanwhile_has_failed(root: Root) -> None:
    status, _, errors = run(root, Balancer({}, None), "--wait")
    assert (status, errors) == (1, f"{leaving.TAKEN_BACK}\n")


def test_a_terminal_looks_on_until_it_is_interrupted(root: Root, terminal: tuple[int, int]) -> None:
    master, slave = terminal
    balancer, written = Balancer({}), b""

    def seen(text: str) -> bool:
        nonlocal written
        written = read(master, written)
        return text.encode() in written

    with running(root.control_socket, {"drain": balancer.drain, "bgp": balancer.bgp}), command(output=slave) as process:
        wait_for("the bar", lambda: seen(f"[{HALF}] 50.0k packets/s of 100k"))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 1
    wait_for("a word", lambda: seen(leaving.GOES_ON))
    assert b"Traceback" not in written
    with running(root.control_socket, {"drain": balancer.drain, "bgp": balancer.bgp}):
        for words in ("--no-wait", "--json"):
            with command(words, output=slave) as process:
                asked = balancer.asked
                assert process.wait(30) == 0
            assert balancer.asked == asked
