"""Writing destinations: who a number stands for, where its packets go, whether it may have any."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address

from appliance.dataplane.desired import DesiredService, Member
from appliance.dataplane.enums import Refusal, State
from appliance.dataplane.hashing import mapped
from appliance.dataplane.legs import network16
from appliance.dataplane.memory import COUNTERS, Memory
from appliance.dataplane.tunnels import Paths
from appliance.model import Address, Forward

WAYS_OUT = (Refusal.NOTHING, Refusal.TUNNEL, Refusal.NAT)
"""What is no refusal."""


def clear_range(memory: Memory, base: int, capacity: int) -> None:
    """Make a range of numbers new, the first of them the one that stands for "no backend"."""
    memory.destinations.clear(base, capacity)
    memory.identities.clear(base, capacity)
    if memory.counted(base, capacity):
        for number in range(base, base + capacity):
            _clear_counters(memory, number)
    memory.destinations.put(base, "refusal", Refusal.NO_BACKEND)


def clear(memory: Memory, number: int, heir: int) -> None:
    """Make a number stand for nobody, its counters at 0; what it has counted goes to another number of the service."""
    memory.destinations.clear(number)
    memory.identities.clear(number)
    if memory.counted(number, 1):
        for name in COUNTERS:
            memory.set_counter(heir, name, memory.counter(heir, name) + memory.counter(number, name))
        _clear_counters(memory, number)


def _clear_counters(memory: Memory, number: int) -> None:
    for name in COUNTERS:
        memory.set_counter(number, name, 0)


def copy_range(memory: Memory, source: int, target: int, count: int) -> None:
    """Copy numbers with their counters to a range that nothing refers to yet."""
    for elements in (memory.destinations, memory.identities):
        elements.copy(source, target, count)
    for name in COUNTERS:
        for index in range(count):
            memory.set_counter(target + index, name, memory.counter(source + index, name))


def write(memory: Memory, number: int, base: int, service: DesiredService, member: Member, paths: Paths) -> None:
    """Make a number stand for a backend of a service. Its last known MAC is kept while none is known.

    At `base` is the one that stands for "no backend": what the number counted for another one is added there, so that
    the sum over a service's numbers never becomes smaller.
    """
    destinations, identities, key = memory.destinations, memory.identities, service.key
    behind_nat = service.forward is Forward.NAT
    if not identities.get(number, "used") or memory.backend(number) != member.address:
        clear(memory, number, base)
    tail, path = destinations.get(number, "mac_tail"), destinations.get(number, "path")
    if member.hop is not None:
        identities.put_bytes(number, "own", mapped(member.source or member.hop.own))
        identities.put(number, "interface", member.hop.interface)
        path, tail = paths.legs.number(member.hop), int.from_bytes(member.hop.macs[8:], sys.byteorder)
        destinations.put(number, "mac_head", int.from_bytes(member.hop.macs[:8], sys.byteorder))
    identities.put_bytes(number, "backend", mapped(member.address))
    identities.put_bytes(number, "vip", mapped(key.vip))
    identities.put(number, "port", key.port)
    identities.put(number, "protocol", int(key.protocol))
    identities.put(number, "mapped", network16(member.port or key.port) if behind_nat else 0)
    identities.put(number, "clamp", service.clamp if behind_nat else 0)
    identities.put(number, "freed", 0)
    identities.put(number, "used", 1)
    way = Refusal.NAT if behind_nat else Refusal.NOTHING
    word = 0
    if service.tunnel is not None and not behind_nat:
        word, way = identities.get(number, "tunnel"), Refusal.TUNNEL
        if not memory.shape.tunnels:
            way = Refusal.UNRESOLVED
        elif member.hop is not None:
            hop = member.hop
            path = paths.tunnels.number(key.vip.version, service.tunnel, member.address, hop.own, hop.mtu, path)
            word = 1 + path
        elif not word or not paths.tunnels.serves(word - 1, service.tunnel, member.address):
            # What is known of the way stays, if it is one of this kind.
            way = Refusal.UNRESOLVED
    identities.put(number, "tunnel", word)
    refusal = _refusal(member, way, resolved=bool(destinations.get(number, "mac_head")))
    if refusal in WAYS_OUT and destinations.get(number, "refusal") != refusal:
        memory.fence()
    # All at once: `path` means one thing with a tunnel, and another without.
    destinations.put_word(number, mac_tail=tail, path=path, state=member.state, refusal=refusal)


def free(memory: Memory, number: int, time: int) -> None:
    """The number's backend is gone: dead to flows that remember it, not reused before they are forgotten."""
    memory.destinations.put(number, "state", State.DEAD)
    memory.destinations.put(number, "refusal", Refusal.DEAD)
    memory.identities.put(number, "freed", max(1, time))


def network_word(address: Address) -> int:
    """An IPv4 address as a field in network order reads in this host's order."""
    return int.from_bytes(IPv4Address(int(address)).packed, sys.byteorder)


def _refusal(member: Member, way: Refusal, *, resolved: bool) -> Refusal:
    if member.state is State.NONE:
        return Refusal.NO_BACKEND
    if member.state is State.DEAD:
        return Refusal.DEAD
    return way if resolved else Refusal.UNRESOLVED
