"""A scenario from beginning to end: which slots are simulated, and what their outcomes say of the whole site."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from appliance.dataplane.flowshare import round_time
from appliance.dataplane.slots import SlotTable
from appliance.dataplane.slotshare import retell
from bench.simulate import sizes
from bench.simulate.churn import Cause, Churn
from bench.simulate.copies import Channel, Copies
from bench.simulate.ground import Ground, Views
from bench.simulate.history import History
from bench.simulate.router import Router
from bench.simulate.schemes import FullTracking, Scheme, SecondChance, SharedTracking, Stateless, patience
from bench.simulate.site import Site
from bench.simulate.slot import Run

OURS, ALONE = "settled slots", "settled slots, no exchange"
FULL, SHARED = FullTracking.name, SharedTracking.name
SCHEMES = (OURS, ALONE, FULL, SHARED, SecondChance.name, Stateless.name)
CALM = 3
"""Slots that never change of which so many are simulated, to show that nothing happens in them."""


@dataclass
class Result:
    """What a scenario made of a site; all numbers are of the whole site, scaled up from the slots that were simulated.

    Series are by minute. Bytes are what each balancer receives in a second, about flows and slots.
    """

    scenario: str
    site: Site
    simulated: int = 0
    connections: float = 0.0
    packets: int = 0
    moved: float = 0.0
    lost: float = 0.0
    broken: dict[str, dict[Cause, float]] = field(default_factory=dict)
    tracked: dict[str, list[float]] = field(default_factory=dict)
    """By scheme, the share of slots that a balancer tracks."""
    flows: dict[str, list[float]] = field(default_factory=dict)
    """By scheme, the flows that a balancer remembers."""
    entries: dict[str, list[float]] = field(default_factory=dict)
    """By scheme, entries a second about flows, and about slots (each balancer's counts)."""
    received: dict[str, list[float]] = field(default_factory=dict)
    """By scheme, bytes a second."""
    events: list[tuple[float, int]] = field(default_factory=list)
    """When events changed answers, and of how many slots."""

    def per_million(self, scheme: str, causes: Iterable[Cause] | None = None) -> float:
        """Connections that a scheme broke, of a million; those that were silent for too long only if asked for."""
        wanted = set(Cause) - {Cause.SILENCE} if causes is None else set(causes)
        broken = sum(count for cause, count in self.broken[scheme].items() if cause in wanted)
        return 1e6 * broken / self.connections if self.connections else 0.0


def shared_entries(site: Site) -> float:
    """Entries a second where every flow is told at its beginning, confirmed, and told again while it lives."""
    again = 0.0
    for kind in site.kinds:
        again += kind.share * sum(1 + life // round_time(site.idle) for life in kind.lifetimes) / len(kind.lifetimes)
    return site.arrivals * again


@dataclass
class _Group:
    """Slots that are simulated, and how many slots each of them stands for."""

    slots: Sequence[int]
    weight: float


def _groups(history: History) -> list[_Group]:
    site, random = history.site, Random(f"{history.site.seed} sample")
    changing = sorted(history.changes)
    calm = [slot for slot in range(site.table) if slot not in history.changes]
    groups = []
    for population, most in ((changing, site.sample), (calm, min(CALM, site.sample))):
        chosen = random.sample(population, min(most, len(population)))
        if chosen:
            groups.append(_Group(chosen, len(population) / len(chosen)))
    return groups


def run(
    name: str,
    history: History,
    churn: Churn,
    progress: Callable[[str], None],
    rules: Callable[..., SlotTable] = SlotTable,
) -> Result:
    """Simulate a scenario on a site; with other `rules` than the product's to see that they show."""
    site = history.site
    router = Router(site.balancers, churn.balancers, resilient=churn.resilient, seed=site.seed)
    minutes = int(site.duration // 60) + 1
    result = Result(name, site, broken={scheme: {} for scheme in SCHEMES})
    result.tracked = {scheme: [0.0] * minutes for scheme in (OURS, ALONE)}
    result.flows = {scheme: [0.0] * minutes for scheme in (OURS, ALONE)}
    told = [0.0] * minutes
    waits = patience(site, site.lru * site.balancers), patience(site, site.lru)
    groups = _groups(history)
    total = sum(len(group.slots) for group in groups)
    for group in groups:
        for slot in group.slots:
            _slot(result, Ground(history, slot), router, waits, group.weight, told, rules)
            result.simulated += 1
            progress(f"{name}: {result.simulated} of {total} slots")
    _exchange(result, history, told)
    return result


def _slot(
    result: Result,
    ground: Ground,
    router: Router,
    waits: tuple[float, float],
    weight: float,
    told: list[float],
    rules: Callable[..., SlotTable],
) -> None:
    site, views = result.site, Views(ground)
    open_flows = site.open / site.table
    ours, alone = Copies(ground, Channel(site), open_flows, rules), Copies(ground, None, open_flows, rules)
    schemes: list[Scheme] = [ours, alone, FullTracking(views, waits[0]), SharedTracking(views, waits[1], site.delay)]
    schemes += [SecondChance(views), Stateless(views)]
    outcome = Run(ground, router, schemes, views).all()
    result.connections += outcome.connections * weight
    result.packets += outcome.packets
    result.moved += outcome.moved * weight
    result.lost += outcome.lost * weight
    for scheme, causes in outcome.broken.items():
        for cause, count in causes.items():
            result.broken[scheme][cause] = result.broken[scheme].get(cause, 0.0) + count * weight
    for copies, share in ((ours, 1.0), (alone, 1 / site.balancers)):
        for minute, tracked in enumerate(outcome.tracked[copies.name]):
            result.tracked[copies.name][minute] += tracked * weight / site.table
        series = result.flows[copies.name]
        for since, until in copies.kept:
            for minute in range(int(since // 60) + 1, min(int(until // 60) + 1, len(series))):
                series[minute] += weight * share
    for minute, count in ours.told.items():
        if minute < len(told):
            told[minute] += count * weight


def _exchange(result: Result, history: History, told: list[float]) -> None:
    """From entries to bytes. Every balancer tells what changes, in one burst, and what it tracks, again and again."""
    site = history.site
    minutes = len(told)
    entries = [count / 60 for count in told]
    every = retell(site.idle, site.idle)
    slots = [share * site.table * site.balancers / every for share in result.tracked[OURS]]
    octets = [sizes.flows(count, site.balancers, site.backends, twice=True) for count in entries]
    for minute, share in enumerate(result.tracked[OURS]):
        tracked = share * site.table
        octets[minute] += sizes.slots(tracked, min(tracked, site.backends), site.balancers) / every
    for event, changed, left in zip(history.churn.backends, history.changed, history.left, strict=True):
        minute = int(event.time // 60)
        if changed and minute < minutes:
            result.events.append((event.time, changed))
            slots[minute] += changed * site.balancers / 60
            octets[minute] += sizes.slots(changed, left, site.balancers) / 60
    full = shared_entries(site)
    result.entries = {OURS: entries, "slots": slots, SHARED: [full] * minutes}
    result.received = {OURS: octets, SHARED: [sizes.flows(full, site.balancers, site.backends)] * minutes}
