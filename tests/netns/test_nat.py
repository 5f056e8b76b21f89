"""NAT with real traffic: backends without the VIP, whose default route is the balancer, nginx on another port."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.addresses import BALANCER, VIP
from tests.lab.backend import Server, nginx_configuration
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.traffic import LongFlows, Requests, UdpFlows

pytestmark = [pytest.mark.root, pytest.mark.slow]

MAPPED = 8080
REQUESTS = 120
CLAMP = 1200
CONFIGURATION = """
interfaces: [eth0]
hash_seed: "000102030405060708090a0b0c0d0e0f"
services:
  - name: shop
    virtual: 203.0.113.10
    servers: [{servers}]
    forward: nat
    clamp_mss: {clamp}
    policy:
      http: {{bind: 8080, checks: [{{type: http, path: /alive, interval: 0.5, timeout: 0.5}}]}}
      7000: {{checks: [{{type: tcp, interval: 0.5, timeout: 0.5}}]}}
      7000/udp: {{checks: [{{type: tcp, port: 7000, interval: 0.5, timeout: 0.5}}]}}
"""


def configuration(lab: Lab, *names: str, clamp: int = CLAMP) -> str:
    """The services with these backends."""
    addresses = [str(lab.backends[name].address) for name in names]
    return CONFIGURATION.format(servers=", ".join(addresses), clamp=clamp)


@contextmanager
def behind_nat(lab: Lab) -> Iterator[None]:
    """Take the VIP from the backends, make the balancer their router, and move nginx to another port."""
    started: list[subprocess.Popen[str]] = []
    lab.balancer.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    try:
        for backend in lab.backends.values():
            backend.namespace.run("ip", "address", "del", f"{VIP}/32", "dev", "lo")
            backend.namespace.run("ip", "route", "replace", "default", "via", str(BALANCER))
            backend.kill_servers(Server.NGINX)
            text = nginx_configuration(backend.name, backend.directory, lab.content)
            file = backend.directory / "mapped.conf"
            file.write_text(text.replace("listen 80 ", f"listen {MAPPED} "))
            words = ("nginx", "-e", f"{backend.directory}/error.log", "-p", str(backend.directory), "-c", str(file))
            started.append(backend.namespace.spawn(*words))
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def states(daemon: Daemon) -> set[str]:
    """How the backends of all services stand."""
    return {backend["state"] for service in daemon.status()["services"] for backend in service["backends"]}


def serve(lab: Lab) -> dict[str, int]:
    """Make requests, of which none may fail, and return how many each backend served."""
    with Requests(lab.client, count=REQUESTS, rate=200) as requests:
        report = requests.finish()
    assert [request.failure for request in report.failed] == []
    return dict(report.backends())


def test_traffic_through_nat() -> None:
    with (
        Lab(backends=3) as lab,
        behind_nat(lab),
        Daemon(lab.balancer, lab.root(), configuration(lab, "b1", "b2")) as daemon,
    ):
        b1 = lab.backends["b1"]
        wait_for("green backends", lambda: states(daemon) == {"available"}, 20)
        assert serve(lab).keys() == {"b1", "b2"}
        with (
            LongFlows(lab.client, busy=60, idle=10) as flows,
            UdpFlows(lab.client, count=40, interval=0.2, patience=0.5) as datagrams,
        ):
            assert [flow for flow in flows.opened.flows if flow.state != "open"] == []
            assert daemon.reload(configuration(lab, "b1", "b2", "b3")).returncode == 0
            wait_for("b3", lambda: states(daemon) == {"available"}, 20)
            assert flows.more(40).by_backend().keys() == {"b1", "b2", "b3"}
            for port in ("80/tcp", "7000/tcp", "7000/udp"):
                daemon.ask("drain", f"{VIP}:{port}", str(b1.address))
            assert serve(lab).keys() == {"b2", "b3"}
            report = flows.stop()
            assert (report.broken, datagrams.status().corrupt) == ([], 0)
            assert all(flow.answered for flow in datagrams.status().flows)
        reasons = daemon.status()["reasons"]
        assert reasons["return"] > REQUESTS
        assert "no-route" not in reasons
        told: dict[str, Any] = daemon.ask("explain", "--flow", f"tcp 198.51.100.10:4000 {VIP}:80")
        frame = bytes.fromhex(told["frame"])
        assert (told["verdict"], str(told["backend"])) == ("tx", ".".join(map(str, frame[30:34])))
        assert int.from_bytes(frame[36:38], "big") == MAPPED
        assert daemon.stop() == 0
