"""The configuration of each balancer of the fleet: the same for all of them but for what a node calls itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any

from appliance.model import Protocol, ServiceKey
from tests.lab.addresses import ECHO, HTTP, ROUTER, VIP
from tests.lab.lossy import address as exchange_address
from tests.lab.lossy import address6 as exchange_address6

TCP = ServiceKey(VIP, ECHO, Protocol.TCP)
UDP = ServiceKey(VIP, ECHO, Protocol.UDP)
SERVICES = {"tcp": TCP, "udp": UDP}

ROUTER_AS, BALANCERS_AS = 65000, 4200000005
SEED = "8d969eef6ecad3c29a3a629280e686cf"
KEY = "what the balancers of the lab share"
BFD_INTERVAL, BFD_MULTIPLIER = 0.1, 3
"""Seconds, and how many packets in a row are missing when a balancer counts as dead."""
LEARN = "5s"
"""The longest that a starting node waits for the others' state before it announces anything."""


@dataclass(frozen=True)
class Pool:
    """What a scenario varies. Times are seconds."""

    weights: Mapping[IPv4Address, int]
    """1, or 0 for one that gets no new flows."""
    idle: int = 3600
    """This outlives every scenario, so nothing is forgotten by chance."""
    udp_grace: int = 3600
    scheduler: str = "maglev"
    hosts: tuple[int, ...] = ()
    """Of the nodes that tell each other of flows, on their own network; none: nobody does."""
    group: str = ""
    """By which they do, with its port; empty: each names the others."""

    @property
    def six(self) -> bool:
        """Whether they speak over IPv6."""
        return self.group.startswith("[")

    def without(self, address: IPv4Address) -> Pool:
        """The pool without a backend."""
        return replace(self, weights={one: weight for one, weight in self.weights.items() if one != address})

    def having(self, address: IPv4Address, weight: int = 1) -> Pool:
        """The pool with a backend of this weight, 1 or 0: it gets new flows, or keeps what it has."""
        return replace(self, weights={**self.weights, address: weight})

    def text(self, host: int, own: IPv4Address) -> str:
        """The configuration of the node with this number and address. JSON is YAML as well.

        A check has time and tries enough not to fail because the machine is busy; a refused one fails at once.
        """
        checks = [{"type": "http", "port": HTTP, "path": "/alive"}]
        service = {
            "virtual": str(VIP),
            "servers": [f"{address}" if weight else f"{address}*" for address, weight in self.weights.items()],
            "scheduler": self.scheduler,
            "policy": {f"{ECHO}/{name}": {"checks": checks} for name in SERVICES},
        }
        document: dict[str, Any] = {
            "interfaces": ["eth0"],
            "xdp": "native",
            "webserver": False,
            "router_id": str(own),
            "hash_seed": SEED,
            "interval": "200ms",
            "timeout": "3s",
            "rise": 1,
            "fall": 2,
            "hold_down": 0,
            "max_flows": 1 << 16,
            "idle": self.idle,
            "udp_grace": self.udp_grace,
            "drain_timeout": "1h",
            "on_isolation": "no",
            "learn": LEARN if self.hosts else 0,
            "services": [service],
            "bgp": {
                "as_number": BALANCERS_AS,
                "remote_as": ROUTER_AS,
                "hold_time": 9,
                "peers": [str(ROUTER)],
                "bfd": {"interval": BFD_INTERVAL, "multiplier": BFD_MULTIPLIER},
            },
        }
        if self.hosts:
            of = exchange_address6 if self.six else exchange_address
            document["fleet"] = {"key": KEY, "source": str(of(host))}
            if self.group:
                document["multicast"] = self.group
            else:
                document["fleet"]["peers"] = [str(of(each)) for each in self.hosts]
        return json.dumps(document, indent=1)
