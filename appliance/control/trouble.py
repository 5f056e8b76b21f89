"""What keeps packets from a backend, or makes the way too narrow; when that becomes an alarm. Pure.

Troubles follow from the configuration and the host alone, so they end by themselves when the host is as it should be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from appliance.dataplane.encapsulation import LENGTHS
from appliance.model import Address, Config, Host, Mode, Service, TunnelKind

NAMED = 3
"""How many entries a text names."""
LISTED = 100
"""How many entries the details of an alarm list at most."""
LEAST_MTU = {4: 576, 6: 1280}
"""What a sender may rely on getting through, bytes, by family (RFC 791 section 3.1, RFC 8200 section 5)."""


FORWARDING = {4: "net/ipv4/conf/{name}/forwarding", 6: "net/ipv6/conf/{name}/forwarding"}
"""The kernel's settings, by family: whether what comes in at an interface is forwarded."""
EVERYWHERE = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
"""Those that switch it on at all interfaces."""


class Lack(StrEnum):
    """What is missing; the words are part of the contract of status and log."""

    INTERFACE_DOWN = "interface-down"
    NO_NETWORK = "no-network"
    """The backend is in no network that the mode reaches."""
    NO_ADDRESS = "no-address"
    """The network is known, but the balancer has no address there."""
    NO_ROUTE = "no-route"
    """The backend of a tunnel is remote, and nothing leads there."""
    MTU = "mtu-too-small"
    NO_IPV6 = "no-ipv6"
    """The kernel of the balancer has no IPv6, so nobody can send probes to an IPv6 VIP."""
    NO_FORWARDING = "no-forwarding"
    """The host drops the answers of backends behind NAT, instead of forwarding them."""
    UNRESOLVED = "unresolved"
    """The MAC address is not known (yet). Passing, and the health checks tell when it is not: no alarm."""


@dataclass(frozen=True)
class Trouble:
    """One thing that is missing; `entry` names whose fault it is, and two with the same are the same trouble."""

    lack: Lack
    entry: str
    text: str = field(compare=False)
    """For people: the entry, the mode, and what to do where that is not plain."""


@dataclass(frozen=True)
class Alarm:
    """The beginning or the end of troubles of one kind. `details` is JSON-ready."""

    message: str
    outcome: str
    """`began` or `over`."""
    details: dict[str, Any]


def of_interfaces(config: Config, host: Host) -> list[Trouble]:
    """Which configured interfaces are down. Those that are missing are `links`' to tell: the program is, too."""
    named = {interface.name for interface in host.interfaces if not interface.up}
    return [down(name, config.mode) for name in config.interfaces if name in named]


def awaited(config: Config, host: Host, hops: Iterable[tuple[int, Address]]) -> list[str]:
    """What has yet to come before everything can be forwarded, in the order in which it comes while a machine boots.

    `hops` are the next hops, by interface index and address.
    """
    found = {interface.name: interface for interface in host.interfaces}
    interfaces = [f"{name} (does not exist)" for name in config.interfaces if name not in found]
    interfaces += [f"{name} (down)" for name in config.interfaces if name in found and not found[name].up]
    unresolved = sorted({address for hop in hops if hop not in host.neighbours for address in hop[1:]}, key=_order)
    waits = [f"interface {some(interfaces)}"] if interfaces else []
    return waits + ([f"the MAC address of {some(unresolved)}"] if unresolved else [])


def _order(address: Address) -> tuple[int, int]:
    return address.version, int(address)


def some(names: Sequence[object]) -> str:
    """Return the first of some names: `a`, `a and b`, `a, b, c and 4 more`."""
    shown = [str(name) for name in names[:NAMED]]
    if len(names) > NAMED:
        shown.append(f"{len(names) - NAMED} more")
    return ", ".join(shown[:-1]) + (" and " if len(shown) > 1 else "") + "".join(shown[-1:])


def down(name: str, mode: Mode) -> Trouble:
    """An interface that is there, but cannot be used."""
    return Trouble(Lack.INTERFACE_DOWN, name, f"interface {name} is down (mode {mode})")


def overhead(service: Service, backend: Address) -> int:
    """How many bytes a packet grows by on its way to the backend."""
    if service.tunnel is None or service.tunnel.kind is TunnelKind.DSCP:
        return 0
    return LENGTHS[f"{service.tunnel.kind}{backend.version}"][1]


