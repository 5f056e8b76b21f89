"""How long connections live and pause: distributions, and the classes of connections that a site has."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist
from typing import Any, Protocol

QUANTILES = 4096
"""A distribution is so many values of equal chance. So its mean is exact, however heavy its tail."""


class SimulationError(ValueError):
    """An input that makes no sense; the text says where and why."""


class Law(Protocol):
    """A distribution of seconds, by its quantile function."""

    def quantile(self, share: float) -> float:
        """The value below which `share` (above 0, below 1) of all lie."""


@dataclass(frozen=True)
class Exponential:
    """Without memory; `mean` in seconds."""

    mean: float

    def quantile(self, share: float) -> float:
        """The value below which `share` of all lie."""
        return -self.mean * math.log1p(-share)


@dataclass(frozen=True)
class LogNormal:
    """Heavy-tailed; `median` in seconds, `sigma` the standard deviation of the natural logarithm."""

    median: float
    sigma: float

    def quantile(self, share: float) -> float:
        """The value below which `share` of all lie."""
        return self.median * math.exp(self.sigma * NormalDist().inv_cdf(share))


@dataclass(frozen=True)
class Pareto:
    """Heavier still; `least` in seconds, `alpha` the exponent of the tail, above 1."""

    least: float
    alpha: float

    def quantile(self, share: float) -> float:
        """The value below which `share` of all lie."""
        return float(self.least * (1 - share) ** (-1 / self.alpha))


@dataclass(frozen=True)
class Measured:
    """What somebody measured: (share, seconds), both rising; between them the logarithm is taken to be linear."""

    points: tuple[tuple[float, float], ...]

    def quantile(self, share: float) -> float:
        """The value below which `share` of all lie."""
        low = self.points[0]
        for high in self.points:
            if share <= high[0]:
                part = (share - low[0]) / (high[0] - low[0]) if high[0] > low[0] else 0.0
                return float(low[1] * (high[1] / low[1]) ** part)
            low = high
        return low[1]


@dataclass(frozen=True)
class Kind:
    """A class of connections: their share of all new ones, how long they live, how long they pause between packets."""

    name: str
    share: float
    lifetime: Law
    pause: Law

    @cached_property
    def lifetimes(self) -> tuple[float, ...]:
        """Values of equal chance, seconds."""
        return _values(self.lifetime)

    @cached_property
    def pauses(self) -> tuple[float, ...]:
        """Values of equal chance, seconds."""
        return _values(self.pause)

    @property
    def mean(self) -> float:
        """The mean lifetime, seconds."""
        return sum(self.lifetimes) / QUANTILES


def _values(law: Law) -> tuple[float, ...]:
    return tuple(law.quantile((at + 0.5) / QUANTILES) for at in range(QUANTILES))


DEFAULT = (
    Kind("requests", 0.90, LogNormal(4.0, 1.2), Exponential(1.0)),
    Kind("downloads", 0.09, LogNormal(40.0, 1.3), Exponential(2.0)),
    Kind("websockets", 0.008, LogNormal(2400.0, 1.0), Exponential(30.0)),
    Kind("pools", 0.002, LogNormal(3600.0, 1.0), LogNormal(120.0, 1.0)),
)
"""Most connections are short, most of those that are open at any time are long, and some are silent for minutes."""

_LAWS: dict[str, tuple[type[Exponential] | type[LogNormal] | type[Pareto], tuple[str, ...]]] = {
    "exponential": (Exponential, ("mean",)),
    "lognormal": (LogNormal, ("median", "sigma")),
    "pareto": (Pareto, ("least", "alpha")),
}
LONGEST = 1e7
"""Nothing lasts longer, seconds."""


def read(path: Path) -> tuple[Kind, ...]:
    """Read the classes of a site from a JSON file (docs/planning.md shows one).

    Raises SimulationError, which names the place, where it cannot be read or makes no sense.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text)
    except OSError as error:
        raise SimulationError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SimulationError(f"{path}: not JSON: {error}") from None
    try:
        return parse(document)
    except SimulationError as error:
        raise SimulationError(f"{path}: {error}") from None


