"""What happens to backends and balancers: events, and the scenarios made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from appliance.dataplane.enums import State
from bench.simulate.site import Site


class Cause(StrEnum):
    """What a broken connection is put down to."""

    DEATH = "backend died"
    RETURN = "backend returned"
    DRAIN = "backend drained"
    STOP = "drained backend stopped"
    ADD = "backends added"
    BALANCER_DEATH = "balancer died"
    BALANCER_LEFT = "balancer left"
    BALANCER_JOINED = "balancer joined"
    SILENCE = "silent for longer than idle"


@dataclass(frozen=True)
class BackendEvent:
    """Backends come into a state. `sight` is the time within which all balancers see it, seconds."""

    time: float
    cause: Cause
    backends: tuple[int, ...]
    state: State
    sight: float


@dataclass(frozen=True)
class BalancerEvent:
    """Balancers go (`up` unset) or come. They no longer answer from `time` on; the router acts at `routed`."""

    time: float
    cause: Cause
    balancers: tuple[int, ...]
    up: bool
    routed: float


@dataclass(frozen=True)
class Churn:
    """A history. `absent` backends are not there at first; `resilient`: what the router's hashing is."""

    backends: tuple[BackendEvent, ...] = ()
    balancers: tuple[BalancerEvent, ...] = ()
    absent: frozenset[int] = frozenset()
    resilient: bool = True


@dataclass
class Making:
    """A history in the making: who has something to do when, so that nobody dies while being drained."""

    site: Site
    random: Random
    backends: list[BackendEvent] = field(default_factory=list)
    balancers: list[BalancerEvent] = field(default_factory=list)
    absent: frozenset[int] = frozenset()
    _taken: dict[int, list[tuple[float, float]]] = field(default_factory=dict)

    def backend(self, time: float, cause: Cause, which: Iterable[int], state: State) -> None:
        """Add an event; what is planned reaches balancers as a configuration, the rest by their probes."""
        planned = cause in (Cause.DRAIN, Cause.ADD)
        sight = self.site.rollout if planned else self.site.detection
        if group := tuple(sorted(which)):
            self.backends.append(BackendEvent(time, cause, group, state, sight))

    def free(self, who: int, start: float, end: float) -> bool:
        """Whether nothing happens to a backend in this time; if so, it is taken."""
        taken = self._taken.setdefault(who, [])
        if any(start < other_end and other_start < end for other_start, other_end in taken):
            return False
        taken.append((start, end))
        return True

    def made(self, *, resilient: bool) -> Churn:
        """The history, in the order of time."""
        return Churn(
            tuple(sorted(self.backends, key=lambda event: (event.time, event.cause, event.backends))),
            tuple(sorted(self.balancers, key=lambda event: (event.time, event.cause, event.balancers))),
            self.absent,
            resilient,
        )


DEATHS = 0.4
"""Deaths of a backend in a day."""
BATCH, DRAIN, STOP, STEP = 0.05, 0.033, 0.004, 0.04
"""Of a deployment: the share of backends of one step; how long they drain, are down, and until the next step begins,
as shares of a quarter of the time more than an hour (of two hours: 119, 14 and 144 s)."""


def _deaths(making: Making) -> None:
    site, random = making.site, making.random
    expected = DEATHS / 86_400 * site.backends
    time = random.expovariate(expected)
    while time < site.duration:
        who, end = random.randrange(site.backends), time + random.uniform(0.04, 0.15) * site.duration
        if who not in making.absent and making.free(who, time, end + 10):
            making.backend(time, Cause.DEATH, [who], State.DEAD)
            making.backend(end, Cause.RETURN, [who], State.AVAILABLE)
        time += random.expovariate(expected)


def _deployment(making: Making) -> None:
    site = making.site
    waiting = [who for who in range(site.backends) if who not in making.absent]
    making.random.shuffle(waiting)
    size = max(1, round(BATCH * len(waiting)))
    unit = site.duration / 2
    time = 0.1 * site.duration
    for first in range(0, len(waiting), size):
        down, up = time + DRAIN * unit, time + (DRAIN + STOP) * unit
        group = [who for who in waiting[first : first + size] if making.free(who, time, up + 10)]
        making.backend(time, Cause.DRAIN, group, State.DRAINING)
        making.backend(down, Cause.STOP, group, State.DEAD)
        making.backend(up, Cause.RETURN, group, State.AVAILABLE)
        time += STEP * unit


def _scale(making: Making) -> None:
    site = making.site
    extra = sorted(making.absent)
    up, drain, stop = (share * site.duration for share in (0.12, 0.62, 0.75))
    for who in extra:
        making.free(who, 0, site.duration)
    making.backend(up, Cause.ADD, extra, State.AVAILABLE)
    making.backend(drain, Cause.DRAIN, extra, State.DRAINING)
    making.backend(stop, Cause.STOP, extra, State.DEAD)


def _balancers(making: Making) -> None:
    """A tenth restarts in ten steps, each away for a while; one in a hundred dies and does not come back."""
    site, random = making.site, making.random
    chosen = random.sample(range(site.balancers), max(2, round(0.11 * site.balancers)))
    dying = chosen[: max(1, len(chosen) // 11)]
    restarting = chosen[len(dying) :]
    size = max(1, (len(restarting) + 9) // 10)
    for step, first in enumerate(range(0, len(restarting), size)):
        group = tuple(sorted(restarting[first : first + size]))
        leaves = (0.15 + 0.08 * step) * site.duration
        returns = leaves + 0.01 * site.duration
        making.balancers.append(BalancerEvent(leaves + 1, Cause.BALANCER_LEFT, group, up=False, routed=leaves))
        making.balancers.append(BalancerEvent(returns, Cause.BALANCER_JOINED, group, up=True, routed=returns))
    for who in dying:
        time = random.uniform(0.1, 0.95) * site.duration
        making.balancers.append(
            BalancerEvent(time, Cause.BALANCER_DEATH, (who,), up=False, routed=time + site.withdrawal)
        )


@dataclass(frozen=True)
class Scenario:
    """What happens, in words and as its makers in turn."""

    title: str
    makers: tuple[Callable[[Making], None], ...]
    resilient: bool = True
    scales: bool = False

    def churn(self, site: Site) -> Churn:
        """The events for a site."""
        making = Making(site, Random(f"{site.seed} churn"))
        if self.scales:
            extra = max(1, site.backends // 10)
            making.absent = frozenset(range(site.backends - extra, site.backends))
        for maker in self.makers:
            maker(making)
        return making.made(resilient=self.resilient)


ALL = (_scale, _deployment, _deaths, _balancers)
SCENARIOS = {
    "steady": Scenario("nothing happens", ()),
    "balancers": Scenario("balancers restart and die, the router's hashing is not resilient", (_balancers,), False),
    "deaths": Scenario("backends die and return", (_deaths,)),
    "scale": Scenario("a tenth more backends, and later a tenth fewer", (_scale,), scales=True),
    "deploy": Scenario("a rolling deployment: every backend is drained, stopped, started", (_deployment,)),
    "all": Scenario("all of these at once, the router's hashing is resilient", ALL, scales=True),
    "all-plain": Scenario("all of these at once, the router's hashing is not resilient", ALL, False, scales=True),
}
