"""What operators said of backends, and of the node: it stands above the configuration until it is taken back. Pure.

  drain      no new flows; taken back by `undrain`
  disable    as the configuration's own mark does; `enable` takes it back
  enable     above a mark of the configuration; `disable` takes it back
  weight N   instead of the configured weight; `weight default` takes it back

One backend may have one of each (enable and disable being one). They outlive reloads and restarts; those of a backend
that leaves the configuration are dropped, and a drill's are gone with the drill. The whole node can be drained as well:
routers then take it as a last resort (RFC 8326), and backends are not concerned. All of this is a value: a change makes
another one.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from appliance.control import departure
from appliance.control.departure import Departure
from appliance.errors import RequestError
from appliance.model import Address, Backend, Service, ServiceKey

Pair = tuple[ServiceKey, Address]

HEAVIEST = 100


class What(StrEnum):
    """What of a backend is overridden."""

    DRAIN = "drain"
    MARK = "mark"
    WEIGHT = "weight"


@dataclass(frozen=True)
class Override:
    """Who said so, and since when, in wall-clock seconds."""

    who: str
    since: float
    value: int = 1
    """The weight; 1 for enabled and 0 for disabled; always 1 for a drain."""
    passing: bool = False
    """Whether it is a drill's: it is not kept on disk, and gone with the drill (drilling.py)."""


@dataclass(frozen=True)
class Dropped:
    """An override of a backend that is not configured any more."""

    service: ServiceKey
    backend: Address
    message: str


def word(what: What, override: Override) -> str:
    """Return an override in the words of the command: `drain`, `disable`, `enable`, `weight 3`."""
    if what is What.MARK:
        return "enable" if override.value else "disable"
    return f"weight {override.value}" if what is What.WEIGHT else "drain"


