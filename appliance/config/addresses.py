"""Addresses as the configuration writes them: VIPs with their mark, servers with mark and weight."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from appliance.config.findings import Invalid
from appliance.config.kinds import Integer, ScalarKind
from appliance.config.nodes import quote
from appliance.model import Address

WEIGHT = Integer(0, 100)

# RFC 6890 and RFC 5735, RFC 4291 for IPv6: addresses that no packet to or from another host may carry, or that are no
# single host.
_UNUSABLE = tuple(
    (ipaddress.ip_network(network), word)
    for network, word in (
        ("0.0.0.0/8", "an unspecified address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("::/128", "an unspecified address"),
        ("::1/128", "a loopback address"),
        ("::ffff:0:0/96", "an IPv4-mapped address"),
        ("fe80::/10", "a link-local address"),
        ("ff00::/8", "a multicast address"),
    )
)

_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
FOUR = rf"({_OCTET}\.){{3}}{_OCTET}"
"""An IPv4 address, for JSON Schema."""
SIX = "[0-9A-Fa-f]{0,4}(:[0-9A-Fa-f]{0,4}){2,7}"
"""Roughly an IPv6 address, likewise."""
ADDRESS = rf"({FOUR}|{SIX}|\[{SIX}\])"
"""Either, an IPv6 address with brackets or without."""


def parse_address(text: str) -> Address:
    """Return the unicast address; an IPv6 address may stand in brackets. Raises Invalid."""
    if len(text) > 64:
        raise Invalid
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        raise Invalid(hint=why_no_address(text)) from None
    if isinstance(address, ipaddress.IPv4Address) and bare is not text:
        raise Invalid(hint="only an IPv6 address stands in brackets")
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise Invalid(hint="a zone (%) means something on one host only; write a global address")
    word = unusable(address)
    if word:
        mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped
        hint = f"write {mapped}" if mapped else "write the unicast address of one host"
        raise Invalid(f"{bare if mapped else address} is {word}", hint, "address")
    return address


def unusable(address: Address) -> str:
    """Return what an address is that no single host has; nothing for a unicast address."""
    return next((word for network, word in _UNUSABLE if address in network), "")


def why_no_address(text: str) -> str:
    """Return advice for a text that is no address; empty for none."""
    if re.fullmatch(r"([0-9.]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)/[0-9]+", text):
        return "write the address alone, without a prefix length"
    if re.fullmatch(r"([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]+", text):
        return "write the address alone; the port comes from `policy`"
    if re.fullmatch(r"[0-9.]+", text):
        return "four numbers from 0 to 255, without leading zeros, with dots between them"
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9.-]*", text):
        return "names are not resolved; write the address"
    if re.fullmatch(r"\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?", text):
        return "an IPv6 address has eight groups of up to four hexadecimal digits, or one ::"
    return ""


@dataclass(frozen=True)
class HostAddress(ScalarKind):
    """A plain unicast address, of one family or of either."""

    version: int | None = None

    def words(self) -> str:
        return f"an IPv{self.version} address" if self.version else "an IPv4 or IPv6 address"

    def parse(self, text: str) -> Address:
        address = parse_address(text)
        if self.version not in (None, address.version):
            raise Invalid
        return address

    def schema(self) -> dict[str, Any]:
        patterns = {None: ADDRESS, 4: FOUR, 6: rf"({SIX}|\[{SIX}\])"}
        return {"type": "string", "pattern": f"^{patterns[self.version]}$"}


@dataclass(frozen=True)
class VirtualAddress:
    """A VIP; `enabled` is False where it carries the mark `*`."""

    address: Address
    enabled: bool = True


@dataclass(frozen=True)
class VirtualKind(ScalarKind):
    """A VIP: `192.0.2.1`, `192.0.2.1*`, `2001:db8::1`, `[2001:db8::1]*`."""

    def words(self) -> str:
        return "an IPv4 or IPv6 address"

    def parse(self, text: str) -> VirtualAddress:
        return VirtualAddress(parse_address(text.removesuffix("*")), not text.endswith("*"))

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^{ADDRESS}\*?$"}


@dataclass(frozen=True)
class Server:
    """One entry of a server list; `weight` is None where it gives none. A disabled one gets no new flows."""

    address: Address
    weight: int | None = None
    enabled: bool = True


@dataclass(frozen=True)
class ServerKind(ScalarKind):
    """A server in one text: `10.1.1.5`, `10.1.1.5*`, `10.1.1.5 weight=3`, `10.1.1.5* weight=3`."""

    def words(self) -> str:
        return "an IPv4 or IPv6 address, with `*` if disabled, with `weight=N` if not 1"

    def parse(self, text: str) -> Server:
        first, *options = text.split(" ") if text else [""]
        address = parse_address(first.removesuffix("*"))
        weight = None
        options = [option for option in options if option]
        for option in options:
            name, _, value = option.partition("=")
            if name != "weight" or len(options) > 1:
                raise Invalid(hint="after the address comes only `weight=N`; a map takes address, weight and enabled")
            try:
                weight = WEIGHT.parse(value)
            except Invalid as invalid:
                message = f"weight must be {WEIGHT.words()}, not {quote(value)}"
                raise Invalid(message, invalid.hint, invalid.code) from None
        return Server(address, weight, not first.endswith("*"))

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^{ADDRESS}\*?( +weight=(100|[1-9]?[0-9]))?$"}


_NAME = r"[A-Za-z0-9_]([A-Za-z0-9_.\-]*[A-Za-z0-9_.])?(:[1-9][0-9]{0,4})?"


@dataclass(frozen=True)
class HostName(ScalarKind):
    """What a Host header names (RFC 9110 7.2): a name or an address, with a port or without.

    An IPv6 address with a port stands in brackets; without one the value has none, however it was written.
    """

    def words(self) -> str:
        return "a host name or IP address"

    def parse(self, text: str) -> str:
        if len(text) <= 255 and re.fullmatch(_NAME, text):
            return text
        match = re.fullmatch(rf"({SIX})|\[({SIX})\](:[1-9][0-9]{{0,4}})?", text)
        try:
            if match:
                address = ipaddress.IPv6Address(match[1] or match[3])
                return f"[{address}]{match[5]}" if match[5] else str(address)
        except ValueError:
            pass
        raise Invalid(hint="letters, digits, hyphens and dots, or an address; no scheme, no path")

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^({_NAME}|{SIX}|\[{SIX}\](:[1-9][0-9]{{0,4}})?)$", "maxLength": 255}
