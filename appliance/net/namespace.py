"""The probe network namespace of one instance, and the veth pair that leads into it.

          host                                  namespace `root.namespace`
   XDP program on root.veth  <--- veth --->  root.veth_peer  10.255.255.254, fd76:6335:0:1::1
   no address, no ARP, no IPv6               10.0.0.0/8 and fd76:6335::/96 through it, no ARP, complete checksums

Every (VIP, backend) pair has a private address that exists in this namespace only: of an IPv4 VIP in 10.0.0.0/8, of an
IPv6 VIP in fd76:6335::/96. A packet to any of them leaves at once: the whole prefix has one next hop, and on a device
without ARP (IFF_NOARP) the kernel writes the device's own MAC as the destination and asks nobody (arp_constructor in
net/ipv4/arp.c, ndisc_constructor in net/ipv6/ndisc.c). So ten thousand checked backends cost one entry of the
neighbour table, which all namespaces share, and should the XDP program be gone, the host's stack drops the packets as
not meant for it.

Nothing else of the host is changed: no forwarding, no routes, no rules. IPv6 is switched on inside only, whatever the
host's own settings are; without router advertisements, duplicate detection and link-local addresses it says nothing
of itself. Where the kernel has no IPv6 at all, the namespace has none either.

Frames that XDP redirects into the veth arrive only while the far end has an XDP program of its own (veth_xdp_xmit in
drivers/net/veth.c); `run_in_namespace` lets the data plane attach one there.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, TypeVar

from pyroute2.iproute import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from appliance.errors import HostError, KernelError
from appliance.model import Address, Network
from appliance.net import netns, offload
from appliance.paths import Root

PROBE_NETWORK = IPv4Network("10.0.0.0/8")
PEER_ADDRESS = IPv4Address("10.255.255.254")
"""What probes are sent from."""
NEXT_HOP = IPv4Address("10.255.255.253")
"""Where the namespace sends all packets to 10.0.0.0/8; nobody has this address."""
PROBE_NETWORK6 = IPv6Network("fd76:6335::/96")
PEER_ADDRESS6 = IPv6Address("fd76:6335:0:1::1")
NEXT_HOP6 = IPv6Address("fd76:6335:0:1::2")
LAST_NAT_INDEX = (1 << 24) - 4096
"""The addresses above it are kept for the namespace itself."""
MTU = 1500

# Fixed, locally administered, "vc5" in the middle: the daemon may not look into the namespace, but knows the far end's
# MAC; and udev gives a new MAC only to a device whose own was drawn by chance.
HOST_MAC = bytes.fromhex("027663350001")
PEER_MAC = bytes.fromhex("027663350002")

_IFF_NOARP = 0x80  # linux/if.h
_RTNH_F_ONLINK = 4  # linux/rtnetlink.h: the next hop need not be in a subnet of the device
_SYSCTL = Path("/proc/sys/net")
_INSIDE_SETTINGS = {
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/{peer}/rp_filter": "0",
    "ipv6/conf/{peer}/accept_ra": "0",
    "ipv6/conf/{peer}/autoconf": "0",
    "ipv6/conf/{peer}/router_solicitations": "0",
    "ipv6/conf/{peer}/accept_dad": "0",
    "ipv6/conf/{peer}/dad_transmits": "0",
    "ipv6/conf/{peer}/addr_gen_mode": "1",  # no link-local address
    "ipv6/conf/{peer}/forwarding": "0",
    "ipv6/conf/{peer}/disable_ipv6": "0",
}
"""Kernel documentation, networking/ip-sysctl. The last comes after what must hold from the first packet on."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class ProbeLink:
    """The veth pair, as the data plane needs to know it. MACs are 6 bytes."""

    host_index: int
    """Interface index of the balancer's end, in the network namespace of the balancer."""
    host_mac: bytes
    peer_mac: bytes
    """What a frame redirected into the namespace must carry as its destination."""
    peer_address: IPv4Address
    """The source of every probe of an IPv4 VIP."""
    peer_address6: IPv6Address | None = PEER_ADDRESS6
    """Of an IPv6 VIP; None where this kernel has no IPv6."""


