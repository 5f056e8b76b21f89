"""What the running program makes of a child that is to rehearse, whatever that does."""

from __future__ import annotations

import sys

import pytest

from appliance.control import handover, rehearsal
from appliance.errors import HostError

CHILDREN = {
    "nothing at all": ("pass", "it said nothing (exit status 0)"),
    "an end without an answer": (
        "import sys; sys.exit('no module of that name')",
        "no module of that name (exit status 1)",
    ),
    "a signal": ("import os; os.kill(os.getpid(), 9)", "(signal 9)"),
    "something else": ("print('[1, 2]')", "(exit status 0)"),
    "half an answer": ("print('{\"ready\": tr')", "(exit status 0)"),
    "a reason": (
        'print(\'{"ready": false, "version": "9", "error": "no such interface"}\'); exit(1)',
        "cannot take over: version 9: no such interface",
    ),
    "an old version": ("import sys; sys.exit('vc5: unrecognized arguments: --rehearse')", "unrecognized arguments"),
    "no end": ("import time; time.sleep(60)", "was not ready within 0.5 s"),
    "a child of its own without end": (
        "import subprocess; subprocess.run(['sleep', '60'])",
        "was not ready within 0.5 s",
    ),
}


def _child(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(handover, "command", lambda: [sys.executable, "-c", code])


@pytest.mark.parametrize(("code", "says"), CHILDREN.values(), ids=CHILDREN)
def test_a_child_that_is_not_ready(monkeypatch: pytest.MonkeyPatch, code: str, says: str) -> None:
    _child(monkeypatch, code)
    with pytest.raises(HostError) as refused:
        rehearsal.try_out(0.5 if "not ready" in says else 30.0)
    assert says in str(refused.value)


def test_a_child_that_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    _child(monkeypatch, 'print("noise"); print(\'{"ready": true, "version": "9", "notes": ["a"], "later": 1}\')')
    ready = rehearsal.try_out()
    assert (ready.version, ready.notes, ready.compiled) == ("9", ("a",), 0.0)


def test_a_program_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "command", lambda: ["/nowhere/python3"])
    with pytest.raises(HostError, match="cannot be started"):
        rehearsal.try_out()


def test_all_of_the_program_can_be_loaded() -> None:
    rehearsal.load_everything()
    assert "appliance.health.prober" in sys.modules
