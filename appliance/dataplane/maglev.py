"""Maglev tables with weights (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", 2016).

Every backend has its own permutation of the slots, made from its address alone, and the backends take turns to claim
their next free slot. A backend's turns are in proportion to its weight. The result depends on nothing but the set of
addresses and weights, so that all balancers with the same view hold the same table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from appliance.model import Address

KEPT_SLOTS = 1 << 19
"""The size of all tables that are kept together: 4 MiB. Hundreds of small ones, four of the largest."""
_kept: dict[tuple[tuple[tuple[Address, int], ...], int], tuple[int, ...]] = {}
_computed = [0]


@lru_cache(maxsize=1 << 15)
def _walk(address: Address, count: int) -> tuple[int, int]:
    """The first slot and the stride of a backend's permutation; `count` is prime, so the stride reaches every slot."""
    packed = address.packed.rjust(16, b"\0")
    digest = hashlib.blake2b(packed, digest_size=16, person=b"vc5 maglev").digest()
    first, stride = int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")
    return first % count, stride % (count - 1) + 1


def table(members: Sequence[tuple[Address, int]], count: int) -> tuple[int, ...]:
    """Return for each of `count` slots (a prime) the position in `members` of its owner.

    `members` are (address, weight) with weights of at least 1; their order does not matter to who owns which slot.
    An empty sequence gives a table of -1. Services with the same pool have the same table, so the last ones are kept.
    """
    name = (tuple(members), count)
    found = _kept.pop(name, None)
    if found is None:
        found = compute(*name)
        while _kept and sum(len(table) for table in _kept.values()) + count > KEPT_SLOTS:
            del _kept[next(iter(_kept))]
        _computed[0] += 1
    _kept[name] = found  # the last one is that which was used last
    return found


def computed() -> int:
    """How many tables were computed so far."""
    return _computed[0]


def compute(members: tuple[tuple[Address, int], ...], count: int) -> tuple[int, ...]:
    """As `table`, but nothing is kept: for other threads."""
    if not members:
        return (-1,) * count
    order = sorted(range(len(members)), key=lambda member: members[member][0].packed)
    most = max(weight for _, weight in members)
    walks = [[member, *_walk(members[member][0], count), members[member][1], 0] for member in order]
    owners = [-1] * count
    left = count
    while True:
        for walk in walks:
            walk[4] += walk[3]
            if walk[4] < most:
                continue
            walk[4] -= most
            member, slot, stride, _, _ = walk
            while owners[slot] >= 0:
                slot += stride
                if slot >= count:
                    slot -= count
            owners[slot] = member
            left -= 1
            if not left:
                return tuple(owners)
            slot += stride
            walk[1] = slot - count if slot >= count else slot
