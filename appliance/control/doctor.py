"""What speaks against XDP on the configured interfaces of this host: gathers the facts, and has `nic` judge them."""

from __future__ import annotations

import os
from dataclasses import replace

from appliance.control import segments
from appliance.control.forwarding import needed, withheld
from appliance.control.nic import Facts, Finding, Severity, findings
from appliance.errors import KernelError, Vc5Error
from appliance.model import Config, Host, Interface
from appliance.net import nic
from appliance.net.offload import Offload, enabled
from appliance.net.watch import HostWatch


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
    return {name: _examine(found.get(name), config) for name in config.interfaces}


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
