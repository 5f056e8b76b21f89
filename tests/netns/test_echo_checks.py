"""icmp checks by the daemon, through the VIP: one backend's kernel answers, the other one's is told not to.

In both families, in every mode, and by every kind of way to a backend: NAT, a tunnel, DSCP.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.addresses import ECHO
from tests.lab.backend import REPOSITORY, Backend
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.site import Site
from tests.lab.xdp_decap import PORT, take_off
from tests.netns.scenario_fault import Fault, faulty_copy
from tests.netns.scenario_nat import behind
from tests.netns.scenario_operator import events
from tests.netns.scenario_site import MODES, UNTAGGED, VIPS, rows

pytestmark = [pytest.mark.root, pytest.mark.slow]

IGNORE = {4: "/proc/sys/net/ipv4/icmp_echo_ignore_all", 6: "/proc/sys/net/ipv6/icmp/echo_ignore_all"}
DSCP = 46
"""The code in the rules that the README shows."""


def configuration(site: Site, mode: str, *way: str) -> str:
    """Return a file with a service of each family that has an icmp check alone; `way` are lines of the service."""
    lines = [f"interfaces: [{', '.join(site.interfaces)}]", "xdp: native"]
    lines += [f"mode: {'vlan' if mode == 'mixed' else mode}", *(["mixed_tags: yes"] if mode == "mixed" else [])]
    networks = [network for network in site.networks if network.tagged or mode == "multi-nic"]
    for name, prefix in (("vlans", "10.1.{}.0/24"), ("vlans6", "2001:db8:{}::/64")) if networks else ():
        lines += [f"{name}:", *(f"  {network.id}: {prefix.format(network.id)}" for network in networks)]
    lines += ["interval: 200ms", "timeout: 500ms", "rise: 1", "fall: 2", "services:"]
    for version, vip in VIPS.items():
        lines += [f"  - virtual: '{vip}'", f"    servers: [{site.servers(version)}]", *(f"    {line}" for line in way)]
        lines += [f"    policy: {{{ECHO}/tcp: {{checks: [{{type: icmp}}]}}}}"]
    return "\n".join([*lines, ""])


def silence(backend: Backend, silent: bool) -> None:
    for path in IGNORE.values():
        backend.namespace.run("sh", "-c", f"echo {int(silent)} > {path}")


def wait_verdicts(daemon: Daemon, site: Site, *alive: str) -> None:
    """Wait until the probes of both families say who answers."""
    wanted = {
        str(site.address(name, version)): ("available", "echo reply")
        if name in alive
        else ("dead", "timeout (no echo reply)")
        for name in site.backends
        for version in VIPS
    }

    def look() -> bool:
        said = {event["backend"]: event["message"] for event in events(daemon, "probe")}
        return {row["address"]: (row["state"], said.get(row["address"])) for row in rows(daemon)} == wanted

    try:
        wait_for(f"echo replies of {alive} alone", look, 15)
    except Exception as error:
        seen = [(row["address"], row["state"], row["health"]) for row in rows(daemon)]
        reasons = {name: count for name, count in daemon.status()["reasons"].items() if count}
        raise AssertionError(f"{error}\n{seen}\n{reasons}\n{daemon.errors[-3000:]}") from None


@contextmanager
def checking(site: Site, mode: str, *way: str) -> Iterator[Daemon]:
    """Yield a daemon that has found all backends alive, one silent, and all alive again."""
    last = list(site.backends)[-1]
    with Daemon(site.balancer, site.root(), configuration(site, mode, *way)) as daemon:
        wait_verdicts(daemon, site, *site.backends)
        silence(site.backends[last], True)
        wait_verdicts(daemon, site, *(name for name in site.backends if name != last))
        silence(site.backends[last], False)
        wait_verdicts(daemon, site, *site.backends)
        yield daemon
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
        assert "Traceback" not in daemon.errors


@pytest.mark.parametrize("mode", MODES)
def test_a_backend_lives_while_its_kernel_answers(mode: str) -> None:
    networks = MODES[mode]
    with Site(networks, 2 if len(networks) == 1 else 1) as site, checking(site, mode) as daemon:
        reasons = daemon.status()["reasons"]
        assert reasons["probe-answer"] > 8
        assert reasons.get("vip-source", 0) == 0


def test_behind_nat() -> None:
    with Site(UNTAGGED, 2) as site, behind(site), checking(site, "simple", "forward: nat"):
        pass


def test_through_a_tunnel() -> None:
    with Site(UNTAGGED, 2) as site:
        for backend in site.backends.values():
            take_off(backend.namespace, "eth0")
        with checking(site, "simple", "tunnel-type: gue", f"tunnel-port: {PORT}"):
            pass


def test_by_dscp() -> None:
    [rules] = re.findall(
        r"^```\n(table .*?)^```$", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    with Site(UNTAGGED, 2) as site:
        for backend in site.backends.values():
            backend.namespace.run("nft", "-f", "-", text=rules)
        with checking(site, "simple", "tunnel-type: dscp", f"dscp: {DSCP}"):
            pass


def test_a_checksum_that_is_not_mended_is_noticed() -> None:
    """The kernel of the backend drops the request of IPv6."""
    fault = Fault("templates/bpf/probe.h", "if (before || !udp)", "if (before && udp)")
    with faulty_copy(fault) as environment, Site(UNTAGGED, 2) as site:
        daemon = Daemon(site.balancer, site.root(), configuration(site, "simple"), environment=environment)
        try:
            daemon.start()
            began = time.time()
            wait_for("rounds of probes", lambda: len(events(daemon, "probe", began)) > 20, 15)
            heard = {event["backend"] for event in events(daemon, "probe", began) if event["message"] == "echo reply"}
            assert heard == {str(site.address(name, 4)) for name in site.backends}
            assert daemon.stop() == 0
        finally:
            daemon.close()
