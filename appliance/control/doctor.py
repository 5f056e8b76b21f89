"""What is wrong with this host for a configuration. Gathers facts; `nic`, `bond_faults`, `host_faults` judge them."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from appliance.control import bond_faults, host_facts, host_faults, segments
from appliance.control.bond_faults import Member
from appliance.control.forwarding import needed, withheld
from appliance.control.nic import Facts, Finding, Severity, findings
from appliance.errors import KernelError, Vc5Error
from appliance.model import Config, Host, Interface
from appliance.net import nic, rss
from appliance.net.offload import Offload, enabled
from appliance.net.watch import HostWatch
from appliance.paths import Root

BONDS = Path("/proc/thread-self/net/bonding")
"""What each bond of the calling thread's network namespace says of itself (Documentation/networking/bonding.rst)."""


def look(config: Config) -> Host:
    """Return how the host looks now, for who does not watch it."""
    watch = HostWatch(config.interfaces, lambda: None)
    try:
        return watch.snapshot()
    finally:
        watch.close()


def examine(config: Config, host: Host) -> dict[str, tuple[Finding, ...]]:
    """Return the findings of each configured interface, in the order of the configuration; touches nothing."""
    found = {interface.name: interface for interface in host.interfaces}
    each = {name: _examine(found.get(name), config) for name in config.interfaces}
    members = _members(config, host)
    others = {member.bond: _slaves(member.bond) for member in members}
    for name, more in bond_faults.findings(members, others).items():
        each[name] = tuple(sorted((*each[name], *more), key=lambda one: list(Severity).index(one.severity)))
    return each


def examine_host(config: Config, host: Host, root: Root, daemon: int = 0) -> tuple[Finding, ...]:
    """Return the findings of the host as a whole; `daemon` is the process id of a running one, 0 for none."""
    queues = {}
    for interface in host.interfaces:
        if interface.name in config.interfaces:
            with suppress(Vc5Error):  # told where the interface is examined
                queues[interface.name] = nic.read(interface.name).rx_queues
    return host_faults.findings(host_facts.gather(config, host, root, queues, daemon))


def _members(config: Config, host: Host) -> list[Member]:
    """The configured interfaces that are members of bonds."""
    bonds = {interface.index: interface.name for interface in host.interfaces}
    found = []
    for interface in host.interfaces:
        bond = bonds.get(interface.master)
        if interface.name in config.interfaces and bond is not None and (BONDS / bond).exists():
            with suppress(Vc5Error):
                spread, read = rss.read(interface.name), nic.read(interface.name)
                more = (interface.mtu, max(1, read.rx_queues), spread.table, spread.key, spread.fields)
                found.append(Member(interface.name, bond, *more))
    return found


def _slaves(bond: str) -> tuple[str, ...]:
    """The names of all members of a bond."""
    try:
        lines = (BONDS / bond).read_text(errors="replace").splitlines()
    except OSError:
        return ()
    rows = (line.partition(":") for line in lines)
    return tuple(value.strip() for name, _, value in rows if name == "Slave Interface")


def _examine(interface: Interface | None, config: Config) -> tuple[Finding, ...]:
    if interface is None:
        why = "there is no interface of this name in this network namespace"
        return (Finding(Severity.PROBLEM, "it does not exist", why, "create it, or correct `interfaces`"),)
    try:
        facts = replace(_facts(interface), withheld=withheld(interface.name, needed(config.services)))
    except Vc5Error as error:
        return (Finding(Severity.PROBLEM, "it cannot be examined", str(error), "see the reason"),)
    judged = findings(facts, config.mode, config.xdp, os.cpu_count() or 1)
    return (*judged, *segments.findings(interface.mtu, config.services))


def _facts(interface: Interface) -> Facts:
    read = nic.read(interface.name)
    return Facts(
        interface.name,
        read.driver,
        interface.mtu,
        max(1, read.rx_queues),
        read.most_rx_queues,
        read.vlan_stripping,
        read.vlan_stripping_fixed,
        read.lro,
        read.gro_hw,
        _sends_half_checksums(interface.name),
    )


def _sends_half_checksums(name: str) -> bool:
    try:
        return enabled(name, Offload.TX_CHECKSUM)
    except KernelError:
        return False  # the driver has no such thing


def headlines(config: Config, host: Host) -> dict[str, str]:
    """Return a line for each interface with something worse than a note."""
    lines = {}
    for name, found in examine(config, host).items():
        if bad := [one.what for one in found if one.severity is not Severity.NOTE]:
            lines[name] = f"{'; '.join(bad)} (`vc5 doctor` tells why, and what to do)"
    return lines
