"""What a smaller MTU on the way does to real connections: errors reach the backend, fragments stay together."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab.addresses import ECHO, HTTP, VIP
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.traffic import Requests
from tests.lab.wire import DATA, LONGEST, Frame, decode

pytestmark = pytest.mark.root

NARROW = 1280
"""The MTU of the router's link to the client; the backends do not know."""
DOWNLOADS = 12
DATAGRAMS = 40
SIZE = 4000


@dataclass(frozen=True)
class Site:
    """A lab whose daemon is ready."""

    lab: Lab
    daemon: Daemon

    def reasons(self) -> dict[str, int]:
        """Why packets left the program so far."""
        found: dict[str, int] = self.daemon.status()["reasons"]
        return found


@contextmanager
def site() -> Iterator[Site]:
    """Three backends, HTTP and echo over UDP."""
    with Lab(backends=3) as lab:
        servers = ", ".join(str(backend.address) for backend in lab.backends.values())
        text = f"""
interfaces: eth0
xdp: native
interval: 100ms
timeout: 3s
rise: 1
services:
  - virtual: {VIP}
    servers: [{servers}]
    policy:
      {HTTP}/tcp: {{checks: [{{type: http, port: 80, path: /alive}}]}}
      {ECHO}/udp: {{checks: [{{type: http, port: 80, path: /alive}}]}}
"""
        with Daemon(lab.balancer, lab.root(), text) as daemon:

            def green() -> bool:
                services: list[dict[str, Any]] = daemon.status()["services"]
                return all(b["state"] == "available" for service in services for b in service["backends"])

            wait_for("all backends", green)
            yield Site(lab, daemon)


def test_path_mtu_discovery_works_through_the_balancer() -> None:
    """Big segments of a backend provoke "fragmentation needed" to the VIP, which nobody but that backend can heed."""
    with site() as here:
        here.lab.router.run("ip", "link", "set", "wan", "mtu", str(NARROW))
        with Requests(here.lab.client, path="/big", count=DOWNLOADS, together=4, rate=50, timeout=20) as requests:
            report = requests.finish()
        assert [request.failure for request in report.failed] == []
        assert len(report.done) == DOWNLOADS
        used = set(report.backends())
        assert len(used) > 1
        learned = {
            name
            for name, backend in here.lab.backends.items()
            if f"mtu {NARROW}" in backend.namespace.run("ip", "route", "show", "cache")
        }
        assert learned == used
        assert here.reasons().get("icmp-error", 0) == 0


def test_datagrams_in_fragments_arrive_whole_at_one_backend() -> None:
    with site() as here:
        asked = random.Random("datagrams")
        questions = [Frame(DATA, number, asked.randbytes(SIZE)) for number in range(DATAGRAMS)]

        def ask() -> list[str]:
            """Ask everything on one socket, and everything again on others: who answered."""
            names = []
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.connect((str(VIP), ECHO))
                one.settimeout(5)
                for question in questions:
                    names.append(_answer(one, question))
            for question in questions:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                    other.connect((str(VIP), ECHO))
                    other.settimeout(5)
                    names.append(_answer(other, question))
            return names

        names = here.lab.client.call(ask)
        assert len(set(names[:DATAGRAMS])) == 1
        assert len(set(names)) > 1
        # Three fragments each, of which two follow the first.
        assert here.reasons()["fragment-followed"] == 2 * 2 * DATAGRAMS
        assert here.reasons().get("fragment", 0) == 0


def _answer(connection: socket.socket, question: Frame) -> str:
    connection.send(question.encode())
    answer = decode(connection.recv(LONGEST))
    name, _, payload = answer.payload.partition(b"\0")
    assert (answer.number, payload[::-1]) == (question.number, question.payload)
    return name.decode()
