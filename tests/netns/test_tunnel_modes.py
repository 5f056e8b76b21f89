"""Tunnels where the balancer has several interfaces: what comes in by one leaves in an outer header by another.

One daemon has services by every tunnel and services without; each has a VIP of its own, that of the lab plus `number`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from appliance.cli.client import call
from appliance.model import Address, TunnelKind
from tests.lab.addresses import ECHO, HTTP, VIP
from tests.lab.capture import Capture, Outer
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.lab.site import BALANCER, ROUTER, VIP6, Site
from tests.lab.traffic import LongFlows
from tests.lab.xdp_decap import PORT, leave_on, take_off
from tests.netns.scenario_site import MODES, SOURCES, VIPS, configuration

pytestmark = [pytest.mark.root, pytest.mark.slow]

ADVMSS = 1300
"""What backends ask their clients for, so that there is room for the longest outer header."""
ROUTES = {4: "203.0.113.0/24", 6: "2001:db8:f::/64"}


@dataclass(frozen=True)
class Row:
    """A service, the tunnel to its backends, and the IP versions outside and inside."""

    number: int
    kind: TunnelKind | None
    outer: int
    inner: int
    checksum: str = ""

    @property
    def vip(self) -> Address:
        return (VIP if self.inner == 4 else VIP6) + self.number

    @property
    def service(self) -> str:
        return f"[{self.vip}]:{ECHO}/tcp" if self.inner == 6 else f"{self.vip}:{ECHO}/tcp"

    def entry(self, site: Site) -> str:
        """Return the lines of the configuration."""
        lines = [f"  - virtual: '{self.vip}'", f"    servers: [{site.servers(self.outer)}]"]
        lines += [f"    tunnel-type: {self.kind}"]
        if self.checksum:
            lines += [f"    tunnel-port: {PORT}", f"    tunnel-checksum: {'no' if self.checksum == 'none' else 'yes'}"]
        lines += ["    policy:", f"      {ECHO}/tcp: {{checks: [{{type: http, port: {HTTP}, path: /alive}}]}}", ""]
        return "\n".join(lines)

    def outer_header(self, site: Site, name: str) -> Outer:
        """How the packets must come to a backend: from the balancer's address in the backend's own network."""
        network = site.network_of[name]
        own = network.address(BALANCER) if self.outer == 4 else network.address6(BALANCER)
        return Outer(self.kind, own, site.address(name, self.outer), self.checksum)


PLAIN = tuple(Row(0, None, version, version) for version in VIPS)
TUNNELLED = (
    Row(1, TunnelKind.IPIP, 4, 4),
    Row(2, TunnelKind.IPIP, 6, 6),
    Row(3, TunnelKind.GRE, 4, 6),
    Row(4, TunnelKind.FOU, 4, 4, "none"),
    Row(5, TunnelKind.FOU, 6, 6, "right"),
    Row(6, TunnelKind.GUE, 4, 4, "right"),
    Row(7, TunnelKind.GUE, 6, 4, "none"),
)


def _set_up(site: Site) -> None:
    """Give backends all VIPs and a program that takes outer headers off; let the router send all to the balancer."""
    entry = site.networks[0]
    for version, own in ((4, entry.address(BALANCER)), (6, entry.address6(BALANCER))):
        site.router.run("ip", f"-{version}", "route", "replace", ROUTES[version], "via", str(own))
    for name, backend in site.backends.items():
        network = site.network_of[name]
        lines = [f"address add {row.vip} dev lo{' nodad' if row.inner == 6 else ''}" for row in TUNNELLED]
        for gateway in (network.address(ROUTER), network.address6(ROUTER)):
            lines += [f"-{gateway.version} route replace default via {gateway} advmss {ADVMSS}"]
        for line in lines:
            backend.namespace.run("ip", *line.split())
        take_off(backend.namespace, "eth0")


@contextmanager
def _serving(site: Site, mode: str) -> Iterator[Daemon]:
    """Yield a daemon with all backends of all services available."""
    text = configuration(site, mode).replace("interval: 100ms", "interval: 300ms")
    text += "".join(row.entry(site) for row in TUNNELLED)
    with Daemon(site.balancer, site.root(), text) as daemon:
        _wait_available(daemon, site, {row: tuple(site.backends) for row in (*PLAIN, *TUNNELLED)})
        yield daemon
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
        assert "Traceback" not in daemon.errors


def _wait_available(daemon: Daemon, site: Site, names: Mapping[Row, Sequence[str]]) -> None:
    """Wait until these services have exactly these backends."""
    wanted = {row.service: {str(site.address(name, row.outer)) for name in names[row]} for row in names}

    def look() -> dict[str, set[str]]:
        services = call(daemon.places, "status")["services"]
        return {
            one["service"]: {row["address"] for row in one["backends"] if row["state"] == "available"}
            for one in services
            if one["service"] in wanted
        }

    try:
        wait_for("the backends", lambda: look() == wanted, 20)
    except LabError as error:
        raise AssertionError(f"{error}\n{look()}\n{daemon.errors[-3000:]}") from None


@pytest.mark.parametrize(
    "mode", ["multi-nic", *(pytest.param(one, marks=pytest.mark.appliance) for one in ("vlan", "mixed"))]
)
def test_services_by_tunnels_and_without_share_a_daemon(mode: str) -> None:
    with Site(MODES[mode]) as site:
        _set_up(site)
        with _serving(site, mode) as daemon:
            rows = (*PLAIN, *TUNNELLED)
            captures = {name: Capture(site.switch, backend, PORT) for name, backend in site.backends.items()}
            sent = site.member_frames()
            with ExitStack() as stack:
                talks = [stack.enter_context(_flows(site, row)) for row in rows]
                for row, talk in zip(rows, talks, strict=True):
                    report = talk.stop()
                    assert report.broken == [], row
                    assert set(report.by_backend()) == set(site.backends), row
            assert all(now > then for now, then in zip(site.member_frames(), sent, strict=True))
            for name, capture in captures.items():
                carried = capture.finish()
                for row in TUNNELLED:
                    assert carried[row.vip] == {row.outer_header(site, name)}
                for row in PLAIN:
                    assert {outer.kind for outer in carried[row.vip]} == {None}
            # A backend that leaves outer headers on is dead for whoever asks by a tunnel, and for nobody else.
            lame, *others = reversed(site.backends)
            leave_on(site.backends[lame].namespace, "eth0")
            expected = {row: tuple(site.backends) for row in PLAIN} | {row: tuple(others) for row in TUNNELLED}
            _wait_available(daemon, site, expected)
            take_off(site.backends[lame].namespace, "eth0")
            _wait_available(daemon, site, {row: tuple(site.backends) for row in rows})


def _flows(site: Site, row: Row) -> LongFlows:
    return LongFlows(site.client, busy=20, idle=10, vip=row.vip, sources=SOURCES[row.inner])
