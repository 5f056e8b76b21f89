"""Values of routing: AS numbers, communities, peers, filters."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from appliance.config.addresses import ADDRESS, FOUR, SIX, why_no_address
from appliance.config.findings import Invalid, suggestion
from appliance.config.kinds import Integer, ScalarKind
from appliance.config.nodes import quote
from appliance.config.prefixes import BlockedPrefix
from appliance.model import Address, Network
from appliance.model_bgp import Community

# RFC 7607, RFC 6793 (AS_TRANS), RFC 7300.
_RESERVED_AS = {
    0: "is reserved",
    23456: "stands for those that old routers do not know",
    65535: "is reserved",
    2**32 - 1: "is reserved",
}


@dataclass(frozen=True)
class AsNumber(ScalarKind):
    """An AS number of four octets, as a number or as two halves with a dot between them (RFC 5396: asdot)."""

    def words(self) -> str:
        return "an AS number (65001, 4200000001 or 64086.59905)"

    def parse(self, text: str) -> int:
        if not re.fullmatch(r"(0|[1-9][0-9]{0,9})(\.(0|[1-9][0-9]{0,4}))?", text):
            raise Invalid
        high, dot, low = text.partition(".")
        if dot and max(int(high), int(low)) > 0xFFFF:
            raise Invalid(hint="each half is at most 65535", code="range")
        number = int(high) << 16 | int(low) if dot else int(high)
        if number >= 2**32:
            raise Invalid(hint="an AS number is at most 4294967294", code="range")
        if number in _RESERVED_AS:
            raise Invalid(f"the AS number {number} {_RESERVED_AS[number]}", "write that of your network", "range")
        return number

    def schema(self) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 2**32 - 2},
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 65536},
                {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,9})(\.(0|[1-9][0-9]{0,4}))?$"},
            ]
        }


@dataclass(frozen=True)
class HoldTime(ScalarKind):
    """The hold time in whole seconds; the dialect writes 0 for the default."""

    default: int

    def words(self) -> str:
        return f"a whole number of seconds from 3 to 65535, or 0 for {self.default}"

    def parse(self, text: str) -> int:
        try:
            return self.default if text == "0" else Integer(3, 0xFFFF).parse(text)
        except Invalid as invalid:
            raise Invalid(hint=invalid.hint or "RFC 4271 allows no less", code=invalid.code) from None

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"const": 0}, {"type": "integer", "minimum": 3, "maximum": 0xFFFF}]}


@dataclass(frozen=True)
class Hops(ScalarKind):
    """How many hops away a peer may be: 1 to 255, yes for 255, no for 0, which means next to this host."""

    def words(self) -> str:
        return "a number of hops from 1 to 255, or yes or no"

    def parse(self, text: str) -> int:
        word = text.lower()
        if word in ("yes", "true", "on"):
            return 255
        return 0 if word in ("no", "false", "off") else Integer(1, 255).parse(text)

    def schema(self) -> dict[str, Any]:
        words = "[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[Yy][Ee][Ss]|[Nn][Oo]|[Oo][Nn]|[Oo][Ff][Ff]"
        return {"anyOf": [{"type": "boolean"}, Integer(1, 255).schema(), {"type": "string", "pattern": f"^({words})$"}]}


# IANA's registry of well-known communities: RFC 1997, 3765, 7611, 7999, 8326, 9494.
WELL_KNOWN = {
    "no-export": (0xFFFF, 0xFF01),
    "no-advertise": (0xFFFF, 0xFF02),
    "no-export-subconfed": (0xFFFF, 0xFF03),
    "no-peer": (0xFFFF, 0xFF04),
    "graceful-shutdown": (0xFFFF, 0),
    "accept-own": (0xFFFF, 1),
    "llgr-stale": (0xFFFF, 6),
    "no-llgr": (0xFFFF, 7),
    "blackhole": (0xFFFF, 666),
}

_NAMES = f"the names are {', '.join(WELL_KNOWN)}"


@dataclass(frozen=True)
class CommunityKind(ScalarKind):
    """A community: `65000:10`, a well-known name, or a large one `65000:1:2`."""

    def words(self) -> str:
        return "a community (65000:10), a large one (65000:1:2), or a name such as no-export"

    def parse(self, text: str) -> Community:
        if text in WELL_KNOWN:
            return Community(WELL_KNOWN[text])
        parts = text.split(":")
        if len(parts) not in (2, 3) or not all(re.fullmatch("0|[1-9][0-9]{0,9}", part) for part in parts):
            hint = "" if re.match("[0-9-]", text) or len(text) > 60 else suggestion(text, WELL_KNOWN) or _NAMES
            raise Invalid(hint=hint)
        numbers = tuple(int(part) for part in parts)
        most = 0xFFFF if len(parts) == 2 else 2**32 - 1
        if max(numbers) > most:
            raise Invalid(hint=f"each part of this kind is at most {most}", code="range")
        return Community(numbers)

    def schema(self) -> dict[str, Any]:
        names = "|".join(WELL_KNOWN)
        return {"type": "string", "pattern": f"^({names}|[0-9]{{1,10}}(:[0-9]{{1,10}}){{1,2}})$"}


@dataclass(frozen=True)
class PeerAddress(ScalarKind):
    """A router's address; an IPv6 address may stand in brackets. A router daemon on this host is on loopback."""

    def words(self) -> str:
        return "a router's IPv4 or IPv6 address"

    def parse(self, text: str) -> Address:
        bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        try:
            address = ipaddress.ip_address(bare)
        except ValueError:
            port = len(text) <= 64 and re.fullmatch(r"([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]+", text)
            hint = "write the address alone; sessions go to port 179" if port else why_no_address(text[:64])
            raise Invalid(hint=hint) from None
        if address.version == 4 and bare is not text:
            raise Invalid(hint="only an IPv6 address stands in brackets")
        if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
            raise Invalid(hint="a zone (%) is not supported; write a global address")
        if address.version == 6 and address.is_link_local:
            raise Invalid(f"{address} is a link-local address", "write a global address", "address")
        if address.is_multicast or address.is_unspecified or address == ipaddress.IPv4Address("255.255.255.255"):
            raise Invalid(f"{address} is no address of a router", "write the router's own address", "address")
        return address

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{ADDRESS}$"}


