"""Backends behind NAT want a host that forwards: what is missing is told by interface and family, with what to do."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from appliance.control.forwarding import troubles
from appliance.control.nic import Facts, Severity, findings
from appliance.control.trouble import FORWARDING, Lack
from appliance.model import Backend, Forward, Mode, Protocol, Service, ServiceKey, XdpMode


def service(vip: str, forward: Forward = Forward.NAT) -> Service:
    made = Service(ServiceKey(ip_address(vip), 80, Protocol.TCP), (Backend(ip_address(vip)),), ())
    return replace(made, forward=forward)


FOUR, SIX = service("203.0.113.10"), service("2001:db8::10")


def host(root: Path, settings: dict[tuple[str, int], int]) -> Path:
    """The settings of a host's interfaces, by name and family."""
    for (name, family), value in settings.items():
        file = root / FORWARDING[family].format(name=name)
        file.parent.mkdir(parents=True)
        file.write_text(f"{value}\n")
    return root


@pytest.mark.parametrize(
    ("settings", "services", "entries"),
    [
        ({("eth0", 4): 1, ("eth0", 6): 1}, (FOUR, SIX), set()),
        ({("eth0", 4): 0, ("eth0", 6): 0}, (FOUR,), {"eth0 IPv4"}),
        ({("eth0", 4): 0, ("eth0", 6): 0}, (FOUR, SIX), {"eth0 IPv4", "eth0 IPv6"}),
        ({("eth0", 4): 1, ("eth1", 4): 0}, (FOUR,), {"eth1 IPv4"}),
        ({("eth0", 4): 0}, (service("203.0.113.10", Forward.DSR),), set()),
        ({("eth0", 4): 0}, (), set()),
        ({}, (FOUR, SIX), set()),
    ],
)
def test_troubles(
    tmp_path: Path, settings: dict[tuple[str, int], int], services: tuple[Service, ...], entries: set[str]
) -> None:
    found = troubles(("eth0", "eth1"), services, host(tmp_path, settings))
    assert {trouble.entry for trouble in found} == entries
    assert {trouble.lack for trouble in found} <= {Lack.NO_FORWARDING}


def test_what_to_do_is_said(tmp_path: Path) -> None:
    [trouble] = troubles(("eth0",), (SIX,), host(tmp_path, {("eth0", 6): 0}))
    assert trouble.text.startswith("the host does not forward IPv6 from eth0")
    assert trouble.text.endswith("set net.ipv6.conf.all.forwarding=1 (sysctl; at least net.ipv6.conf.eth0.forwarding)")
    [finding] = findings(Facts("eth0", "ixgbe", withheld=(4,)), Mode.SIMPLE, XdpMode.AUTO, 1)
    assert (finding.severity, finding.what) == (Severity.PROBLEM, "the host does not forward IPv4")
    assert finding.remedy == "set net.ipv4.ip_forward=1 (sysctl; at least net.ipv4.conf.eth0.forwarding)"
