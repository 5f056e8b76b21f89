"""A backend that takes the outer header off with what Linux has: devices ipip, sit, ip6tnl, gre, ip6gre, FOU ports.

    python3 -m tests.vm.decapsulation NAMESPACE KIND ADDRESS VIP [PORT]

prepares the network namespace of a backend: tunnelled packets of KIND (ipip, gre, fou, gue) that come to ADDRESS are
unpacked, and those for VIP taken in. Either may be IPv4 or IPv6. `commands` says what an operator would type.

FOU and GUE only take the UDP header off; what is left is then a packet of protocol 4 or 41, for the same device that
unpacks ipip. A FOU port knows one inner protocol, so that VIPs of both families need two ports; a GUE port knows both:
it reads the inner version itself (variant 1 of draft-ietf-intarea-gue) or a header that tells it (variant 0).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from appliance.model import TunnelKind
from tests.lab.namespace import LabError, Namespace, run

Address = IPv4Address | IPv6Address

INNER_PROTOCOL: Final = {4: 4, 6: 41}
"""IP version inside -> protocol number of the outer header (RFC 2003, RFC 4213, RFC 2473)."""


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
    """Return the commands that make the device. Replies do not come through it, so no strict reverse path filter."""
    filters = [f"net.ipv4.conf.{name}.rp_filter=0" for name in ("all", device.name)]
    ends = ["local", str(address), *device.options]
    return [
        ["ip", "link", "add", device.name, "type", device.type, *ends],
        ["sysctl", "-q", "-w", *filters, f"net.ipv6.conf.{device.name}.disable_ipv6=0"],
        ["ip", "link", "set", device.name, "up"],
    ]


def port_commands(kind: TunnelKind, outer: int, inner: int, port: int) -> list[list[str]]:
    """Return the commands that open the UDP port of FOU or GUE, none for other kinds."""
    if kind not in (TunnelKind.FOU, TunnelKind.GUE):
        return []
    what = ["gue"] if kind is TunnelKind.GUE else ["ipproto", str(INNER_PROTOCOL[inner])]
    return [["ip", f"-{outer}", "fou", "add", "port", str(port), *what]]


def vip_commands(vip: Address) -> list[list[str]]:
    """Return the commands that give a backend the VIP, without a word about it on its network."""
    quiet = ["net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2", "net.ipv6.conf.lo.disable_ipv6=0"]
    return [
        ["sysctl", "-q", "-w", *quiet],
        ["ip", "link", "set", "lo", "up"],
        ["ip", "address", "replace", f"{vip}/{vip.max_prefixlen}", "dev", "lo"],
    ]


def commands(kind: TunnelKind, address: Address, vip: Address, port: int = 0) -> list[list[str]]:
    """Return all that a backend needs, in the order in which it is to be run. Raises LabError for kinds without any."""
    device = device_of(kind, address.version, vip.version)
    return [
        *device_commands(device, address),
        *port_commands(kind, address.version, vip.version, port),
        *vip_commands(vip),
    ]


def prepare(namespace: Namespace, kind: TunnelKind, address: Address, vip: Address, port: int = 0) -> Device:
    """Run the commands in a backend's namespace, and return the device whose counters show what was unpacked.

    A device or port that is there already is left as it is: other kinds and VIPs may use it. Raises LabError.
    """
    device = device_of(kind, address.version, vip.version)
    run("modprobe", "--all", *modules(kind, address.version, vip.version))
    if device.name not in namespace.statistics():
        _run(namespace, device_commands(device, address))
    opening = port_commands(kind, address.version, vip.version, port)
    if opening and f"port {port} " not in namespace.run("ip", f"-{address.version}", "fou", "show"):
        _run(namespace, opening)
    _run(namespace, vip_commands(vip))
    return device


def _run(namespace: Namespace, lines: list[list[str]]) -> None:
    for line in lines:
        namespace.run(*line)


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
