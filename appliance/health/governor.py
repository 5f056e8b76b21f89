"""What is done with verdicts that had better not be believed at once. Pure.

Three things stand between the verdict on a backend and what it receives:

  frozen     an operator has said so: what was in force then is in force until it is taken back;
  isolated   most backends of unrelated services stopped to answer at once, which speaks against this node (its own
             uplink) and not against them: those count as up until half of them answer again. Services are related if
             they share a backend, or both share one with a third;
  held       a service has lost as many backends within its `removal_window` as `max_removal` allows: the next one that
             fails counts as up until it is up, or until the window lets it go. Backends that are disabled or in reserve
             are not asked: what they do takes nothing out.

A backend that has never been up is not kept. Times are seconds of one monotonic clock, passed in as `now`.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.model import Address, Backend, Health, Service, ServiceKey

Pair = tuple[ServiceKey, Address]
HealthOf = Callable[[ServiceKey, Address], Health]

AT_ONCE = 15.0
"""Seconds within which failures are at once: a silent backend is found out by the default checks in 4 to 8."""
DOWN = frozenset({Health.DEAD, Health.WRONG})


@dataclass(frozen=True)
class Freeze:
    """Who froze the verdicts, since when (wall-clock seconds), and which ones were in force."""

    who: str
    since: float
    verdicts: Mapping[Pair, Health]


@dataclass
class Governor:
    """What is kept, and what has happened lately."""

    frozen: Freeze | None = None
    held: set[Pair] = field(default_factory=set)
    stranded: set[Pair] = field(default_factory=set)
    """Backends that count as up because this node seems to be cut off."""
    removed: dict[ServiceKey, dict[Address, float]] = field(default_factory=dict)
    """Since when backends of services with `max_removal` are out."""
    fell: dict[Pair, float] = field(default_factory=dict)
    """When backends stopped to answer, lately."""
    _struck: int = field(default=0, compare=False)
    """How many have been stranded at once, since there are any."""
    _known: Sequence[Service] = field(default=(), compare=False)
    """The services that were looked at last."""
    _fresh: bool = field(default=False, compare=False)
    """Whether a backend has stopped to answer since that."""

    @property
    def isolated(self) -> bool:
        """Whether this node seems to be cut off. Where verdicts are frozen, failures are expected and tell nothing."""
        return bool(self.stranded) and self.frozen is None

    def effective(self, key: ServiceKey, address: Address, health: Health) -> Health:
        """Return the verdict that is to be acted on."""
        if self.frozen is not None:
            return self.frozen.verdicts.get((key, address), health)
        if health in DOWN and ((key, address) in self.held or (key, address) in self.stranded):
            return Health.UP
        return health

    def kept_for(self, key: ServiceKey, address: Address, health: Health) -> str:
        """Return why a verdict is not acted on; empty if it is."""
        if self.effective(key, address, health) is health:
            return ""
        if self.frozen is not None:
            return "frozen"
        return "isolated" if (key, address) in self.stranded else "max_removal"

    def moved(self, service: Service, address: Address, before: Health, after: Health, now: float) -> bool:
        """Take a transition; return whether the backend is held."""
        pair = (service.key, address)
        if after is Health.UP:
            self.held.discard(pair)
            self.stranded.discard(pair)
            self.fell.pop(pair, None)
            self.removed.get(service.key, {}).pop(address, None)
            return False
        if after is Health.WRONG:
            self.stranded.discard(pair)
        if before is Health.UP:
            if after is Health.DEAD:
                self.fell[pair], self._fresh = now, True
                if self.stranded:
                    self.stranded.add(pair)
            if service.max_removal is not None and any(one.address == address for one in _serving(service)):
                if self._room(service, now):
                    self.removed.setdefault(service.key, {})[address] = now
                else:
                    self.held.add(pair)
        return service.max_removal is not None and pair in self.held

    def _room(self, service: Service, now: float) -> bool:
        """Whether one more backend may go."""
        assert service.max_removal is not None
        times = self.removed.get(service.key, {})
        serving = _serving(service)
        lately = sum(now - times.get(one.address, -math.inf) < service.removal_window for one in serving)
        return lately + 1 <= math.floor(service.max_removal * len(serving) + 1e-9)

    def step(self, services: Sequence[Service], health: HealthOf, now: float) -> set[ServiceKey]:
        """Let go of what need not be kept any more, and look whether this node is cut off.

        Once a second; `health` are the verdicts themselves. Returns the services in which something has changed.
        """
        if not (self.held or self.stranded or self.fell):
            return set()
        before = self.held | self.stranded
        self.fell = {pair: at for pair, at in self.fell.items() if now - at < AT_ONCE}
        if self._known is not services:  # to go through thousands every second would take too long
            self._known = services
            configured = {(service.key, backend.address) for service in services for backend in service.backends}
            self.held &= configured
            self.stranded &= configured
            self.fell = {pair: at for pair, at in self.fell.items() if pair in configured}
        by_key = {service.key: service for service in services} if self.held else {}
        for pair in sorted(self.held, key=str):
            service = by_key[pair[0]]
            if service.max_removal is None or health(*pair) not in DOWN:
                self.held.discard(pair)
            elif self._room(service, now):
                self.held.discard(pair)
                self.removed.setdefault(pair[0], {})[pair[1]] = now
        self._struck = max(self._struck, len(self.stranded)) if self.stranded else 0
        if self.stranded:
            if 2 * len(self.stranded) <= self._struck:
                self.stranded, self.fell = set(), {}
        elif self._fresh and self.frozen is None and cut_off(services, health, self.fell):
            self.stranded = set(self.fell)
            self._struck = len(self.stranded)
        self._fresh = False
        return {key for key, _ in before ^ (self.held | self.stranded)}

    def snapshot(self) -> dict[str, Any]:
        """Return what outlives a restart, in JSON's terms."""
        frozen = self.frozen
        return {
            "held": [[str(key), str(address)] for key, address in sorted(self.held, key=str)],
            "stranded": [[str(key), str(address)] for key, address in sorted(self.stranded, key=str)],
            "removed": [[str(key), str(one), at] for key, times in self.removed.items() for one, at in times.items()],
            "frozen": None
            if frozen is None
            else {
                "who": frozen.who,
                "since": frozen.since,
                "verdicts": [[str(key), str(address), str(one)] for (key, address), one in frozen.verdicts.items()],
            },
        }

    def restore(self, saved: object, now: float) -> int:
        """Take over a snapshot; return how many entries made no sense. A time ahead of now is that of another clock."""
        if saved is None:
            return 0
        if not isinstance(saved, dict):
            return 1
        refused = 0
        for name, pairs in (("held", self.held), ("stranded", self.stranded)):
            for item in _list(saved.get(name)):
                try:
                    pairs.add(_pair(item))
                except (TypeError, ValueError, AttributeError):
                    refused += 1
        for item in _list(saved.get("removed")):
            try:
                (key, address), at = _pair(item[:2]), _time(item[2])
                self.removed.setdefault(key, {})[address] = min(at, now)
            except (TypeError, ValueError, KeyError, AttributeError, IndexError):
                refused += 1
        frozen = saved.get("frozen")
        if frozen is not None:
            try:
                verdicts = {_pair(item[:2]): Health(item[2]) for item in frozen["verdicts"]}
                self.frozen = Freeze(str(frozen["who"]), _time(frozen["since"]), verdicts)
            except (TypeError, ValueError, KeyError, AttributeError, IndexError):
                refused += 1
        return refused