def of_mtu(service: Service, backend: Address, mtu: int, mode: Mode) -> Trouble | None:
    """A tunnel that has no room for packets which their senders may rely on; `mtu` in bytes, 0 if not known.

    A tunnel that only takes some room is no trouble: larger packets are answered with what fits.
    """
    extra = overhead(service, backend)
    need = LEAST_MTU[service.key.vip.version] + extra
    if not extra or not 0 < mtu < need or service.tunnel is None:
        return None
    text = (
        f"{service.key} backend {backend}: an MTU of {mtu} bytes is too small for {service.tunnel.kind}, which takes "
        f"{extra} of them; IPv{service.key.vip.version} inside needs {need} (mode {mode})"
    )
    return Trouble(Lack.MTU, f"{service.key} {backend}", text)


def without_ipv6(services: Iterable[Service]) -> frozenset[Trouble]:
    """The services that cannot be checked on a kernel without IPv6; those without checks work."""
    keys = [service.key for service in services if service.key.vip.version == 6 and service.checks]
    text = "this kernel has no IPv6, so its backends cannot be checked; boot without ipv6.disable=1, or use IPv4 VIPs"
    return frozenset(Trouble(Lack.NO_IPV6, str(key), f"{key}: {text}") for key in keys)


def to_forward(name: str, family: int) -> str:
    """What to do where an interface's packets are not forwarded."""
    setting = FORWARDING[family].format(name=name).replace("/", ".")
    return f"set {EVERYWHERE[family]}=1 (sysctl; at least {setting})"


def not_forwarded(name: str, family: int) -> Trouble:
    """An interface at which answers of backends behind NAT come in, and go no further."""
    text = f"the host does not forward IPv{family} from {name}, so answers of backends behind NAT reach no client"
    return Trouble(Lack.NO_FORWARDING, f"{name} IPv{family}", f"{text}: {to_forward(name, family)}")


def mend(trouble: Trouble) -> str:
    """What to do about it, with the command where there is one."""
    return {
        Lack.INTERFACE_DOWN: f"ip link set {trouble.entry} up; then ethtool {trouble.entry} (`Link detected`)",
        Lack.NO_NETWORK: "ip address show: the host needs an address in that network; or correct the addresses",
        Lack.NO_ADDRESS: "ip address add ADDRESS/LENGTH dev IFACE "
        "(for a VLAN, before: ip link add link TRUNK name IFACE type vlan id N; ip link set IFACE up)",
        Lack.NO_ROUTE: f"ip route add {trouble.entry} via GATEWAY; or name a gateway in `vlans`",
        Lack.MTU: "ip link set IFACE mtu 1500, on each way that tunnels take",
        Lack.NO_IPV6: "boot without ipv6.disable=1",
    }.get(trouble.lack, "see the reason")


def summarised(troubles: Iterable[Trouble]) -> list[tuple[Trouble, str]]:
    """The first trouble of each kind, with the line that names more."""
    return [(group[0], _line(group)) for group in _groups(troubles)]


def summaries(troubles: Iterable[Trouble]) -> list[str]:
    """One line for each kind of trouble, naming the first entries."""
    return [line for _, line in summarised(troubles)]


def alarms(before: frozenset[Trouble], after: frozenset[Trouble]) -> list[Alarm]:
    """What to tell when troubles change: one alarm for each kind that begins, and for each that ends."""
    found = []
    for outcome, prefix, changed in (("began", "", after - before), ("over", "over: ", before - after)):
        for group in _groups(changed):
            entries = [trouble.entry for trouble in group]
            details = {"reason": str(group[0].lack), "count": len(entries), "entries": entries[:LISTED]}
            found.append(Alarm(prefix + _line(group), outcome, details))
    return found


def _groups(troubles: Iterable[Trouble]) -> list[list[Trouble]]:
    groups: dict[Lack, list[Trouble]] = {}
    for trouble in sorted(troubles, key=lambda one: (list(Lack).index(one.lack), one.entry)):
        groups.setdefault(trouble.lack, []).append(trouble)
    return list(groups.values())


def _line(group: list[Trouble]) -> str:
    if len(group) == 1:
        return group[0].text
    named = ", ".join(trouble.entry for trouble in group[1 : 1 + NAMED])
    return f"{group[0].text}; and {len(group) - 1} more: {named}{', ...' if len(group) > 1 + NAMED else ''}"