def nat_address(index: int, version: int = 4) -> Address:
    """Return the private address number `index` (1 .. 2^24 - 4096) of a family; raises ValueError outside."""
    if not 1 <= index <= LAST_NAT_INDEX:
        raise ValueError(f"probe address {index} is not between 1 and {LAST_NAT_INDEX}")
    return (PROBE_NETWORK6 if version == 6 else PROBE_NETWORK).network_address + index


def has_ipv6() -> bool:
    """Whether this kernel has IPv6: not where it was left out, or booted with ipv6.disable=1."""
    return (_SYSCTL / "ipv6").is_dir()


def ensure(root: Root) -> ProbeLink:
    """Make the namespace and the pair, or repair what is missing or different; safe to repeat after any interruption.

    Needs CAP_SYS_ADMIN. Raises HostError if the name of the veth is taken by something else, KernelError if the
    kernel refuses a step.
    """
    with netns.lock():
        netns.create(root.namespace)
        with IPRoute() as host:
            host_index = _find_veth(host, root)
            if host_index is None or not run_in_namespace(root, lambda: _is_pair(root, host_index)):
                _make_pair(host, root)
            _set_up_host_end(host, root)
            run_in_namespace(root, lambda: _set_up_inside(root))
    return probe_link(root)


def is_there(root: Root) -> bool:
    """Whether the namespace has its name, and the balancer's end of the pair is there; cheap, to be asked often."""
    try:
        return (netns.DIRECTORY / root.namespace).exists() and socket.if_nametoindex(root.veth) > 0
    except OSError:
        return False


def deviations(root: Root) -> list[tuple[str, str, str]]:
    """Return which settings are not as they were made, in the namespace of the caller: name, value, what it should be.

    Only those without which answers to probes are dropped; what this kernel does not have is left out.
    """
    found = []
    for setting in ("ipv4/conf/all/rp_filter", "ipv4/conf/{peer}/rp_filter", "ipv6/conf/{peer}/disable_ipv6"):
        wanted, file = _INSIDE_SETTINGS[setting], _SYSCTL / setting.format(peer=root.veth_peer)
        value = file.read_text().strip() if file.exists() else wanted
        if value != wanted:
            found.append((f"net.{setting.format(peer=root.veth_peer).replace('/', '.')}", value, wanted))
    return found


def probe_link(root: Root) -> ProbeLink:
    """Return the pair that `ensure` made; needs no privilege. Raises HostError if it is not there."""
    with IPRoute() as host:
        index = _find_veth(host, root)
    if index is None:
        raise HostError(f"interface {root.veth} is missing; start vc5-netns.service, or `vc5 run` as root")
    return ProbeLink(index, HOST_MAC, PEER_MAC, PEER_ADDRESS, PEER_ADDRESS6 if has_ipv6() else None)


def remove(root: Root) -> None:
    """Remove the pair and the namespace; quiet about what is not there. Raises KernelError, HostError as `ensure`."""
    with netns.lock():
        with IPRoute() as host:
            if _find_veth(host, root) is not None:
                _delete_link(host, root.veth)
        netns.remove(root.namespace)


def run_in_namespace(root: Root, function: Callable[[], Result]) -> Result:
    """Run `function` inside the namespace and return its result, or raise what it raises; see `netns.call_inside`."""
    return netns.call_inside(root.namespace, function)


@contextmanager
def _step(operation: str, target: str) -> Iterator[None]:
    """Name what the kernel refused."""
    try:
        yield
    except NetlinkError as error:
        hint = "needs CAP_NET_ADMIN; run it as root" if error.code == errno.EPERM else ""
        raise KernelError(operation, target, error.code, hint) from error
    except OSError as error:
        raise KernelError(operation, target, error.errno or errno.EIO) from error


def _find(route: Any, name: str) -> Any | None:
    """Return the link message of the interface, or None."""
    try:
        return route.link("get", ifname=name)[0]
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            return None
        raise KernelError("look up interface", name, error.code) from error


def _kind(link: Any) -> str:
    return str(link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "physical")


