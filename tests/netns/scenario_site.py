"""What the tests of modes and families share: configurations of a Site, and what its services do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from appliance.cli.client import call
from appliance.model import Address
from tests.lab.addresses import CLIENT_ADDRESSES, ECHO, HTTP, HTTPS, VIP
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.site import CLIENT_ADDRESSES6, VIP6, Network, Site
from tests.lab.traffic import LongFlows, RequestReport, Requests

UNTAGGED = (Network(10),)
TRUNK = (Network(10, tagged=True), Network(20, tagged=True))
TWO_NICS = (Network(10), Network(20, "eth1"))
MIXED = (Network(10), Network(20, "eth1", tagged=True), Network(30, "eth1", tagged=True))
BOND = (*TRUNK, Network(30, tagged=True))
VIPS: dict[int, Address] = {4: VIP, 6: VIP6}
SOURCES: dict[int, Sequence[Address]] = {4: CLIENT_ADDRESSES, 6: CLIENT_ADDRESSES6}
MODES = {"simple": UNTAGGED, "vlan": TRUNK, "multi-nic": TWO_NICS, "mixed": MIXED}


def configuration(site: Site, mode: str, *, weights: str = "", versions: Collection[int] = (4, 6)) -> str:
    """Return a file with an HTTP and an echo service for the VIP of each family; `weights` is added to every server."""
    lines = [f"interfaces: [{', '.join(site.interfaces)}]", "xdp: native"]
    lines += [f"mode: {'vlan' if mode == 'mixed' else mode}", *(["mixed_tags: yes"] if mode == "mixed" else [])]
    networks = [network for network in site.networks if network.tagged or mode == "multi-nic"]
    for name, prefix in (("vlans", "10.1.{}.0/24"), ("vlans6", "2001:db8:{}::/64")) if networks else ():
        lines += [f"{name}:", *(f"  {network.id}: {prefix.format(network.id)}" for network in networks)]
    lines += ["interval: 100ms", "timeout: 2s", "rise: 1", "fall: 2", "services:"]
    for version in versions:
        servers = ", ".join(f"'{site.address(name, version)}{weights}'" for name in site.backends)
        lines += [f"  - virtual: '{VIPS[version]}'", f"    servers: [{servers}]", "    policy:"]
        lines += [f"      {HTTP}/tcp: {{checks: [{{type: http, port: {HTTP}, path: /alive}}]}}"]
        checks = f"{{type: syn, port: {ECHO}}}, {{type: tcp}}, {{type: https, port: {HTTPS}, path: /alive}}"
        lines += [f"      {ECHO}/tcp: {{checks: [{checks}]}}"]
    return "\n".join([*lines, ""])


def rows(daemon: Daemon, port: int = 0) -> list[dict[str, Any]]:
    """Return the backends of all services in the status, or of those with a port."""
    services = call(daemon.places, "status")["services"]
    return [row for service in services for row in service["backends"] if not port or f":{port}/" in service["service"]]


def wait_available(daemon: Daemon, site: Site, *names: str, port: int = 0) -> None:
    """Wait until exactly these backends are available in all services, or in those with a port."""
    wanted = {str(site.address(name, version)) for name in names for version in VIPS}

    def look() -> bool:
        found = {(row["address"], row["state"] == "available") for row in rows(daemon, port)}
        used = {address for address, _ in found}
        return found == {(address, address in wanted) for address in used}

    try:
        wait_for(f"{names} to be available", look, 10.0)
    except Exception as error:
        seen = [(row["address"], row["state"], row["health"], row.get("diagnostic")) for row in rows(daemon)]
        raise AssertionError(f"{error}\n{seen}\n{daemon.errors[-3000:]}") from None


@contextmanager
def serving(site: Site, mode: str, **options: Any) -> Iterator[Daemon]:
    """Yield a daemon with all backends available; it ends well, and leaves nothing."""
    with Daemon(site.balancer, site.root(), configuration(site, mode, **options)) as daemon:
        wait_available(daemon, site, *site.backends)
        yield daemon
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
        assert "Traceback" not in daemon.errors


def requests(site: Site, version: int, count: int = 60) -> RequestReport:
    """Make requests for the VIP of a family, each on a connection of its own."""
    with Requests(
        site.client, vip=VIPS[version], sources=SOURCES[version], count=count, rate=200, alternate=0.02
    ) as loop:
        return loop.finish()


def flows(site: Site, version: int, *, busy: int = 30, idle: int = 10) -> LongFlows:
    """Open long conversations with the echo servers behind the VIP of a family, from changing CPUs."""
    return LongFlows(
        site.client,
        busy=busy,
        idle=idle,
        vip=VIPS[version],
        sources=SOURCES[version],
        interval=0.05,
        alternate=0.02,
    )
