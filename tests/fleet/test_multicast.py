"""Balancers that name nobody, and find each other in a multicast group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from appliance.model_address import Address, Endpoint
from appliance.model_fleet import FLEET_PORT
from tests.fleet.checks import MARKS, nothing_breaks
from tests.fleet.performance import Performance
from tests.fleet.scenario import Scenario
from tests.fleet.scenes_balancers import SCENES
from tests.fleet.site import NODES
from tests.lab.lossy import address, address6
from tests.lab.patience import wait_for

pytestmark = [*MARKS, pytest.mark.appliance]

GROUPS = {4: "239.255.76.5:9876", 6: "[ff05::76:5]:9876"}
ADDRESSES: dict[int, Callable[[int], Address]] = {4: address, 6: address6}
REFLECTED = 20
"""Datagrams, at each balancer: some twenty seconds of a quiet group."""
versions = pytest.mark.parametrize("version", GROUPS, ids=["IPv4", "IPv6"])
[DIES] = [scenario for scenario in SCENES if scenario.name == "one dies after a backend was added"]


@versions
def test_nothing_breaks_in_a_group(version: int) -> None:
    nothing_breaks(DIES, group=GROUPS[version])


def test_nothing_breaks_in_a_group_on_a_bad_network() -> None:
    nothing_breaks(DIES, group=GROUPS[4], bad=True)


@versions
def test_a_quiet_group_is_well_and_takes_nothing_of_itself(version: int) -> None:
    with Performance(Scenario("quiet", (), needs_exchange=False), exchange=True, group=GROUPS[version]) as performance:
        fleet = performance.fleet
        everybody = {name: str(Endpoint(ADDRESSES[version](host), FLEET_PORT)) for name, host in NODES.items()}
        lives = set()
        for name, node in fleet.nodes.items():
            told = node.ask("fleet")
            assert (told["group"], told["peers"], told["unheard"]) == (GROUPS[version], [], [])
            heard = {one["address"] for one in told["nodes"] if not one["own"]}
            assert heard == set(everybody.values()) - {everybody[name]}
            assert told["traffic"]["refused"]["own"] == 0, "no kernel gives back what was sent to the group"
            _assert_quiet(told)
            lives.add(frozenset(one["life"] for one in told["nodes"]))
        assert len(lives) == 1, "all know the same three"
        fleet.exchange.reflect()
        for node in fleet.nodes.values():
            wait_for("what it has said itself", lambda node=node: _own(node.ask("fleet")) >= REFLECTED, 60)  # type: ignore[misc]
        for node in fleet.nodes.values():
            told = node.ask("fleet")
            _assert_quiet(told)
            assert frozenset(one["life"] for one in told["nodes"]) in lives, "nobody takes himself for another"
            assert told["absent"] == []
            assert node.daemon.vc5("fleet").returncode == 0


def _assert_quiet(told: Any) -> None:
    """All three are there, have the same tables, and remember nothing."""
    nodes = told["nodes"]
    assert [one["state"] for one in nodes] == ["ready"] * len(NODES)
    assert [one["tracked_slots"] for one in nodes] == [0] * len(NODES)
    assert [one["sync"] for one in nodes] == ["done"] * len(NODES)
    assert len({one["tables"] for one in nodes}) == 1
    assert told["well"]


def _own(told: Any) -> int:
    """How many datagrams of its own a balancer has refused."""
    refused: int = told["traffic"]["refused"]["own"]
    return refused
