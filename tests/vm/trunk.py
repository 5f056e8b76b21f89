"""A trunk as it is run in earnest: on it, or on a bond of trunks, the kernel's own VLAN interfaces.

                           eth0.10 or bond0.10  10.1.10.5, 2001:db8:10::5
    switch ==== balancer
                           eth0.20 or bond0.20  10.1.20.5, 2001:db8:20::5

The lab is that of tests.lab.site, but nothing is told to anybody: the switch learns by which interface the balancer can
be reached, neighbours ask for each other's MAC addresses, the daemon asks the kernel what is on top of its interfaces.
"""

from __future__ import annotations

from pathlib import Path

from tests.lab.site import BALANCER, Network, Site, _addresses, _settings
from tests.lab.topology import _configure
from tests.netns.scenario_site import TRUNK


class Trunk(Site):
    """The site; with `members`, that many more than eth0, the balancer's trunk is a bond."""

    def __init__(self, backends: int = 1, members: int = 0) -> None:
        super().__init__(TRUNK, backends, members=members)
        self.parent = "bond0" if members else "eth0"

    def leg(self, network: Network) -> str:
        """The VLAN interface of the balancer's host in a network."""
        return f"{self.parent}.{network.id}"

    def _build(self) -> None:
        super()._build()
        legs = [(self.router, f"lan{network.id}") for network in self.networks]
        for space, name in (*legs, *((backend.namespace, "eth0") for backend in self.backends.values())):
            space.run("ip", "neighbour", "flush", "dev", name, "nud", "permanent")

    def _set_up_switch(self) -> None:
        super()._set_up_switch()
        if len(self.members) > 1:
            script = [f"bridge fdb delete {self._mac()} dev balancer-eth0 master"]
            script += [f"bridge link set dev balancer-{name} learning on" for name in self.members]
            self.switch.run("sh", "-ec", "\n".join(script))

    def _set_up_balancer(self) -> None:
        lines = []
        if len(self.members) > 1:
            lines += [f"link add {self.parent} type bond {self._bond_options()}"]
            lines += [f"link set {name} down master {self.parent}" for name in self.members]
            lines += [f"link set {self.parent} up"]
        lines += [f"link set {name} up" for name in self.members]
        for network in self.networks:
            leg = self.leg(network)
            lines += [f"link add link {self.parent} name {leg} type vlan id {network.id}"]
            lines += [*_addresses(network, BALANCER, leg), f"link set {leg} up"]
        _configure(self.balancer, self.members, lines, _settings(self.members))

    def _bond_options(self) -> str:
        return "mode active-backup miimon 50"

    def carrier(self) -> str:
        """The member of the bond that carries all."""
        text = self.balancer.call(lambda: Path("/proc/thread-self/net/bonding/bond0").read_text(encoding="ascii"))
        [line] = [line for line in text.splitlines() if line.startswith("Currently Active Slave: ")]
        return line.partition(": ")[2]


def head(*interfaces: str) -> list[str]:
    """Return the first lines of a configuration, up to its services: checks are rare, for an emulated machine."""
    lines = [f"interfaces: [{', '.join(interfaces)}]", "xdp: native", "mode: vlan"]
    for name, prefix in (("vlans", "10.1.{}.0/24"), ("vlans6", "2001:db8:{}::/64")):
        lines += [f"{name}:", *(f"  {network.id}: {prefix.format(network.id)}" for network in TRUNK)]
    return [*lines, "interval: 1s", "timeout: 4s", "rise: 1", "fall: 2", "services:"]
