"""Real connections through every tunnel, to backends that take the outer header off, and by DSCP to nftables."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.lab.addresses import ROUTER
from tests.lab.backend import REPOSITORY
from tests.lab.capture import Capture
from tests.lab.daemon import Daemon
from tests.lab.site import Site
from tests.lab.topology import Lab
from tests.lab.traffic import LongFlows
from tests.lab.xdp_decap import PORT, take_off
from tests.netns import scenario_site
from tests.netns.scenario_operator import ECHO_SERVICE, configuration, prepared, wait_states
from tests.netns.scenario_site import SOURCES, UNTAGGED, VIPS, wait_available

pytestmark = [pytest.mark.root, pytest.mark.slow]

REMOTE, REMOTE_ROUTER = "10.77.0.5", "10.77.0.1"

README = REPOSITORY / "README.md"
DSCP = 46
"""The code in the rules that the README shows, for the VIPs of the lab."""


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


def test_connections_by_dscp() -> None:
    """Services of both families with one code, to backends that have the rules of the README word for word."""
    [rules] = re.findall(r"^```\n(table .*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    with Site(UNTAGGED, 2) as site:
        for backend in site.backends.values():
            backend.namespace.run("nft", "-f", "-", text=rules)
        text = scenario_site.configuration(site, "simple")
        text = text.replace("    policy:\n", f"    tunnel-type: dscp\n    dscp: {DSCP}\n    policy:\n")
        with Daemon(site.balancer, site.root(), text) as daemon:
            wait_available(daemon, site, *site.backends)
            captures = [Capture(site.switch, backend, PORT) for backend in site.backends.values()]
            for version in VIPS:
                with LongFlows(site.client, busy=30, idle=5, vip=VIPS[version], sources=SOURCES[version]) as flows:
                    assert set(flows.opened.by_backend()) == {"b1", "b2"}
                    assert flows.stop().broken == []
            for capture in captures:
                assert not set(VIPS.values()) & set(capture.finish())
            # A backend that does not know the code takes nothing.
            site.backends["b2"].namespace.run("nft", "delete", "table", "inet", "vc5")
            wait_available(daemon, site, "b1")
            assert daemon.stop() == 0


def _move_away(lab: Lab, name: str) -> None:
    """Put a backend into a network behind the router, with no leg in that of the balancer."""
    far, router = lab.backends[name].namespace, lab.router
    router.run("ip", "link", "add", "far", "type", "veth", "peer", "name", "eth1", "netns", far.name)
    router.run("ip", "address", "add", f"{REMOTE_ROUTER}/24", "dev", "far")
    router.run("ip", "link", "set", "far", "up")
    far.run("ip", "link", "set", "eth0", "down")
    far.run("ip", "address", "add", f"{REMOTE}/24", "dev", "eth1")
    far.run("ip", "link", "set", "eth1", "up")
    far.run("ip", "route", "replace", "default", "via", REMOTE_ROUTER, "advmss", "1400")
    take_off(far, "eth1")


def test_a_remote_backend_behind_a_gateway_that_changes() -> None:
    """The routing table of the host names the gateway, and is followed while connections are open."""
    with Lab(backends=3) as lab:
        take_off(lab.backends["b1"].namespace, "eth0")
        _move_away(lab, "b2")
        text = configuration(
            port="7000/tcp", servers=f"10.1.10.11, {REMOTE}", service="tunnel-type: ipip\non_dead: drop"
        )
        text = text.replace("timeout: 2s", "timeout: 500ms")
        with prepared(lab, "remote", text) as daemon:
            daemon.start()
            wait_states(daemon, ECHO_SERVICE, b11="available", b5="available")
            with LongFlows(lab.client, busy=30, idle=5) as flows:
                assert set(flows.opened.by_backend()) == {"b1", "b2"}
                # b3 forwards nothing: what is sent there is lost, and so are the probes. Clients try again.
                lab.balancer.run("ip", "route", "add", f"{REMOTE}/32", "via", "10.1.10.13")
                wait_states(daemon, ECHO_SERVICE, b11="available", b5="dead")
                lab.balancer.run("ip", "route", "delete", f"{REMOTE}/32")
                wait_states(daemon, ECHO_SERVICE, b11="available", b5="available")
                assert flows.stop().broken == []
            assert daemon.stop() == 0
