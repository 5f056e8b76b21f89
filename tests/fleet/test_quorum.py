"""Where one balancer alone finds a backend dead, most of the others outvote it: real checks, real exchange."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fleet.checks import MARKS
from tests.fleet.node import Node
from tests.fleet.performance import Performance
from tests.fleet.scenario import Scenario
from tests.fleet.site import own
from tests.lab.patience import wait_for

pytestmark = [*MARKS, pytest.mark.appliance]


def backend(node: Node, address: str) -> dict[str, Any]:
    """What a balancer says of a backend of its first service."""
    service = node.ask("status")["services"][0]
    found: dict[str, Any] = next(one for one in service["backends"] if one["address"] == address)
    return found


def test_a_balancer_whose_own_way_is_broken_goes_on_sending() -> None:
    with Performance(Scenario("quorum", (), needs_exchange=False), exchange=True) as performance:
        fleet = performance.fleet
        for node in fleet.nodes.values():
            document = json.loads(node.daemon.configuration_file.read_text())
            document["fleet"]["quorum"] = True
            assert node.daemon.reload(json.dumps(document)).returncode == 0
        alone, address = fleet.nodes["n1"], str(fleet.address("b1"))
        server = fleet.lab.backends["b1"].namespace
        # Its answers to the checks of one balancer are lost; clients and the other balancers notice nothing.
        server.run("ip", "route", "add", "blackhole", f"{own('n1')}/32")
        try:
            kept = wait_for("the others to outvote it", lambda: backend(alone, address)["kept_by"], 40)
            assert "2 of 3 nodes say up" in kept
            assert backend(alone, address)["health"] == "dead"
            assert backend(alone, address)["state"] == "available"
            for name in ("n2", "n3"):
                assert backend(fleet.nodes[name], address)["health"] == "up"
        finally:
            server.run("ip", "route", "delete", "blackhole", f"{own('n1')}/32")
        wait_for("its own checks to find it", lambda: backend(alone, address)["health"] == "up", 20)
        assert not backend(alone, address)["kept_by"]

        # One that is dead for all is dead.
        fleet.backend("kill", "b2")
        gone = str(fleet.address("b2"))
        for node in fleet.nodes.values():
            wait_for("it to be out", lambda node=node: backend(node, gone)["state"] == "dead", 20)  # type: ignore[misc]
            assert not backend(node, gone)["kept_by"]
