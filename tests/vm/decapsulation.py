"""A backend that takes the outer header off with what Linux has: devices ipip, sit, ip6tnl, gre, ip6gre, FOU ports.

    python3 -m tests.vm.decapsulation NAMESPACE KIND ADDRESS VIP [PORT]

prepares the network namespace of a backend: tunnelled packets of KIND (ipip, gre, fou, gue) that come to ADDRESS are
unpacked, and those for VIP taken in. Either may be IPv4 or IPv6. `commands` says what an operator would type.

FOU and GUE only take the UDP header off; what is left is then a packet of protocol 4 or 41, for the same device that
unpacks ipip. A FOU port knows one inner protocol, so that VIPs of both families need two ports; a GUE port knows both:
it reads the inner version itself (variant 1 of draft-ietf-intarea-gue) or a header that tells it (variant 0).
"""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from appliance.model import TunnelKind
from tests.lab.namespace import LabError, Namespace, run

Address = IPv4Address | IPv6Address

INNER_PROTOCOL: Final = {4: 4, 6: 41}
"""IP version inside -> protocol number of the outer header (RFC 2003, RFC 4213, RFC 2473)."""

SETTINGS: Final = (
    # The answers to what comes out of the device leave by another one, so no reverse path filter; the highest counts.
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.conf.all.arp_ignore", "1"),
    ("net.ipv4.conf.all.arp_announce", "2"),
    ("net.ipv6.conf.default.disable_ipv6", "0"),
    ("net.ipv6.conf.lo.disable_ipv6", "0"),
)
"""What a backend's kernel is told before the device is made, which inherits it (ip-sysctl)."""


@dataclass(frozen=True)
class Device:
    """A tunnel device that accepts packets from everywhere. Its kernel module has `module` for a name."""

    type: str
    module: str
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What `prepare` calls it; one of each type is enough for an address."""
        return f"in-{self.type}"


# (outer version, inner version)
IP_IN_IP: Final = {
    (4, 4): Device("ipip", "ipip"),
    (4, 6): Device("sit", "sit"),
    (6, 4): Device("ip6tnl", "ip6_tunnel", ("mode", "any")),
    (6, 6): Device("ip6tnl", "ip6_tunnel", ("mode", "any")),
}
GRE: Final = {
    (4, 4): Device("gre", "ip_gre"),
    (4, 6): Device("gre", "ip_gre"),
    (6, 4): Device("ip6gre", "ip6_gre"),
    (6, 6): Device("ip6gre", "ip6_gre"),
}


def device_of(kind: TunnelKind, outer: int, inner: int) -> Device:
    """Return the device that unpacks IP `inner` (4 or 6) from IP `outer`. Raises LabError for kinds without one."""
    if kind is TunnelKind.DSCP:
        raise LabError("a tunnel of kind dscp has no outer header, so there is nothing to take off")
    return (GRE if kind is TunnelKind.GRE else IP_IN_IP)[outer, inner]


def modules(kind: TunnelKind, outer: int, inner: int) -> list[str]:
    """Return the kernel modules that receiving needs; `ip` loads them itself where it may."""
    fou = ["fou"] if kind in (TunnelKind.FOU, TunnelKind.GUE) else []
    return [*fou, device_of(kind, outer, inner).module]


def device_commands(device: Device, address: Address) -> list[list[str]]:
    """Return the commands that make the device."""
    add = ["ip", "link", "add", device.name, "type", device.type, "local", str(address), *device.options]
    return [add, ["ip", "link", "set", device.name, "up"]]


def port_commands(kind: TunnelKind, outer: int, inner: int, port: int) -> list[list[str]]:
    """Return the commands that open the UDP port of FOU or GUE, none for other kinds."""
    if kind not in (TunnelKind.FOU, TunnelKind.GUE):
        return []
    what = ["gue"] if kind is TunnelKind.GUE else ["ipproto", str(INNER_PROTOCOL[inner])]
    return [["ip", f"-{outer}", "fou", "add", "port", str(port), *what]]


def vip_commands(vip: Address) -> list[list[str]]:
    """Return the commands that give a backend the VIP; SETTINGS keep it silent about it on its network."""
    prefix = f"{vip}/{vip.max_prefixlen}"
    return [["ip", "link", "set", "lo", "up"], ["ip", "address", "replace", prefix, "dev", "lo"]]


def commands(kind: TunnelKind, address: Address, vip: Address, port: int = 0) -> list[list[str]]:
    """Return all that a backend needs, in the order in which it is to be run. Raises LabError for kinds without any."""
    outer, inner = address.version, vip.version
    return [
        ["modprobe", "--all", *modules(kind, outer, inner)],
        ["sysctl", "-w", *(f"{name}={value}" for name, value in SETTINGS)],
        *device_commands(device_of(kind, outer, inner), address),
        *vip_commands(vip),
        *port_commands(kind, outer, inner, port),
    ]


def prepare(namespace: Namespace, kind: TunnelKind, address: Address, vip: Address, port: int = 0) -> Device:
    """Do in a backend's namespace what `commands` says; return the device whose counters show what was unpacked.

    A device or port that is there already is left as it is: other kinds and VIPs may use it. Raises LabError.
    Few processes are started: each takes a tenth of a second in an emulated machine.
    """
    outer, inner = address.version, vip.version
    device = device_of(kind, outer, inner)
    if not all(Path("/sys/module", module).exists() for module in modules(kind, outer, inner)):
        run("modprobe", "--all", *modules(kind, outer, inner))
    there = namespace.call(_set_and_look)
    lines = vip_commands(vip) if device.name in there else [*device_commands(device, address), *vip_commands(vip)]
    namespace.run("ip", "-batch", "-", text="".join(f"{' '.join(line[1:])}\n" for line in lines))
    for line in port_commands(kind, outer, inner, port):
        if f"port {port} " not in namespace.run("ip", f"-{outer}", "fou", "show"):
            namespace.run(*line)
    return device


def received(space: Namespace, device: str) -> int:
    """Return how many packets came out of a device of the space."""
    text = space.call(lambda: Path("/proc/thread-self/net/dev").read_text(encoding="ascii"))
    [line] = [line for line in text.splitlines() if line.strip().startswith(f"{device}:")]
    return int(line.partition(":")[2].split()[1])


def _set_and_look() -> list[str]:
    for name, value in SETTINGS:
        Path("/proc/sys", name.replace(".", "/")).write_text(value)
    return [name for _, name in socket.if_nameindex()]


def main(argv: list[str]) -> None:
    if len(argv) not in (4, 5):
        sys.exit("usage: python3 -m tests.vm.decapsulation NAMESPACE KIND ADDRESS VIP [PORT]")
    try:
        kind, address, vip = TunnelKind(argv[1]), ip_address(argv[2]), ip_address(argv[3])
        prepare(Namespace(argv[0]), kind, address, vip, int(argv[4]) if argv[4:] else 0)
    except (ValueError, LabError) as error:
        sys.exit(f"decapsulation: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