def parse(document: object) -> tuple[Kind, ...]:
    """The classes that a JSON document describes. Raises SimulationError."""
    classes = document.get("classes") if isinstance(document, dict) else None
    if not isinstance(classes, list) or not 1 <= len(classes) <= 100:
        raise SimulationError('wanted: {"classes": [...]}, with 1 to 100 classes')
    kinds = tuple(_kind(entry, f"classes[{at}]") for at, entry in enumerate(classes))
    total = math.fsum(kind.share for kind in kinds)
    if not 0.999 <= total <= 1.001:
        raise SimulationError(f"the shares of all classes make {total:g}, not 1")
    return kinds


def _kind(entry: Any, where: str) -> Kind:
    if not isinstance(entry, dict) or set(entry) != {"name", "share", "lifetime", "pause"}:
        raise SimulationError(f"{where}: a class has name, share, lifetime and pause, and nothing else")
    if not isinstance(entry["name"], str) or not entry["name"].isprintable() or not 1 <= len(entry["name"]) <= 40:
        raise SimulationError(f"{where}.name: wanted: a text of 1 to 40 characters that can be printed")
    share = _number(entry["share"], f"{where}.share", most=1)
    return Kind(
        entry["name"], share, _law(entry["lifetime"], f"{where}.lifetime"), _law(entry["pause"], f"{where}.pause")
    )


def _law(entry: Any, where: str) -> Law:
    if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
        raise SimulationError(f"{where}: wanted: an object with `kind`: {', '.join([*_LAWS, 'measured'])}")
    rest = {name: value for name, value in entry.items() if name != "kind"}
    if entry["kind"] == "measured" and set(rest) == {"points"}:
        return Measured(_points(rest["points"], f"{where}.points"))
    if entry["kind"] not in _LAWS or set(rest) != set(_LAWS[entry["kind"]][1]):
        forms = "; ".join(f"{name}: {', '.join(values)}" for name, (_, values) in _LAWS.items())
        raise SimulationError(f"{where}: kinds and what they take are: {forms}; measured: points")
    values = _numbers(rest, where)
    if entry["kind"] == "pareto" and values["alpha"] <= 1:
        raise SimulationError(f"{where}.alpha: {values['alpha']:g} leaves no mean; wanted: above 1")
    if entry["kind"] == "lognormal" and values["sigma"] > 5:
        raise SimulationError(f"{where}.sigma: {values['sigma']:g} is more than 5; it is that of the natural logarithm")
    return _LAWS[entry["kind"]][0](**values)


def _numbers(values: Mapping[str, Any], where: str) -> dict[str, float]:
    return {name: _number(value, f"{where}.{name}") for name, value in values.items()}


def _number(value: Any, where: str, most: float = LONGEST) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise SimulationError(f"{where}: wanted: a number above 0, at most {most:g}")
    return float(value)


def _points(points: Any, where: str) -> tuple[tuple[float, float], ...]:
    if not isinstance(points, list) or not 2 <= len(points) <= 10_000:
        raise SimulationError(f"{where}: wanted: 2 to 10,000 pairs [share, seconds]")
    read: list[tuple[float, float]] = []
    for at, point in enumerate(points):
        if not isinstance(point, list) or len(point) != 2:
            raise SimulationError(f"{where}[{at}]: wanted: a pair [share, seconds]")
        share = 0.0 if point[0] == 0 else _number(point[0], f"{where}[{at}][0]", most=1)
        read.append((share, _number(point[1], f"{where}[{at}][1]")))
    if any(after[0] <= before[0] or after[1] < before[1] for before, after in pairwise(read)):
        raise SimulationError(f"{where}: shares must rise, and seconds must not fall")
    return tuple(read)
