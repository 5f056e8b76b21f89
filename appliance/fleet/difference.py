"""In what nodes of a fleet differ, and why: nouns, and their form in the status. Pure.

control/fleet_differences.py finds out, status.py carries it; names in JSON are contracts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from appliance.model_address import Address, Endpoint, ServiceKey

SHOWN = 3
"""Backends that a sentence names."""


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
    """A backend that one node takes for down, and the other for up."""

    backend: Address
    here: bool
    """Whether it is this node that takes it for down."""
    dead: bool = True
    """Whether it does not answer; else it answers wrongly."""

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it."""
        said = "dead" if self.dead else "wrong"
        return {
            "backend": str(self.backend),
            "here": said if self.here else "up",
            "there": "up" if self.here else said,
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
    """How many it has; None: this node has no such service."""
    slots_there: int | None = None
    health: tuple[Opinion, ...] = ()
    overrides: tuple[Overridden, ...] = ()
    slow_start: tuple[Address, ...] = ()
    """The backends that gain their share."""
    label: str = ""
    """What sentences call the other node (naming.py); empty: by its name."""

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it: the same members for all."""
        return {
            "node": self.node,
            "label": self.label or self.node,
            "address": str(self.address),
            "service": None if self.service is None else str(self.service),
            "since": self.since,
            "lasting": self.lasting,
            "causes": [str(cause) for cause in self.causes],
            "slots": {"here": self.slots_here, "there": self.slots_there},
            "health": [one.as_json() for one in self.health],
            "overrides": [one.as_json() for one in self.overrides],
            "slow_start": [str(backend) for backend in self.slow_start],
            "message": message(self),
            "mend": mend(self),
        }


def message(found: Difference) -> str:
    """Return why the two differ, in a sentence without its full stop."""
    parts = [part for cause in found.causes if (part := _words(found, cause))]
    return "; ".join(parts)


def mend(found: Difference) -> str:
    """Return what an operator does about it; empty where time does it."""
    for cause in found.causes:
        if said := _MENDS.get(cause, ""):
            pair = found.overrides or found.health
            backend = f" --backend {pair[0].backend}" if pair else ""
            return said.format(service=found.service, backend=backend)
    return ""


_MENDS = {
    Cause.HASH_SEED: "give both the same `hash_seed`, and then each `vc5 reload`",
    Cause.CONFIGURATION: "compare what `vc5 check --json` says at both, give both the same file, and then `vc5 reload`",
    Cause.HEALTH: "ask each why: `vc5 log --service {service}{backend}`, `vc5 doctor`",
    Cause.OVERRIDES: "look at `vc5 overrides` of both, and say the same at both",
    Cause.UNKNOWN: "see which slots differ, `vc5 fleet {service}`, and what `vc5 overrides` says at both",
}


def _words(found: Difference, cause: Cause) -> str:
    node = found.label or found.node
    if cause is Cause.HASH_SEED:
        return f"{node} has another hash_seed, so it sends flows elsewhere"
    if cause is Cause.SLOTS:
        return f"{found.slots_here} slots here, {found.slots_there} at {node}; the smaller table grows by itself"
    if cause is Cause.CONFIGURATION:
        if found.service is None:
            return f"{node} has another configuration"
        if found.slots_here is None or found.slots_there is None:
            return (
                f"{node} has this service, and this node has not"
                if found.slots_here is None
                else f"{node} has no such service"
            )
        return f"{node} has another configuration of it"
    if cause is Cause.HEALTH:
        return _some([_opinion(one, node) for one in found.health])
    if cause is Cause.OVERRIDES:
        return _some([_overridden(one, node) for one in found.overrides])
    if cause is Cause.SLOW_START:
        backends = _some([str(one) for one in found.slow_start])
        return f"{backends} gains its share here (slow_start) from another moment on than at {node}"
    if cause is Cause.ON_ITS_WAY:
        return f"what has changed is on its way to {node} or from there"
    return f"nothing that {node} tells explains it"


def _some(words: list[str]) -> str:
    shown = ", ".join(words[:SHOWN])
    return f"{shown} and {len(words) - SHOWN} more" if len(words) > SHOWN else shown


def _opinion(one: Opinion, node: str) -> str:
    said = "dead" if one.dead else "wrong"
    return (
        f"{one.backend} is {said} here and up at {node}"
        if one.here
        else f"{one.backend} is up here and {said} at {node}"
    )


def _overridden(one: Overridden, node: str) -> str:
    here = "nothing" if one.here == () else "not known" if one.here is None else ", ".join(one.here)
    there = "nothing" if one.there == () else "not known" if one.there is None else ", ".join(one.there)
    return f"operators said of {one.backend}: {here} here, {there} at {node}"


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
    label: str = ""
    """What to call the other node (naming.py); empty: by its name."""

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it."""
        return {
            "node": self.node,
            "label": self.label or self.node,
            "address": str(self.address),
            "answered": self.answered,
            "slots": {"here": self.slots_here, "there": self.slots_there},
            "differing": sum(pair.slots for pair in self.pairs),
            "pairs": [pair.as_json() for pair in self.pairs],
        }
