"""Values of the fleet: keys, other nodes, rates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from appliance.config.addresses import ADDRESS, FOUR, SIX, parse_address
from appliance.config.findings import Invalid
from appliance.config.kinds import Integer, ScalarKind
from appliance.model_address import Endpoint
from appliance.model_fleet import LEAST_KEY

MOST_KEY = 1024
_MAKE = "make one with `openssl rand -hex 16`"
_PORT = Integer(1, 65535)


@dataclass(frozen=True)
class FleetKey(ScalarKind):
    """A secret text that all nodes share, which no message repeats; the value is its octets (UTF-8)."""

    def words(self) -> str:
        return f"a secret of {LEAST_KEY} to {MOST_KEY} characters"

    def parse(self, text: str) -> bytes:
        octets = text.encode("utf-8", "replace")
        if not text.isprintable() or not LEAST_KEY <= len(octets) <= MOST_KEY:
            raise Invalid(f"must be {self.words()}, all printable; this has {len(text)}", _MAKE)
        if len(set(text)) == 1:
            raise Invalid("all characters are the same; anybody can guess that", _MAKE, "weak")
        return octets

    def schema(self) -> dict[str, Any]:
        text = {"type": "string", "minLength": LEAST_KEY, "maxLength": MOST_KEY, "not": {"pattern": r"^(.)\1*$"}}
        return {"anyOf": [text, {"type": "integer", "minimum": 10 ** (LEAST_KEY - 1)}]}


@dataclass(frozen=True)
class FleetPeer(ScalarKind):
    """Another node: `10.1.1.2`, `10.1.1.2:9876`, `2001:db8::2`, `[2001:db8::2]:9876`; port 0 where none is named."""

    def words(self) -> str:
        return "a node's address (10.1.1.2, 2001:db8::2), with its port if that is another (10.1.1.2:9877)"

    def parse(self, text: str) -> Endpoint:
        match = re.fullmatch(r"([0-9.]+|\[[^\]]*\]):([0-9]+)", text) if len(text) <= 64 else None
        if match is None:
            return Endpoint(parse_address(text), 0)
        try:
            port = _PORT.parse(match[2])
        except Invalid as invalid:
            raise Invalid(f"the port must be {_PORT.words()}", invalid.hint, invalid.code) from None
        return Endpoint(parse_address(match[1]), port)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^({ADDRESS}|({FOUR}|\[{SIX}\]):[1-9][0-9]{{0,4}})$"}


_UNITS = {"": 1, "k": 1_000, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000}


@dataclass(frozen=True)
class ByteRate(ScalarKind):
    """Octets a second, from `low` to `high` inclusive; written with one of k, M, G (powers of 1,000) or without."""

    low: int
    high: int

    def words(self) -> str:
        return f"bytes a second from {rate_text(self.low)} to {rate_text(self.high)}"

    def parse(self, text: str) -> int:
        match = re.fullmatch(r"([1-9][0-9]{0,11})([kKMG]?)", text)
        if not match:
            raise Invalid(hint="write a whole number, with a unit or without: 500k, 4M, 1G")
        rate = int(match[1]) * _UNITS[match[2]]
        if not self.low <= rate <= self.high:
            raise Invalid(code="range")
        return rate

    def schema(self) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "integer", "minimum": self.low, "maximum": self.high},
                {"type": "string", "pattern": "^[1-9][0-9]{0,11}[kKMG]?$"},
            ]
        }


def rate_text(rate: int) -> str:
    """Return octets a second as people write them: `500k`, `4M`, `1G`."""
    for unit, factor in (("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)):
        if rate >= factor and rate % factor == 0:
            return f"{rate // factor}{unit}"
    return str(rate)
