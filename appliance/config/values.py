"""Values with rules of their own: status codes, paths, the hash seed, segment sizes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from appliance.config.findings import Invalid
from appliance.config.kinds import Integer, ScalarKind

_CODE = "[1-9][0-9]{2}"
_CODES = rf"{_CODE}(-{_CODE})?"


@dataclass(frozen=True)
class StatusCodes(ScalarKind):
    """HTTP status codes in one text: `200`, `200 300-399`, `any`. The value is a set; empty means any."""

    def words(self) -> str:
        return "HTTP status codes (200), with ranges (200 300-399), or `any`"

    def parse(self, text: str) -> frozenset[int]:
        if text == "any":
            return frozenset()
        codes: set[int] = set()
        for part in text.split():
            if not re.fullmatch(_CODES, part):
                raise Invalid(hint="write `any` to accept every status" if part == "0" else "")
            first, _, last = part.partition("-")
            ends = sorted((int(first), int(last or first)))
            codes.update(range(ends[0], ends[1] + 1))
        if not codes:
            raise Invalid
        return frozenset(codes)

    def schema(self) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 999},
                {"type": "string", "pattern": rf"^(any|{_CODES}( +{_CODES})*)$"},
            ]
        }


@dataclass(frozen=True)
class RequestPath(ScalarKind):
    """The path of a request (RFC 9112 3.2.1: origin form); a leading slash is added where it is missing."""

    def words(self) -> str:
        return "a path of printable ASCII without blanks"

    def parse(self, text: str) -> str:
        if not re.fullmatch(r"[!-\"$-~]{1,1024}", text):
            raise Invalid(hint="encode other characters as %XX; a fragment (#) is never sent")
        return text if text.startswith("/") else "/" + text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^[!-\"$-~]{1,1024}$"}


@dataclass(frozen=True)
class Seed(ScalarKind):
    """A secret of 128 bits, written as 32 hexadecimal digits."""

    def words(self) -> str:
        return "32 hexadecimal digits"

    def parse(self, text: str) -> bytes:
        if not re.fullmatch("[0-9A-Fa-f]{32}", text):
            # The text is a secret, though not a valid one: it must not get into a message.
            raise Invalid(f"must be 32 hexadecimal digits; this has {len(text)} characters", _MAKE)
        if len(set(text.lower())) == 1:
            raise Invalid("all digits are the same; anybody can guess that", _MAKE, "weak")
        return bytes.fromhex(text)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^[0-9A-Fa-f]{32}$", "not": {"pattern": r"^(.)\1*$"}}


@dataclass(frozen=True)
class SegmentSize(ScalarKind):
    """A TCP maximum segment size in bytes, at least 536 (RFC 9293 3.7.1), or 0."""

    def words(self) -> str:
        return f"0 or {_SEGMENT.words()}"

    def parse(self, text: str) -> int:
        return 0 if text == "0" else _SEGMENT.parse(text)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"const": 0}, _SEGMENT.schema()]}


@dataclass(frozen=True)
class Percentage(ScalarKind):
    """A share, written as `50%`; the value is between 0 and 1, both included."""

    def words(self) -> str:
        return "a percentage from 0% to 100%"

    def parse(self, text: str) -> float:
        if re.fullmatch("[0-9]{1,3}", text):
            raise Invalid(hint=f"did you mean {text}%?")
        if not re.fullmatch("[0-9]{1,3}%", text):
            raise Invalid
        if int(text[:-1]) > 100:
            raise Invalid(code="range")
        return int(text[:-1]) / 100

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^0*([0-9]{1,2}|100)%$", "maxLength": 4}


_SEGMENT = Integer(536, 65535)

_MAKE = "make one with `openssl rand -hex 16`"
