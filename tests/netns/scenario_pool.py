"""The configuration of a scenario: one VIP, echo over TCP and UDP, a pool of backends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from appliance.model import Protocol, ServiceKey
from tests.lab.addresses import ECHO, VIP

TCP = ServiceKey(VIP, ECHO, Protocol.TCP)
UDP = ServiceKey(VIP, ECHO, Protocol.UDP)
CROWD = IPv4Address("10.1.10.50")
"""The first of 200 addresses in the backends' network that nobody has."""
FIRST_CROWDED_PORT = 7100


@dataclass(frozen=True)
class Pool:
    """What a scenario varies. Times are seconds; 1h outlives every scenario, so nothing is swept by chance."""

    weights: Mapping[IPv4Address, int]
    idle: int = 3600
    udp_grace: int = 3600
    drain_timeout: int = 3600
    max_flows: int = 4096
    unknown_port: str = "drop"
    resetting_port: int = 0
    """A further service with `on_dead: reset`, which the program must have code for; 0: none."""

    http: bool = False
    """Port 80 too, for requests."""
    crowds: int = 0
    """So many further services with 200 unchecked backends each; eight of them make every table of the program grow."""

    def text(self) -> str:
        """Return the configuration file.

        Both services are checked by /alive of nginx, so that a backend can be unwell while its flows go on. A check
        has time and tries enough not to fail because the machine is busy; a refused one fails at once.
        """
        servers = ", ".join(f"{address} weight={weight}" for address, weight in self.weights.items())
        lines = [
            "interfaces: eth0",
            "xdp: native",
            f"idle: {self.idle}",
            f"udp_grace: {self.udp_grace}",
            f"max_flows: {self.max_flows}",
            f"unknown_port: {self.unknown_port}",
            "interval: 100ms",
            "timeout: 3s",
            "rise: 1",
            "fall: 2",
            "services:",
            f"  - virtual: {VIP}",
            f"    servers: [{servers}]",
            "    on_down: drain",
            f"    drain_timeout: {self.drain_timeout}",
            "    policy:",
            *(f"      {ECHO}/{kind}: {{checks: [{{type: http, port: 80, path: /alive}}]}}" for kind in ("tcp", "udp")),
        ]
        if self.http:
            lines.append("      80/tcp: {checks: [{type: http, port: 80, path: /alive}]}")
        if self.resetting_port:
            lines.append(f"      {self.resetting_port}/tcp: {{on_dead: reset, checks: []}}")
        if self.crowds:
            crowd = ", ".join(str(CROWD + number) for number in range(200))
            lines += [f"  - virtual: {VIP}", f"    servers: [{crowd}]", "    drain_timeout: 0", "    policy:"]
            lines += [f"      {FIRST_CROWDED_PORT + number}/tcp: {{checks: []}}" for number in range(self.crowds)]
        return "\n".join([*lines, ""])
