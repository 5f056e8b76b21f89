"""Who keeps the route to a VIP that is down everywhere, so that routers always have one. Pure.

A VIP that goes down becomes a last resort (LAST) at first, on every node. It is withdrawn only when

- another node announces it: as usual (YES), or as a last resort (LAST, DEMOTE) and with a smaller id, and
- every node that is heard has taken in that this one has become a last resort.

It comes back as a last resort as soon as no other node announces it any more. So of the nodes that hear each other the
one with the smallest id keeps the route, and where nobody is heard, everybody does.

What another node has said is believed while it is known to be younger than FRESH seconds, and that is known by what it
had taken in of this one: each message names the last one that was taken in of each other node. A node that said YES
and goes down then cannot withdraw before this one knows of that, for it waits for this one as well. So there is a route
at every moment, whatever messages are lost, late or out of order (tests/unit/control/test_last_announcer.py). Only
where a node dies, or is drained, after others have relied on it, its routes are missed: for FRESH seconds at most.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from appliance.model_address import Address
from appliance.model_bgp import Announce

FRESH = 3.0
"""Seconds for which what a node has said counts; nodes speak each second, and at once when something has changed."""


@dataclass(frozen=True)
class Other:
    """Another node, as it is known from the newest message of it. Times are monotonic seconds of this node's clock."""

    id: int
    heard: float
    """When that message came."""
    after: float
    """When this node said what the other one had taken in, as a whole, before it said that."""
    how: Mapping[Address, Announce]
    """How it announces each VIP: YES, DEMOTE, LAST or NO; one that is not here is not announced."""


@dataclass(frozen=True)
class Place:
    """How this node stands with one VIP that it does not announce as usual."""

    keep: bool
    """Whether its route is kept as a last resort (LAST), or withdrawn."""
    since: float
    """Since when, monotonic seconds."""


def places(
    me: int, vips: Collection[Address], before: Mapping[Address, Place], others: Iterable[Other], now: float
) -> dict[Address, Place]:
    """Return how this node stands with these VIPs, none of which it announces as usual; `before` is what it was.

    No two nodes may have the same id. What is said with a place has to be said after this was decided, and before any
    route follows a withdrawal.
    """
    known = list(others)
    return {vip: _place(me, vip, before.get(vip), known, now) for vip in vips}


def _place(me: int, vip: Address, before: Place | None, others: list[Other], now: float) -> Place:
    if before is None:
        return Place(True, now)
    relied = any(now - one.after <= FRESH and _announces(one, me, vip) for one in others)
    if not before.keep:
        return before if relied else Place(True, now)
    agreed = all(one.after > before.since for one in others if now - one.heard <= FRESH)
    return Place(False, now) if relied and agreed else before


def _announces(other: Other, me: int, vip: Address) -> bool:
    """Whether another node's route makes this one's superfluous."""
    how = other.how.get(vip, Announce.NO)
    return how is Announce.YES or (how in (Announce.LAST, Announce.DEMOTE) and other.id < me)


def kept(found: Mapping[Address, Place]) -> frozenset[Address]:
    """Return the VIPs whose routes are kept, for `Standing.last` (announcing.py)."""
    return frozenset(vip for vip, place in found.items() if place.keep)
