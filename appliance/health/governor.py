"""What is done with verdicts that had better not be believed at once. Pure.

Four things stand between the verdict on a backend and what it receives. The first one that applies decides:

  frozen     an operator has said so: what was in force then is in force until it is taken back;
  isolated   most backends of unrelated services stopped to answer at once, which speaks against this node (its own
             uplink) and not against them: those count as up until half of them answer again (relations.py tells which
             services are related);
  outvoted   most nodes of the fleet say otherwise (quorum.py): one that is down here counts as up, and one that is up
             here as down, but only as far as the next rule has room for one more that is out;
  held       a service has lost as many backends within its `removal_window` as `max_removal` allows: the next one that
             fails, or is voted out, counts as up until it is up, or until the window lets it go. Backends that are
             disabled or in reserve are not asked: what they do takes nothing out.

One that is not known to be up or down yet is left alone by all but the first, and by the second and the last one that
has never been up. A node that is alone in its opinion (quorum.py) is as cut off as one whose backends all fell silent.
Times are seconds of one monotonic clock, passed in as `now`.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.health.agreement import ALONE, patience
from appliance.health.quorum import DOWN, HealthOf, Opinion, Pair, Quorum, Ruling
from appliance.health.relations import relations
from appliance.model import Address, Backend, Health, Service, ServiceKey

AT_ONCE = 15.0
"""Seconds within which failures are at once: a silent backend is found out by the default checks in 4 to 8."""


@dataclass(frozen=True)
class Freeze:
    """Who froze the verdicts, since when (wall-clock seconds), and which ones were in force."""

    who: str
    since: float
    verdicts: Mapping[Pair, Health]


@dataclass(frozen=True)
class News:
    """A ruling of the fleet began (`ruling`), became another one (both), or ended (`former`)."""

    pair: Pair
    ruling: Ruling | None
    former: Ruling | None


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
    quorum: Quorum = field(default_factory=Quorum, compare=False)
    """What most nodes of the fleet say, where this one finds something else."""
    _struck: int = field(default=0, compare=False)
    """How many have been stranded at once, since there are any."""
    _known: Sequence[Service] = field(default=(), compare=False)
    """The services that were looked at last."""
    _fresh: bool = field(default=False, compare=False)
    """Whether a backend has stopped to answer since that."""
    _by_key: Mapping[ServiceKey, Service] = field(default_factory=dict, compare=False)
    _stands: dict[ServiceKey, float] = field(default_factory=dict, compare=False)
    _groups: Mapping[ServiceKey, int] | None = field(default=None, compare=False)
    _ruled: dict[Pair, Ruling] = field(default_factory=dict, compare=False)
    """The rulings as they were when consequences were drawn last."""
    _news: list[News] = field(default_factory=list, compare=False)

    @property
    def isolated(self) -> bool:
        """Whether this node seems to be cut off. Where verdicts are frozen, failures are expected and tell nothing."""
        return (bool(self.stranded) or self.quorum.suspects) and self.frozen is None

    @property
    def alone(self) -> bool:
        """Whether it does because no other node finds what it finds."""
        return self.isolated and not self.stranded

    def effective(self, key: ServiceKey, address: Address, health: Health) -> Health:
        """Return the verdict that is to be acted on."""
        if self.frozen is not None:
            return self.frozen.verdicts.get((key, address), health)
        pair = key, address
        ruling = self.quorum.rulings.get(pair) if self.quorum.rulings else None
        if health in DOWN:
            voted = ruling is not None and ruling.health is Health.UP
            return Health.UP if voted or pair in self.held or pair in self.stranded else health
        if ruling is not None and health is Health.UP and pair not in self.held:
            return ruling.health
        return health

    def kept_for(self, key: ServiceKey, address: Address, health: Health) -> str:
        """Return why a verdict is not acted on; empty if it is."""
        if self.effective(key, address, health) is health:
            return ""
        if self.frozen is not None:
            return "frozen"
        if (key, address) in self.stranded:
            return "isolated"
        ruling = self.quorum.rulings.get((key, address))
        return f"quorum: {ruling.text}" if ruling is not None else "max_removal"

    def hear(
        self, opinions: Iterable[Opinion], services: Sequence[Service], health: HealthOf, now: float
    ) -> set[ServiceKey]:
        """Take what all other nodes of the fleet say now, none where they have no say; `health` are the own verdicts.

        Returns the services in which something has changed.
        """

        def down() -> Iterable[Pair]:
            pairs = ((service.key, backend.address) for service in services for backend in service.backends)
            return (pair for pair in pairs if health(*pair) in DOWN)

        self._know(services)
        self.quorum.hear(opinions, down, health, now)
        return {key for key, _ in self._reckon(health, now)}

    def news(self) -> list[News]:
        """Return which rulings began, and which ended, since this was last asked."""
        found, self._news = self._news, []
        return found

    def moved(self, service: Service, address: Address, before: Health, after: Health, now: float) -> bool:
        """Take a transition; return whether the backend is held."""
        pair = (service.key, address)
        self.quorum.found(pair, lambda *_: after, now)
        if after is Health.UP:
            self.held.discard(pair)
            self.stranded.discard(pair)
            self.fell.pop(pair, None)
            self.removed.get(service.key, {}).pop(address, None)
        if after is Health.WRONG:
            self.stranded.discard(pair)
        if before is Health.UP and after is not Health.UP:
            if after is Health.DEAD:
                self.fell[pair], self._fresh = now, True
                if self.stranded:
                    self.stranded.add(pair)
            self._take_out(service, address, now)
        self._reckon(lambda *_: after, now, service)
        return after is not Health.UP and service.max_removal is not None and pair in self.held

    def _take_out(self, service: Service, address: Address, now: float) -> None:
        """Let a backend go if that leaves enough of them, else hold it."""
        if service.max_removal is None or not any(one.address == address for one in _serving(service)):
            return
        times, pair = self.removed.setdefault(service.key, {}), (service.key, address)
        if pair in self.held or now - times.get(address, -math.inf) < service.removal_window:
            return  # it is out already, or held
        if self._room(service, now):
            times[address] = now
        else:
            self.held.add(pair)

    def _room(self, service: Service, now: float) -> bool:
        """Whether one more backend may go."""
        assert service.max_removal is not None
        times = self.removed.get(service.key, {})
        serving = _serving(service)
        lately = sum(now - times.get(one.address, -math.inf) < service.removal_window for one in serving)
        return lately + 1 <= math.floor(service.max_removal * len(serving) + 1e-9)

    def _reckon(self, health: HealthOf, now: float, service: Service | None = None) -> set[Pair]:
        """Draw the consequences of rulings that began or ended; return on which backends. `service`: the only one."""
        changed = self.quorum.changes()
        for pair in sorted(changed, key=str):
            ruling, former = self.quorum.rulings.get(pair), self._ruled.pop(pair, None)
            if ruling is not None:
                self._ruled[pair] = ruling
            if ruling is not None or former is not None:
                self._news.append(News(pair, ruling, former))
            of = service or self._by_key.get(pair[0])
            if (ruling.health if ruling is not None else health(*pair)) in DOWN:
                if of is not None:
                    self._take_out(of, pair[1], now)
            else:
                self.held.discard(pair)
                self.removed.get(pair[0], {}).pop(pair[1], None)
        return changed

    def step(self, services: Sequence[Service], health: HealthOf, now: float) -> set[ServiceKey]:
        """Let go of what need not be kept any more, and look whether this node is cut off.

        Once a second; `health` are the verdicts themselves. Returns the services in which something has changed.
        """
        if not (self.held or self.stranded or self.fell) and self.quorum.idle:
            return set()
        self._know(services)
        self.quorum.step(self._patience, self._related, health, now)
        voted = self._reckon(health, now)
        before = self.held | self.stranded
        self.fell = {pair: at for pair, at in self.fell.items() if now - at < AT_ONCE}
        for pair in sorted(self.held, key=str):
            service = self._by_key[pair[0]]
            ruling = self.quorum.rulings.get(pair)
            if service.max_removal is None or (ruling.health if ruling else health(*pair)) not in DOWN:
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
        return {key for key, _ in voted | (before ^ (self.held | self.stranded))}

    def _know(self, services: Sequence[Service]) -> None:
        """Forget what is not configured any more; to go through thousands every second would take too long."""
        if self._known is services:
            return
        self._known, self._groups, self._stands = services, None, {}
        self._by_key = {service.key: service for service in services}
        configured = {(service.key, backend.address) for service in services for backend in service.backends}
        self.held &= configured
        self.stranded &= configured
        self.fell = {pair: at for pair, at in self.fell.items() if pair in configured}
        self.quorum.keep(configured)
        self._ruled = {pair: ruling for pair, ruling in self._ruled.items() if pair in configured}

    def _patience(self, key: ServiceKey) -> float:
        """For how long most must say otherwise of a service's backends."""
        if key not in self._stands:
            service = self._by_key.get(key)
            self._stands[key] = patience(service.checks) if service else ALONE
        return self._stands[key]

    def _related(self) -> Mapping[ServiceKey, int]:
        if self._groups is None:
            self._groups = relations(self._known)
        return self._groups

    def snapshot(self) -> dict[str, Any]:
        """Return what outlives a restart, in JSON's terms."""
        frozen = self.frozen
        return {
            "held": [[str(key), str(address)] for key, address in sorted(self.held, key=str)],
            "stranded": [[str(key), str(address)] for key, address in sorted(self.stranded, key=str)],
            "removed": [[str(key), str(one), at] for key, times in self.removed.items() for one, at in times.items()],
            "voted": [
                [str(key), str(address), str(one.health)]
                for (key, address), one in sorted(self.quorum.rulings.items(), key=str)
            ],
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
        rulings: dict[Pair, Health] = {}
        for item in _list(saved.get("voted")):
            try:
                pair, said = _pair(item[:2]), Health(item[2])
                if said is not Health.UNKNOWN:
                    rulings[pair] = said
            except (TypeError, ValueError, KeyError, AttributeError, IndexError):
                refused += 1
        self.quorum.restore(rulings, now)
        self._ruled = dict(self.quorum.rulings)
        frozen = saved.get("frozen")
        if frozen is not None:
            try:
                verdicts = {_pair(item[:2]): Health(item[2]) for item in frozen["verdicts"]}
                self.frozen = Freeze(str(frozen["who"]), _time(frozen["since"]), verdicts)
            except (TypeError, ValueError, KeyError, AttributeError, IndexError):
                refused += 1
        return refused


def cut_off(services: Collection[Service], health: HealthOf, fell: Collection[Pair]) -> bool:
    """Whether those that `fell` are most of the backends that answered, and of more than one group of services."""
    fallen: dict[ServiceKey, set[int]] = {}
    for key, address in fell:
        fallen.setdefault(key, set()).add(int(address))
    if len(fallen) < 2:
        return False
    answering: set[int] = set()
    failed: dict[int, ServiceKey] = {}
    for service in services:
        if not service.checks or not service.backends:
            continue
        here = fallen.get(service.key, ())
        for backend in service.backends:
            number = int(backend.address)
            if number in here:
                failed[number] = service.key
            elif number not in answering and health(service.key, backend.address) in (Health.UP, Health.WRONG):
                answering.add(number)
    lost = failed.keys() - answering
    if 2 * len(lost) <= len(failed.keys() | answering):
        return False
    groups = relations(services)
    return len({groups[failed[number]] for number in lost}) > 1


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
