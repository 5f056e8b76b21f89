"""A lab of several networks in both families: the balancer has an interface for each, or one trunk for all.

    client ---- router ---- bridge of eth0 ---- balancer eth0     every network has a leg of the router and backends
                  |  \\----- bridge of eth1 ---- balancer eth1     on the bridge of its interface; tagged ones share it

    network N       10.1.N.0/24      2001:db8:N::/64
    router          10.1.N.1         2001:db8:N::1
    balancer        10.1.N.5         2001:db8:N::5        on the interface itself, tagged or not
    backends        10.1.N.11 ...    2001:db8:N::11 ...
    client          198.51.100.10 .. 17, 2001:db8:c::10 .. 17
    VIPs            203.0.113.10, 2001:db8:f::10

This kernel may have no VLAN interfaces, so the balancer's stack cannot speak in a VLAN: in tagged networks the
neighbours of the balancer, and the balancer as a neighbour, are permanent entries.

`members` are more trunks that end in the bridge of eth0, as a bond has: same MAC, no address. The switch never learns
which of them the balancer sends by; it sends by the first, or by one after the other (`alternate`).
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from tests.lab.addresses import CLIENT_ADDRESSES, CLIENT_GATEWAY, VIP, mac_of
from tests.lab.backend import Backend, Content
from tests.lab.bpffs import ensure_bpffs
from tests.lab.namespace import Namespace
from tests.lab.tc import access_port
from tests.lab.topology import BACKEND_SETTINGS, ROUTER_SETTINGS, Lab, _configure, _create
from tests.lab.xdp_pass import XdpPass

VIP6 = IPv6Address("2001:db8:f::10")
CLIENT_ADDRESSES6 = tuple(IPv6Address("2001:db8:c::10") + n for n in range(8))
CLIENT_GATEWAY6 = IPv6Address("2001:db8:c::1")
FLIP = "while :; do for port in {ports}; do {command}; sleep {seconds}; done; done"


@dataclass(frozen=True)
class Network:
    """A network; `id` from 1 to 99 is its VLAN as well, where it is `tagged`."""

    id: int
    interface: str = "eth0"
    tagged: bool = False

    def address(self, host: int) -> IPv4Address:
        """The IPv4 address of a host."""
        return IPv4Address(f"10.1.{self.id}.{host}")

    def address6(self, host: int) -> IPv6Address:
        """The IPv6 address that reads the same."""
        return IPv6Address(f"2001:db8:{self.id}::{host}")


ROUTER, BALANCER, FIRST = 1, 5, 11


class Site(Lab):
    """The lab; `backends` in each network, named b1, b2 ... through all networks."""

    def __init__(self, networks: Sequence[Network], backends: int = 1, members: int = 0) -> None:
        super().__init__(backends=backends * len(networks))
        self.networks = tuple(networks)
        self.network_of: dict[str, Network] = {}
        self.members = ("eth0", *(f"eth{number}" for number in range(1, 1 + members)))
        self._each = backends
        self._passes: list[XdpPass] = []
        self._flipper: subprocess.Popen[str] | None = None

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The balancer's interfaces."""
        return tuple(dict.fromkeys((*(network.interface for network in self.networks), *self.members)))

    def address(self, name: str, version: int) -> IPv4Address | IPv6Address:
        """The address of a backend in a family."""
        backend = self.backends[name]
        return backend.address if version == 4 else self.network_of[name].address6(int(backend.address) & 0xFF)

    def servers(self, version: int) -> str:
        """All backends of a family, for a configuration."""
        return ", ".join(f"'{self.address(name, version)}'" for name in self.backends)

    def close(self) -> None:
        """Remove everything."""
        if self._flipper is not None:
            self._flipper.kill()
            self._flipper.wait()
            self._flipper = None
        for passing in self._passes:
            passing.close()
        self._passes.clear()
        super().close()

    def balancer_frames(self) -> tuple[int, ...]:
        """Return how many frames have left the balancer, per CPU, over all interfaces."""
        return tuple(map(sum, zip(*(passing.frames() for passing in self._passes), strict=True)))

    def member_frames(self) -> tuple[int, ...]:
        """Return how many frames have left the balancer by each interface."""
        return tuple(sum(passing.frames()) for passing in self._passes)

    def alternate(self, seconds: float) -> None:
        """Let the switch send by another of the bond's members every so often."""
        ports = " ".join(_port(name) for name in self.members)
        command = f"bridge fdb replace {self._mac()} dev $port master static"
        script = FLIP.format(ports=ports, command=command, seconds=seconds)
        self._flipper = self.switch.spawn("sh", "-c", script)

    def route(self, vip: IPv4Address | IPv6Address, network: Network) -> None:
        """Let the router send a VIP's packets to the balancer through a network."""
        own = network.address6(BALANCER) if vip.version == 6 else network.address(BALANCER)
        self.router.run("ip", "route", "replace", str(vip), "via", str(own))

    # ---- standing up

    def _build(self) -> None:
        ensure_bpffs()
        for network in self.networks:
            for number in range(self._each):
                self._place(network, network.address(FIRST + number))
        spaces = [self.client, self.router, self.switch, self.balancer, *(b.namespace for b in self.backends.values())]
        cables = [self._cable(self.client, "eth0", mac_of(CLIENT_ADDRESSES[0]), self.router, "wan")]
        for network in self.networks:
            leg = mac_of(network.address(ROUTER))
            cables.append(self._cable(self.router, f"lan{network.id}", leg, self.switch, f"router{network.id}"))
        for interface in self.interfaces:
            cables.append(self._cable(self.balancer, interface, self._mac(interface), self.switch, _port(interface)))
        for backend in self.backends.values():
            cables.append(self._cable(backend.namespace, "eth0", backend.mac, self.switch, backend.name))
        _create(spaces, cables)
        with ThreadPoolExecutor() as pool:
            content = pool.submit(Content.make, self.directory / "content")
            jobs = [pool.submit(self._set_up_backend, backend) for backend in self.backends.values()]
            steps = (self._configure_client, self._configure_router, self._set_up_switch, self._set_up_balancer)
            jobs += [pool.submit(step) for step in steps]
            for job in jobs:
                job.result()
            self._content = content.result()
        self._passes = [XdpPass(self.switch, _port(interface)) for interface in self.interfaces]
        self._start_servers(list(self.backends.values()))

    def _place(self, network: Network, address: IPv4Address) -> None:
        name = f"b{next(self._numbers)}"
        self.backends[name] = Backend(name, address, Namespace(f"{self.name}-{name}"), self.directory / name)
        self.network_of[name] = network

    def _mac(self, interface: str = "eth0") -> str:
        if interface in self.members:
            interface = "eth0"
        first = next(network for network in self.networks if network.interface == interface)
        return mac_of(first.address(BALANCER))

    def _configure_client(self) -> None:
        lines = [f"address add {address}/24 dev eth0" for address in CLIENT_ADDRESSES]
        lines += [f"address add {address}/64 dev eth0 nodad" for address in CLIENT_ADDRESSES6]
        lines += ["link set eth0 up", f"route add default via {CLIENT_GATEWAY}"]
        _configure(self.client, ("eth0",), [*lines, f"route add ::/0 via {CLIENT_GATEWAY6}"], _settings(("eth0",)))

    def _configure_router(self) -> None:
        legs = {f"lan{network.id}": network for network in self.networks}
        lines = [f"address add {CLIENT_GATEWAY}/24 dev wan", f"address add {CLIENT_GATEWAY6}/64 dev wan nodad"]
        for name, network in legs.items():
            lines += _addresses(network, ROUTER, name)
        lines += [f"link set {name} up" for name in ("wan", *legs)]
        for name, network in legs.items():
            lines += _permanent(network, BALANCER, self._mac(network.interface), name)
        first = self.networks[0]
        lines += [f"route add {VIP} via {first.address(BALANCER)}", f"route add {VIP6} via {first.address6(BALANCER)}"]
        forwarding = (*ROUTER_SETTINGS, ("net/ipv6/conf/all/forwarding", "1"))
        _configure(self.router, ("wan", *legs), lines, (*_settings(("wan", *legs)), *forwarding))

    def _set_up_switch(self) -> None:
        lines = []
        for name in dict.fromkeys(self._bridge(interface) for interface in self.interfaces):
            lines += [f"link add {name} type bridge mcast_snooping 0", f"link set {name} up"]
        for network in self.networks:
            ports = [f"router{network.id}", *(name for name, own in self.network_of.items() if own == network)]
            lines += [f"link set {port} master {self._bridge(network.interface)} up" for port in ports]
            for port in ports if network.tagged else ():
                access_port(self.switch, port, network.id)
        lines += [f"link set {_port(name)} master {self._bridge(name)} up" for name in self.interfaces]
        _configure(self.switch, (), lines)
        script = [f"ethtool -K {_port(name)} txvlan off" for name in self.interfaces]
        if len(self.members) > 1:
            script += [f"bridge link set dev {_port(name)} learning off" for name in self.members]
            script.append(f"bridge fdb replace {self._mac()} dev {_port('eth0')} master static")
        self.switch.run("sh", "-ec", "\n".join(script))

    def _bridge(self, interface: str) -> str:
        return "br-eth0" if interface in self.members else f"br-{interface}"

    def _set_up_balancer(self) -> None:
        lines = []
        for network in self.networks:
            lines += _addresses(network, BALANCER, network.interface)
        lines += [f"link set {name} up" for name in self.interfaces]
        for network in self.networks:
            for name, own in self.network_of.items():
                host = int(self.backends[name].address) & 0xFF
                lines += _permanent(network, host, self.backends[name].mac, network.interface) if own == network else []
        _configure(self.balancer, self.interfaces, lines, _settings(self.interfaces))

    def _set_up_backend(self, backend: Backend) -> None:
        network, host = self.network_of[backend.name], int(backend.address) & 0xFF
        lines = [f"address add {VIP}/32 dev lo", f"address add {VIP6}/128 dev lo nodad"]
        lines += [*_addresses(network, host, "eth0"), "link set eth0 up"]
        lines += [f"route add default via {network.address(ROUTER)}"]
        lines += [f"route add ::/0 via {network.address6(ROUTER)}"]
        lines += _permanent(network, BALANCER, self._mac(network.interface), "eth0")
        _configure(backend.namespace, ("eth0",), lines, (*_settings(("eth0",)), *BACKEND_SETTINGS))


def _port(interface: str) -> str:
    return f"balancer-{interface}"


def _settings(interfaces: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """IPv6 on and at once, no address but the lab's, and packets may come in by another way than they would go."""
    settings = [("net/ipv6/conf/all/disable_ipv6", "0"), ("net/ipv4/conf/all/rp_filter", "0")]
    for name in interfaces:
        settings += [(f"net/ipv6/conf/{name}/accept_dad", "0"), (f"net/ipv6/conf/{name}/accept_ra", "0")]
        settings.append((f"net/ipv4/conf/{name}/rp_filter", "0"))
    return tuple(settings)


def _addresses(network: Network, host: int, interface: str) -> list[str]:
    return [
        f"address add {network.address(host)}/24 dev {interface}",
        f"address add {network.address6(host)}/64 dev {interface} nodad",
    ]


def _permanent(network: Network, host: int, mac: str, interface: str) -> list[str]:
    if not network.tagged:
        return []
    both = (network.address(host), network.address6(host))
    return [f"neighbour replace {address} lladdr {mac} dev {interface} nud permanent" for address in both]
