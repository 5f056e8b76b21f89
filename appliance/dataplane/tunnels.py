"""Writing the tunnels of destinations. Each has two copies: the one not in force is filled, then one store switches."""

from __future__ import annotations

import sys

from appliance.dataplane.aside import TUNNEL
from appliance.dataplane.desired import Member
from appliance.dataplane.encapsulation import Outer, encapsulation, native16, outer
from appliance.dataplane.enums import Refusal
from appliance.dataplane.memory import Memory
from appliance.model import Tunnel

COPIES = 2


def write(memory: Memory, number: int, tunnel: Tunnel | None, member: Member) -> Refusal:
    """Make packets to a destination travel so; its identity is written already.

    Returns what its `refusal` has to say for it: UNRESOLVED where nothing can be sent so yet, or by this program.
    """
    identities = memory.identities
    present = identities.get(number, "tunnel")
    if tunnel is None:
        identities.put(number, "tunnel", 0)
        return Refusal.NOTHING
    if not memory.shape.tunnels:
        return Refusal.UNRESOLVED
    if member.hop is None:
        # What is known of the way stays, if it is one of this kind.
        known = present and memory.tunnels.get(_place(memory, number, present - 1), "kind")
        return _refusal(present) if known == encapsulation(tunnel, member.address) else Refusal.UNRESOLVED
    made = outer(tunnel, memory.address(number, "vip").version, member.hop.own, member.address)
    wanted = _bytes(made, member.hop.mtu)
    if present and memory.tunnels.bytes_of(_place(memory, number, present - 1), "header", TUNNEL.size) == wanted:
        return _refusal(present)
    fresh = COPIES if present == 1 else 1
    memory.tunnels.put_bytes(_place(memory, number, fresh - 1), "header", wanted)
    memory.fence()
    identities.put(number, "tunnel", fresh)
    return _refusal(fresh)


def clear(memory: Memory, number: int) -> None:
    """Forget a destination's tunnel."""
    if memory.shape.tunnels:
        for copy in range(COPIES):
            memory.tunnels.clear(_place(memory, number, copy))


def copy(memory: Memory, source: int, target: int, count: int) -> None:
    """Copy the tunnels of destinations to those that nothing refers to yet."""
    if memory.shape.tunnels:
        for which in range(COPIES):
            memory.tunnels.copy(_place(memory, source, which), _place(memory, target, which), count)


def room(mtu: int, made: Outer) -> int:
    """Bytes of the longest packet that fits a way with this MTU."""
    return max(0, min(mtu, 0xFFFF) - made.length)


def _place(memory: Memory, number: int, copy: int) -> int:
    return copy * memory.shape.destinations + number


def _refusal(present: int) -> Refusal:
    return Refusal(Refusal.TUNNEL + present - 1)


def _bytes(made: Outer, mtu: int) -> bytes:
    """A whole element of the table."""
    element = bytearray(TUNNEL.size)
    element[: len(made.header)] = made.header
    for name, value in (
        ("ip_sum", native16(made.ip_sum)),
        ("udp_sum", native16(made.udp_sum)),
        ("room", room(mtu, made)),
    ):
        at = TUNNEL.offsets[name]
        element[at : at + 2] = value.to_bytes(2, sys.byteorder)
    element[TUNNEL.offsets["kind"]] = made.kind
    element[TUNNEL.offsets["option"]] = made.option
    return bytes(element)
