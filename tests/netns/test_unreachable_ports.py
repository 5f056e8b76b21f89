"""Why a probe is not answered: the backend's kernel says that nobody listens, and the check passes that on.

In both families, for whole connections and datagrams; directly, through a tunnel, and behind NAT.

Here the error may come while connect() is still under way, and then TCP only heeds the one about its second SYN (the
kernel's tcp_v4_err, `sock_owned_by_user`): so there is time for that.
"""

from __future__ import annotations

import pytest

from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.site import Site
from tests.lab.xdp_decap import PORT, take_off
from tests.netns.scenario_fault import Fault, faulty_copy
from tests.netns.scenario_nat import behind
from tests.netns.scenario_operator import events
from tests.netns.scenario_site import MODES, UNTAGGED, VIPS

pytestmark = [pytest.mark.root, pytest.mark.slow]

CLOSED, REJECTED = 7009, 7010
LIMITS = ("/proc/sys/net/ipv4/icmp_ratelimit", "/proc/sys/net/ipv6/icmp/ratelimit")
REJECTING = f"""
table inet rejects {{
    chain before {{
        type filter hook input priority 0
        meta l4proto {{ tcp, udp }} th dport {REJECTED} reject with icmpx admin-prohibited
    }}
}}
"""
SAID = {
    f"{CLOSED}/udp": "refused (ICMP port unreachable)",
    f"{REJECTED}/udp": "host unreachable",
    f"{REJECTED}/tcp": "host unreachable",
}
SAID6 = SAID | dict.fromkeys((f"{REJECTED}/udp", f"{REJECTED}/tcp"), "prohibited")
"""Of IPv6 the kernel tells what is prohibited (RFC 4443 section 3.1) from what cannot be reached."""


def configuration(site: Site, mode: str, *way: str) -> str:
    lines = [f"interfaces: [{', '.join(site.interfaces)}]", "xdp: native", f"mode: {mode}"]
    networks = [network for network in site.networks if network.tagged]
    for name, prefix in (("vlans", "10.1.{}.0/24"), ("vlans6", "2001:db8:{}::/64")) if networks else ():
        lines += [f"{name}:", *(f"  {network.id}: {prefix.format(network.id)}" for network in networks)]
    lines += ["interval: 300ms", "timeout: 300ms", "rise: 1", "fall: 2", "services:"]
    for version, vip in VIPS.items():
        lines += [f"  - virtual: '{vip}'", f"    servers: [{site.servers(version)}]", *(f"    {line}" for line in way)]
        lines += ["    policy:"]
        lines += [f"      {CLOSED}/udp: {{checks: [{{type: udp}}]}}"]
        lines += [f"      {REJECTED}/udp: {{checks: [{{type: udp}}]}}"]
        lines += [f"      {REJECTED}/tcp: {{checks: [{{type: tcp, interval: 1500ms, timeout: 1500ms}}]}}"]
    return "\n".join([*lines, ""])


def prepare(site: Site) -> None:
    for backend in site.backends.values():
        backend.namespace.run("nft", "-f", "-", text=REJECTING)
        for limit in LIMITS:
            backend.namespace.run("sh", "-c", f"echo 0 > {limit}")


def said(daemon: Daemon) -> dict[str, set[str]]:
    """Return what probes have said of each service."""
    found: dict[str, set[str]] = {}
    for event in events(daemon, "probe"):
        found.setdefault(event["service"], set()).add(event["message"])
    return found


def wanted() -> dict[str, set[str]]:
    services = {f"{VIPS[4]}:{port}": {words} for port, words in SAID.items()}
    return services | {f"[{VIPS[6]}]:{port}": {words} for port, words in SAID6.items()}


def check(site: Site, mode: str, *way: str, environment: dict[str, str] | None = None) -> dict[str, set[str]]:
    prepare(site)
    daemon = Daemon(site.balancer, site.root(), configuration(site, mode, *way), environment=environment)
    try:
        daemon.start()
        wait_for("probes of all services", lambda: len(said(daemon)) == len(wanted()), 15)
        wait_for("more of each", lambda: len(events(daemon, "probe")) > 5 * len(wanted()) * len(site.backends), 15)
        found = said(daemon)
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
        return found
    finally:
        daemon.close()


@pytest.mark.parametrize("mode", ["simple", "vlan"])
def test_directly(mode: str) -> None:
    with Site(MODES[mode]) as site:
        assert check(site, mode) == wanted()


def test_behind_nat() -> None:
    with Site(UNTAGGED) as site, behind(site):
        assert check(site, "simple", "forward: nat") == wanted()


def test_through_a_tunnel() -> None:
    with Site(UNTAGGED) as site:
        for backend in site.backends.values():
            take_off(backend.namespace, "eth0")
        assert check(site, "simple", "tunnel-type: gue", f"tunnel-port: {PORT}") == wanted()


def test_an_error_that_does_not_come_back_is_noticed() -> None:
    fault = Fault(
        "templates/bpf/probe_icmp.h",
        "vc5_translate_error(packet, header, end, &part, VC5_SOURCE, prober, key.own_port)",
        "vc5_translate_error(packet, header, end, &part, VC5_SOURCE, prober, key.vip_port)",
    )
    with faulty_copy(fault) as environment, Site(UNTAGGED) as site:
        found = check(site, "simple", environment=environment)
        assert found[f"{VIPS[4]}:{CLOSED}/udp"] == {"timeout (no answer)"}
