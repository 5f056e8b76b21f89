"""What `vc5 plan`, `vc5 reload` and `vc5 confirm` send and print."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import paths
from appliance.cli.main import main
from appliance.cli.plan_view import lines, share_text
from appliance.cli.tables import Screen
from appliance.control.reload import Wish, wish
from appliance.control.socket import Request
from appliance.errors import ControlError
from appliance.paths import Root
from tests.unit.control.running import running

ROW = {
    "service": "203.0.113.10:80/tcp",
    "change": "changed",
    "fields": ["need"],
    "backends": {"added": ["10.1.1.7", "10.1.1.8"], "removed": ["10.1.1.5"], "changed": {"10.1.1.6": ["weight"]}},
    "slots": 307,
    "moved_slots": 105,
    "share": 0.342,
    "moved_at_once": 50,
    "cause": "backends",
    "disruption": 0.342,
    "disrupted_by": "slots move",
    "flows": 1234,
    "flows_counted": False,
}
STILL = {"moved_slots": 0, "share": 0.0, "moved_at_once": 0, "cause": "", "disruption": 0.0, "disrupted_by": ""}
SAME = ROW | STILL | {"service": "203.0.113.10:53/udp", "change": "same"}
DOWN = SAME | {"service": "203.0.113.12:53/udp", "disruption": 1.0, "disrupted_by": "VIP withdrawn"}
DOWN |= {"fields": [], "backends": {}}
GONE = ROW | {"service": "203.0.113.13:80/tcp", "change": "removed", "fields": [], "backends": {}, "cause": "removed"}
GONE |= {"moved_slots": 307, "disruption": 1.0, "disrupted_by": "service removed", "flows": None}
BODY: dict[str, Any] = {
    "file": "new\x1b.yaml",
    "against": "the running daemon",
    **{f"services_{how}": number for how, number in (("added", 1), ("removed", 0), ("changed", 2))},
    **{f"backends_{how}": number for how, number in (("added", 2), ("removed", 1), ("changed", 1))},
    "settings": ["idle"],
    "slots": 614,
    "moved_slots": 105,
    "largest_share": 0.342,
    "largest_disruption": 1.0,
    "vips": {"announce": ["203.0.113.11"], "withdraw": []},
    "program": "running",
    "recompile": False,
    "warnings": [{"message": "mind the gap"}],
    "services": [ROW, SAME, DOWN, GONE],
}
TEXT = r"""
new\x1b.yaml, against the running daemon
services  1 added, 0 removed, 2 changed
backends  2 added, 1 removed, 1 changed
settings  idle
announce  203.0.113.11
program   running
slots     17.1 % move (105 of 614)
disrupts  100 % of a service at most, by --max-disruption

SERVICE              CHANGE   BACKENDS  DISRUPTS    SLOTS    FLOWS  BECAUSE
203.0.113.10:80/tcp  changed  +2 -1 ~1    34.2 %  105/307  <=1.23k  backends; need
203.0.113.12:53/udp  same                  100 %    0/307  <=1.23k  VIP withdrawn
203.0.113.13:80/tcp  removed               100 %  307/307           service removed
warning: mind the gap
"""


class Asked:
    """A daemon's handlers, which remember what they were asked."""

    def __init__(self) -> None:
        self.arguments: dict[str, Any] = {}

    async def plan(self, request: Request) -> Any:
        self.arguments = dict(request.arguments)
        return BODY

    async def reload(self, request: Request) -> Any:
        self.arguments = dict(request.arguments)
        return {"message": "in force", "warnings": []}

    async def confirm(self, request: Request) -> Any:
        return {"message": "confirmed", "left_s": 18.0}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """Return a root that the commands of the test find through VC5_ROOT."""
    monkeypatch.setenv("VC5_ROOT", str(tmp_path))
    return paths.root(str(tmp_path))


@pytest.fixture
def asked(root: Root) -> Iterator[Asked]:
    found = Asked()
    handlers = {"plan": found.plan, "reload": found.reload, "confirm": found.confirm}
    with running(root.control_socket, handlers):
        yield found


def test_the_text_of_a_plan() -> None:
    assert lines(BODY, Screen()) == TEXT.strip().splitlines()
    assert [line for line in lines({}, Screen()) if "\x1b" in line] == []


SHARES = [(0.0, "0 %"), (1e-9, "0.1 %"), (0.342, "34.2 %"), (0.9999, "99.9 %"), (1.0, "100 %"), (1, "100 %")]


