"""`vc5 metrics`: what a daemon's snapshot becomes on standard output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance import paths
from appliance.cli.main import main
from appliance.control.socket import Encoded, Request
from appliance.telemetry.exposition import OPENMETRICS, exposition
from tests.unit.control.running import running
from tests.unit.telemetry.snapshots import SAMPLE


async def sample(request: Request) -> Encoded:
    text = json.dumps(SAMPLE)
    return Encoded([text[:7], text[7:]])


async def nothing(request: Request) -> Any:
    return [1]


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        ((), exposition(SAMPLE)[0].decode()),
        (("--openmetrics",), exposition(SAMPLE, OPENMETRICS)[0].decode()),
        (("--json",), json.dumps(SAMPLE) + "\n"),
    ],
)
def test_what_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], printed: str
) -> None:
    with running(paths.root(str(tmp_path)).control_socket, {"metrics": sample}):
        assert main(["--root", str(tmp_path), "metrics", *options]) == 0
    assert capsys.readouterr() == (printed, "")


def test_what_is_no_snapshot_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(paths.root(str(tmp_path)).control_socket, {"metrics": nothing}):
        assert main(["--root", str(tmp_path), "metrics"]) == 1
    assert "are daemon and command of one version?" in capsys.readouterr().err


def test_the_manual_page_needs_no_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path), "metrics", "--man"]) == 0
    assert capsys.readouterr().out.startswith(".TH VC5-METRICS 7 ")
