"""Slow start: a backend that comes back, or is new, gains its share of new flows in steps. Pure.

Who was there when a service opened, or when there was no other backend to take the load, begins with the full share.
Beginnings are in coarse seconds, which stand still while no daemon runs, and are kept on disk, so neither a reload nor
a restart begins anything anew.

What it costs: a step changes about one slot for each backend, at most once a second. Some slots change more than once,
but those that change at all are at most a half more than if the backend had got its share at once: only those have to
be tracked, and only their flows remembered.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.control.state import Pair
from appliance.dataplane.enums import State as Receives
from appliance.model import Address, Service, ServiceKey

STEPS = 64
"""Into so many steps a share is divided: about one slot each, since services have 40 slots or more for a backend."""


@dataclass
class Ramps:
    """Who gains its share, and who was there before."""

    since: dict[Pair, int] = field(default_factory=dict)
    """When those that are gaining their share began, coarse seconds."""
    present: set[Pair] = field(default_factory=set)
    """Who was available at the last look."""
    known: set[ServiceKey] = field(default_factory=set)
    """Services that have been looked at, or were in the tables at the start."""
    first: set[Pair] = field(default_factory=set)
    """Backends as old as their service of which nothing is known yet."""
    given: dict[Pair, int] = field(default_factory=dict)
    """The step that each was given last."""
    saved: dict[Pair, int] = field(default_factory=dict)
    """Beginnings as they were when they were last put down."""

    def look(self, service: Service, states: Mapping[Address, Receives], time: int) -> None:
        """Take note of what the backends of a service may receive."""
        if service.key not in self.known:
            self.known.add(service.key)
            self.first.update((service.key, address) for address in states)
        others = any((service.key, address) in self.present for address in states)
        for address, gets in states.items():
            pair = (service.key, address)
            if gets is not Receives.AVAILABLE:
                self.present.discard(pair)
                self.since.pop(pair, None)
                if gets is not Receives.NONE:
                    self.first.discard(pair)
            elif pair not in self.present:
                self.present.add(pair)
                if others and pair not in self.first and service.slow_start > 0:
                    self.since[pair] = time
                self.first.discard(pair)

    def steps(self, service: Service, states: Mapping[Address, Receives], time: int) -> dict[Address, int]:
        """The share of each available backend, 1 to STEPS; nothing where all have all of it."""
        found = {}
        for address, gets in states.items():
            pair = (service.key, address)
            step = self._step(pair, service.slow_start, time)
            if step == STEPS:
                self.since.pop(pair, None)
                self.given.pop(pair, None)
            else:
                self.given[pair] = step
            if gets is Receives.AVAILABLE:
                found[address] = step
        return found if any(step < STEPS for step in found.values()) else {}

    def _step(self, pair: Pair, slow_start: float, time: int) -> int:
        begun = self.since.get(pair)
        if begun is None or not 0 <= time - begun < slow_start:
            return STEPS
        return max(1, int(STEPS * (time - begun) / slow_start))

    def due(self, services: Iterable[Service], time: int) -> set[ServiceKey]:
        """The services in which a step has come."""
        if not self.since:
            return set()
        slow = {service.key: service.slow_start for service in services}
        return {
            pair[0] for pair in self.since if self._step(pair, slow.get(pair[0], 0.0), time) != self.given.get(pair)
        }

    def keep(self, services: Collection[ServiceKey]) -> None:
        """Forget services that are gone."""
        self.known &= set(services)
        for pairs in (self.present, self.first):
            pairs -= {pair for pair in pairs if pair[0] not in self.known}
        self.since = {pair: begun for pair, begun in self.since.items() if pair[0] in self.known}
        self.given = {pair: step for pair, step in self.given.items() if pair[0] in self.known}

    def snapshot(self) -> list[list[Any]]:
        """The beginnings in JSON's terms, to be kept."""
        self.saved = dict(self.since)
        return [[str(key), str(address), begun] for (key, address), begun in sorted(self.since.items(), key=str)]

    @property
    def unsaved(self) -> bool:
        """Whether somebody has begun since the last snapshot."""
        return not self.since.items() <= self.saved.items()

    def restore(self, saved: object) -> int:
        """Take over beginnings; returns how many entries made no sense and were left out."""
        refused = 0
        for item in saved if isinstance(saved, list) else []:
            try:
                key, address, begun = item
                if not isinstance(begun, int) or not 0 <= begun < 1 << 32:
                    raise ValueError(begun)
                self.since[ServiceKey.parse(key), ipaddress.ip_address(address)] = begun
            except (TypeError, ValueError, AttributeError, OverflowError):
                refused += 1
        return refused
