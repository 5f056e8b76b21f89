"""`vc5 doctor` and backends that take no outer header off, know no DSCP code, or speak UDP: made for real.

This kernel has none of the tunnels' devices, so a host that does not decapsulate is any host without the lab's program.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.daemon import Daemon
from tests.lab.namespace import Namespace
from tests.lab.site import Site
from tests.lab.xdp_decap import PORT, leave_on, take_off
from tests.netns.doctor_scene import configuration, no_rules, only, rules, told, wait_health
from tests.netns.scenario_site import UNTAGGED, VIPS

pytestmark = [pytest.mark.root, pytest.mark.slow]

SICK = "b2"
# What a host without it answers, the outer packets in nft's words, and a part of the command that mends it.
KINDS = {
    "ipip": ("protocol unreachable", "meta l4proto { 4, 41 }", "modprobe "),
    "gre": ("protocol unreachable", "meta l4proto 47", "type gre local "),
    "fou": ("port unreachable", f"udp dport {PORT}", f"fou add port {PORT} ipproto "),
    "gue": ("port unreachable", f"udp dport {PORT}", f"fou add port {PORT} gue"),
}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site(UNTAGGED, 2) as standing:
        yield standing


@contextmanager
def tunnelling(site: Site, kind: str) -> Iterator[Daemon]:
    """Yield a daemon whose backends both take the outer header off."""
    for backend in site.backends.values():
        take_off(backend.namespace, "eth0")
    way = [f"tunnel-type: {kind}", *([f"tunnel-port: {PORT}"] if kind in ("fou", "gue") else [])]
    with Daemon(site.balancer, site.root(), configuration(site, *way)) as daemon:
        for name in site.backends:
            wait_health(daemon, site, name, "up")
        yield daemon
        assert "Traceback" not in daemon.errors


@pytest.mark.parametrize(
    "kind", [one if one == "fou" else pytest.param(one, marks=pytest.mark.appliance) for one in KINDS]
)
def test_an_outer_header_that_is_not_taken_off(site: Site, kind: str) -> None:
    refusal, packets, command = KINDS[kind]
    host = site.backends[SICK].namespace
    with tunnelling(site, kind) as daemon:
        assert told(daemon, "--all") == {}
        leave_on(host, "eth0")
        wait_health(daemon, site, SICK, "dead")
        for version, one in only(daemon, site, SICK).items():
            assert one["what"] == f"tunnel not decapsulated: it knows nothing of {kind}"
            assert one["why"] == f"{site.address(SICK, version)} says: {refusal}, about the outer packet"
            assert command in one["remedy"].replace("ip6gre", "gre")
        # A firewall that says nothing leaves less to go by.
        rules(host, f"{packets} drop", priority=-300, hook="prerouting")
        try:
            for version, one in only(daemon, site, SICK).items():
                assert one["what"].startswith("tunnel not decapsulated, or VIP missing on the loopback")
                assert command in one["remedy"].replace("ip6gre", "gre")
                assert f"ip address add {VIPS[version]}/" in one["remedy"]
        finally:
            no_rules(host)
        take_off(host, "eth0")
        wait_health(daemon, site, SICK, "up")
        assert told(daemon, "--all") == {}


@pytest.mark.appliance
def test_a_way_too_narrow_for_the_outer_header(site: Site) -> None:
    host = site.backends[SICK].namespace
    with tunnelling(site, "ipip") as daemon:
        host.run("ip", "link", "set", "eth0", "mtu", "1420")
        try:
            inside = {4: 1480, 6: 1460}
            for version, one in only(daemon, site, SICK, "--all").items():
                fits = max(size for size in (1340, 1380, 1400) if size + 1500 - inside[version] <= 1424)
                assert one["what"] == f"path MTU too small: {inside[version]} bytes do not arrive, {fits} do"
        finally:
            host.run("ip", "link", "set", "eth0", "mtu", "1500")


@pytest.mark.appliance
def test_a_dscp_code_that_nobody_knows(site: Site) -> None:
    """The command that the doctor tells makes the backend know it."""
    with Daemon(site.balancer, site.root(), configuration(site, "tunnel-type: dscp", "dscp: 46")) as daemon:
        for name in site.backends:
            wait_health(daemon, site, name, "dead")
        found = told(daemon)
        assert len(found) == len(site.backends) * len(VIPS)
        for name, backend in site.backends.items():
            for version in VIPS:
                own = site.address(name, version)
                [[one]] = [each for key, each in found.items() if key.startswith(f"{own} of ")]
                assert one["what"] == f"reply with wrong source: {own} answers in place of {VIPS[version]}"
                where, _, command = one["remedy"].partition(": ")
                assert where == f"on {own}"
                backend.namespace.run("sh", "-c", command)
        for name in site.backends:
            wait_health(daemon, site, name, "up")
        assert told(daemon, "--all") == {}
        for backend in site.backends.values():
            backend.namespace.run("nft", "delete", "table", "inet", "vc5")


SERVER = """
import socket, sys
sockets = []
listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
listener.bind(("::", 7002))
print(flush=True)
while True:
    data, client = listener.recvfrom(2048)
    # Not bound to the VIP, and not told to use it: the kernel chooses the source by the route.
    listener.sendto(b"PONG", client)
"""


@contextmanager
def careless(host: Namespace) -> Iterator[None]:
    """A server by UDP that answers from whatever address the kernel chooses."""
    server = host.spawn("/usr/bin/python3", "-c", SERVER, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "\n"
        yield
    finally:
        server.kill()
        server.communicate()


def test_services_by_udp(site: Site) -> None:
    """Nobody listens; then somebody does, and answers from his own address."""
    check = "{type: udp, send: PING, receive: PONG}"
    with Daemon(site.balancer, site.root(), configuration(site, port="7002/udp", check=check)) as daemon:
        for name in site.backends:
            wait_health(daemon, site, name, "dead")
        found = told(daemon)
        assert {one["what"] for each in found.values() for one in each} == {
            "nothing listens on UDP port 7002 of the VIP",
        }
        with careless(site.backends["b1"].namespace), careless(site.backends[SICK].namespace):
            for name in site.backends:
                wait_health(daemon, site, name, "dead")
            found = told(daemon)
            for name in site.backends:
                for version, vip in VIPS.items():
                    own = site.address(name, version)
                    [[one]] = [each for key, each in found.items() if key.startswith(f"{own} of ")]
                    assert one["what"] == f"reply with wrong source: {own} answers in place of {vip}"
