"""Least connections counts the flows of the whole fleet: real balancers, each of which sees a part of them."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import pytest

from tests.fleet.checks import MARKS
from tests.fleet.configuration import SERVICES, TCP
from tests.fleet.node import Node
from tests.fleet.performance import Performance
from tests.fleet.scenario import Scenario, dies, one_by_one
from tests.fleet.site import NODES, Fleet, ends_of
from tests.lab.flows import FlowRecord
from tests.lab.traffic import LongFlows

pytestmark = [*MARKS, pytest.mark.appliance]

SCENARIO = Scenario("least", (), needs_exchange=True, scheduler="least-connections", idle=30, udp_grace=30)
"""A flow that has moved is told again within a third of `idle`, and is counted by one balancer alone from then on."""
PATIENCE = 30.0
FAVOURED = "b1"
MORE = 120


def rows(node: Node, protocol: str) -> dict[str, dict[str, Any]]:
    """What a balancer says of the backends of a service, by their addresses."""
    [service] = [one for one in node.ask("status")["services"] if one["service"] == str(SERVICES[protocol])]
    return {row["address"]: row for row in service["backends"]}


def counted(node: Node, protocol: str) -> dict[str, int | None]:
    """How many active flows each backend has, as a balancer says; those without any are left out."""
    found = {address: row["active_flows"] for address, row in rows(node, protocol).items()}
    return {address: count for address, count in found.items() if count != 0}


def opened(fleet: Fleet, flows: LongFlows) -> dict[str, int | None]:
    """How many flows the client has open at each backend."""
    alive = [flow for flow in flows.status().flows if flow.state == "open"]
    return dict(Counter(str(fleet.address(flow.backend)) for flow in alive))


def wait_counted(performance: Performance) -> None:
    """Wait until every balancer that runs counts, of every service, what the client has."""
    for protocol, flows in performance.flows.items():
        wanted = opened(performance.fleet, flows)
        assert sum(filter(None, wanted.values())) > 0
        for node in [node for node in performance.fleet.nodes.values() if node.runs]:
            found: list[dict[str, int | None]] = []

            def exact(node: Node = node, protocol: str = protocol, wanted: object = wanted, found: Any = found) -> bool:
                found[:] = [counted(node, protocol)]
                return bool(found[0] == wanted)

            performance.wait(f"{node.name} to count {wanted}", exact, PATIENCE, partial(str, found))


def ways_of(fleet: Fleet, flows: list[FlowRecord]) -> Counter[tuple[str, str]]:
    """How many flows go by which balancer to which backend."""
    ends = ends_of(flows, "tcp")
    ways = fleet.ways(ends.values())
    return Counter((ways[ends[flow.number]], flow.backend) for flow in flows)


def test_every_balancer_counts_every_flow_once() -> None:
    with Performance(SCENARIO, exchange=True) as performance:
        wait_counted(performance)
        by = ways_of(performance.fleet, list(performance.flows["tcp"].status().flows))
        assert {way for way, _ in by} == set(NODES), "the router spreads them"
        [moment] = one_by_one(dies("n2"))
        performance.perform(moment)
        wait_counted(performance)
        verdict = performance.finish()
    assert verdict.moved > 0
    assert verdict.broken == (), verdict.text()


def test_what_piles_up_by_one_balancer_is_avoided_by_the_others() -> None:
    with Performance(SCENARIO, exchange=True) as performance:
        fleet, flows = performance.fleet, performance.flows["tcp"]
        one, *others = fleet.nodes.values()
        aside = [str(fleet.address(name)) for name in fleet.lab.backends if name not in (FAVOURED, "b6")]
        for address in aside:
            one.ask("drain", service=str(TCP), backend=address)
        performance.wait("all new flows there to go to one", lambda: one_owner(one, str(fleet.address(FAVOURED))))
        before = len(flows.status().flows)
        piled = ways_of(fleet, list(flows.more(2 * MORE).flows[before:]))
        assert {backend for way, backend in piled if way == one.name} == {FAVOURED}
        assert piled[one.name, FAVOURED] > MORE / 3
        for node in others:
            performance.wait(
                f"{node.name} to give it less",
                partial(gives_less, node, str(fleet.address(FAVOURED))),
                PATIENCE,
                partial(shares, node),
            )
        before = len(flows.status().flows)
        new = ways_of(fleet, list(flows.more(MORE).flows[before:]))
        by_others = Counter[str]()
        for (way, backend), count in new.items():
            by_others[backend] += count if way != one.name else 0
        assert by_others.total() > MORE / 3
        assert by_others[FAVOURED] < min(by_others[name] for name in ("b2", "b3", "b4", "b5")), by_others
        wait_counted(performance)
        assert performance.finish().broken == ()


def one_owner(node: Node, address: str) -> bool:
    """Whether all slots of the TCP service are this backend's."""
    return {name for name, row in rows(node, "tcp").items() if row["slots"]} == {address}


def shares(node: Node) -> str:
    """How many slots each backend has, to be read."""
    return str({name: row["slots"] for name, row in rows(node, "tcp").items()})


def gives_less(node: Node, address: str) -> bool:
    """Whether a backend has at most half as many slots as any other one."""
    slots: dict[str, int] = {name: row["slots"] for name, row in rows(node, "tcp").items()}
    return 2 * slots.pop(address) <= min(slots.values())
