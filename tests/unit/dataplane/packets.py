"""The program's half of settled slots, written once more from its rules, on the tables as the program reads them.

Its flow table never has to evict: what the sets and ways of the real one do is another test's matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from appliance.dataplane.abi import INDEX_LIMIT
from appliance.dataplane.enums import Refusal, State
from appliance.dataplane.hashing import direct_position, flow_hash, halves, position, slot_of
from appliance.dataplane.lookup import key_word, vip_word
from appliance.dataplane.memory import Memory
from appliance.model import Address, Protocol, ServiceKey


@dataclass
class Remembered:
    """An entry of the flow table: an index inside the service, good until `expiry` (coarse seconds)."""

    index: int
    expiry: int
    candidate: bool = True


@dataclass
class Steering:
    """The rule for one packet of a slot; `flows` is the flow table, by any name of a flow."""

    memory: Memory
    flows: dict[object, Remembered] = field(default_factory=dict)

    def lives(self, number: int) -> bool:
        """Whether the destination may still receive packets."""
        return self.memory.destinations.get(number, "state") >= State.DRAINING

    def choose(
        self, slot: int, base: int, flow: object, *, syn: bool, udp: bool = False, capacity: int = INDEX_LIMIT
    ) -> int:
        """The index of the destination inside the service that begins at `base`; flows of the dead choose again."""
        memory = self.memory
        word = memory.slots[slot]
        now = word & (memory.tracked - 1)
        if not word & memory.tracked:
            return now
        time, idle = memory.settings.get(0, "time"), memory.settings.get(0, "idle")
        was = memory.histories.get(slot, "was")
        entry = self.flows.get(flow)
        if entry is not None and time < entry.expiry and entry.index < capacity:
            if self.lives(base + entry.index):
                draining = memory.destinations.get(base + entry.index, "state") == State.DRAINING
                if not (syn and draining):
                    entry.expiry = time + idle
                    entry.candidate = entry.candidate and syn
                    if entry.index != now and not entry.candidate:
                        memory.histories.put(slot, "diverted", time)
                    return entry.index
            elif not syn and not udp:
                return now
        elif not syn:
            if self.lives(base + was):
                if was != now:
                    self.flows[flow] = Remembered(was, time + idle)
                return was
            if not udp:
                return now
        if now and (now != was or entry is not None):
            self.flows[flow] = Remembered(now, time + idle)
        return now


@dataclass(frozen=True)
class Place:
    """A service as the program finds it."""

    slots: int
    slot_count: int
    destinations: int
    capacity: int


def find_service(memory: Memory, key: ServiceKey) -> Place | None:
    """Look a service up as the program does: one position, one comparison."""
    folding = memory.keys.get(memory.copy, "fold", 0), memory.keys.get(memory.copy, "fold", 1)
    word = key_word(key, folding)
    at = _position(memory, word, 0)
    if memory.services.get(at, "key") != word:
        return None
    if key.vip.version == 6:
        high, low = memory.services.get(at, "source_factor"), memory.services.get(at, "vip_low")
        if (high, low) != halves(key.vip):
            return None
    get = memory.services.get
    return Place(get(at, "slots"), get(at, "slot_count"), get(at, "destinations"), get(at, "capacity"))


def find_vip(memory: Memory, address: Address) -> bool | None:
    """Look a VIP up as the program does: whether it is up, None where it is no VIP."""
    folding = memory.keys.get(memory.copy, "fold", 0), memory.keys.get(memory.copy, "fold", 1)
    at = _position(memory, vip_word(address, folding), 1)
    if (memory.vips.get(at, "high"), memory.vips.get(at, "low")) != halves(address):
        return None
    return bool(memory.vips.get(at, "up"))


def _position(memory: Memory, key: int, which: int) -> int:
    size = memory.shape.services
    copy = memory.copy
    multiplier = memory.keys.get(copy, "vip_multiplier") if which else memory.lookup.get(0, "multiplier")
    table = copy * 2 + which
    if memory.shape.direct:
        return copy * size + direct_position(key, multiplier, size)
    displacements = memory.displacements[table * size : (table + 1) * size].tolist()
    return copy * size + position(key, multiplier, displacements)


@dataclass(frozen=True)
class Flow:
    """A client's flow to a service."""

    key: ServiceKey
    source: IPv4Address
    port: int


@dataclass(frozen=True)
class Sent:
    """What became of a packet: the destination's number, and why it got nothing (NOTHING where it was forwarded)."""

    number: int
    refusal: Refusal


class Packets(Steering):
    """Packets of whole flows through the tables."""

    def send(self, flow: Flow, *, syn: bool = False) -> Sent | None:
        """Steer one packet; None where there is no such service."""
        memory, key = self.memory, flow.key
        place = find_service(memory, key)
        if place is None:
            return None
        k = memory.coefficients()
        hashed = flow_hash(k, flow.source, flow.port, key.vip, key.port, int(key.protocol))
        slot = place.slots + slot_of(hashed, place.slot_count)
        udp = key.protocol is Protocol.UDP
        opens = syn and not udp
        index = self.choose(slot, place.destinations, flow, syn=opens, udp=udp, capacity=place.capacity)
        assert index < place.capacity, "a slot names a destination beyond its service's range"
        number = place.destinations + index
        return Sent(number, Refusal(memory.destinations.get(number, "refusal")))
