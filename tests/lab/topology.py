"""The lab: a client, a router, a switch, the balancer and its backends, each a network namespace.

    client                   router                                  switch              balancer
   +--------------------+   +------------------------------------+  +--------------+   +-------------------+
   | eth0               |   | wan                            lan |  |    br0       |   | eth0              |
   | 198.51.100.10..17 -+---+- 198.51.100.1          10.1.10.1  -+--+- router      |   |                   |
   +--------------------+   |                                    |  |    balancer -+---+- 10.1.10.5        |
                            | 203.0.113.10 (VIP) via 10.1.10.5   |  |    (xdp pass)|   | (the XDP program) |
                            +------------------------------------+  |              |   +-------------------+
                                                                    |              |    b1, b2, ... bN
                                                                    |              |   +-------------------+
                                                                    |    b1       -+---+- eth0 10.1.10.11  |
                                                                    |    b2 ...    |   |  lo   203.0.113.10|
                                                                    +--------------+   +-------------------+

A request goes client - router - balancer - backend, its answer backend - router - client (direct server return).
Nobody but the backends has the VIP; they keep silent about it in ARP.

Rules that veth asks for, or frames are lost without a word:
  - a passing XDP program on the switch's end of the balancer's cable (see tests.lab.xdp_pass);
  - no checksum offload where traffic begins: XDP_TX sends the half-made checksum as it is.

All names begin with `vc5lab-PID-N`, everything else is in /run/vc5-lab/vc5lab-PID-N, so labs can run beside each other.
The file `owner` in there is locked while the lab's process lives; `Lab.sweep` removes labs whose owner is gone.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path
from typing import IO, Any, Self

from tests.lab.addresses import BALANCER, CLIENT_ADDRESSES, CLIENT_GATEWAY, FIRST_BACKEND, ROUTER, VIP, mac_of
from tests.lab.backend import Backend, Content
from tests.lab.bpffs import ensure_bpffs
from tests.lab.debris import PREFIX, lab_directory, remove_lab, sweep
from tests.lab.lock import exclusive, take
from tests.lab.namespace import LabError, Namespace, run
from tests.lab.standing import Standing
from tests.lab.xdp_pass import XdpPass

_serial = itertools.count(1)

# Quiet and quick, and ports below 60000 are left to the traffic tools, which choose theirs themselves.
SETTINGS = (
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv4/ip_local_port_range", "60000 65535"),
)
ROUTER_SETTINGS = (("net/ipv4/ip_forward", "1"),)
# ip-sysctl: answer ARP only for addresses of the receiving interface, and never speak in a VIP's name.
BACKEND_SETTINGS = (("net/ipv4/conf/all/arp_ignore", "1"), ("net/ipv4/conf/all/arp_announce", "2"))


class Lab(Standing):
    """A context manager: the whole lab stands when it is entered, and is gone without a trace when it is left."""

    def __init__(
        self,
        backends: int = 3,
        vips: Iterable[IPv4Address | str] = (VIP,),
        servers: bool = True,
        mtu: int = 1500,
    ) -> None:
        """Describe a lab with that many backends; `servers=False` starts neither nginx nor the echo servers.

        `mtu`, in bytes, is that of every cable.
        """
        self.name = f"{PREFIX}{os.getpid()}-{next(_serial)}"
        self.directory = lab_directory(self.name)
        self.vips = [IPv4Address(vip) for vip in vips]
        self.client = Namespace(f"{self.name}-client")
        self.router = Namespace(f"{self.name}-router")
        self.switch = Namespace(f"{self.name}-switch")
        self.balancer = Namespace(f"{self.name}-balancer")
        self.backends: dict[str, Backend] = {}
        self._wanted = backends
        self._mtu = mtu
        self._servers = servers
        self._numbers = itertools.count(1)
        self._owner: IO[str] | None = None
        self._content: Content | None = None
        self._pass: XdpPass | None = None

    # ---- standing up and going away

    def __enter__(self) -> Self:
        if os.geteuid():
            raise LabError("a lab of network namespaces needs root")
        self.sweep()
        with exclusive("labs"):
            self.directory.mkdir()
            self._owner = take(self.directory / "owner")
        return super().__enter__()

    def stand(self) -> None:
        """Build it."""
        self._build()

    def close(self) -> None:
        """Remove everything: processes, namespaces, pins, files. Does nothing the second time, or after `keep`."""
        if self._pass:
            self._pass.close()
            self._pass = None
        if self._owner is None:
            return
        for backend in self.backends.values():
            backend.kill_servers()
        remove_lab(self.name)
        self._owner.close()
        self._owner = None

    def keep(self) -> None:
        """Leave the lab standing when this process ends; `Lab.sweep(kept=True)` removes it then."""
        (self.directory / "kept").touch()
        for backend in self.backends.values():
            backend.disown_servers()
        if self._owner:
            self._owner.close()
            self._owner = None

    @staticmethod
    def sweep(kept: bool = False) -> list[str]:
        """Remove the labs of processes that are no more, with `kept` also those left on purpose; return their names."""
        return sweep(kept)

    def _build(self) -> None:
        ensure_bpffs()
        lan = mac_of(ROUTER)
        hosts = [self.client, self.router, self.switch, self.balancer]
        new = [self._new_backend() for _ in range(self._wanted)]
        _create(
            [*hosts, *(backend.namespace for backend in new)],
            [
                self._cable(self.client, "eth0", mac_of(CLIENT_ADDRESSES[0]), self.router, "wan"),
                self._cable(self.router, "lan", lan, self.switch, "router"),
                self._cable(self.balancer, "eth0", mac_of(BALANCER), self.switch, "balancer"),
                *(self._cable(backend.namespace, "eth0", backend.mac, self.switch, backend.name) for backend in new),
            ],
        )
        with ThreadPoolExecutor() as pool:  # each of these waits for one child process
            content = pool.submit(Content.make, self.directory / "content") if self._servers else None
            jobs = [pool.submit(self._configure_backend, backend) for backend in new]
            jobs += [
                pool.submit(self._configure_client),
                pool.submit(self._configure_router),
                pool.submit(self._configure_switch, [backend.name for backend in new]),
                pool.submit(_configure, self.balancer, ("eth0",), self._host(BALANCER)),
            ]
            for job in jobs:
                job.result()
            self._content = content.result() if content else None
        self._pass = XdpPass(self.switch, "balancer")
        self._start_servers(new)

    def _configure_client(self) -> None:
        addresses = [f"address add {address}/24 dev eth0" for address in CLIENT_ADDRESSES]
        _configure(self.client, ("eth0",), [*addresses, "link set eth0 up", f"route add default via {CLIENT_GATEWAY}"])

    def _configure_router(self) -> None:
        lines = [f"address add {CLIENT_GATEWAY}/24 dev wan", f"address add {ROUTER}/24 dev lan"]
        lines += ["link set wan up", "link set lan up", *(f"route add {vip} via {BALANCER}" for vip in self.vips)]
        _configure(self.router, ("wan", "lan"), lines, ROUTER_SETTINGS)

    def _configure_switch(self, ports: list[str]) -> None:
        lines = ["link add br0 type bridge mcast_snooping 0", "link set br0 up"]
        lines += [f"link set {port} master br0 up" for port in ("router", "balancer", *ports)]
        _configure(self.switch, (), lines)

    def _configure_backend(self, backend: Backend) -> None:
        lines = [*self._host(backend.address), *(f"address add {vip}/32 dev lo" for vip in self.vips)]
        _configure(backend.namespace, ("eth0",), lines, BACKEND_SETTINGS)

    def _host(self, address: IPv4Address) -> list[str]:
        return [f"address add {address}/24 dev eth0", "link set eth0 up", f"route add default via {ROUTER}"]

    def _cable(self, near: Namespace, interface: str, mac: str, far: Namespace, far_interface: str) -> str:
        """Return the `ip -batch` line for a veth pair between two namespaces."""
        here, there = f"{interface} netns {near.name} address {mac}", f"{far_interface} netns {far.name}"
        return f"link add {here} mtu {self._mtu} type veth peer name {there} mtu {self._mtu}"

    # ---- backends

    def _new_backend(self) -> Backend:
        number = next(self._numbers)
        address = FIRST_BACKEND + number - 1
        name = f"b{number}"
        backend = Backend(name, address, Namespace(f"{self.name}-{name}"), self.directory / name)
        self.backends[name] = backend
        return backend

    def _start_servers(self, backends: list[Backend]) -> None:
        if self._content is None:
            return
        for backend in backends:
            backend.start_servers(self._content)
        for backend in backends:
            backend.wait_ready()

    @property
    def content(self) -> Content:
        """What the backends' nginx serve, needed to start servers again. Raises LabError in a lab without servers."""
        if self._content is None:
            raise LabError("this lab was made without servers")
        return self._content

    def add_backend(self) -> Backend:
        """Plug in one more backend, with the next name and address, and start its servers."""
        backend = self._new_backend()
        _create([backend.namespace], [self._cable(backend.namespace, "eth0", backend.mac, self.switch, backend.name)])
        _configure(self.switch, (), [f"link set {backend.name} master br0 up"], ())
        self._configure_backend(backend)
        self._start_servers([backend])
        return backend

    def remove_backend(self, name: str) -> None:
        """Make a backend vanish, cable and all; its address is not used again."""
        backend = self.backends.pop(name)
        backend.kill_servers()
        self.switch.run("ip", "link", "delete", name)
        run("ip", "netns", "delete", backend.namespace.name)

    def unplug(self, name: str) -> None:
        """Pull a backend's cable out of the switch: it falls silent, and keeps its addresses and routes."""
        self.switch.run("ip", "link", "set", name, "down")

    def plug(self, name: str) -> None:
        """Put a backend's cable back."""
        self.switch.run("ip", "link", "set", name, "up")

    # ---- VIPs and routes

    def add_vip(self, vip: IPv4Address | str) -> None:
        """Give one more VIP to all backends and route it to the balancer."""
        address = IPv4Address(vip)
        for backend in self.backends.values():
            backend.namespace.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        self.route_vip(address, BALANCER)
        self.vips.append(address)

    def route_vip(self, vip: IPv4Address | str, via: IPv4Address) -> None:
        """Let the router send a VIP's packets to the host at `via`: the balancer, or past it directly to a backend."""
        self.router.run("ip", "route", "replace", str(vip), "via", str(via))

    # ---- looking

    def balancer_frames(self) -> tuple[int, ...]:
        """Return how many frames have left the balancer, per CPU that they were processed on."""
        if self._pass is None:
            raise LabError("the lab does not stand")
        return self._pass.frames()

    def counters(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return the counters of all interfaces: {"balancer": {"eth0": {"rx_packets": 1, ...}}, "b1": ...}."""
        named = {"client": self.client, "router": self.router, "switch": self.switch, "balancer": self.balancer}
        named |= {name: backend.namespace for name, backend in self.backends.items()}
        return {name: namespace.statistics() for name, namespace in named.items()}

    def root(self, name: str = "vc5") -> Path:
        """Return a directory for `vc5 --root`; what the daemon shares with the whole kernel is swept with the lab."""
        directory = self.directory / "roots" / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def describe(self) -> dict[str, Any]:
        """Return the lab as JSON-ready data, for build/lab.json."""
        return {
            "name": self.name,
            "directory": str(self.directory),
            "namespaces": {
                "client": self.client.name,
                "router": self.router.name,
                "switch": self.switch.name,
                "balancer": self.balancer.name,
                **{name: backend.namespace.name for name, backend in self.backends.items()},
            },
            "addresses": {
                "client": [str(address) for address in CLIENT_ADDRESSES],
                "router": str(ROUTER),
                "balancer": str(BALANCER),
                **{name: str(backend.address) for name, backend in self.backends.items()},
            },
            "vips": [str(vip) for vip in self.vips],
        }


def _create(namespaces: list[Namespace], cables: list[str]) -> None:
    lines = [f"netns add {namespace.name}" for namespace in namespaces]
    run("ip", "-batch", "-", text="\n".join([*lines, *cables, ""]))


def _configure(
    namespace: Namespace,
    interfaces: tuple[str, ...],
    lines: list[str],
    settings: tuple[tuple[str, str], ...] = (),
) -> None:
    """Configure one namespace with a single shell: settings, no checksum offload on the interfaces, `ip` lines."""
    script = ["set -e"]
    script += [f"echo {value} > /proc/sys/{name}" for name, value in (*SETTINGS, *settings)]
    script += [f"ethtool -K {interface} tx off > /dev/null" for interface in interfaces]
    script += ["ip -batch - <<END", "link set lo up", *lines, "END"]
    namespace.run("sh", text="\n".join([*script, ""]))