def _find_veth(host: Any, root: Root) -> int | None:
    """Return the index of the balancer's end, or None; another interface of that name is an error, never touched."""
    link = _find(host, root.veth)
    if link is None:
        return None
    if _kind(link) != "veth":
        raise HostError(
            f"interface {root.veth} is of type {_kind(link)}, not the veth of the probes; rename it, "
            "or run this instance with another --root"
        )
    return int(link["index"])


def _is_pair(root: Root, host_index: int) -> bool:
    """Tell, inside the namespace, whether the far end is here and belongs to the balancer's end."""
    with IPRoute() as inside:
        peer = _find(inside, root.veth_peer)
    return peer is not None and _kind(peer) == "veth" and peer.get_attr("IFLA_LINK") == host_index


def _delete_link(route: Any, name: str) -> None:
    with _step("delete interface", name):
        try:
            route.link("del", ifname=name)
        except NetlinkError as error:
            if error.code != errno.ENODEV:  # a dying namespace may take it first
                raise


def _make_pair(host: Any, root: Root) -> None:
    def delete_inside() -> None:
        with IPRoute() as inside:
            _delete_link(inside, root.veth_peer)

    _delete_link(host, root.veth)
    run_in_namespace(root, delete_inside)
    descriptor = os.open(netns.path(root.namespace), os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _step("create veth", root.veth):
            peer = {"ifname": root.veth_peer, "net_ns_fd": descriptor}
            host.link("add", ifname=root.veth, kind="veth", peer=peer)
    finally:
        os.close(descriptor)


def _set_up_host_end(host: Any, root: Root) -> None:
    # Before it comes up, or the kernel would already have sent multicast listener reports.
    _write_setting(f"ipv6/conf/{root.veth}/disable_ipv6", "1")
    _bring_up(host, root.veth, HOST_MAC)


def _set_up_inside(root: Root) -> None:
    for setting, value in _INSIDE_SETTINGS.items():
        _write_setting(setting.format(peer=root.veth_peer), value)
    # XDP at the balancer's end sees packets as the stack hands them over: no checksum or segment may be left to do.
    for feature in offload.Offload:
        offload.switch(root.veth_peer, feature, False)
    with IPRoute() as inside:
        with _step("set up interface", "lo"):
            inside.link("set", index=1, state="up")
        _bring_up(inside, root.veth_peer, PEER_MAC)
        index = int(_find_or_fail(inside, root.veth_peer)["index"])
        ways: list[tuple[Network, Address, Address]] = [(PROBE_NETWORK, PEER_ADDRESS, NEXT_HOP)]
        if has_ipv6():
            ways.append((PROBE_NETWORK6, PEER_ADDRESS6, NEXT_HOP6))
        for network, own, next_hop in ways:
            length = own.max_prefixlen
            with _step("add address to", root.veth_peer):
                inside.addr("replace", index=index, address=str(own), prefixlen=length)
            with _step("add route to", str(network)):
                inside.route("replace", dst=str(network), oif=index, gateway=str(next_hop), flags=_RTNH_F_ONLINK)


def _bring_up(route: Any, name: str, mac: bytes) -> None:
    link = _find_or_fail(route, name)
    with _step("set up interface", name):
        if bytes.fromhex(link.get_attr("IFLA_ADDRESS").replace(":", "")) != mac:
            route.link("set", index=link["index"], state="down")
            route.link("set", index=link["index"], address=mac.hex(":"))
        route.link("set", index=link["index"], flags=_IFF_NOARP, mask=_IFF_NOARP, mtu=MTU)
        route.link("set", index=link["index"], state="up")


def _find_or_fail(route: Any, name: str) -> Any:
    link = _find(route, name)
    if link is None:
        raise HostError(f"interface {name} vanished while it was set up; is another program managing it?")
    return link


def _write_setting(name: str, value: str) -> None:
    """Set a sysctl of the calling thread's network namespace; one that this kernel does not have needs no setting."""
    file = _SYSCTL / name
    with _step("write", str(file)):
        if file.exists() and file.read_text().strip() != value:
            file.write_text(value)
