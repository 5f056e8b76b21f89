"""What `vc5 block` and `vc5 prefixes` print, and what they send."""

from __future__ import annotations

import base64
import json
import sys
import zlib
from array import array
from collections.abc import Iterator
from typing import Any

import pytest

from appliance import paths
from appliance.cli.block import biggest, listed
from appliance.cli.main import main
from appliance.cli.tables import Screen
from appliance.control.socket import Request
from appliance.paths import Root
from tests.unit.control.running import running

NOW = 1_764_000_000.0
TOP: dict[str, Any] = {
    "sample": 64,
    "seconds": 7.5,
    "rate": 1_250_000.0,
    "packets": 9_000_000,
    "prefixes": 12_345,
    "top": [
        {"prefix": "192.0.0.0/20", "rate": 1e6, "rate_error": 3e3, "packets": 8e6, "share": 0.8, "blocked": "yes"},
        {"prefix": "198.51.96.0/20", "rate": 2e5, "rate_error": 1e3, "packets": 5e5, "share": 0.16, "blocked": "no"},
    ],
}
ENTRY = {"prefix": "198.51.100.0/24", "since": NOW, "until": NOW + 90, "who": "uid 0 (pid 7)", "note": "rude\x1b[2J"}


class Asked:
    """A daemon's handlers, which remember what they were asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.counts = array("I", [0, 3, 0xFFFFFFFF])

    async def block(self, request: Request) -> Any:
        self.requests.append((request.verb, dict(request.arguments)))
        return {"message": "done so", "warnings": ["covers something"]}

    async def blocked(self, request: Request) -> Any:
        return {"configuration": ["192.0.2.0/24"], "operator": [ENTRY], "dropped": 12_345}

    async def prefixes(self, request: Request) -> Any:
        self.requests.append((request.verb, dict(request.arguments)))
        if not request.arguments.get("all"):
            return TOP
        packed = base64.b64encode(zlib.compress(self.counts.tobytes())).decode()
        return {"sample": 64, "byteorder": sys.byteorder, "counts": packed}


@pytest.fixture
def root(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Root:
    monkeypatch.setenv("VC5_ROOT", str(tmp_path))
    return paths.root(str(tmp_path))


@pytest.fixture
def asked(root: Root) -> Iterator[Asked]:
    daemon = Asked()
    handlers = {"block": daemon.block, "unblock": daemon.block, "blocked": daemon.blocked, "prefixes": daemon.prefixes}
    with running(root.control_socket, handlers):
        yield daemon


# Command line -> what the daemon is asked
LINES: list[tuple[list[str], tuple[str, dict[str, Any]]]] = [
    (["block", "add", "10.0.0.0/8"], ("block", {"prefix": "10.0.0.0/8"})),
    (
        ["block", "add", "::/0", "--for", "1h", "--note", "x y", "--force"],
        ("block", {"prefix": "::/0", "for": "1h", "note": "x y", "force": True}),
    ),
    (["block", "remove", "10.0.0.0/8"], ("unblock", {"prefix": "10.0.0.0/8"})),
    (["prefixes"], ("prefixes", {})),
    (["prefixes", "--top", "7"], ("prefixes", {"top": 7})),
    (["prefixes", "--top", "7", "--json"], ("prefixes", {"top": 7})),
    (["prefixes", "--json"], ("prefixes", {"all": True})),
]


@pytest.mark.parametrize(("line", "request_"), LINES)
def test_what_is_asked(asked: Asked, line: list[str], request_: tuple[str, dict[str, Any]]) -> None:
    assert main(line) == 0
    assert asked.requests == [request_]


USAGE = [
    ["block"],
    ["block", "dance"],
    ["block", "add"],
    ["block", "list", "10.0.0.0/8"],
    ["block", "remove", "10.0.0.0/8", "--for", "1h"],
    ["prefixes", "--top", "0"],
    ["prefixes", "--top", "many"],
]


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("line", USAGE)
def test_wrong_usage(line: list[str]) -> None:
    assert main(line) == 2


@pytest.mark.usefixtures("asked")
def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["block", "add", "10.0.0.0/8"]) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("done so\n", "warning: covers something\n")
    assert main(["prefixes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [0, 192, 64 * 0xFFFFFFFF]
    assert main(["prefixes", "--json", "--top", "2"]) == 0
    assert json.loads(capsys.readouterr().out) == TOP


def test_the_list() -> None:
    assert listed({}, NOW, Screen()) == ["nothing is blocked"]
    result = {"configuration": ["192.0.2.0/24"], "operator": [ENTRY], "dropped": 12_345}
    assert listed(result, NOW, Screen()) == [
        "PREFIX           BY              LEFT  NOTE",
        "192.0.2.0/24     configuration",
        "198.51.100.0/24  uid 0 (pid 7)  1m30s  rude\\x1b[2J",
        "12.3k packets dropped so far",
    ]


def test_the_biggest() -> None:
    assert biggest({"top": []}, Screen()) == ["no packets to VIPs have been counted yet"]
    young = biggest(TOP | {"rate": None, "seconds": 0.0}, Screen())
    assert young[0] == "to VIPs, from 12.3k IPv4 prefixes: 9.00M packets, rates not known yet; one of 64 is counted"
    assert biggest(TOP, Screen()) == [
        "to VIPs, from 12.3k IPv4 prefixes: 1.25M packets/s over 7s; one of 64 is counted",
        "PREFIX          PACKETS/S     +-  SHARE  PACKETS  BLOCKED",
        "192.0.0.0/20        1.00M  3.00k  80.0%    8.00M  yes",
        "198.51.96.0/20       200k  1.00k  16.0%     500k",
        "to drop what comes from one: vc5 block add 198.51.96.0/20 --for 1h",
    ]
