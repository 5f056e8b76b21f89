"""`vc5 fleet` as a user meets it: what is asked of the daemon, the text at two widths, the exit status."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import paths
from appliance.cli import fleet_view, status_head
from appliance.cli.main import main
from appliance.cli.tables import Screen, printable, width
from appliance.control.socket import Request
from appliance.fleet.difference import Ranges
from appliance.fleet.status import FleetStatus
from tests.profile import EXAMPLES
from tests.unit.control.running import running
from tests.unit.fleet.fleets import ALIKE, ALIKE_RANGES, ALONE, HOSTILE, MANY, NOW, RANGES, SHOP, TROUBLED, WELL

GOLDEN = Path(__file__).parent / "golden"
VIEWS: dict[str, tuple[FleetStatus, tuple[Ranges, ...] | None]] = {
    "1": (ALONE, None),
    "3": (WELL, None),
    "3_troubled": (TROUBLED, None),
    "3_service": (TROUBLED, RANGES),
    "30": (MANY, None),
    "alike": (ALIKE, None),
    "alike_service": (ALIKE, ALIKE_RANGES),
}


def view(name: str, to: Screen) -> list[str]:
    """Return the lines of one of the views, after a trip through JSON."""
    status, ranges = VIEWS[name]
    body = json.loads(json.dumps(status.as_json(ranges)))
    return fleet_view.lines(body, NOW, to, str(SHOP) if ranges else None)


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("name", VIEWS)
def test_fleets_look_as_agreed(name: str, columns: int) -> None:
    found = view(name, Screen(columns))
    assert "".join(f"{line}\n" for line in found) == GOLDEN.joinpath(f"fleet_{name}_{columns}.txt").read_text("utf-8")
    assert [line for line in found if width(line) > columns] == []


def test_a_name_is_text_whatever_is_in_it() -> None:
    for name in VIEWS:
        text = "\n".join(view(name, Screen(140)))
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert printable(HOSTILE) in "\n".join(view("3_troubled", Screen(200)))


def test_no_name_stands_alone_that_several_nodes_have() -> None:
    text = "\n".join([*view("alike", Screen(200)), *view("alike_service", Screen(200))])
    assert re.findall(r"\blb1\b(?! \((?:10\.1\.1\.[2356](?::9876)?|this node)\))", text) == []
    assert "120 at lb4;" in text, "there is one lb4"


def test_an_older_daemon_gives_names_alone() -> None:
    body = json.loads(json.dumps(ALIKE.as_json(ALIKE_RANGES)))
    rows = [one for part in ("nodes", "absent", "differences", "ranges") for one in body[part]]
    assert [one.pop("label") for one in rows]
    nodes = [line.split()[0] for line in fleet_view.lines(body, NOW, Screen(200)) if "10.1.1." in line][:5]
    assert nodes == ["lb1", "lb1", "lb4", "lb1", "lb1"]
    assert "  slots 0-17: 10.1.1.5 here, 10.1.1.6 at lb1" in fleet_view.lines(body, NOW, Screen(200), str(SHOP))


def test_what_is_wrong_stands_out() -> None:
    text = "\n".join(view("3_troubled", Screen(140, colour=True)))
    assert "\x1b[1;31mMISSING\x1b[0m" in text
    assert "\x1b[33m1a2b3cff ≠\x1b[0m" in text
    assert "\x1b[1;31mdraining, cut off\x1b[0m" in text
    assert "\x1b[32mready\x1b[0m" in text


SUMMARIES: dict[str, tuple[object, list[str]]] = {
    "no fleet": (None, []),
    "an older daemon": ("?", []),
    "well": (WELL.as_json(), ["fleet: 3 nodes"]),
    "alone, and learning": (ALONE.as_json(), ["fleet: 1 node, learning: waiting for any other node, for 12s at most"]),
    "troubled": (TROUBLED.as_json(), ["fleet: 3 nodes, 1 MISSING, 3 differences (`vc5 fleet`)"]),
}


@pytest.mark.parametrize(("body", "lines"), SUMMARIES.values(), ids=SUMMARIES)
def test_the_head_of_the_status_says_it_in_a_line(body: object, lines: list[str]) -> None:
    without = list(status_head.head({}, Screen()))
    assert list(status_head.head({"fleet": body}, Screen())) == [*without, *lines]


ANSWERS: dict[str, tuple[Any, list[str], dict[str, Any], int, str]] = {
    "none": (None, [], {}, 0, "this node has no fleet: name the other balancers"),
    "well": (WELL.as_json(), [], {}, 0, "fleet: 3 nodes"),
    "not well": (TROUBLED.as_json(), [], {}, 1, "MISSING"),
    "a service": (TROUBLED.as_json(RANGES), [str(SHOP)], {"service": str(SHOP)}, 1, "slots 0-17, 40: 10.1.1.5 here"),
    "json": (TROUBLED.as_json(), ["--json"], {}, 1, '"well": false'),
    "no fleet, as json": (None, ["--json"], {}, 0, "null"),
    "an answer of another version": ([], [], {}, 1, "are daemon and command of one version?"),
}


@pytest.mark.parametrize(("answer", "words", "asked", "status", "said"), ANSWERS.values(), ids=ANSWERS)
def test_the_command_asks_and_says_by_its_status_whether_all_is_well(
    answer: Any,
    words: list[str],
    asked: dict[str, Any],
    status: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    requests: list[dict[str, Any]] = []

    async def fleet(request: Request) -> Any:
        requests.append(dict(request.arguments))
        return answer

    with running(paths.root(str(tmp_path)).control_socket, {"fleet": fleet}):
        assert main(["--root", str(tmp_path), "fleet", *words]) == status
    printed = capsys.readouterr()
    assert said in printed.out + printed.err
    assert requests == [asked]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_whatever_a_daemon_of_another_version_says_is_shown_somehow(data: st.DataObject) -> None:
    body = TROUBLED.as_json(RANGES)
    for name in data.draw(st.sets(st.sampled_from(sorted(body)), min_size=1)):
        body[name] = data.draw(JSON)
    for row in (*body["nodes"], *body["differences"], *body["ranges"]) if _rows(body) else ():
        row |= data.draw(st.dictionaries(st.sampled_from(sorted(row)) if row else st.text(), JSON, max_size=2))
    for service in (None, str(SHOP)):
        for line in fleet_view.lines(body, NOW, Screen(80), service):
            assert printable(line) == line


def _rows(body: dict[str, Any]) -> bool:
    parts = [body[name] for name in ("nodes", "differences", "ranges")]
    return all(isinstance(part, list) and all(isinstance(row, dict) for row in part) for part in parts)
