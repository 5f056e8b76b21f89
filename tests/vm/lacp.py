"""A trunk of two legs that a switch and the balancer have agreed on by LACP (IEEE 802.1AX), with VLANs on it.

    router, backends -- switch: bonded -+-- eth0 --+- bond0: balancer    bond0.10, bond0.20
                                        +-- eth1 --+

Both ends are bonds of mode 802.3ad, and the switch's is a port of its bridge. What comes by a leg leaves by it where
the program is on the members; where it is on the bond, the kernel chooses the leg.

The legs are pairs of veth, or with `cards` the machine's virtio ones, each pair on a cable of its own (CABLES). They do
not know how fast they are, and LACP takes no leg of unknown speed: an operator tells them by ethtool, as is done here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.lab.namespace import Namespace
from tests.lab.patience import wait_for
from tests.lab.topology import _configure
from tests.vm.trunk import Trunk

CABLES: Final = (("card0", "card2"), ("card1", "card3"))
"""The balancer's cards and the switch's."""
LACP: Final = "mode 802.3ad lacp_rate fast miimon 50 xmit_hash_policy"
BONDED: Final = "bonded"
SPEED: Final = "ethtool -s {} speed 10000 duplex full"


class Aggregate(Trunk):
    """The site, whose balancer and switch speak LACP."""

    def __init__(self, cards: bool = False) -> None:
        super().__init__(members=1)
        self.cards = cards

    def _cable(self, near: Namespace, interface: str, mac: str, far: Namespace, far_interface: str) -> str:
        if not self.cards or near != self.balancer:
            return super()._cable(near, interface, mac, far, far_interface)
        here, there = CABLES[self.members.index(interface)]
        lines = [f"link set {here} netns {near.name} name {interface} address {mac}"]
        return "\n".join([*lines, f"link set {there} netns {far.name} name {far_interface}"])

    def _set_up_switch(self) -> None:
        super()._set_up_switch()
        ports = [f"balancer-{name}" for name in self.members]
        self._tell_speed(self.switch, ports)
        lines = [f"link add {BONDED} type bond {LACP} layer3+4"]
        lines += [f"link set {port} down nomaster" for port in ports]
        lines += [f"link set {port} master {BONDED}" for port in ports]
        lines += [f"link set {port} up" for port in ports]
        _configure(self.switch, (), [*lines, f"link set {BONDED} master br-eth0 up"])

    def _set_up_balancer(self) -> None:
        self._tell_speed(self.balancer, self.members)
        super()._set_up_balancer()

    def _bond_options(self) -> str:
        return f"{LACP} encap3+4"  # reads behind the tag, and is one of those that XDP on a bond takes

    def _tell_speed(self, space: Namespace, names: tuple[str, ...] | list[str]) -> None:
        if self.cards:
            space.run("sh", "-ec", "\n".join(SPEED.format(name) for name in names))

    def aggregated(self) -> int:
        """Return how many legs the balancer sends and receives by: those that both ends have agreed on."""
        text = self.balancer.call(lambda: Path("/proc/thread-self/net/bonding/bond0").read_text(encoding="ascii"))
        partner = re.search(r"Partner Mac Address: (\S+)", text)
        ports = re.search(r"Number of ports: (\d+)", text)
        return int(ports[1]) if partner and partner[1] != "00:00:00:00:00:00" and ports else 0

    def wait_aggregated(self, legs: int) -> None:
        """Wait until so many legs are in use. A leg that falls silent is given up after 3 s (short timeout)."""
        wait_for(f"an aggregate of {legs}", lambda: self.aggregated() == legs, 30)
