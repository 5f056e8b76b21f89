"""The data plane in native mode on virtio cards, the ones that nearly every virtual balancer has.

client card0 10.1.10.1 -+- hub -+- balancer card1 10.1.10.5
                                +- backend  card2 10.1.10.11, VIP on lo
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lab.addresses import BALANCER, FIRST_BACKEND, ROUTER, VIP
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError, Namespace, run
from tests.lab.patience import wait_for
from tests.netns.scenario_operator import backends, configuration
from tests.vm.decapsulation import vip_commands

pytestmark = pytest.mark.root

HOSTS = {"client": ("card0", ROUTER), "balancer": ("card1", BALANCER), "backend": ("card2", FIRST_BACKEND)}


@pytest.fixture
def hosts() -> Iterator[dict[str, Namespace]]:
    spaces = {name: Namespace(f"vc5virtio-{os.getpid()}-{name}") for name in HOSTS}
    try:
        for name, (card, address) in HOSTS.items():
            run("ip", "netns", "add", spaces[name].name)
            run("ip", "link", "set", card, "netns", spaces[name].name)
            lines = [f"address add {address}/24 dev {card}", f"link set {card} up", "link set lo up", ""]
            spaces[name].run("ip", "-batch", "-", text="\n".join(lines))
        spaces["client"].run("ip", "route", "add", str(VIP), "via", str(BALANCER))
        for line in vip_commands(VIP):
            spaces["backend"].run(*line)
        yield spaces
    finally:
        for space in spaces.values():
            with suppress(LabError):
                run("ip", "netns", "delete", space.name)  # the cards come back to where they were


def test_native_xdp_on_virtio(hosts: dict[str, Namespace], tmp_path: Path) -> None:
    text = configuration("card1", "native", servers=str(FIRST_BACKEND), check="")
    daemon = Daemon(hosts["balancer"], tmp_path, text)
    try:
        daemon.start(ready_within=90)  # most of it is the compiler's
        assert [(row["name"], row["attach"]) for row in daemon.status()["interfaces"]] == [("card1", "native")]
        wait_for("the backend's MAC", lambda: all(row["mac"] for row in backends(daemon)))

        def listen() -> socket.socket:
            return socket.create_server((str(VIP), 80))

        def connect() -> socket.socket:
            return socket.create_connection((str(VIP), 80), timeout=10)

        with hosts["backend"].call(listen) as server:
            server.settimeout(10)
            for number in range(10):
                with hosts["client"].call(connect) as client:
                    taken, _ = server.accept()
                    with taken:
                        client.sendall(bytes([number]))
                        assert taken.recv(10) == bytes([number])
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
    finally:
        daemon.close()
