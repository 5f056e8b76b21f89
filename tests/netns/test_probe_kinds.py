"""Checks that need servers of their own, made by the daemon through the data plane to a VIP on two backends.

b1 is well. On b2 DNS refuses, UDP answers nonsense, gRPC does not serve, and the web server says that it is unwell.
Nobody listens on port 7001: b1 says so, and b2 drops what comes there.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.lab.addresses import VIP
from tests.lab.backend import Backend
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.netns.scenario_operator import events

pytestmark = [pytest.mark.root, pytest.mark.slow]

CONFIGURATION = """\
interfaces: eth0
xdp: native
interval: 200ms
timeout: 1s
rise: 1
fall: 2
services:
  - virtual: {vip}
    servers: [10.1.10.11, 10.1.10.12]
    policy:
      domain: {{checks: [{{type: dns, name: www.example.test}}]}}
      7002/udp: {{checks: [{{type: udp, send: PING, receive: PONG}}]}}
      7001/udp: {{checks: [{{type: udp, timeout: 200ms}}]}}
      50051/tcp: {{checks: [{{type: grpc}}]}}
      https: {{host: lab, verify: yes, ca: {ca}, path: /alive}}
      8443/https: {{host: other, verify: yes, ca: {ca}, checks: [{{type: https, port: 443}}]}}
      8444/https: {{checks: [{{type: https, port: 443, path: /, body: b1}}]}}
      8445/http: {{checks: [{{type: http, port: 80, path: /, mtu: yes}}]}}
"""

DROPPING = """\
table inet drops {
    chain before {
        type filter hook prerouting priority raw
        udp dport 7001 drop
    }
}
"""
VERDICTS = {
    "53/tcp": ("NOERROR, 1 answers", "REFUSED, expected NOERROR"),
    "53/udp": ("NOERROR, 1 answers", "REFUSED, expected NOERROR"),
    "7002/udp": ("answer of 4 bytes", "the answer begins with 'NONSENSE', expected 'PONG'"),
    "7001/udp": ("refused (ICMP port unreachable)", "timeout (no answer)"),
    "50051/tcp": ("SERVING", "NOT_SERVING, expected SERVING"),
    "443/tcp": ("HTTP 200", "HTTP 503, expected 200"),
    "8443/tcp": (
        "TLS: certificate refused: Hostname mismatch, certificate is not valid for 'other'.",
        "TLS: certificate refused: Hostname mismatch, certificate is not valid for 'other'.",
    ),
    "8444/tcp": ("HTTP 200", "HTTP 200, but the body does not contain 'b1'"),
    "8445/tcp": ("HTTP 200, full size (MSS 1460)", "HTTP 200, full size (MSS 1460)"),
}
"""What is said of b1 and of b2."""


@contextmanager
def dns(backend: Backend, *options: str) -> Iterator[None]:
    command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file="]
    command += [f"--listen-address={VIP}", "--bind-interfaces", "--user=", "--log-facility=-", *options]
    with backend.namespace.spawn(*command, stderr=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.kill()


@contextmanager
def datagrams(backend: Backend, answer: bytes) -> Iterator[None]:
    """Answer datagrams to port 7002 of the VIP; an empty one ends it."""

    def bind() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((str(VIP), 7002))
        return made

    def serve() -> None:
        while True:
            data, sender = server.recvfrom(2048)
            if not data:
                return
            server.sendto(answer, sender)

    with backend.namespace.call(bind) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            server.sendto(b"", (str(VIP), 7002))
            thread.join()


@contextmanager
def health_service(backend: Backend, status: int) -> Iterator[None]:
    grpc: Any = pytest.importorskip("grpc", reason="needs the Debian package python3-grpcio")
    server = grpc.server(ThreadPoolExecutor(1))
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08" + bytes((status,)))}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    backend.namespace.call(lambda: server.add_insecure_port(f"{VIP}:50051"))
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()


def _last(daemon: Daemon, since: float) -> dict[str, dict[str, str]]:
    """Return what the last probe said, by service without its VIP, and backend."""
    found: dict[str, dict[str, str]] = {}
    for event in events(daemon, "probe", since):
        service = event["service"].partition(":")[2]
        found.setdefault(service, {})[event["backend"]] = event["message"]
    return found


def test_each_kind_through_the_data_plane() -> None:
    with Lab(backends=2) as lab, ExitStack() as servers:
        b1, b2 = lab.backends["b1"], lab.backends["b2"]
        servers.enter_context(dns(b1, "--host-record=www.example.test,192.0.2.1"))
        servers.enter_context(dns(b2))
        servers.enter_context(datagrams(b1, b"PONG"))
        servers.enter_context(datagrams(b2, b"NONSENSE"))
        servers.enter_context(health_service(b1, 1))
        servers.enter_context(health_service(b2, 2))
        b2.set_alive(False)
        b1.namespace.run("sh", "-c", "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit")
        b2.namespace.run("nft", "-f", "-", text=DROPPING)
        text = CONFIGURATION.format(vip=VIP, ca=f"{lab.directory}/content/cert.pem")
        with Daemon(lab.balancer, lab.root(), text) as daemon:
            wanted = {
                service: {"10.1.10.11": first, "10.1.10.12": second} for service, (first, second) in VERDICTS.items()
            }
            began = time.time()
            wait_for("all answers", lambda: _last(daemon, began) == wanted, 20)
            began = time.time()
            wait_for("the same again", lambda: _last(daemon, began) == wanted, 20)
            [https] = [each for each in events(daemon, "probe", began) if each["service"].endswith(":443/tcp")][:1]
            assert https["details"]["certificate_expires"] > time.time()
            assert daemon.stop() == 0