EVERYWHERE: tuple[Network, ...] = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
"""What `any` means."""

ANY = "any"
PREFIX_NAME = r"[A-Za-z0-9][A-Za-z0-9_.\-]*"
# What is meant as an address or a prefix, right or wrong.
_NUMERIC = re.compile(r"[0-9.]+|.*[:/].*", re.DOTALL)


@dataclass(frozen=True)
class PrefixOrAddress(ScalarKind):
    """A prefix without host bits, or one address."""

    def words(self) -> str:
        return "an IPv4 or IPv6 prefix or address"

    def parse(self, text: str) -> Network:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return BlockedPrefix().parse(text)
        if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
            raise Invalid(hint="a zone (%) means nothing here; remove it")
        return ipaddress.ip_network(address)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^({FOUR}(/[0-9]{{1,2}})?|{SIX}(/[0-9]{{1,3}})?)$"}


@dataclass(frozen=True)
class Filter(ScalarKind):
    """An entry of `accept` or `reject`. The value is a tuple of networks, or the text of a name of `prefixes`."""

    def words(self) -> str:
        return "a prefix, an address, a name of `prefixes`, or any"

    def parse(self, text: str) -> tuple[Network, ...] | str:
        if text == ANY:
            return EVERYWHERE
        if _NUMERIC.fullmatch(text):
            return (PrefixOrAddress().parse(text),)
        if len(text) > 64 or not re.fullmatch(PREFIX_NAME, text):
            raise Invalid
        return text

    def schema(self) -> dict[str, Any]:
        pattern = f"{PREFIX_NAME}|{PrefixOrAddress().schema()['pattern'].strip('^$')}"
        return {"type": "string", "pattern": f"^({pattern})$"}


@dataclass(frozen=True)
class PrefixName(ScalarKind):
    """The name of a list of prefixes, which nothing in a filter could mistake for something else."""

    def words(self) -> str:
        return "a name of letters, digits, hyphens, dots and underscores"

    def parse(self, text: str) -> str:
        if text == ANY or _NUMERIC.fullmatch(text):
            raise Invalid(f"{quote(text)} is no name: in a filter it would mean something else", "choose another")
        if len(text) > 64 or not re.fullmatch(PREFIX_NAME, text):
            raise Invalid
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^({PREFIX_NAME})$"}
