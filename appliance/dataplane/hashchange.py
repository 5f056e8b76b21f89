"""Changes of the hash: another seed, more slots for a service, or another answer to whether it is sticky.

Flows of before go where the hash and the slots of before send them. There is only one hash of before, so while any
service still asks it, no other service can change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from appliance.dataplane import lookup
from appliance.dataplane.hashing import coefficients
from appliance.dataplane.lookup import Entry, Keys
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import PRIMES, SLOTS_PER_BACKEND, slot_count
from appliance.errors import PlanError
from appliance.model import Address, ServiceKey

Needs = tuple[ServiceKey, int, bool]
"""What of a service decides its number of slots: its name, its backends, whether it is sticky."""
NOBODY: Mapping[ServiceKey, int] = MappingProxyType({})
"""The slots of other nodes where there are none."""


def new_keys(memory: Memory, entries: Iterable[Entry], seed: bytes, idle: int) -> Keys:
    """The coefficients of the desired seed, beside those that flows of before may need.

    Raises PlanError where flows of before the last hash change would be lost by another one.
    """
    present, new = lookup.keys(memory), coefficients(seed)
    if new == present.current:
        return present
    asking = [entry.key for entry in entries if entry.previous_count]
    if asking:
        raise PlanError(
            f"the hash of {asking[0]} changed less than `idle` ago, and another change now would break connections "
            f"of before; wait {2 * idle} s after the last change of hash_seed"
        )
    return Keys(new, present.current if any(present.current) else new)


def slot_counts(
    entries: Mapping[ServiceKey, Entry], services: Iterable[Needs], fleet: Mapping[ServiceKey, int] = NOBODY
) -> dict[ServiceKey, int]:
    """How many slots each service should have: as many as it has, unless those are too few.

    The number depends on history: on how many backends there were when it was chosen. `fleet` is the largest that other
    nodes have, and the nodes of a fleet answer alike only where it is the same. So a service that is new here takes it
    over, be it larger or smaller than it would be, if it is enough; later the larger one wins, by a hash change.
    Numbers that nobody would choose are ignored.

    A client meets the same backend on all ports of a VIP only where the tables of its sticky services are equal. So
    those have as many slots as the largest of them.
    """
    counts: dict[ServiceKey, int] = {}
    most: dict[Address, int] = {}
    together = []
    for key, backends, sticky in services:
        entry = entries.get(key)
        present = [entry.slot_count] if entry is not None else []
        told = [fleet[key]] if fleet.get(key) in PRIMES else []
        enough = [count for count in (*present, *told) if count >= SLOTS_PER_BACKEND * backends]
        count = counts[key] = max(enough) if enough else slot_count(backends)
        if sticky:
            together.append(key)
            most[key.vip] = max(count, most.get(key.vip, 0))
    counts.update({key: most[key.vip] for key in together})
    return counts
