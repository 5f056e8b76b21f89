"""Carrying living state from one generation's tables to the next, where their sizes differ.

`copy` runs while the old program still works, `follow` after the swap: it takes over what the old program wrote in
between. Growing the flow table splits every set by hash bits that its entries do not hold, so each entry goes into all
the sets that it may belong to; the copies that nothing finds expire.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from appliance.dataplane import lookup
from appliance.dataplane.abi import WAY_TAG_SHIFT, WAYS
from appliance.dataplane.enums import Reason
from appliance.dataplane.memory import COUNTERS, Memory
from appliance.errors import PlanError

LOOKUP = frozenset({"vc5_lookup", "vc5_keys", "vc5_displacements", "vc5_services", "vc5_vips"})
"""Maps that only make sense together: their content depends on the number of positions."""


@dataclass(frozen=True)
class Carried:
    """What `copy` saw in the old tables, so that `follow` can tell what came later."""

    flows: memoryview[int] | None
    diverted: tuple[int, ...] | None


def copy(old: Memory, new: Memory, changed: Collection[str]) -> Carried:
    """Fill the `changed` maps of the new generation from the old one. Raises PlanError if one would shrink."""
    for name in ("services", "destinations", "slots", "sets", "cpus"):
        if getattr(new.shape, name) < getattr(old.shape, name):
            raise PlanError(f"the {name} of a running program cannot shrink")
    if LOOKUP & set(changed):
        services = list(lookup.entries(old).values())
        multiplier = lookup.fill(new, new.copy, services, lookup.vips(old), lookup.keys(old))
        new.lookup.put(0, "multiplier", multiplier)
    for name in ("vc5_destinations", "vc5_identities", "vc5_histories"):
        if name in changed:
            new.raw[name][: len(old.raw[name])] = old.raw[name]
    if "vc5_tunnels" in changed:
        size = min(len(old.raw["vc5_tunnels"]), len(new.raw["vc5_tunnels"]))
        new.raw["vc5_tunnels"][:size] = old.raw["vc5_tunnels"][:size]
    if "vc5_slots" in changed:
        for slot, word in enumerate(old.slots):
            new.slots[slot] = word if word < old.tracked else new.tracked | (word - old.tracked)
    flows = None
    if "vc5_flows" in changed:
        flows = memoryview(bytes(old.raw["vc5_flows"])).cast("Q")
        _spread(flows, new.flows, range(old.shape.sets), new.shape.sets // old.shape.sets, owners=_owners(old, new))
    diverted = None
    if "vc5_histories" in changed:
        diverted = tuple(old.histories.get(slot, "diverted") for slot in range(old.shape.slots))
    return Carried(flows, diverted)


def copy_rest(old: Memory, new: Memory) -> None:
    """Copy what generations of one version share always, and those of two versions never (former.py)."""
    for name in ("vc5_settings", "vc5_legs", "vc5_fragments", "vc5_suspects", "vc5_owners"):
        if len(old.raw[name]) == len(new.raw[name]):
            new.raw[name][:] = old.raw[name]
    for leg, interface in enumerate(old.legs.column("interface")):
        if interface:
            new.door(leg, interface)
    if new.shape.blocks:
        for key in old.blocked:
            new.blocked.add(key)
    if new.shape.nat:
        new.returns.update(old.returns)
        new.outlets.update(old.outlets)


def follow(old: Memory, new: Memory, changed: Collection[str], carried: Carried) -> None:
    """Take over what the old program wrote since `copy`; it runs no more."""
    if carried.flows is not None:
        flows, seen = old.flows, carried.flows
        sets = [
            number
            for number in range(old.shape.sets)
            if flows[number * WAYS : (number + 1) * WAYS] != seen[number * WAYS : (number + 1) * WAYS]
        ]
        _spread(flows, new.flows, sets, new.shape.sets // old.shape.sets, seen, owners=_owners(old, new))
    if carried.diverted is not None:
        for slot, before in enumerate(carried.diverted):
            now = old.histories.get(slot, "diverted")
            if now != before:
                new.histories.put(slot, "diverted", now)
    if "vc5_counters" in changed:
        for number in range(old.shape.destinations):
            for name in COUNTERS:
                count = old.counter(number, name)
                if count:
                    new.set_counter(number, name, count + new.counter(number, name))
    if "vc5_reasons" in changed:
        for reason in Reason:
            new.add_reason(reason, old.reason(reason))


def _owners(old: Memory, new: Memory) -> tuple[memoryview[int], memoryview[int]] | None:
    """Whose flows they are, where both generations know."""
    known = old.shape.owners > WAYS < new.shape.owners
    return (old.owners, new.owners) if known else None


def _spread(
    source: memoryview[int],
    target: memoryview[int],
    sets: Collection[int],
    factor: int,
    seen: memoryview[int] | None = None,
    *,
    owners: tuple[memoryview[int], memoryview[int]] | None = None,
) -> None:
    """Copy sets; entries that the new program has written stay. `seen` are those that an earlier copy put there.

    Whose they are (`owners`, in the source and in the target) goes with them.
    """
    for number in sets:
        first = number * WAYS
        ways = source[first : first + WAYS].tolist()
        if not any(ways):
            continue
        before = seen[first : first + WAYS].tolist() if seen is not None else [0] * WAYS
        for share in range(factor):
            base = (number * factor + share) * WAYS
            for way, entry in enumerate(ways):
                there = target[base + way]
                if entry and (there in (0, before[way]) or entry >> WAY_TAG_SHIFT == there >> WAY_TAG_SHIFT):
                    target[base + way] = entry
                    if owners is not None:
                        owners[1][base + way] = owners[0][first + way]
