"""What a network interface's driver, queues and offloads mean for XDP. Pure; `doctor` gathers the facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from appliance.control.trouble import to_forward
from appliance.dataplane.shape import ONE_BUFFER_MTU
from appliance.model import Mode, XdpMode

HALF_FOR_XDP = frozenset({"ena", "gve"})
"""Drivers that take a program only while at most half of their queues are in use: the others send for it."""
UPPER = {
    "802.1Q VLAN Support": ("a VLAN interface", "name the interface below it, and use `mode: vlan`"),
    "bridge": ("a bridge", "name the port of it that leads to the network"),
    "bonding": ("a bond", "name its members, each of which then gets the program"),
}
"""Drivers of interfaces on top of others."""


class Severity(StrEnum):
    """How much a finding matters: it will not work, it works badly, it is good to know."""

    PROBLEM = "problem"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that speaks against XDP on an interface: what it is, why it matters, what to do."""

    severity: Severity
    what: str
    why: str
    remedy: str

    def as_json(self) -> dict[str, Any]:
        """Return the finding in the form of `vc5 doctor --json`."""
        return {"severity": str(self.severity), "what": self.what, "why": self.why, "remedy": self.remedy}


@dataclass(frozen=True)
class Facts:
    """The facts of an interface. Queues are those that receive; `most_queues` is 0 where the driver does not say.

    `vlan_stripping`: tags are taken off before the program sees the frame; `fixed`: that cannot be switched. `lro`,
    `gro_hw`: several frames are made one. `tx_checksums`: senders leave checksums to the hardware. `mtu` in bytes.
    """

    name: str
    driver: str
    mtu: int = 1500
    queues: int = 1
    most_queues: int = 0
    vlan_stripping: bool = False
    vlan_stripping_fixed: bool = False
    lro: bool = False
    gro_hw: bool = False
    tx_checksums: bool = False
    withheld: tuple[int, ...] = ()
    """Families that the host does not forward from here, and has to."""


def findings(nic: Facts, mode: Mode, xdp: XdpMode, cpus: int) -> tuple[Finding, ...]:
    """Everything to say of an interface that is to be attached to, on a host with so many CPUs; the worst first."""
    found = [
        *_layers(nic, xdp),
        *_offloads(nic, mode),
        *_frames(nic, xdp),
        *_queues(nic, xdp, cpus),
        *_veth(nic),
        *_ways(nic),
    ]
    order = list(Severity)
    return tuple(sorted(found, key=lambda one: order.index(one.severity)))


def _layers(nic: Facts, xdp: XdpMode) -> Iterator[Finding]:
    if nic.driver in UPPER:
        what, remedy = UPPER[nic.driver]
        bad = xdp is XdpMode.NATIVE and nic.driver != "bonding"
        severity = Severity.PROBLEM if bad else Severity.WARNING
        yield Finding(severity, f"it is {what}", "the driver below does the work; XDP here is slow, or refused", remedy)


def _ways(nic: Facts) -> Iterator[Finding]:
    for family in nic.withheld:
        yield Finding(
            Severity.PROBLEM,
            f"the host does not forward IPv{family}",
            "answers of backends behind NAT leave by the host's routes, and reach no client",
            to_forward(nic.name, family),
        )


def _offloads(nic: Facts, mode: Mode) -> Iterator[Finding]:
    for on, name in ((nic.lro, "lro"), (nic.gro_hw, "rx-gro-hw")):
        if on:
            yield Finding(
                Severity.WARNING,
                f"{name} is on",
                "frames are merged before the program sees them; many drivers refuse a program meanwhile",
                f"ethtool -K {nic.name} {name} off; where that is fixed, the hypervisor has to, or `xdp: generic`",
            )
    if nic.vlan_stripping and mode is Mode.VLAN:
        fixed = nic.vlan_stripping_fixed
        yield Finding(
            Severity.PROBLEM if fixed else Severity.NOTE,
            "VLAN tags are stripped" + (", and the driver does not let that be switched" if fixed else ""),
            "the program cannot see of which VLAN a frame is",
            "use another NIC" if fixed else "nothing: it is switched off while the program is attached",
        )


def _frames(nic: Facts, xdp: XdpMode) -> Iterator[Finding]:
    if nic.mtu > ONE_BUFFER_MTU and xdp is not XdpMode.GENERIC:
        yield Finding(
            Severity.NOTE,
            f"the MTU is {nic.mtu}",
            "frames come in several buffers; the program is made for that, but not every driver is",
            f"where the driver refuses: ip link set {nic.name} mtu {ONE_BUFFER_MTU}, or less; or `xdp: generic`",
        )


def _queues(nic: Facts, xdp: XdpMode, cpus: int) -> Iterator[Finding]:
    native = xdp is not XdpMode.GENERIC
    if native and nic.driver in HALF_FOR_XDP and nic.most_queues and nic.queues > nic.most_queues // 2:
        half = max(1, nic.most_queues // 2)
        yield Finding(
            Severity.PROBLEM if xdp is XdpMode.NATIVE else Severity.WARNING,
            f"{nic.queues} of {nic.most_queues} queues are in use",
            f"{nic.driver} wants as many again to send for the program, and refuses native XDP",
            f"ethtool -L {nic.name} combined {half}",
        )
        return
    if native and nic.driver == "virtio_net" and nic.most_queues < nic.queues + cpus:
        yield Finding(
            Severity.WARNING,
            f"too few queue pairs: {nic.most_queues} for {nic.queues} in use and {cpus} CPUs",
            "where each CPU has no pair of its own to send with, CPUs take turns (older kernels refuse native XDP)",
            f"give the virtual machine a device with {nic.queues + cpus} queue pairs",
        )
    if nic.queues < cpus and nic.driver not in UPPER and nic.driver != "veth":
        more = nic.most_queues > nic.queues
        yield Finding(
            Severity.WARNING if more else Severity.NOTE,
            f"{nic.queues} of {cpus} CPUs receive",
            "each queue is served by one CPU; the others have nothing to do",
            f"ethtool -L {nic.name} combined {min(cpus, nic.most_queues)}" if more else "nothing, or another NIC",
        )


def _veth(nic: Facts) -> Iterator[Finding]:
    if nic.driver != "veth":
        return
    yield Finding(
        Severity.WARNING,
        "its other end may lose what is sent",
        "a veth takes frames from XDP only while GRO is on or a program runs where they arrive",
        "at the other end: ethtool -K PEER gro on",
    )
    if nic.tx_checksums:
        yield Finding(
            Severity.WARNING,
            "checksums may be left unmade",
            "senders on this machine leave them to hardware that a veth is not, and XDP passes frames on as they are",
            "where such traffic begins: ethtool -K IFACE tx off",
        )
