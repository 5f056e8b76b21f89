"""The balancer's networks: the mode, and which prefix each VLAN has."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from appliance.config.findings import Findings
from appliance.config.reader import Fields, Given
from appliance.model import Mode, Vlan

NAMES = ("vlans", "vlans6")


@dataclass(frozen=True)
class Networks:
    """The mode and the VLANs by id and family. `certain` is False where a mistake leaves either open."""

    mode: Mode
    vlans: tuple[Vlan, ...]
    certain: bool
    mixed: bool = False
    """Whether there are untagged networks beside the VLANs, which only the host knows."""


def resolve_networks(top: Fields, findings: Findings) -> Networks:
    """Return mode and VLANs; what contradicts is in `findings`."""
    pairs = [(key, value) for name in NAMES for key, value in _entries(top, name)]
    vlans = [_vlan(key.value, value.value) for key, value in pairs]
    vlans.sort(key=lambda vlan: (vlan.id, vlan.prefix.version))
    _overlaps([value for _, value in pairs], findings)
    refused = any(name in top.refused or not _sound(top, name) for name in NAMES)
    mode = _mode(top, bool(vlans) or refused)
    if mode is None:
        return Networks(Mode.SIMPLE, tuple(vlans), False)
    _contradictions(top, mode, bool(vlans) or refused, findings)
    mixed = _mixed(top, mode, findings)
    return Networks(mode, tuple(vlans), not refused and "untagged" not in top.refused, mixed)


def _entries(top: Fields, name: str) -> tuple[tuple[Given, Given], ...]:
    given = top.get(name)
    return given.value if given else ()


def _sound(top: Fields, name: str) -> bool:
    given = top.get(name)
    return given is None or given.sound


def _vlan(number: int, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> Vlan:
    network = interface.network
    return Vlan(number, network, interface.ip if interface.ip != network.network_address else None)


def _mode(top: Fields, vlans: bool) -> Mode | None:
    """Return the mode that is given, or that follows from the rest; None where what is given is refused."""
    if "mode" in top.refused:
        return None
    given = top.get("mode")
    if given:
        mode: Mode = given.value
        return mode
    untagged = top.get("untagged")
    if not vlans:
        return Mode.SIMPLE
    return Mode.MULTI_NIC if untagged and untagged.value else Mode.VLAN


def _contradictions(top: Fields, mode: Mode, vlans: bool, findings: Findings) -> None:
    given = top.get("mode")
    if given is None:
        return
    if mode is Mode.VLAN and not vlans:
        hint = "for example vlans: {10: 10.1.10.0/24}"
        findings.error(given.node, given.path, "missing", "mode vlan needs `vlans` or `vlans6`", hint)
    untagged = top.get("untagged")
    if untagged and untagged.value is (mode is Mode.VLAN):
        message = f"mode {mode} is {'tagged' if mode is Mode.VLAN else 'untagged'}"
        findings.error(untagged.node, untagged.path, "conflict", message, "remove `untagged`; the mode says it")
    for name in NAMES:
        networks = top.get(name)
        if mode is Mode.SIMPLE and networks and networks.value:
            assert networks.key is not None
            message = f"mode simple has no VLANs, but `{name}` is given"
            hint = f"write `mode: vlan` or `mode: multi-nic`, or remove `{name}`"
            findings.error(networks.key, networks.path, "conflict", message, hint)


def _mixed(top: Fields, mode: Mode, findings: Findings) -> bool:
    given = top.get("mixed_tags")
    if given is None or not given.value:
        return False
    if mode is not Mode.VLAN:
        message = f"`mixed_tags` goes with mode vlan, not {mode}"
        findings.error(given.node, given.path, "conflict", message, "name the tagged networks in `vlans`, or remove it")
    return mode is Mode.VLAN


def _overlaps(prefixes: list[Given], findings: Findings) -> None:
    """Report every prefix that begins inside an earlier one of its family, in the order of addresses."""
    ordered = sorted(prefixes, key=lambda given: (given.value.version, given.value.network))
    widest: Given | None = None
    for given in ordered:
        network = given.value.network
        if widest is None or not widest.value.network.overlaps(network):
            widest = given
            continue
        first, second = sorted((widest, given), key=lambda one: (one.node.line, one.node.column))
        where = f"{first.value.network} at {first.node.where}"
        message = f"{second.value.network} overlaps {where}"
        findings.error(second.node, second.path, "overlap", message, "an address must be in one network only")
