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
from tests.vm.tunnelled import ROWS, carry, route, unpack, wait_available

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

TRANSLATING = "\n".join([*head("eth0"), *services(SERVERS), ""])
TUNNELLING = "\n".join([*head("eth0"), *(row.entry(SERVERS) for row in TUNNELS)])
AHEAD = [TRANSLATING, TUNNELLING]


@pytest.fixture
def site() -> Iterator[Trunk]:
    with Trunk() as standing:
        yield standing


def started(site: Trunk, configuration: str) -> Daemon:
    """Return a daemon that has the program of its configuration, to be entered."""
    daemon = Daemon(site.balancer, site.root(), configuration)
    ahead.give(daemon.places)
    return daemon


def ended_well(daemon: Daemon) -> None:
    assert daemon.stop() == 0
    assert daemon.leftovers() == []
    assert "Traceback" not in daemon.errors


def test_nat(site: Trunk) -> None:
    with behind(site), started(site, TRANSLATING) as daemon:
        wait_translating(daemon)
        for version, vip in VIPS.items():
            sources = SOURCES[version]
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
            # One whole, one in pieces, and what the backend's kernel says where nobody listens.
            told = ask(site, version, REPEATED, sources[1], "x,9,sum", f"y,{LONG},sum")
            assert told == ["x" * 9, "whole"]
            assert ask(site, version, CLOSED, sources[1], "x,9,sum") == ["ConnectionRefusedError"]
        counted = reasons(daemon)
        assert counted["return"] > 100
        assert "no-route" not in counted
        ended_well(daemon)


def test_tunnels(site: Trunk) -> None:
    route(site)
    unpack(site, TUNNELS)
    with started(site, TUNNELLING) as daemon:
        wait_available(daemon, TUNNELS)
        for row in TUNNELS:
            carry(site, row)
        ended_well(daemon)
