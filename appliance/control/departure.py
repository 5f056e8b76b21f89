"""How a whole node goes out of service, step by step. Pure.

  demoted    routers have its routes as last resorts; their traffic ebbs
  withdrawn  they have no routes any more; what still comes is forwarded
  detached   nothing has come, so the program is off the interfaces

Each step is taken when the traffic has been calm for so long, by `STEPS`; from the first to the second a deadline leads
as well. Nobody goes back but by a word of the operator's. What a daemon has to remember of it is a `Departure`, which
outlives it; what it sees of the traffic is its own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class Stage(StrEnum):
    """How far a node has gone."""

    DEMOTED = "demoted"
    WITHDRAWN = "withdrawn"
    DETACHED = "detached"


@dataclass(frozen=True)
class Step:
    """What leads from one stage to the next: a rate that is not exceeded for `calm` seconds."""

    next: Stage
    calm: float
    share: float
    """Of the packets a second that there were at first: so much is calm."""
    handful: float
    """So many packets a second are calm in any case."""
    hurried: bool
    """Whether the deadline leads to the next stage as well."""


STEPS: Mapping[Stage, Step] = {
    Stage.DEMOTED: Step(Stage.WITHDRAWN, calm=5.0, share=0.01, handful=5.0, hurried=True),
    Stage.WITHDRAWN: Step(Stage.DETACHED, calm=5.0, share=0.0, handful=0.0, hurried=False),
}
"""DETACHED is the end."""


@dataclass(frozen=True)
class Departure:
    """Who takes the node out of service, how far that is, and by when at the latest; wall-clock seconds."""

    who: str
    since: float
    stage: Stage = Stage.DEMOTED
    first: float | None = None
    """Packets to VIPs a second when it began; None: not known."""
    until: float | None = None
    """When routes are withdrawn whatever still comes; None: never."""

    @property
    def withdrawn(self) -> bool:
        """Whether routers are to have no routes."""
        return self.stage is not Stage.DEMOTED

    @property
    def detached(self) -> bool:
        """Whether the program is to be off the interfaces."""
        return self.stage is Stage.DETACHED

    @property
    def ceiling(self) -> float | None:
        """How many packets a second are calm in this stage; None where no other stage follows."""
        step = STEPS.get(self.stage)
        return None if step is None else max(step.handful, step.share * (self.first or 0.0))

    def snapshot(self) -> dict[str, Any]:
        """Return it in JSON's terms."""
        return {
            "who": self.who,
            "since": self.since,
            "stage": str(self.stage),
            "packets_per_second_before": self.first,
            "until": self.until,
        }


def restored(saved: Mapping[str, Any]) -> Departure:
    """Read a snapshot; who wrote one of names and times alone knew only the first stage.

    Raises KeyError, TypeError, ValueError where it makes no sense.
    """
    stage = Stage(saved.get("stage", Stage.DEMOTED))
    first, until = _number(saved.get("packets_per_second_before")), _number(saved.get("until"))
    since = _number(saved["since"])
    if since is None:
        raise ValueError("no moment")
    return Departure(str(saved["who"]), since, stage, first, until)


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("no finite number")
    return number


@dataclass(frozen=True)
class Watch:
    """What the present stage has seen of the traffic."""

    calm_since: float | None = None
    """Since when it is calm without a break, monotonic seconds; None: it is not."""


UNWATCHED = Watch()


def step(
    departure: Departure, watch: Watch, rate: float | None, *, now: float, overdue: bool = False
) -> tuple[Departure, Watch]:
    """Return how it stands at `now` (monotonic), with so many packets a second since it was last asked.

    A rate of None is not known, and not calm. `overdue` says that the deadline is over.
    """
    if departure.first is None and rate is not None:
        departure = replace(departure, first=rate)
    found, ceiling = STEPS.get(departure.stage), departure.ceiling
    if found is None or ceiling is None:
        return departure, UNWATCHED
    calm_since = None
    if rate is not None and rate <= ceiling:
        calm_since = now if watch.calm_since is None else watch.calm_since
    ebbed = calm_since is not None and now - calm_since >= found.calm
    if ebbed or (overdue and found.hurried):
        return replace(departure, stage=found.next), UNWATCHED
    return departure, Watch(calm_since)


class Meter:
    """How fast a counter grows, by what it was at several moments of the last seconds."""

    def __init__(self, span: float) -> None:
        """`span` is over how many seconds a rate is taken, as far as there were looks."""
        self._span = span
        self._looks: deque[tuple[float, int]] = deque()

    def look(self, now: float, count: int) -> None:
        """Note a counter at a moment; one that has become smaller is another counter."""
        if self._looks and count < self._looks[-1][1]:
            self._looks.clear()
        self._looks.append((now, count))
        while len(self._looks) > 2 and now - self._looks[1][0] >= self._span:
            self._looks.popleft()

    def rate(self) -> float | None:
        """Return by how much it grew in a second, over the last `span`; None while that is not known."""
        if len(self._looks) < 2:
            return None
        (first, before), (last, after) = self._looks[0], self._looks[-1]
        return round((after - before) / (last - first), 1) if last > first else None
