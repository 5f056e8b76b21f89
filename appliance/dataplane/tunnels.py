"""The tunnels that destinations share: an outer header, what fits into it, and the leg by which it leaves.

A destination names its tunnel by number. What is behind a number stays as it is while a destination names it: a way
that changes is another tunnel, and one store takes the destination to it. Numbers that no destination names any more
are given away when there is no other left, the one that has waited longest first.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Collection
from itertools import compress
from operator import not_

from appliance.dataplane.aside import TUNNEL
from appliance.dataplane.encapsulation import Outer, encapsulation, native16, outer
from appliance.dataplane.enums import Encapsulation
from appliance.dataplane.legs import Legs
from appliance.dataplane.memory import Memory
from appliance.errors import NoRoom
from appliance.model import Address, Tunnel


class Tunnels:
    """The tunnels in one generation's memory."""

    def __init__(self, memory: Memory) -> None:
        """Adopt what the memory holds."""
        self._memory = memory
        self._numbers = {self._read(number): number for number in self._named()}
        taken = set(self._numbers.values())
        self._free = deque(number for number in range(memory.shape.tunnel_count) if number not in taken)

    def number(self, family: int, tunnel: Tunnel, backend: Address, own: Address, mtu: int, leg: int) -> int:
        """The tunnel from `own` to a backend around packets of a family, by a leg with this MTU: a new one if need be.

        Raises NoRoom when all are taken.
        """
        wanted = element(outer(tunnel, family, own, backend), mtu, leg)
        known = self._numbers.get(wanted)
        if known is not None:
            return known
        if not self._free:
            self._give_away()
        number = self._free.popleft()
        self._memory.tunnels.put_bytes(number, "header", wanted)
        self._memory.fence()
        self._numbers[wanted] = number
        return number

    def serves(self, number: int, tunnel: Tunnel, backend: Address) -> bool:
        """Whether the tunnel of a number is of the kind that is wanted to this backend."""
        return Encapsulation(self._memory.tunnels.get(number, "kind")) is encapsulation(tunnel, backend)

    def _give_away(self) -> None:
        named = self._named()
        for content, number in list(self._numbers.items()):
            if number not in named:
                del self._numbers[content]
                self._free.append(number)
        if not self._free:
            raise NoRoom(f"more than {self._memory.shape.tunnel_count} tunnels")

    def _named(self) -> set[int]:
        """Those that destinations name."""
        if not self._memory.shape.tunnels:
            return set()
        return {word - 1 for word in set(self._memory.identities.column("tunnel")) if word}

    def _read(self, number: int) -> bytes:
        return self._memory.tunnels.bytes_of(number, "header", TUNNEL.size)


class Paths:
    """The ways out in one generation's memory: legs, and tunnels that leave by them."""

    def __init__(self, memory: Memory) -> None:
        """Adopt what the memory holds."""
        self._memory = memory
        self.legs = Legs(memory)
        self.tunnels = Tunnels(memory)

    def keep(self, others: Collection[int]) -> None:
        """Give away the legs that no destination's packets leave by, and that are none of the others."""
        paths, words = self._memory.destinations.column("path"), self._memory.identities.column("tunnel")
        direct = set(compress(paths, map(not_, words)))
        tunnelled = {self._memory.tunnels.get(word - 1, "leg") for word in set(words) - {0}}
        self.legs.keep(direct | tunnelled | set(others))


def leg_of(memory: Memory, number: int) -> int:
    """The leg by which packets to a destination leave."""
    word = memory.identities.get(number, "tunnel")
    return memory.tunnels.get(word - 1, "leg") if word else memory.destinations.get(number, "path")


def room(mtu: int, made: Outer) -> int:
    """Bytes of the longest packet that fits a way with this MTU."""
    return max(0, min(mtu, 0xFFFF) - made.length)


def element(made: Outer, mtu: int, leg: int) -> bytes:
    """A whole element of the table."""
    content = bytearray(TUNNEL.size)
    content[: len(made.header)] = made.header
    for name, value in (
        ("leg", leg),
        ("ip_sum", native16(made.ip_sum)),
        ("udp_sum", native16(made.udp_sum)),
        ("room", room(mtu, made)),
    ):
        at = TUNNEL.offsets[name]
        content[at : at + 2] = value.to_bytes(2, sys.byteorder)
    content[TUNNEL.offsets["kind"]] = made.kind
    content[TUNNEL.offsets["option"]] = made.option
    return bytes(content)
