"""Values of checks with rules of their own: names and codes of DNS, datagrams."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from appliance.config.findings import Invalid, suggestion
from appliance.config.kinds import ScalarKind
from appliance.health.diagnostic import printable
from appliance.health.pattern import MAX_PATTERN, PatternError, compiled

QTYPES = ("A", "AAAA", "NS", "SOA", "MX", "TXT", "SRV", "PTR", "CNAME", "DNSKEY", "ANY")
RCODES = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}
MAX_PAYLOAD = 1024
"""Bytes of a datagram: what fits in one packet on every path."""

_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = rf"\.|{_LABEL}(?:\.{_LABEL})*\.?"
_CODES = rf"(?:{'|'.join(RCODES)})"


@dataclass(frozen=True)
class DomainName(ScalarKind):
    """The name of a DNS question (RFC 1035 2.3.1, and underscores), without a dot at its end; the root is empty."""

    def words(self) -> str:
        return "a domain name, or . for the root"

    def parse(self, text: str) -> str:
        if len(text) > 253 or not re.fullmatch(_NAME, text):
            raise Invalid(hint="labels of 1 to 63 letters, digits, hyphens and underscores, with dots between them")
        return text.removesuffix(".")

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^({_NAME})$", "maxLength": 253}


@dataclass(frozen=True)
class BodyPattern(ScalarKind):
    """A pattern as `health.pattern` knows it. The value is its text."""

    def words(self) -> str:
        return "a regular expression"

    def parse(self, text: str) -> str:
        try:
            compiled(text)
        except PatternError as error:
            raise Invalid(hint=printable(str(error))) from None
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "maxLength": MAX_PATTERN}


@dataclass(frozen=True)
class ResponseCodes(ScalarKind):
    """DNS response codes in one text. The value is their numbers, ascending; empty means any."""

    def words(self) -> str:
        return "DNS response codes (NOERROR NXDOMAIN), or `any`"

    def parse(self, text: str) -> tuple[int, ...]:
        if text == "any":
            return ()
        names = text.split()
        for name in names:
            if name not in RCODES:
                upper = name.upper()
                raise Invalid(hint=f"did you mean {upper}?" if upper in RCODES else suggestion(name, RCODES))
        if not names:
            raise Invalid
        return tuple(sorted({RCODES[name] for name in names}))

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^(any|{_CODES}( +{_CODES})*)$"}


def rcodes_text(codes: tuple[int, ...]) -> str:
    """Return response codes as the configuration writes them."""
    names = {code: name for name, code in RCODES.items()}
    return " ".join(names[code] for code in codes) or "any"


@dataclass(frozen=True)
class Payload(ScalarKind):
    """What a datagram holds: a text, sent as UTF-8, or `hex:` and hexadecimal digits."""

    def words(self) -> str:
        return f"a text, or hex: with pairs of hexadecimal digits, of at most {MAX_PAYLOAD} bytes"

    def parse(self, text: str) -> bytes:
        data = _octets(text.removeprefix("hex:")) if text.startswith("hex:") else text.encode("utf-8", "replace")
        if not data or len(data) > MAX_PAYLOAD:
            raise Invalid
        return data

    def schema(self) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "integer"},
                {"type": "string", "pattern": "^hex:([0-9A-Fa-f]{2})+$"},
                {"type": "string", "pattern": "^(?!hex:)", "minLength": 1},
            ]
        }


def _octets(digits: str) -> bytes:
    if not re.fullmatch("([0-9A-Fa-f]{2})+", digits):
        raise Invalid(hint="for example hex:0102ff")
    return bytes.fromhex(digits)


def payload_text(data: bytes) -> str:
    """Return a datagram as the configuration writes it: as text where that is printable, else as digits."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    return text if text.isprintable() and text and not text.startswith("hex:") else f"hex:{data.hex()}"