def cut_off(services: Iterable[Service], health: HealthOf, fell: Collection[Pair]) -> bool:
    """Whether those that `fell` are most of the backends that answered, and of more than one group of services."""
    fallen: dict[ServiceKey, set[int]] = {}
    for key, address in fell:
        fallen.setdefault(key, set()).add(int(address))
    if len(fallen) < 2:
        return False
    answering: set[int] = set()
    failed: set[int] = set()
    leader: dict[int, int] = {}  # addresses by number: to hash an address takes long

    def group(address: int) -> int:
        while leader.setdefault(address, address) != address:
            leader[address] = leader[leader[address]]
            address = leader[address]
        return address

    for service in services:
        if not service.checks or not service.backends:
            continue
        here, first = fallen.get(service.key, ()), int(service.backends[0].address)
        for backend in service.backends:
            number = int(backend.address)
            leader[group(number)] = group(first)
            if number in here:
                failed.add(number)
            elif number not in answering and health(service.key, backend.address) in (Health.UP, Health.WRONG):
                answering.add(number)
    failed -= answering
    return 2 * len(failed) > len(failed | answering) and len({group(number) for number in failed}) > 1


def _serving(service: Service) -> list[Backend]:
    """The backends of which `max_removal` is a share."""
    return [backend for backend in service.backends if backend.enabled and not backend.fallback]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _pair(item: Any) -> Pair:
    key, address = item
    return ServiceKey.parse(key), ipaddress.ip_address(str(address))


def _time(value: Any) -> float:
    found = float(value)
    if not math.isfinite(found):
        raise ValueError("no moment")
    return found
