"""A network between namespaces on which a test can have datagrams lost, doubled, overtaken, delayed, or links cut.

    with LossyNetwork("vc5lab-1-1-exchange", {"n1": first, "n2": second}, seed=1) as network:
        network.impair(Impairment(drop=0.1))
        network.cut("n1", "n2")
        network.reflect()                whoever speaks to a group hears himself
        network.passed()                 what went which way, and what became of it

Host N of it has 10.1.99.N on its interface `exchange`, and fd00:1:99::N after `number_six`. What does all that is
tests.lab.relay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from ipaddress import IPv4Address, IPv6Address
from itertools import combinations

from tests.lab.addresses import mac_of
from tests.lab.impairment import GOOD, Impairment
from tests.lab.namespace import Namespace, run
from tests.lab.relay import Passed
from tests.lab.standing import Standing
from tests.lab.tool import Event, Tool
from tests.lab.topology import _configure

INTERFACE = "exchange"
PATIENCE = 15.0


def address(host: int) -> IPv4Address:
    """The address of a host on this network."""
    return IPv4Address(f"10.1.99.{host}")


def address6(host: int) -> IPv6Address:
    """The address of a host on this network, where it has IPv6."""
    return IPv6Address(f"fd00:1:99::{host}")


class LossyNetwork(Standing):
    """The network, for the time of the block; its hosts' namespaces are somebody else's."""

    def __init__(self, name: str, hosts: Mapping[str, tuple[Namespace, int]], seed: int = 1) -> None:
        """Prepare; `name` is that of the relay's namespace, `hosts` are namespaces and numbers from 1 to 254."""
        self._relay = Namespace(name)
        self._hosts = dict(hosts)
        self._seed = seed
        self._tool: Tool | None = None

    def stand(self) -> None:
        """Lay the cables, and start the relay."""
        lines = [f"netns add {self._relay.name}"]
        for name, (space, host) in self._hosts.items():
            near = f"{INTERFACE} netns {space.name} address {mac_of(address(host))}"
            lines.append(f"link add {near} type veth peer name {name} netns {self._relay.name}")
        run("ip", "-batch", "-", text="\n".join([*lines, ""]))
        _configure(self._relay, (), [f"link set {name} promisc on up" for name in self._hosts])
        for space, host in self._hosts.values():
            lines = [f"address add {address(host)}/24 dev {INTERFACE}", f"link set {INTERFACE} up"]
            _configure(space, (INTERFACE,), lines)
        self._tool = Tool(self._relay, "relay", "--seed", str(self._seed), *self._hosts)
        self._tool.expect("ready", PATIENCE)

    def number_six(self) -> None:
        """Give every host an IPv6 address as well; elsewhere the lab has none."""
        for space, host in self._hosts.values():
            self._set(space, f"net/ipv6/conf/{INTERFACE}/disable_ipv6", 0)
            space.run("ip", "address", "add", f"{address6(host)}/64", "dev", INTERFACE, "nodad")

    def _set(self, space: Namespace, name: str, value: int) -> None:
        space.run("sh", text=f"echo {value} > /proc/sys/{name}\n")

    def close(self) -> None:
        """End the relay; its namespace goes with the lab."""
        if self._tool:
            self._tool.close()
            self._tool = None

    def _tell(self, command: str) -> Event:
        assert self._tool
        self._tool.tell(command)
        return self._tool.expect("status", PATIENCE)

    def impair(self, impairment: Impairment) -> None:
        """Treat datagrams so from now on, in all directions."""
        self._tell(f"impair {json.dumps(asdict(impairment))}")

    def cut(self, *names: str) -> None:
        """Cut these hosts off from each other, or all of them."""
        for one, other in combinations(names or tuple(self._hosts), 2):
            self._tell(f"cut {one} {other}")

    def isolate(self, name: str) -> None:
        """Cut one host off from all others."""
        for other in self._hosts:
            if other != name:
                self._tell(f"cut {name} {other}")

    def reflect(self) -> None:
        """Give what is for a group back to its sender as well, until `mend`; the hosts' kernels let it pass."""
        for space, _ in self._hosts.values():
            self._set(space, f"net/ipv4/conf/{INTERFACE}/accept_local", 1)
        self._tell("reflect")

    def mend(self) -> None:
        """Let everything arrive again."""
        self._tell("mend")
        self.impair(GOOD)

    def passed(self) -> list[Passed]:
        """Return the accounts of all directions since the beginning."""
        return [Passed(**row) for row in self._tell("status")["passed"]]

    def unplug(self, name: str) -> None:
        """Pull a host's cable."""
        self._relay.run("ip", "link", "set", name, "down")

    def plug(self, name: str) -> None:
        """Put it back."""
        self._relay.run("ip", "link", "set", name, "up")
