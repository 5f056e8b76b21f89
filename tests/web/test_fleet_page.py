"""The fleet in the console: what it shows of nodes, of their differences, and of names that are markup."""

from __future__ import annotations

import json

import pytest

from tests.unit.fleet.fleets import ALIKE, TROUBLED, WELL
from tests.web.conftest import Show
from tests.web.test_page import shown


@pytest.mark.parametrize("width", [1600, 360])
def test_a_fleet_in_which_nothing_is_well(show: Show, width: int) -> None:
    replay, page = show(backends=3, part="fleet", width=width)
    shown(page, "#fleet-empty", "This node has no fleet")
    replay.picture.fleet = json.loads(json.dumps(TROUBLED.as_json()))
    replay.send("overview", replay.picture.overview())
    shown(page, "#fleet-count", "3 nodes, 1 missing")
    name = "lb\\x1b[31m<b>\\u202ex"
    assert page.texts("#fleet-body th") == ["lb1", "lb2", name, "lb4", "lb5"]
    assert page.texts("#fleet-body .badge") == ["ready", "draining, cut off", "ready (asking)", "missing", "left"]
    assert page.texts("#fleet-body .other") == ["≠", "≠"]
    for words in (
        "203.0.113.10:80/tcp: 10.1.1.5 is dead here and up at lb2, 10.1.1.6 is up here and wrong at lb2",
        f"{name} has another configuration",
        "ask each why:",
    ):
        shown(page, "#fleet-differences", words)
    shown(page, "#fleet-facts", "key 12, forged 3")
    shown(page, "#fleet-facts", "5e6f7a8b signs, 00c0ffee is accepted")
    for words in ("Balancer lb4 is missing", "The fleet does not answer alike: 3 differences"):
        shown(page, "#notices", words)
    assert page.evaluate("document.querySelectorAll('#fleet b').length") == 0


def test_a_fleet_that_is_well_has_nothing_to_say(show: Show) -> None:
    replay, page = show(backends=3, part="fleet")
    replay.picture.fleet = json.loads(json.dumps(WELL.as_json()))
    replay.send("overview", replay.picture.overview())
    shown(page, "#fleet-count", "3 nodes")
    assert page.evaluate(
        "[document.getElementById('fleet-alike').hidden, document.getElementById('fleet-empty').hidden]"
    ) == [
        False,
        True,
    ]
    assert page.evaluate("document.getElementById('notices').innerText.includes('fleet')") is False


def test_nodes_of_one_name_are_told_apart(show: Show) -> None:
    replay, page = show(backends=3, part="fleet")
    replay.picture.fleet = json.loads(json.dumps(ALIKE.as_json()))
    replay.send("overview", replay.picture.overview())
    shown(page, "#fleet-count", "4 nodes, 1 missing")
    others = [f"lb1 (10.1.1.{number})" for number in (2, 3, 5, 6)]
    assert page.texts("#fleet-body th") == ["lb1 (this node)", *others[:2], "lb4", *others[2:]]
    shown(page, "#fleet-differences", "10.1.1.5 is dead here and up at lb1 (10.1.1.3)")
    shown(page, "#notices", "Balancer lb1 (10.1.1.5) is missing")
