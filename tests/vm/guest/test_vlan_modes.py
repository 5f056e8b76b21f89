"""Mode vlan on a trunk with the kernel's own VLAN interfaces: NAT, and tunnels that the backends' kernel unpacks.

    client -- router -- VLAN 10 --- switch === eth0, eth0.10, eth0.20  balancer
                        VLAN 20 --'   |  `-- VLAN 10 -- b1
                                      `----- VLAN 20 -- b2

Clients come by VLAN 10. With NAT answers come back to the balancer by each VLAN, and leave tagged with 10.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.model import Address, TunnelKind
from tests.lab.daemon import Daemon
from tests.lab.site import FIRST
from tests.lab.traffic import LongFlows, Requests
from tests.netns.scenario_nat import (
    CLAMP,
    CLOSED,
    MAPPED,
    REPEATED,
    ask,
    behind,
    reasons,
    segments,
    services,
    wait_translating,
)
from tests.netns.scenario_site import SOURCES, TRUNK, VIPS
from tests.vm import ahead
from tests.vm.trunk import Trunk, head
from tests.vm.tunnelled import ROWS, Row, carry, route, unpack

pytestmark = pytest.mark.root

SERVERS: dict[int, list[Address]] = {
    4: [network.address(FIRST) for network in TRUNK],
    6: [network.address6(FIRST) for network in TRUNK],
}
CARRIED = {
    (TunnelKind.IPIP, 4, 4),
    (TunnelKind.GRE, 4, 4),
    (TunnelKind.FOU, 4, 4),
    (TunnelKind.GUE, 4, 4),
    (TunnelKind.IPIP, 4, 6),
    (TunnelKind.GRE, 6, 6),
    (TunnelKind.GUE, 6, 4),
}
"""Kind, IP version outside and inside; all of them in simple mode are in test_tunnels.py."""
TUNNELS = [row for row in ROWS if (row.kind, row.outer, row.inner) in CARRIED]
TIMESTAMPS = 12
"""Bytes of each segment that options take."""
LONG = 4000
"""Bytes of a datagram that is sent in several pieces."""

CONFIGURATION = "\n".join([*head("eth0"), *services(SERVERS), *(row.entry(SERVERS, http=MAPPED) for row in TUNNELS)])
AHEAD = [CONFIGURATION]


@pytest.fixture(scope="module")
def site() -> Iterator[Trunk]:
    with Trunk() as standing:
        route(standing)
        unpack(standing, TUNNELS)
        with behind(standing):
            yield standing


@pytest.fixture(scope="module")
def daemon(site: Trunk) -> Iterator[Daemon]:
    """One for all tests, with all backends available; it ends well, and leaves nothing."""
    balancing = Daemon(site.balancer, site.root(), CONFIGURATION)
    ahead.give(balancing.places)
    with balancing:
        wait_translating(balancing)
        yield balancing
        assert balancing.stop() == 0
        assert balancing.leftovers() == []
        assert "Traceback" not in balancing.errors


@pytest.mark.parametrize("version", VIPS)
def test_nat(site: Trunk, daemon: Daemon, version: int) -> None:
    vip, sources, before = VIPS[version], SOURCES[version], reasons(daemon)
    with Requests(site.client, vip=vip, sources=sources, count=12, rate=10, timeout=10) as loop:
        report = loop.finish()
    assert report.failed == []
    assert set(report.backends()) == set(site.backends)
    with LongFlows(site.client, busy=8, idle=2, vip=vip, sources=sources, interval=0.5, alternate=1.0) as talk:
        assert {flow.state for flow in talk.opened.flows} == {"open"}
        for space, side in ((site.client, "dport"), *((b.namespace, "sport") for b in site.backends.values())):
            assert segments(space, side) == {CLAMP - TIMESTAMPS}
        done = talk.stop()
        assert (done.broken, set(done.by_backend())) == ([], set(site.backends))
    # A datagram in one piece and one in several, and what a backend's kernel says where nobody listens.
    assert ask(site, version, REPEATED, sources[1], "x,9,sum", f"y,{LONG},sum") == ["x" * 9, "whole"]
    assert ask(site, version, CLOSED, sources[1], "x,9,sum") == ["ConnectionRefusedError"]
    after = reasons(daemon)
    assert after["return"] - before.get("return", 0) > 100
    assert "no-route" not in after


@pytest.mark.parametrize("row", TUNNELS, ids=str)
def test_a_tunnel(site: Trunk, daemon: Daemon, row: Row) -> None:
    carry(site, row)
