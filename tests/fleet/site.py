r"""The fleet: a client, a router with equal routes, three balancers, six backends, and a network for the exchange.

    client ---- router (BIRD or FRR) --+-- n1  10.1.10.5   10.1.99.5 --+
                                       +-- n2  10.1.10.6   10.1.99.6 --+-- relay, as bad as a test wants
                                       +-- n3  10.1.10.7   10.1.99.7 --+
                                       +-- b1 ... b6, 10.1.10.11 ... 16

The router chooses among the balancers by addresses and ports; it learns of a death by BFD, and when the number of its
ways changes, flows change theirs. All backends are one process (tests.lab.crowd).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Address
from typing import NamedTuple

from tests.fleet.configuration import BALANCERS_AS, BFD_INTERVAL, BFD_MULTIPLIER, ROUTER_AS, Pool
from tests.fleet.node import Node
from tests.lab.addresses import BALANCER, ECHO, ROUTER, VIP, mac_of
from tests.lab.flows import FlowRecord
from tests.lab.lossy import LossyNetwork
from tests.lab.namespace import Namespace
from tests.lab.routers import Bird, Neighbour, Router, Setup
from tests.lab.routers.terms import prefix_of
from tests.lab.standing import Standing
from tests.lab.tool import Tool
from tests.lab.topology import Lab, _configure, _create
from tests.lab.xdp_pass import XdpPass

NODES = {"n1": 5, "n2": 6, "n3": 7}
"""The balancers, and the last number of their addresses."""
HASHING = "cd /proc/sys/net/ipv4 && echo 3 > fib_multipath_hash_policy && echo 0x37 > fib_multipath_hash_fields"
"""By addresses, protocol and ports of the packet, as `ip route get` has them. Policy 1 would take the hash that packets
on a veth bring along from their sender's socket, which has nothing to do with these (fib_multipath_hash in the kernel).
"""
BACKENDS = 6
PATIENCE = 20.0


class Ends(NamedTuple):
    """Where a flow comes from: protocol, address and port."""

    protocol: str
    source: str
    port: int


class Fleet(Standing):
    """All that runs but the clients' flows."""

    def __init__(self, pool: Pool, router: type[Router] = Bird, seed: int = 1, *, exchange: bool = False) -> None:
        """Describe it. `pool` names backends by their order, with 10.1.10.11 the first; `seed` is the relay's.

        Without `exchange` nothing is configured to tell others of flows.
        """
        self.pool = replace(pool, hosts=tuple(NODES.values()) if exchange else ())
        self.lab = Lab(backends=BACKENDS, servers=False)
        self._kind = router
        self._stack = ExitStack()
        self._seed = seed
        self.nodes: dict[str, Node] = {}
        self.router: Router
        self.crowd: Tool
        self.exchange: LossyNetwork

    def stand(self) -> None:
        """Stand up everything but the daemons."""
        enter = self._stack.enter_context
        lab = enter(self.lab)
        spaces = {"n1": lab.balancer} | {name: Namespace(f"{lab.name}-{name}") for name in NODES if name != "n1"}
        new = [name for name in NODES if name != "n1"]
        cables = [lab._cable(spaces[name], "eth0", mac_of(own(name)), lab.switch, name) for name in new]
        _create([spaces[name] for name in new], cables)
        for name in new:
            _configure(lab.switch, (), [f"link set {name} master br0 up"])
            _configure(spaces[name], ("eth0",), lab._host(own(name)))
            self._stack.callback(XdpPass(lab.switch, name).close)
        for name in ("balancer", *new):
            # What is meant for a dead balancer is not for the others, which a veth would let have it.
            lab.switch.run("bridge", "link", "set", "dev", name, "flood", "off")
        lab.router.run("ip", "route", "delete", str(VIP))
        lab.router.run("sh", text=HASHING)
        hosts = {name: (spaces[name], host) for name, host in NODES.items()}
        self.exchange = enter(LossyNetwork(f"{lab.name}-exchange", hosts, self._seed))
        if self.pool.six:
            self.exchange.number_six()
        pairs = [f"{name}={backend.namespace.name}" for name, backend in lab.backends.items()]
        self.crowd = enter(Tool(lab.switch, "crowd", "--vip", str(VIP), *pairs))
        self.crowd.expect("ready", PATIENCE)
        self.router = enter(self._kind(lab.router, lab.directory / self._kind.name, setup()))
        for name, host in NODES.items():
            self.nodes[name] = Node(name, host, own(name), spaces[name], lab, self.pool)
            self._stack.callback(self.nodes[name].daemon.close)

    def close(self) -> None:
        """Take down everything."""
        self._stack.close()

    # ---- backends

    def address(self, name: str) -> IPv4Address:
        """The address of a backend."""
        return self.lab.backends[name].address

    def backend(self, verb: str, name: str) -> None:
        """Have the servers of a backend do something; see tests.lab.crowd."""
        self.crowd.tell(f"{verb} {name}")
        self.crowd.expect("done", PATIENCE)

    # ---- the router

    def wait_ways(self, names: Iterable[str], seconds: float = PATIENCE) -> None:
        """Wait until the router sends packets for the VIP to these balancers, and to no others."""
        wanted = tuple(sorted(str(own(name)) for name in names))
        found = lambda: self.router.kernel_routes().get(prefix_of(VIP), ()) == wanted  # noqa: E731
        self.router.wait(f"the ways {wanted}", found, seconds)

    def ways(self, flows: Iterable[Ends]) -> dict[Ends, str]:
        """Which balancer the router sends packets of each flow to now; empty where it has no route."""
        names = {str(own(name)): name for name in NODES}
        ends = list(flows)
        lines = [
            f"route get {VIP} from {each.source} iif wan ipproto {each.protocol} sport {each.port} dport {ECHO}"
            for each in ends
        ]
        if not lines:
            return {}
        found = self.router.namespace.run("ip", "-j", "-force", "-batch", "-", text="\n".join([*lines, ""]))
        rows = [json.loads(line)[0] for line in found.splitlines() if line.startswith("[{")]
        return {each: names.get(row.get("gateway", ""), "") for each, row in zip(ends, rows, strict=True)}


def own(name: str) -> IPv4Address:
    """The address of a balancer on the backends' network."""
    return BALANCER + (NODES[name] - NODES["n1"])


def ends_of(flows: Iterable[FlowRecord], protocol: str) -> dict[int, Ends]:
    """The ends of flows by their numbers, where they have any."""
    return {flow.number: Ends(protocol, flow.source, flow.port) for flow in flows if flow.source}


def setup() -> Setup:
    """What the router is configured to do."""
    neighbours = tuple(
        Neighbour(
            str(own(name)),
            BALANCERS_AS,
            passive=True,
            bfd=BFD_INTERVAL,
            bfd_multiplier=BFD_MULTIPLIER,
            restart_time=60,
        )
        for name in NODES
    )
    return Setup(ROUTER_AS, str(ROUTER), neighbours, multipath=8)
