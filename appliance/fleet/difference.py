"""In what nodes of a fleet differ, and why: nouns, and their form in the status. Pure.

control/fleet_differences.py finds out, status.py carries it; names in JSON are contracts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from appliance.model_address import Address, Endpoint, ServiceKey


class Cause(StrEnum):
    """Why two nodes differ. The order is that in which they are told: an earlier one often explains the later ones."""

    HASH_SEED = "hash-seed"
    """Another `hash_seed`: every flow may go elsewhere."""
    SLOTS = "slots"
    """Another number of slots."""
    CONFIGURATION = "configuration"
    """What the service's table depends on by configuration; or one of the two has no such service."""
    HEALTH = "health"
    """One takes backends for down that the other takes for up."""
    OVERRIDES = "overrides"
    """What operators said of backends."""
    SLOW_START = "slow-start"
    """A backend gains its share, from another moment on than at the other node."""
    ON_ITS_WAY = "on-its-way"
    """None of these, for a moment: what has changed at one is not known at the other yet."""
    UNKNOWN = "unknown"
    """None of these, and not for a moment."""


@dataclass(frozen=True)
class Opinion:
    """A backend that one node takes for down, and the other for up; `age` is for how long, `dead` how."""

    backend: Address
    here: bool
    """Whether it is this node that takes it for down."""
    dead: bool = True
    """Whether it does not answer; else it answers wrongly."""
    age: float | None = None
    """None: not known."""

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it."""
        said = "dead" if self.dead else "wrong"
        return {
            "backend": str(self.backend),
            "here": said if self.here else "up",
            "there": "up" if self.here else said,
            "age": self.age,
        }


@dataclass(frozen=True)
class Overridden:
    """What operators said of a backend, in the words of the commands (`drain`, `weight 3`); None: not known."""

    backend: Address
    here: tuple[str, ...] | None
    there: tuple[str, ...] | None

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it."""
        return {
            "backend": str(self.backend),
            "here": None if self.here is None else list(self.here),
            "there": None if self.there is None else list(self.there),
        }


@dataclass(frozen=True)
class Difference:
    """Something in which another node differs from this one: a service's table, or the configuration as a whole."""

    node: str
    """The other node's name, as it says it."""
    address: Endpoint
    since: float
    lasting: bool
    """Whether it has been so for longer than a moment (control/fleet_differences.py)."""
    causes: tuple[Cause, ...]
    """One at least."""
    service: ServiceKey | None = None
    """None: the configuration as a whole."""
    slots_here: int | None = None
    """None: this node has no such service."""
    slots_there: int | None = None
    health: tuple[Opinion, ...] = ()
    overrides: tuple[Overridden, ...] = ()
    slow_start: tuple[Address, ...] = ()
    """The backends that gain their share."""

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it: the same members for all."""
        return {
            "node": self.node,
            "address": str(self.address),
            "service": None if self.service is None else str(self.service),
            "since": self.since,
            "lasting": self.lasting,
            "causes": [str(cause) for cause in self.causes],
            "slots": {"here": self.slots_here, "there": self.slots_there},
            "health": [one.as_json() for one in self.health],
            "overrides": [one.as_json() for one in self.overrides],
            "slow_start": [str(backend) for backend in self.slow_start],
        }


@dataclass(frozen=True)
class Pair:
    """Slots that belong to one backend here and to another at the other node; None: to none.

    `ranges` are first and last slot of each run, in ascending order.
    """

    here: Address | None
    there: Address | None
    ranges: tuple[tuple[int, int], ...]

    @property
    def slots(self) -> int:
        """How many slots these are."""
        return sum(last - first + 1 for first, last in self.ranges)

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it."""
        return {
            "here": None if self.here is None else str(self.here),
            "there": None if self.there is None else str(self.there),
            "slots": self.slots,
            "ranges": [list(one) for one in self.ranges],
        }


@dataclass(frozen=True)
class Ranges:
    """Where the table of a service differs from that of one other node, slot by slot."""

    node: str
    address: Endpoint
    slots_here: int | None
    """None: this node has no such service; and so of the other."""
    slots_there: int | None
    pairs: tuple[Pair, ...] = ()
    """Those of most slots first; none where the numbers of slots differ, since then no slot has its like."""
    answered: bool = True
    """Whether the other node has told its table."""

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it."""
        return {
            "node": self.node,
            "address": str(self.address),
            "answered": self.answered,
            "slots": {"here": self.slots_here, "there": self.slots_there},
            "differing": sum(pair.slots for pair in self.pairs),
            "pairs": [pair.as_json() for pair in self.pairs],
        }
