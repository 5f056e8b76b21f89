"""Probes through the loaded program: many at once with no wrong verdict, and none of them seen by the host's stack."""

from __future__ import annotations

import time
from collections import Counter
from ipaddress import IPv4Address

import pytest

from appliance.cli.client import call
from tests.lab.addresses import BALANCER, VIP
from tests.lab.daemon import Daemon
from tests.lab.namespace import Namespace
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.netns.scenario_fault import Fault, faulty_copy
from tests.netns.scenario_operator import configuration, events, wait_states

pytestmark = [pytest.mark.root, pytest.mark.slow]

SERVICES, ALIVE = 20, 25
"""Every service has ALIVE backends that answer, and as many that are silent: 1,000 probes in all."""


def _stack(namespace: Namespace) -> dict[str, int]:
    """Return what the IPv4 stack of a namespace has received and sent, and its resets."""
    lines = [line.split() for line in namespace.run("cat", "/proc/net/snmp").splitlines()]
    found = {}
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        found.update({names[0] + name: int(value) for name, value in zip(names[1:], values[1:], strict=True)})
    return {name: found[name] for name in ("Ip:InReceives", "Tcp:InSegs", "Tcp:OutRsts", "Icmp:OutMsgs")}


def test_probes_never_reach_the_host() -> None:
    with Lab(backends=2) as lab, Daemon(lab.balancer, lab.root(), configuration()) as daemon:
        wait_states(daemon, b11="available", b12="available")
        before, began = _stack(lab.balancer), time.time()
        wait_for("probes", lambda: len(events(daemon, "probe", began)) >= 20)
        assert _stack(lab.balancer) == before
        reasons = daemon.status()["reasons"]
        assert reasons["probe-sent"] > 20
        assert reasons["probe-answer"] > 20
        assert daemon.stop() == 0


def test_a_udp_service_without_checks_is_up_at_once() -> None:
    with Lab(backends=2) as lab:
        text = configuration(port="7000/udp", check="")
        with Daemon(lab.balancer, lab.root(), text) as daemon:
            [service] = daemon.status()["services"]
            assert (service["up"], service["available"]) == (True, 2)
            assert daemon.stop() == 0


def test_a_thousand_probes_at_once_and_no_wrong_verdict() -> None:
    """Twenty-five addresses on one backend answer, twenty-five on another are dropped without a word: half of all
    probes are outstanding until their time is over, while the others come and go."""
    _thousand({})


def test_probes_that_share_source_ports_are_noticed() -> None:
    """With one port for all, answers reach the probe of another backend."""
    fault = Fault(
        "appliance/health/ports.py", "                self._used.add(port)\n", "                port = self._ports[7]\n"
    )
    with faulty_copy(fault) as environment, pytest.raises(AssertionError, match="dead"):
        _thousand(environment)


def _thousand(environment: dict[str, str]) -> None:
    alive = [IPv4Address("10.1.10.100") + number for number in range(ALIVE)]
    silent = [IPv4Address("10.1.10.150") + number for number in range(ALIVE)]
    with Lab(backends=2) as lab:
        for name, addresses in (("b1", alive), ("b2", silent)):
            lines = "".join(f"address add {address}/24 dev eth0\n" for address in addresses)
            lab.backends[name].namespace.run("ip", "-batch", "-", text=lines)
        lab.backends["b2"].namespace.run("ip", "route", "add", "blackhole", str(BALANCER))
        daemon = Daemon(lab.balancer, lab.root(), _crowd(alive, silent), environment=environment)
        try:
            daemon.start()
            wait_for("all verdicts", lambda: "unknown" not in _verdicts(daemon), 30)
            assert _verdicts(daemon) == {"up": 500, "dead": 500}
            began = time.time()
            wait_for("a thousand more probes", lambda: len(events(daemon, "probe", began)) >= 1500, 30)
            found = Counter((event["backend"], event["outcome"]) for event in events(daemon, "probe"))
            good = {str(address) for address in alive}
            assert {address for address, outcome in found if outcome == "ok"} == good
            assert {address for address, outcome in found if outcome != "ok"} == {str(a) for a in silent}
            wrong = [e for e in events(daemon, "backend") if (e["backend"] in good) != (e["outcome"] == "up")]
            assert wrong == []
            assert _verdicts(daemon) == {"up": 500, "dead": 500}
            assert daemon.stop() == 0
            assert daemon.leftovers() == []
        finally:
            daemon.close()


def _crowd(alive: list[IPv4Address], silent: list[IPv4Address]) -> str:
    """All services are checked at the echo server's port under the VIP, by half a connection or a whole one in turn.

    Each at an interval of its own: of equal checks one would be made for all.
    """
    lines = ["interfaces: eth0", "xdp: native", "interval: 1s", "timeout: 2s", "rise: 1", "fall: 1", "services:"]
    lines += [f"  - virtual: {VIP}", f"    servers: [{', '.join(map(str, [*alive, *silent]))}]", "    policy:"]
    for number in range(SERVICES):
        check = f"type: {('syn', 'tcp')[number % 2]}, port: 7000, interval: {1000 + number}ms"
        lines.append(f"      {8000 + number}/tcp: {{checks: [{{{check}}}]}}")
    return "\n".join([*lines, ""])


def _verdicts(daemon: Daemon) -> dict[str, int]:
    services = call(daemon.places, "status")["services"]
    return dict(Counter(row["health"] for service in services for row in service["backends"]))
