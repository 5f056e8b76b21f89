"""Least connections: from how many flows each backend has to its share of new ones. Pure.

Every flow of such a service is remembered, so its slots may change as often as is useful, and only new flows follow. A
share falls with the square of the load for its weight, and moves a quarter of the way with each look: with flows much
longer than the time between two looks the load is what has flowed in, with much shorter ones it follows the share at
once, and both settle without swinging. Small numbers are noise, so a few flows for everybody are added first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from appliance.model import Address, ServiceKey

POWER = 2.0
DAMPING = 0.25
MOST = 8.0
"""The most by which a share is raised above its weight, or lowered below it."""
FLOOR = 4.0
"""Flows that everybody is taken to have."""
SCALE = 32
"""What a weight is multiplied by, so that shares can be told in whole numbers."""
HYSTERESIS = 0.1
"""Shares in force stay until one of them is to change by more than this part."""
EXCESS = 1.25
"""The most loaded backend is one with so many times the mean load for its weight."""


@dataclass(frozen=True)
class Load:
    """A backend that gets new flows: how many it has, and the factor by which its weight was multiplied until now."""

    weight: int
    flows: int
    factor: float = 1.0


def relative_loads(loads: Sequence[Load]) -> list[float]:
    """The load of each for its weight; 1 is the mean."""
    weights = sum(load.weight for load in loads)
    mean = (sum(load.flows for load in loads) + FLOOR * len(loads)) / weights
    extra = FLOOR * len(loads) / weights
    return [(load.flows / load.weight + extra) / mean for load in loads]


def factors(loads: Sequence[Load]) -> list[float]:
    """By what to multiply the weights of the backends from now on, 1 / MOST to MOST."""
    found = []
    for load, relative in zip(loads, relative_loads(loads), strict=True):
        target = min(MOST, max(1 / MOST, relative**-POWER))
        found.append(load.factor ** (1 - DAMPING) * target**DAMPING)
    return found


def most_loaded(loads: Sequence[Load], present: int | None) -> int | None:
    """Which backend is to get no new flows at all: none where the loads are about equal, or there is only one.

    The `present` one stays out until it is below the mean again, or another is clearly above it.
    """
    if len(loads) < 2:
        return None
    relative = relative_loads(loads)
    worst = max(range(len(loads)), key=lambda at: relative[at])
    if present is not None and relative[present] > 1 and relative[worst] < relative[present] * EXCESS:
        return present
    return worst if relative[worst] >= EXCESS else None


@dataclass
class Balance:
    """The shares of all services with least connections."""

    moving: dict[ServiceKey, dict[Address, float]] = field(default_factory=dict)
    """The factors at the last look."""
    given: dict[ServiceKey, dict[Address, int]] = field(default_factory=dict)
    """The factors in force, times SCALE; 0: no new flows."""

    def observe(self, key: ServiceKey, loads: Mapping[Address, tuple[int, int]], *, eject: bool) -> bool:
        """Take note of weight and flows of each available backend; returns whether its shares should change."""
        if not loads:
            return False
        addresses, given = list(loads), self.given.get(key, {})
        before = self.moving.get(key, {})
        now = [Load(weight, flows, before.get(address, 1.0)) for address, (weight, flows) in loads.items()]
        moved = self.moving[key] = dict(zip(addresses, factors(now), strict=True))
        wanted = {address: max(1, round(SCALE * factor)) for address, factor in moved.items()}
        if eject:
            out = next((at for at, address in enumerate(addresses) if given.get(address) == 0), None)
            place = most_loaded(now, out)
            if place is not None:
                wanted[addresses[place]] = 0
        if not any(_differs(given.get(address, SCALE), wanted[address]) for address in addresses):
            return False
        self.given[key] = wanted
        return True

    def multiples(self, key: ServiceKey, available: Sequence[Address]) -> dict[Address, int]:
        """By what to multiply each weight. Where only the one that is out is left, it gets new flows all the same."""
        given = self.given.get(key, {})
        found = {address: given.get(address, SCALE) for address in available}
        return found if any(found.values()) else dict.fromkeys(available, SCALE)

    def keep(self, services: Collection[ServiceKey]) -> None:
        """Forget services that are gone, or are shared out otherwise."""
        self.moving = {key: found for key, found in self.moving.items() if key in services}
        self.given = {key: found for key, found in self.given.items() if key in services}


def _differs(given: int, wanted: int) -> bool:
    """Whether a share is worth changing."""
    if not given or not wanted:
        return given != wanted
    return abs(wanted / given - 1) > HYSTERESIS
