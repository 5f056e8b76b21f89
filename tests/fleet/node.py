"""One balancer of the fleet: a machine with a daemon, which can be stopped, killed, or lose its power."""

from __future__ import annotations

import os
import shutil
import signal
from ipaddress import IPv4Address
from typing import Any

from appliance.cli.client import ask
from tests.fleet.configuration import Pool
from tests.lab.daemon import Daemon
from tests.lab.debris import bfd_processes
from tests.lab.lossy import LossyNetwork
from tests.lab.namespace import NAMESPACES, Namespace, inhabitants, run
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.netns.scenario_slots import Slots


class Node:
    """One balancer. `host` is the last number of its addresses, on the backends' network and on the exchange's."""

    def __init__(self, name: str, host: int, address: IPv4Address, namespace: Namespace, lab: Lab, pool: Pool) -> None:
        self.name = name
        self.address = address
        self.namespace = namespace
        self._host = host
        self._lab = lab
        self.daemon = Daemon(namespace, lab.root(name), pool.text(host, address))
        self.announces = False
        """Whether the router should send it packets: its daemon runs, or was killed, and the routes are kept."""

    @property
    def runs(self) -> bool:
        """Whether its daemon runs."""
        return self.daemon.running

    def configure(self, pool: Pool) -> None:
        """Write the configuration; a daemon that runs reloads it."""
        text = pool.text(self._host, self.address)
        if self.runs:
            done = self.daemon.reload(text)
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            self.daemon.configuration_file.write_text(text)

    def ask(self, verb: str, **arguments: Any) -> Any:
        """Ask the daemon over its control socket."""
        return ask(self.daemon.places, verb, **arguments)

    def slots(self) -> Slots:
        """Its tables, to be closed."""
        return Slots(self.daemon.places.pins)

    @property
    def forwards(self) -> bool:
        """Whether it has tables."""
        return self.daemon.places.pins.exists() and self.announces

    # ---- life

    def start(self, exchange: LossyNetwork) -> None:
        """Start the daemon; on a machine without power, boot first."""
        self._lab.switch.run("ip", "link", "set", _port(self.name), "up")
        exchange.plug(self.name)
        self.daemon.start()
        self.announces = True

    def stop(self) -> None:
        """End the daemon as its service would."""
        assert self.daemon.stop(within=60) == 0, self.daemon.errors[-4000:]
        self.announces = False

    def kill_daemon(self) -> None:
        """Kill the daemon; the data plane works on, and routers that restart gracefully keep its routes."""
        self.daemon.kill9()

    def reexecute(self) -> None:
        """Have the daemon become the program that is installed, which is the same one; it comes back working."""
        done = self.daemon.vc5("reexec", timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr + self.daemon.errors[-4000:]

    def lose_power(self, exchange: LossyNetwork) -> None:
        """Be gone at once: nobody is told anything, and nothing is left but the disk."""
        self._lab.switch.run("ip", "link", "set", _port(self.name), "down")
        exchange.unplug(self.name)
        places = self.daemon.places
        self.daemon.kill9()
        spaces = [self.namespace, Namespace(places.namespace)]
        wait_for(f"the processes of {self.name} to end", lambda: not _killed(spaces, bfd_processes(places)))
        shutil.rmtree(places.pins, ignore_errors=True)
        for directory in (places.run, places.bfd_socket.parent):
            shutil.rmtree(directory, ignore_errors=True)
        if (NAMESPACES / places.namespace).exists():
            run("ip", "netns", "delete", places.namespace)
        self.announces = False


def _port(name: str) -> str:
    """The end of a node's cable in the switch."""
    return "balancer" if name == "n1" else name


def _killed(spaces: list[Namespace], others: list[int]) -> list[int]:
    alive = [*inhabitants(spaces), *others]
    for process in alive:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return alive
