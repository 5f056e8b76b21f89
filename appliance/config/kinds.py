"""The kinds of value that settings have. Each kind reads a text, describes itself to people and in JSON Schema.

A scalar kind turns a text into a value or raises Invalid. The containers are plain data, interpreted by `reader`,
`schema` and `reference`, so that a kind may refer to a section whose settings are declared later.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from appliance.config.findings import Invalid, suggestion
from appliance.config.nodes import quote


class Place(Enum):
    """A map of the document whose keys are declared settings."""

    TOP = "top level"
    SERVICE = "service"
    SERVER = "server"
    POLICY = "policy"
    CHECK = "check"
    DEFAULTS = "map of defaults"
    VLAN = "VLAN"
    BGP = "map of BGP"
    GROUP = "group of BGP peers"
    ROUTES = "map of a service's routes"
    BFD = "map of BFD"
    LOGGING = "map of logging"
    ELASTICSEARCH = "map of Elasticsearch"
    CONSOLE = "map of the console"
    FLEET = "map of the fleet"


class ScalarKind(ABC):
    """A value that is written as one text."""

    accepts_null = False
    """Whether nothing at all is a value of this kind (then `parse` gets an empty text)."""

    @abstractmethod
    def words(self) -> str:
        """What is accepted, for "must be WORDS"."""

    @abstractmethod
    def parse(self, text: str) -> Any:
        """Return the value; raises Invalid."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value as an editor sees it."""


@dataclass(frozen=True)
class ListOf:
    """A list of `at_least` to `at_most` items; `one` also accepts a single item without the list."""

    item: Kind
    accepted: str
    one: bool = False
    at_least: int = 0
    at_most: int | None = None
    null_is_empty: bool = False


@dataclass(frozen=True)
class MapOf:
    """A map whose keys are data (names, policy forms), not settings."""

    key: ScalarKind
    value: Kind
    accepted: str
    at_least: int = 0
    null_is_empty: bool = False


@dataclass(frozen=True)
class Section:
    """A map whose keys are the settings of a place."""

    place: Place
    accepted: str
    null_is_empty: bool = False


@dataclass(frozen=True)
class Either:
    """A text of one kind, or a collection of another."""

    scalar: ScalarKind
    other: ListOf | MapOf | Section
    accepted: str


Kind = ScalarKind | ListOf | MapOf | Section | Either


def words_of(kind: Kind) -> str:
    """Return what a kind accepts, for "must be WORDS"."""
    return kind.words() if isinstance(kind, ScalarKind) else kind.accepted


@dataclass(frozen=True)
class Integer(ScalarKind):
    """A whole number of decimal digits, from `low` to `high` inclusive."""

    low: int
    high: int

    def words(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def parse(self, text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise Invalid
        if text.lstrip("-").startswith("0") and text != "0":
            raise Invalid(hint="write the number in decimal, without leading zeros")
        number = int(text)
        if not self.low <= number <= self.high:
            raise Invalid(code="range")
        return number

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Duration(ScalarKind):
    """A time in seconds, from `low` to `high` inclusive; written as seconds or with one of ms, s, m, h."""

    low: float
    high: float

    def words(self) -> str:
        return f"a time from {duration_text(self.low)} to {duration_text(self.high)}"

    def parse(self, text: str) -> float:
        match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|)", text)
        if not match:
            raise Invalid(hint="write seconds, or a number with a unit: 500ms, 2s, 15m, 1h")
        seconds = round(float(match[1]) * _UNITS[match[2]], 6)
        if not self.low <= seconds <= self.high:
            raise Invalid(code="range")
        return seconds

    def schema(self) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "number", "minimum": self.low, "maximum": self.high},
                {"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,9})?(ms|s|m|h)$"},
            ]
        }


def duration_text(seconds: float) -> str:
    """Return seconds as people write them: `500ms`, `2s`, `15m`, `4h`."""
    for unit, factor in (("h", 3600.0), ("m", 60.0), ("s", 1.0)):
        if seconds >= factor and seconds % factor == 0:
            return f"{int(seconds / factor)}{unit}"
    return f"{seconds:g}s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:g}ms"


@dataclass(frozen=True)
class Boolean(ScalarKind):
    """Yes or no, in any of YAML's words for it, in upper or lower case."""

    def words(self) -> str:
        return "true or false (or yes, no, on, off)"

    def parse(self, text: str) -> bool:
        word = text.lower() if text.isascii() else ""
        if word in ("true", "yes", "on"):
            return True
        if word in ("false", "no", "off"):
            return False
        raise Invalid

    def schema(self) -> dict[str, Any]:
        words = "[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[Yy][Ee][Ss]|[Nn][Oo]|[Oo][Nn]|[Oo][Ff][Ff]"
        return {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": f"^({words})$"}]}


@dataclass(frozen=True)
class Choice(ScalarKind):
    """One word of a list.

    `later` holds words of the dialect that this version cannot do, each with a hint; `also` holds those that mean the
    same as another, and are accepted without being offered.
    """

    values: Mapping[str, Any]
    later: Mapping[str, str] = field(default_factory=dict)
    also: Mapping[str, Any] = field(default_factory=dict)

    def words(self) -> str:
        return alternatives(self.values)

    def parse(self, text: str) -> Any:
        if text in self.values:
            return self.values[text]
        if text in self.also:
            return self.also[text]
        if text in self.later:
            raise Invalid(f"{quote(text)} is not supported by this version", self.later[text], "unsupported")
        found = suggestion(text, self.values)
        upper = text.upper()
        raise Invalid(hint=f"did you mean {upper}?" if upper in self.values else found)

    def schema(self) -> dict[str, Any]:
        return {"enum": [*self.values, *self.also]}


@dataclass(frozen=True)
class Text(ScalarKind):
    """A text that matches a regular expression (one that Python and ECMAScript read alike)."""

    pattern: str
    accepted: str
    hint: str = ""
    most: int = 255

    def words(self) -> str:
        return self.accepted

    def parse(self, text: str) -> str:
        if len(text) > self.most or not re.fullmatch(self.pattern, text) or not text.isprintable():
            raise Invalid(hint=self.hint)
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^({self.pattern})$", "maxLength": self.most}


def alternatives(words: Mapping[str, Any]) -> str:
    """Return `a, b or c`."""
    names = list(words)
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
