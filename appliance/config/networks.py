"""The balancer's networks: the mode, and which prefix each VLAN has."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.config.findings import Findings
from appliance.config.reader import Fields, Given
from appliance.model import Address, Mode, Network, Vlan

NAMES = ("vlans", "vlans6")


@dataclass(frozen=True)
class Networks:
    """The mode and the VLANs by id and family. `certain` is False where a mistake leaves either open."""

    mode: Mode
    vlans: tuple[Vlan, ...]
    certain: bool
    mixed: bool = False
    """Whether there are untagged networks beside the VLANs, which only the host knows."""
    overrides: Mapping[tuple[int, int], Mapping[int, Fields]] = field(default_factory=dict)
    """The networks that say something about the servers in them: family and host bits, then the bits above those."""

    def override(self, address: Address) -> Fields | None:
        """Return what the network of a server says about it."""
        for (version, shift), networks in self.overrides.items():
            found = networks.get(int(address) >> shift) if version == address.version else None
            if found is not None:
                return found
        return None


def resolve_networks(top: Fields, findings: Findings) -> Networks:
    """Return mode and VLANs; what contradicts is in `findings`."""
    entries = [(name, key, value) for name in NAMES for key, value in _entries(top, name)]
    pairs = [(key, found) for name, key, value in entries if (found := _prefix(name, value, findings)) is not None]
    overrides: dict[tuple[int, int], dict[int, Fields]] = {}
    for _, _, value in entries:
        given = value.value.get("prefix") if isinstance(value.value, Fields) else None
        if given is not None:
            network: Network = given.value.network
            shift = network.max_prefixlen - network.prefixlen
            overrides.setdefault((network.version, shift), {})[int(network.network_address) >> shift] = value.value
    vlans = [_vlan(key.value, value.value) for key, value in pairs]
    vlans.sort(key=lambda vlan: (vlan.id, vlan.prefix.version))
    _overlaps([value for _, value in pairs], findings)
    refused = len(pairs) < len(entries) or any(name in top.refused or not _sound(top, name) for name in NAMES)
    mode = _mode(top, bool(vlans) or refused)
    if mode is None:
        return Networks(Mode.SIMPLE, tuple(vlans), False, overrides=overrides)
    _contradictions(top, mode, bool(vlans) or refused, findings)
    mixed = _mixed(top, mode, findings)
    return Networks(mode, tuple(vlans), not refused and "untagged" not in top.refused, mixed, overrides)


def _entries(top: Fields, name: str) -> tuple[tuple[Given, Given], ...]:
    given = top.get(name)
    return given.value if given else ()


def _prefix(name: str, value: Given, findings: Findings) -> Given | None:
    """Return a network with its gateway, as an interface has them, from its text or its map."""
    if not isinstance(value.value, Fields):
        return value
    prefix, gateway = value.value.get("prefix"), value.value.get("gateway")
    if prefix is None:
        return None
    interface = prefix.value
    version = 4 if name == "vlans" else 6
    if interface.version != version:
        message = f"{interface.network} is IPv{interface.version}, but `{name}` is for IPv{version}"
        findings.error(prefix.node, prefix.path, "family", message, "write it under the other one")
        return None
    if gateway is not None:
        own = interface.ip != interface.network.network_address
        if gateway.value not in interface.network or gateway.value == interface.network.network_address:
            message = f"the gateway {gateway.value} is no host of {interface.network}"
            findings.error(gateway.node, gateway.path, "address", message, "write the address of a router in it")
        elif own and gateway.value != interface.ip:
            message = f"the gateway is {gateway.value}, but the prefix names {interface.ip}"
            findings.error(gateway.node, gateway.path, "conflict", message, f"write `prefix: {interface.network}`")
        else:
            interface = ipaddress.ip_interface(f"{gateway.value}/{interface.network.prefixlen}")
    return Given(interface, prefix.node, prefix.path, value.key)


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