@dataclass(frozen=True)
class Overrides:
    """All that is overridden, by service, backend and what it is."""

    entries: Mapping[Pair, Mapping[What, Override]] = field(default_factory=dict)
    node: Departure | None = None
    """What drains the whole node, and how far that is; None: nothing."""

    @cached_property
    def drains(self) -> Mapping[Pair, Override]:
        """The backends that operators drain."""
        return {pair: found[What.DRAIN] for pair, found in self.entries.items() if What.DRAIN in found}

    def of(self, key: ServiceKey, address: Address) -> Mapping[What, Override]:
        """Return what is overridden of a backend."""
        return self.entries.get((key, address), {})

    def drain(self, key: ServiceKey, backend: Backend, who: str, now: float) -> Overrides:
        """Give a backend no new flows; who has said so already is remembered."""
        if What.DRAIN in self.of(key, backend.address):
            return self
        return self._with((key, backend.address), What.DRAIN, Override(who, now))

    def undrain(self, key: ServiceKey, backend: Backend) -> Overrides:
        """Take a drain back. Raises RequestError where there is none."""
        if What.DRAIN not in self.of(key, backend.address):
            raise RequestError(f"{key} {backend.address} is not drained by an operator; nothing to take back")
        return self._with((key, backend.address), What.DRAIN, None)

    def disable(self, key: ServiceKey, backend: Backend, who: str, now: float) -> Overrides:
        """Disable a backend, or take back what enables it. `backend` is as the configuration has it, here and below."""
        found = self.of(key, backend.address).get(What.MARK)
        if found is not None and not found.value:
            return self
        made = Override(who, now, 0) if found is None or backend.enabled else None
        return self._with((key, backend.address), What.MARK, made)

    def enable(self, key: ServiceKey, backend: Backend, who: str, now: float) -> Overrides:
        """Take back what disables a backend, or enable one that the configuration disables.

        Raises RequestError where neither disables it.
        """
        found = self.of(key, backend.address).get(What.MARK)
        if found is not None and found.value:
            return self
        if found is None and backend.enabled:
            raise RequestError(f"{key} {backend.address} is not disabled; nothing to take back")
        return self._with((key, backend.address), What.MARK, None if backend.enabled else Override(who, now, 1))

    def weigh(self, key: ServiceKey, backend: Backend, weight: int | None, who: str, now: float) -> Overrides:
        """Give a backend another weight, 0 to 100; None: that of the configuration. Raises RequestError."""
        found = self.of(key, backend.address).get(What.WEIGHT)
        if weight is None and found is None:
            raise RequestError(f"{key} {backend.address} has its configured weight, {backend.weight}")
        if weight is not None and not 0 <= weight <= HEAVIEST:
            raise RequestError(f"weight must be a whole number from 0 to {HEAVIEST}, or `default`, not {weight}")
        if found is not None and found.value == weight:
            return self
        made = None if weight is None else Override(who, now, weight)
        return self._with((key, backend.address), What.WEIGHT, made)

    def withdraw(self, pair: Pair, what: What, who: str, now: float) -> Overrides:
        """Take a backend out of its service (`what`: DRAIN, or MARK to disable it) for the time of a drill."""
        return self._with(pair, what, Override(who, now, int(what is What.DRAIN), passing=True))

    @property
    def lasting(self) -> Overrides:
        """What operators said, without what a drill did; this itself where there is no such thing."""
        if not any(one.passing for found in self.entries.values() for one in found.values()):
            return self
        entries = {
            pair: {what: one for what, one in found.items() if not one.passing} for pair, found in self.entries.items()
        }
        return replace(self, entries={pair: found for pair, found in entries.items() if found})

    def drain_node(self, who: str, now: float, *, rate: float | None = None, until: float | None = None) -> Overrides:
        """Take the node out of service, of which so many packets a second are known; routes stay `until` at most.

        Who has said so already is remembered, and how far it is; with a moment that replaces the former.
        """
        if self.node is None:
            return replace(self, node=Departure(who, now, first=rate, until=until))
        return self if until is None else replace(self, node=replace(self.node, until=until))

    def undrain_node(self) -> Overrides:
        """Take that back. Raises RequestError where the node is not drained."""
        if self.node is None:
            raise RequestError("this node is not drained; nothing to take back")
        return replace(self, node=None)

    def _with(self, pair: Pair, what: What, made: Override | None) -> Overrides:
        found = {kind: one for kind, one in self.entries.get(pair, {}).items() if kind is not what}
        if made is not None:
            found[what] = made
        others = {other: one for other, one in self.entries.items() if other != pair}
        return replace(self, entries={**others, pair: found} if found else others)

    def applied(self, services: Iterable[Service]) -> tuple[Service, ...]:
        """Return services with the marks and weights in force; drains are no matter of these."""
        touched = {key for (key, _), found in self.entries.items() if What.MARK in found or What.WEIGHT in found}
        return tuple(self._applied(service) if service.key in touched else service for service in services)

    def _applied(self, service: Service) -> Service:
        backends = []
        for backend in service.backends:
            found = self.of(service.key, backend.address)
            mark, weight = found.get(What.MARK), found.get(What.WEIGHT)
            enabled = backend.enabled if mark is None else bool(mark.value)
            made = replace(backend, enabled=enabled, weight=backend.weight if weight is None else weight.value)
            backends.append(made)
        return replace(service, backends=tuple(backends))

    def kept(self, configured: Collection[Pair]) -> tuple[Overrides, tuple[Dropped, ...]]:
        """Return what remains with these backends, and what is dropped."""
        gone = {pair: found for pair, found in self.entries.items() if pair not in configured}
        if not gone:
            return self, ()
        dropped = tuple(
            Dropped(key, address, f"{word(what, one)}, by {one.who}, is dropped: it has left the configuration")
            for (key, address), found in gone.items()
            for what, one in found.items()
        )
        kept = {pair: found for pair, found in self.entries.items() if pair not in gone}
        return replace(self, entries=kept), dropped

    def snapshot(self) -> list[dict[str, Any]]:
        """Return all overrides of backends in JSON's terms, ordered by service and backend."""
        ordered = sorted(self.entries.items(), key=lambda item: (item[0][0], int(item[0][1])))
        return [
            {"service": str(key), "backend": str(address), **as_json(what, override)}
            for (key, address), found in ordered
            for what, override in sorted(found.items())
        ]

    def node_snapshot(self) -> dict[str, Any] | None:
        """Return who drains the whole node, since when and how far, in JSON's terms; None: nobody."""
        return None if self.node is None else self.node.snapshot()


def as_json(what: What, override: Override) -> dict[str, Any]:
    """Return an override in JSON's terms, without the backend."""
    return {
        "override": word(what, override).partition(" ")[0],
        "weight": override.value if what is What.WEIGHT else None,
        "who": override.who,
        "since": override.since,
    }


_WORDS = {"drain": (What.DRAIN, 1), "enable": (What.MARK, 1), "disable": (What.MARK, 0), "weight": (What.WEIGHT, None)}


def restored(saved: object, node: object = None) -> tuple[Overrides, int]:
    """Return the overrides of the two snapshots, and how many entries made no sense and were left out."""
    found: dict[Pair, dict[What, Override]] = {}
    refused = 0
    for item in saved if isinstance(saved, list) else ():
        try:
            pair, what, override = _read(item)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            refused += 1
            continue
        found.setdefault(pair, {})[what] = override
    drain = None
    if node is not None:
        try:
            drain = departure.restored(node)  # type: ignore[arg-type]
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            refused += 1
    return Overrides(found, drain), refused


def _read(item: Mapping[str, Any]) -> tuple[Pair, What, Override]:
    pair = ServiceKey.parse(item["service"]), ipaddress.ip_address(str(item["backend"]))
    what, value = _WORDS[item["override"]]
    since = float(item["since"])
    weight = item["weight"] if value is None else value
    if not math.isfinite(since) or type(weight) is not int or not 0 <= weight <= HEAVIEST:
        raise ValueError("no values that an override can have")
    return pair, what, Override(str(item["who"]), since, weight)
