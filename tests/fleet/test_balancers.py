"""Balancers behind FRR, in a quiet fleet, and with another key; what happens to balancers is in test_scenes.py."""

from __future__ import annotations

import json
from functools import partial

import pytest

from tests.fleet.checks import MARKS, named, nothing_breaks
from tests.fleet.configuration import KEY
from tests.fleet.node import Node
from tests.fleet.performance import Performance
from tests.fleet.scenario import Scenario
from tests.fleet.test_scenes import SHORT
from tests.lab.patience import wait_for
from tests.lab.routers import Frr, missing_daemons

pytestmark = list(MARKS)


@pytest.mark.appliance
@pytest.mark.skipif(bool(missing_daemons([Frr])), reason=missing_daemons([Frr]) or "it is there")
@pytest.mark.parametrize("scenario", named([SHORT]))
def test_nothing_breaks_behind_frr(scenario: Scenario) -> None:
    nothing_breaks(scenario, router=Frr)


def test_nothing_is_tracked_and_no_flow_told_before_something_changes() -> None:
    with Performance(Scenario("quiet", (), needs_exchange=False), exchange=True) as performance:
        for node in performance.fleet.nodes.values():
            told = node.ask("fleet")
            assert [one["state"] for one in told["nodes"]] == ["ready"] * 3
            assert [one["tracked_slots"] for one in told["nodes"]] == [0] * 3
            assert len({one["tables"] for one in told["nodes"]}) == 1
            assert [one["behind"] for one in told["nodes"]] == [0] * 3
            assert told["well"]
            reasons = node.ask("status")["reasons"]
            assert reasons.keys() >= {"probe-answer"}
            assert not reasons.keys() & {"remembered", "untold", "tracked-hit", "tracked-old", "tracked-new"}


def test_another_key_is_taken_up_one_by_one_and_nobody_is_missed() -> None:
    with Performance(Scenario("keys", (), needs_exchange=False), exchange=True) as performance:
        nodes = performance.fleet.nodes.values()
        before = {one["life"] for node in nodes for one in node.ask("fleet")["nodes"]}
        for keys in ([KEY, "the key that comes next"], ["the key that comes next", KEY], ["the key that comes next"]):
            for node in nodes:
                document = json.loads(node.daemon.configuration_file.read_text())
                document["fleet"]["key"] = keys
                assert node.daemon.reload(json.dumps(document)).returncode == 0
                heard = node.ask("fleet")
                assert len(heard["keys"]) == len(keys)
                assert {one["life"] for one in heard["nodes"]} == before
        for node in nodes:
            wait_for("word by the new key", partial(_all_heard, node), 10)
            told = node.ask("fleet")
            assert {one["life"] for one in told["nodes"]} == before
            assert told["traffic"]["refused"]["key"] == 0, "every key was known wherever it was used"
            assert not told["absent"]


def _all_heard(node: Node) -> bool:
    return all(one["heard"] < 1.2 for one in node.ask("fleet")["nodes"])
