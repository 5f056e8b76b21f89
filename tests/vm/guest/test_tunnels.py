"""Every tunnel from the balancer to backends whose kernel unpacks it, all as services of one daemon on one program.

The lab is that of tests.lab.site, in simple mode: both families, two backends.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.cli.client import call
from appliance.model import Address
from tests.lab.addresses import CLIENT_ADDRESSES
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError
from tests.lab.site import CLIENT_ADDRESSES6, FIRST, Site
from tests.netns.scenario_site import MODES
from tests.vm import ahead
from tests.vm.decapsulation import device_of
from tests.vm.tunnelled import ROWS, carry, route, unpack, wait_available

pytestmark = pytest.mark.root

[NETWORK] = MODES["simple"]
BACKENDS = 2


def configuration(astray: int = 0) -> str:
    """Return the file with all services; `astray` is added to every port."""
    hosts = range(FIRST, FIRST + BACKENDS)
    servers: dict[int, list[Address]] = {
        4: [NETWORK.address(host) for host in hosts],
        6: [NETWORK.address6(host) for host in hosts],
    }
    top = "interfaces: eth0\nxdp: native\nmode: simple\ninterval: 1s\ntimeout: 4s\nrise: 1\nfall: 2\nservices:\n"
    return top + "".join(row.entry(servers, astray) for row in ROWS)


AHEAD = [configuration()]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site([NETWORK], BACKENDS) as standing:
        route(standing)
        unpack(standing, ROWS)
        yield standing


def test_nothing_is_taken_from_the_cable(site: Site) -> None:
    for row, client in ((ROWS[0], CLIENT_ADDRESSES[0]), (ROWS[1], CLIENT_ADDRESSES6[0])):
        ask = ("ip", "route", "get", str(row.vip), "from", str(client), "iif")
        device = device_of(row.kind, row.outer, row.inner).name
        for backend in site.backends.values():
            assert "local" in backend.namespace.run(*ask, device)
            with pytest.raises(LabError, match=r"No route to host|Invalid argument"):
                backend.namespace.run(*ask, "eth0")


def test_the_backends_kernel_unpacks_what_the_balancer_packs(site: Site) -> None:
    daemon = Daemon(site.balancer, site.root(), configuration())
    ahead.give(daemon.places)
    with daemon:
        wait_available(daemon, ROWS)
        for row in ROWS:
            carry(site, row)
        daemon.configuration_file.write_text(configuration(astray=100))
        assert not call(daemon.places, "reload")["compiled"]
        with_port = [row for row in ROWS if row.port]
        wait_available(daemon, [row for row in ROWS if not row.port], with_port)
        daemon.configuration_file.write_text(configuration())
        call(daemon.places, "reload")
        wait_available(daemon, ROWS)
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
        assert "Traceback" not in daemon.errors