@pytest.mark.parametrize(("share", "text"), [*SHARES, (None, ""), ("much", ""), (True, "")])
def test_shares(share: object, text: str) -> None:
    assert share_text(share) == text


def test_a_daemon_that_counts_slots_only() -> None:
    old = {name: value for name, value in ROW.items() if not name.startswith("disrupt")}
    rows = [line for line in lines({"services": [old, SAME]}, Screen()) if line.startswith("203.")]
    assert len(rows) == 1
    assert " 34.2 % " in rows[0]


def test_a_plan_of_a_file(asked: Asked, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    file.write_text("# späť\nservices: []\n", encoding="utf-8")
    assert main(["plan", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == BODY
    sent = zlib.decompress(base64.b64decode(asked.arguments["text"])).decode()
    assert (sent, asked.arguments["name"]) == (file.read_text(encoding="utf-8"), str(file))
    assert main(["plan"]) == 0
    assert asked.arguments == {}, "without a file it is the daemon's own"
    assert capsys.readouterr().out == TEXT.lstrip()


def test_a_plan_of_no_file(asked: Asked, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["plan", str(tmp_path / "none.yaml")]) == 78
    assert "none.yaml: does not exist" in capsys.readouterr().err


def test_a_plan_without_a_daemon(root: Root, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    text = "interfaces: eth0\nservices: [{virtual: 203.0.113.10, servers: [SERVERS], policy: {80/tcp: {checks: []}}}]\n"
    old.write_text(text.replace("SERVERS", "10.1.1.5, 10.1.1.6"))
    new.write_text(text.replace("SERVERS", "10.1.1.5"))
    assert main(["plan", str(new), "--against", str(old), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body.keys() == BODY.keys()
    assert [row.keys() for row in body["services"]] == [ROW.keys()]
    assert 0.4 < body["services"][0]["share"] < 0.6
    assert main(["plan", str(old), "--against", str(old)]) == 0
    assert "slots     0 % move (0 of 307)" in capsys.readouterr().out
    assert main(["plan", "--against", str(old)]) == 2
    assert main(["plan", str(new)]) == 1
    assert "no vc5 daemon answers here" in capsys.readouterr().err


RELOADS: list[tuple[list[str], dict[str, float]]] = [
    ([], {}),
    (["--max-disruption", "5%"], {"max_disruption": 0.05}),
    (["--max-disruption", "12.5"], {"max_disruption": 0.125}),
    (["--max-disruption", "0"], {"max_disruption": 0.0}),
    (["--confirm", "60"], {"confirm": 60.0}),
    (["--confirm", "5m", "--max-disruption", "100%"], {"confirm": 300.0, "max_disruption": 1.0}),
]


@pytest.mark.parametrize(("arguments", "sent"), RELOADS, ids=[" ".join(row[0]) for row in RELOADS])
def test_what_a_reload_asks_for(asked: Asked, arguments: list[str], sent: dict[str, float]) -> None:
    assert main(["reload", *arguments]) == 0
    assert asked.arguments == pytest.approx(sent)
    assert wish(asked.arguments) == Wish(sent.get("max_disruption"), sent.get("confirm"))


MISTAKEN = [
    (["--max-disruption", "much"], "--max-disruption 'much': write a share from 0% to 100%"),
    (["--max-disruption", "101%"], "write a share from 0% to 100%"),
    (["--max-disruption", "nan"], "write a share from 0% to 100%"),
    (["--max-disruption=-1"], "write a share from 0% to 100%"),
    (["--confirm", "soon"], "--confirm 'soon': "),
    (["--confirm", "0"], "--confirm '0': "),
    (["--confirm", "2d"], "--confirm '2d': "),
]


@pytest.mark.parametrize(("arguments", "text"), MISTAKEN, ids=[" ".join(row[0]) for row in MISTAKEN])
def test_what_a_reload_cannot_ask_for(
    asked: Asked, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    assert main(["reload", *arguments]) == 2
    assert text in capsys.readouterr().err


REFUSED: list[dict[str, Any]] = [
    *({"confirm": value} for value in ("60", 0, 1e9, float("inf"))),
    *({"max_disruption": value} for value in (5, True, float("nan"))),
]


@pytest.mark.parametrize("arguments", REFUSED, ids=str)
def test_what_the_daemon_is_not_asked(arguments: dict[str, Any]) -> None:
    with pytest.raises(ControlError, match="must be"):
        wish(arguments)


def test_confirm(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["confirm"]) == 0
    assert capsys.readouterr().out == "confirmed\n"
    assert main(["confirm", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"message": "confirmed", "left_s": 18.0}
