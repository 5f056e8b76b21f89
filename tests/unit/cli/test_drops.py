"""What `vc5 drops` prints, and the file that it writes, as scapy reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from appliance import paths
from appliance.cli.drops import NOTHING
from appliance.cli.main import main
from appliance.control.dropped import wanted
from appliance.control.socket import Request
from appliance.dataplane.enums import DROPS, REASON_TEXT, Reason
from appliance.paths import Root
from tests.pcap import Capture, Recorded, read
from tests.unit.control.running import running

AT = 1_764_000_000.25
LONG, SHORT = bytes(range(128)), b"\xff" * 60
ANSWER: dict[str, Any] = {
    "reasons": [
        {
            "reason": "unknown-port",
            "meaning": REASON_TEXT[Reason.UNKNOWN_PORT],
            "count": 12_345,
            "packets": [
                {"at": AT + 2, "interface": "eth0", "length": 1514, "data": LONG.hex(), "text": "IPv4 one"},
                {"at": AT, "interface": "bond0.7", "length": 60, "data": SHORT.hex(), "text": "evil \x1b[2J"},
            ],
        },
        {
            "reason": "ttl",
            "meaning": REASON_TEXT[Reason.TTL],
            "count": 1,
            "packets": [{"at": AT + 1, "interface": "eth0", "length": 60, "data": SHORT.hex(), "text": "IPv4 two"}],
        },
        {"reason": "dead", "meaning": REASON_TEXT[Reason.DEAD], "count": 5, "packets": []},
        {"reason": "no-room", "meaning": REASON_TEXT[Reason.NO_ROOM], "count": 0, "packets": []},
    ]
}

SECONDS, MICROSECONDS = 1_764_000_000, 250_000
FILE = Capture(
    1,
    128,
    [
        Recorded(SHORT, 60, SECONDS, MICROSECONDS),
        Recorded(SHORT, 60, SECONDS + 1, MICROSECONDS),
        Recorded(LONG, 1514, SECONDS + 2, MICROSECONDS),
    ],
)


class Answering:
    """A daemon that answers so."""

    def __init__(self) -> None:
        self.answer: Any = deepcopy(ANSWER)
        self.asked: list[dict[str, Any]] = []

    async def drops(self, request: Request) -> Any:
        self.asked.append(dict(request.arguments))
        wanted(request.arguments.get("reason"))
        return self.answer


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    monkeypatch.setenv("VC5_ROOT", str(tmp_path))
    return paths.root(str(tmp_path))


@pytest.fixture
def daemon(root: Root) -> Iterator[Answering]:
    answering = Answering()
    with running(root.control_socket, {"drops": answering.drops}):
        yield answering


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at).isoformat(" ", "milliseconds")


@pytest.mark.usefixtures("daemon")
def test_reasons_with_their_packets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drops"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "unknown-port  12.3k packets",
        f"  {REASON_TEXT[Reason.UNKNOWN_PORT]}",
        "  TIME                     INTERFACE  BYTES  PACKET",
        f"  {_moment(AT + 2)}  eth0        1514  IPv4 one",
        f"  {_moment(AT)}  bond0.7       60  evil \\x1b[2J",
        "",
        "ttl  1 packet",
        f"  {REASON_TEXT[Reason.TTL]}",
        "  TIME                     INTERFACE  BYTES  PACKET",
        f"  {_moment(AT + 1)}  eth0          60  IPv4 two",
        "",
        "dead  5 packets",
        f"  {REASON_TEXT[Reason.DEAD]}",
        "  none of them was kept",
    ]


def test_one_reason_and_json(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drops", "--reason", "ttl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ANSWER
    assert main(["drops"]) == 0
    assert daemon.asked == [{"reason": "ttl"}, {}]


def test_nothing_is_said_to_be_nothing(daemon: Answering, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    daemon.answer["reasons"] = ANSWER["reasons"][-1:]
    assert main(["drops"]) == 0
    assert capsys.readouterr().out == f"{NOTHING}\n"
    assert main(["drops", "--pcap", str(tmp_path / "none.pcap")]) == 0
    assert NOTHING in capsys.readouterr().err
    assert read((tmp_path / "none.pcap").read_bytes()) == Capture(1, 128, [])


def test_a_file_has_all_of_them_in_their_order(daemon: Answering, tmp_path: Path) -> None:
    file = tmp_path / "drops.pcap"
    assert main(["drops", "--pcap", str(file)]) == 0
    assert read(file.read_bytes()) == FILE
    before = file.read_bytes()
    daemon.answer["reasons"] = []
    assert main(["drops", "--pcap", str(file)]) == 1
    assert file.read_bytes() == before


@pytest.mark.usefixtures("daemon")
def test_standard_output_takes_it_too(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["drops", "--pcap", "-"]) == 0
    assert read(capfdbinary.readouterr().out) == FILE


@pytest.mark.usefixtures("root")
def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drops", "--json", "--pcap", "x"]) == 2
    assert main(["drops", "--reason", "weather"]) == 2
    said = capsys.readouterr().err
    for reason in DROPS:
        assert str(reason) in said


ODD: list[Any] = [
    None,
    [],
    {"reasons": None},
    {"reasons": ["ttl"]},
    {"reasons": [{"reason": "ttl"}]},
    *(
        {"reasons": [{"reason": "ttl", "count": 1, "packets": [ANSWER["reasons"][1]["packets"][0] | wrong]}]}
        for wrong in ({"at": "soon"}, {"at": 1e300}, {"data": "xy"}, {"data": 7}, {"length": None}, {"length": "long"})
    ),
]


@pytest.mark.parametrize("answer", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("line", [["drops"], ["drops", "--json"], ["drops", "--pcap", "-"]], ids=" ".join)
def test_an_odd_answer_is_an_error(
    daemon: Answering, capsys: pytest.CaptureFixture[str], answer: Any, line: list[str]
) -> None:
    daemon.answer = answer
    assert main(line) == 1
    printed = capsys.readouterr()
    assert "are daemon and command of one version?" in printed.out + printed.err
