"""What can be seen of a backend of a service, and of what it was sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from appliance.control.instance import Instance
from appliance.dataplane.enums import State
from appliance.dataplane.memory import COUNTERS
from appliance.model import Backend, ServiceKey


@dataclass(frozen=True)
class Counters:
    """What was forwarded, and dropped. `octets` count the IP packets, `flows` the connections that began."""

    packets: int = 0
    octets: int = 0
    flows: int = 0
    drops: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(*(getattr(self, name) + getattr(other, name) for name in COUNTERS))


@dataclass(frozen=True)
class Destination:
    """A backend of a service as it is now."""

    service: ServiceKey
    backend: Backend
    state: State
    """AVAILABLE: it gets new flows. DRAINING: it keeps those it has. NONE: the way to it is not known yet."""
    leaving: bool
    """It was deleted, and drains."""
    mac: bytes | None
    """6 bytes: the MAC address of the backend, or of the gateway that leads to it; None while it is not known."""
    share: float
    """Of new flows, 0 to 1."""
    counters: Counters


def destinations(instance: Instance, key: ServiceKey) -> tuple[Destination, ...] | None:
    """Return how the backends of a service stand, those that drain included; None where the tables do not hold it."""
    tables, generation = instance.data.tables, instance.data.generation
    planned = instance.current.desired.services if instance.current else ()
    desired = next((service for service in planned if service.key == key), None)
    if tables is None or generation is None or desired is None:
        return None
    entry, slots, numbers = tables.entry(key), tables.slots(key), tables.numbers(key)
    if entry is None or slots is None:
        return None
    backends = {b.address: b for service in instance.state.services() if service.key == key for b in service.backends}
    owners = Counter(slots.owners())
    found = []
    for member in desired.members:
        number = numbers[member.address]
        found.append(
            Destination(
                key,
                backends[member.address],
                member.state,
                (key, member.address) in instance.state.leaving,
                member.hop.macs[:6] if member.hop else None,
                owners[number - entry.destinations] / entry.slot_count,
                Counters(*(generation.memory.counter(number, name) for name in COUNTERS)),
            )
        )
    return tuple(found)


def totals(instance: Instance, key: ServiceKey) -> Counters | None:
    """Return what a service's destinations count together, and what was dropped because none was available."""
    found = destinations(instance, key)
    tables, generation = instance.data.tables, instance.data.generation
    entry = tables.entry(key) if tables else None
    if found is None or generation is None or entry is None:
        return None
    total = Counters(drops=generation.memory.counter(entry.destinations, "drops"))
    return sum((one.counters for one in found), total)
