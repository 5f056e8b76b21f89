"""What speaks against XDP on the configured interfaces of this host."""

from __future__ import annotations

import os

from appliance.control.nic import Finding, Severity, findings
from appliance.errors import KernelError
from appliance.model import Config
from appliance.net import nic


def examine(config: Config) -> dict[str, tuple[Finding, ...]]:
    """Return the findings of each configured interface, in the order of the configuration; touches nothing."""
    return {name: _examine(name, config) for name in config.interfaces}


def _examine(name: str, config: Config) -> tuple[Finding, ...]:
    try:
        facts = nic.read(name)
    except KernelError as error:
        return (Finding(Severity.PROBLEM, "it cannot be examined", str(error), "create it, or correct `interfaces`"),)
    return findings(facts, config.mode, config.xdp, os.cpu_count() or 1)


def headlines(config: Config) -> list[str]:
    """Return a line for each interface with something worse than a note."""
    lines = []
    for name, found in examine(config).items():
        if bad := [one.what for one in found if one.severity is not Severity.NOTE]:
            lines.append(f"{name}: {'; '.join(bad)} (`vc5 doctor` tells why, and what to do)")
    return lines
