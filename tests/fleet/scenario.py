"""Scenarios as data: what is done to balancers, backends and the exchange, moment by moment, while flows go on.

In each moment everything is done at once, one thing right after the other; then, before the next, everybody has
noticed: the router, the balancers that run, and every flow has spoken; and where the exchange works, each balancer
knows whose each flow is. New flows begin all the while.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Do(Enum):
    """What can be done to somebody."""

    NOTHING = auto()
    """Every flow speaks, new ones begin."""
    BALANCER_DIES = auto()
    """Its machine loses its power: nobody is told, nothing is left."""
    BALANCER_STOPS = auto()
    """Its daemon is ended as a service is, and takes routes and data plane along."""
    DAEMON_DIES = auto()
    """It is killed; the data plane is left."""
    DAEMON_REEXECUTED = auto()
    """It becomes the program that is installed; routes and data plane stay."""
    BALANCER_STARTS = auto()
    """It has been stopped, has lost its power, or has never been there."""
    BACKEND_ADDED = auto()
    BACKEND_REMOVED = auto()
    BACKEND_DRAINED = auto()
    """By the configuration: it keeps its flows, and gets no new ones. The opposite is to be added."""
    BACKEND_DIES = auto()
    """Its servers are killed, and what is sent to them is refused."""
    BACKEND_STARTS = auto()
    BACKEND_UNWELL = auto()
    """It goes on, and its health check says that it should get no new flows."""
    BACKEND_WELL = auto()
    FORMER_FORGOTTEN = auto()
    """Time passes until nobody knows the former owners of slots any more, but flows that were remembered."""
    EXCHANGE_BAD = auto()
    """Datagrams are lost, doubled and overtaken."""
    EXCHANGE_CUT = auto()
    """Nothing arrives any more: of one balancer's, or of anybody's."""
    EXCHANGE_MENDED = auto()


@dataclass(frozen=True)
class Step:
    """One thing that is done, and to whom."""

    do: Do
    who: str = ""


Moment = tuple[Step, ...]


@dataclass(frozen=True)
class Scenario:
    """One scenario; times are seconds."""

    name: str
    moments: tuple[Moment, ...]
    needs_exchange: bool
    """Whether connections break where balancers tell each other nothing."""
    absent: tuple[str, ...] = ()
    """The balancers that do not run at first."""
    idle: int = 3600
    udp_grace: int = 3600
    scheduler: str = "maglev"


def at_once(*steps: Step) -> Moment:
    """Return a moment in which all of this happens."""
    return steps


def one_by_one(*steps: Step) -> tuple[Moment, ...]:
    """Return moments, each with one of these steps."""
    return tuple((step,) for step in steps)


def dies(name: str) -> Step:
    return Step(Do.BALANCER_DIES if name.startswith("n") else Do.BACKEND_DIES, name)


def starts(name: str) -> Step:
    return Step(Do.BALANCER_STARTS if name.startswith("n") else Do.BACKEND_STARTS, name)


def stops(name: str) -> Step:
    return Step(Do.BALANCER_STOPS, name)


def daemon_dies(name: str) -> Step:
    return Step(Do.DAEMON_DIES, name)


def reexecuted(name: str) -> Step:
    return Step(Do.DAEMON_REEXECUTED, name)


def added(name: str) -> Step:
    return Step(Do.BACKEND_ADDED, name)


def removed(name: str) -> Step:
    return Step(Do.BACKEND_REMOVED, name)


def drained(name: str) -> Step:
    return Step(Do.BACKEND_DRAINED, name)


def unwell(name: str) -> Step:
    return Step(Do.BACKEND_UNWELL, name)


def well(name: str) -> Step:
    return Step(Do.BACKEND_WELL, name)


QUIET = Step(Do.NOTHING)
FORGOTTEN = Step(Do.FORMER_FORGOTTEN)
BAD = Step(Do.EXCHANGE_BAD)
CUT = Step(Do.EXCHANGE_CUT)
MENDED = Step(Do.EXCHANGE_MENDED)


def isolated(name: str) -> Step:
    return Step(Do.EXCHANGE_CUT, name)
