"""A VIP that is down everywhere keeps one route, and at no moment has it none: real balancers, a real router."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.fleet.checks import MARKS
from tests.fleet.performance import Performance
from tests.fleet.scenario import Scenario
from tests.fleet.site import NODES, own
from tests.lab.addresses import VIP
from tests.lab.patience import wait_for
from tests.lab.routers.terms import prefix_of

pytestmark = [*MARKS, pytest.mark.appliance]
MARK = "65000:99"
LOOKS = 100
"""Some seconds: many times what a decision takes."""


@contextmanager
def watched(performance: Performance) -> Iterator[list[tuple[str, ...]]]:
    """Write down each other set of ways that the router has for the VIP."""
    seen: list[tuple[str, ...]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            ways = tuple(performance.fleet.router.kernel_routes().get(prefix_of(VIP), ()))
            if not seen or seen[-1] != ways:
                seen.append(ways)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def announced(performance: Performance) -> dict[str, str]:
    """Return how each balancer announces the VIP."""
    found = {}
    for name, node in performance.fleet.nodes.items():
        vip = next(one for one in node.ask("status")["vips"] if one["vip"] == str(VIP))
        found[name] = vip["announce"]
    return found


def test_one_balancer_keeps_the_route_and_all_come_back() -> None:
    with Performance(Scenario("last", (), needs_exchange=False), exchange=True) as performance:
        fleet = performance.fleet
        for node in fleet.nodes.values():
            document = json.loads(node.daemon.configuration_file.read_text())
            document["services"][0]["last_announcer"] = "keep"
            document["bgp"]["last_communities"] = [MARK]
            assert node.daemon.reload(json.dumps(document)).returncode == 0
        everybody = {str(own(name)) for name in NODES}
        with watched(performance) as seen:
            for name in fleet.lab.backends:
                fleet.backend("kill", name)
            wait_for("one to keep it", lambda: sorted(announced(performance).values()) == ["last", "no", "no"], 20)
            keeper = next(str(own(name)) for name, how in announced(performance).items() if how == "last")
            wait_for("its way alone", lambda: seen[-1] == (keeper,), 20)
            settled = announced(performance)
            for _ in range(LOOKS):
                assert announced(performance) == settled, "one that has decided stays with that"
            assert seen[-1] == (keeper,)
            routes = [one for learned in fleet.router.routes(4).values() for one in learned]
            assert any(MARK in str(one) for one in routes), routes
            for name in fleet.lab.backends:
                fleet.backend("start", name)
            wait_for("all ways", lambda: set(seen[-1]) == everybody, 20)
        assert all(seen), seen
        assert {way for ways in seen for way in ways} == everybody
