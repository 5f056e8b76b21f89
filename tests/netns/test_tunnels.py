"""Real connections through every tunnel, to backends that take the outer header off, and by DSCP to nftables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.addresses import ROUTER, VIP
from tests.lab.topology import Lab
from tests.lab.traffic import LongFlows
from tests.lab.xdp_decap import PORT, take_off
from tests.netns.scenario_operator import ECHO_SERVICE, configuration, prepared, wait_states

pytestmark = [pytest.mark.root, pytest.mark.slow]

RULES = f"""
table ip vc5 {{
    chain from_balancer {{
        type filter hook prerouting priority raw
        ip dscp 46 meta l4proto {{ tcp, udp }} notrack ip daddr set {VIP}
    }}
}}
"""
"""What the README tells of the backends of a service with `dscp: 46`."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Backends ask their clients for segments that leave room for the outer header, as the README says."""
    with Lab(backends=2) as standing:
        for backend in standing.backends.values():
            route = ("ip", "route", "replace", "default", "via", str(ROUTER), "advmss", "1400")
            backend.namespace.run(*route)
        yield standing


def _talk(lab: Lab, name: str, service: str) -> None:
    with prepared(lab, name, configuration(port="7000/tcp", service=service)) as daemon:
        daemon.start()
        wait_states(daemon, ECHO_SERVICE, b11="available", b12="available")
        with LongFlows(lab.client, busy=30, idle=5) as flows:
            assert set(flows.opened.by_backend()) == {"b1", "b2"}
            assert flows.stop().broken == []
        assert daemon.stop() == 0


@pytest.mark.parametrize("kind", ["ipip", "gre", "fou", "gue"])
def test_connections_through_a_tunnel(lab: Lab, kind: str) -> None:
    for backend in lab.backends.values():
        take_off(backend.namespace, "eth0")
    port = f"\ntunnel-port: {PORT}" if kind in ("fou", "gue") else ""
    _talk(lab, f"tunnel-{kind}", f"tunnel-type: {kind}{port}")


def test_connections_by_dscp(lab: Lab) -> None:
    for backend in lab.backends.values():
        backend.namespace.run("nft", "-f", "-", text=RULES)
    try:
        _talk(lab, "dscp", "tunnel-type: dscp\ndscp: 46")
    finally:
        for backend in lab.backends.values():
            backend.namespace.run("nft", "delete", "table", "ip", "vc5")
