"""What `vc5 alert test` prints, and what it sends; the daemon's half with a process that answers, or is not there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from appliance import paths
from appliance.cli.alert import NOBODY, told
from appliance.cli.main import main
from appliance.cli.tables import Screen
from appliance.control.alerting import handler
from appliance.control.socket import Peer, Request
from appliance.control.telemetry import TelemetryClient
from appliance.errors import ControlError
from appliance.paths import Root
from tests.unit.control.running import running

SLACK = {"outlet": "slack", "ok": True, "reason": "", "seconds": 0.214}
TEAMS = {"outlet": "teams", "ok": False, "reason": "it answered 404\x1b[2J; is the URL right?", "seconds": 0.1}
UDP = {"outlet": "syslog udp://192.0.2.5:514", "ok": True, "reason": "sent; UDP does not tell", "seconds": 0.2}


class Telemetry:
    """The process beside the daemon."""

    def __init__(self) -> None:
        self.results: list[dict[str, Any]] = [SLACK, TEAMS]
        self.asked: list[dict[str, Any]] = []

    async def ask(self, what: str, patience: float, **more: Any) -> dict[str, Any]:
        self.asked.append({"ask": what, **more})
        return {"results": self.results}


@pytest.fixture
def root(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Root:
    monkeypatch.setenv("VC5_ROOT", str(tmp_path))
    return paths.root(str(tmp_path))


@pytest.fixture
def telemetry(root: Root) -> Iterator[Telemetry]:
    one = Telemetry()
    with running(root.control_socket, {"alert": handler(one)}):
        yield one


def test_each_result_is_shown(telemetry: Telemetry, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alert", "test"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "OUTLET  RESULT   TOOK  WHY",
        "slack   sent    0.21s",
        "teams   failed  0.10s  it answered 404\\x1b[2J; is the URL right?",
    ]
    assert telemetry.asked == [{"ask": "alert", "outlets": []}]


def test_one_outlet(telemetry: Telemetry, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.results = [SLACK]
    assert main(["alert", "test", "--outlet", "slack", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"results": [SLACK]}
    assert telemetry.asked == [{"ask": "alert", "outlets": ["slack"]}]
    assert main(["alert", "test", "--outlet", "pager"]) == 2


def test_nobody_to_tell(telemetry: Telemetry, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.results = []
    assert main(["alert", "test"]) == 1
    assert capsys.readouterr().out == f"{NOBODY}\n"


def test_a_narrow_terminal() -> None:
    lines = told([SLACK, TEAMS, UDP], Screen(60))
    assert max(map(len, lines)) <= 60
    assert lines[3].startswith("syslog udp://192.0.2.5:514  sent    sent;")


def test_an_answer_of_another_version(root: Root, capsys: pytest.CaptureFixture[str]) -> None:
    async def odd(request: Request) -> Any:
        return {"results": "yes"}

    with running(root.control_socket, {"alert": odd}):
        assert main(["alert", "test"]) == 1
    assert "are daemon and command of one version?" in capsys.readouterr().err


def test_without_the_process_it_says_so() -> None:
    with pytest.raises(ControlError, match="nothing is configured that tells anybody"):
        asyncio.run(ask(handler(TelemetryClient(lambda *words: None)), []))


@pytest.mark.parametrize("outlets", ["slack", ["pager"], [7], None])
def test_a_request_that_makes_no_sense(outlets: Any) -> None:
    with pytest.raises(ControlError, match="outlets: must be a list of slack, teams, syslog"):
        asyncio.run(ask(handler(Telemetry()), outlets))


async def ask(to: Any, outlets: Any) -> Any:
    return await to(Request("alert", {"outlets": outlets}, Peer(1, 0, 0)))
