"""Prefixes as the configuration writes them: networks of VLANs, and sources to block."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from appliance.config.addresses import FOUR, SIX, unusable
from appliance.config.findings import Invalid
from appliance.config.kinds import Integer, ScalarKind
from appliance.model import Network

_ID = Integer(1, 4094)

_PATTERNS = {4: rf"{FOUR}/([0-9]|[12][0-9]|3[0-2])", 6: rf"{SIX}/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8])"}
_SHAPE = re.compile(r"([0-9A-Fa-f.:]{2,45})/([0-9]{1,3})")

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def _parse(text: str) -> Interface:
    """Return an address with its prefix length; raises Invalid."""
    match = _SHAPE.fullmatch(text)
    if match and (match[2] == "0" or not match[2].startswith("0")):
        try:
            return ipaddress.ip_interface(text)
        except ValueError:
            raise Invalid(hint=_why_no_prefix(match[1], int(match[2]))) from None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise Invalid(hint="for example 10.1.10.0/24 or 2001:db8:10::/64") from None
    raise Invalid(hint=f"write the prefix length too; {address} alone is {address}/{address.max_prefixlen}")


def _why_no_prefix(address: str, length: int) -> str:
    try:
        most = ipaddress.ip_address(address).max_prefixlen
    except ValueError:
        return f"{address} is no address"
    return f"the length is at most {most}" if length > most else ""


@dataclass(frozen=True)
class VlanId(ScalarKind):
    """A VLAN id, IEEE 802.1Q: 0 and 4095 are reserved."""

    def words(self) -> str:
        return f"a VLAN id from {_ID.low} to {_ID.high}"

    def parse(self, text: str) -> int:
        return _ID.parse(text)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^([1-9][0-9]{0,2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-4])$"}


@dataclass(frozen=True)
class VlanPrefix(ScalarKind):
    """A network of one family. The value keeps the host part, which names a gateway; zero names none."""

    version: int

    def words(self) -> str:
        return f"an IPv{self.version} prefix"

    def parse(self, text: str) -> Interface:
        interface = _parse(text)
        network = interface.network
        if network.version != self.version:
            raise Invalid(hint=f"IPv{network.version} networks stand under `vlans{'6' if self.version == 4 else ''}`")
        if not network.prefixlen:
            raise Invalid(f"{network} is every address there is", "write the network of the VLAN", "range")
        word = unusable(interface.ip) or unusable(network.network_address)
        if word:
            raise Invalid(f"{interface.ip} is {word}", "write the network that the backends are in", "address")
        if interface.ip == network.broadcast_address and self.version == 4 and network.prefixlen < 31:
            message = f"the gateway {interface.ip} is the broadcast address of {network}"
            raise Invalid(message, f"write the router's address, or {network} for none", "address")
        return interface

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{_PATTERNS[self.version]}$"}


@dataclass(frozen=True)
class AnyPrefix(ScalarKind):
    """A network of either family, as `VlanPrefix` has it."""

    def words(self) -> str:
        return "an IPv4 or IPv6 prefix"

    def parse(self, text: str) -> Interface:
        return VlanPrefix(_parse(text).version).parse(text)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^({_PATTERNS[4]}|{_PATTERNS[6]})$"}


@dataclass(frozen=True)
class BlockedPrefix(ScalarKind):
    """A network of either family, without host bits."""

    def words(self) -> str:
        return "an IPv4 or IPv6 prefix"

    def parse(self, text: str) -> Network:
        interface = _parse(text)
        network = interface.network
        if interface.ip != network.network_address:
            message = f"{interface} has bits beyond its prefix length"
            raise Invalid(message, f"write {network}, or {interface.ip}/{network.max_prefixlen} for one address")
        return network

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^({_PATTERNS[4]}|{_PATTERNS[6]})$"}
