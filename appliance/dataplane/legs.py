"""The ways out of the balancer that destinations share: an interface, and the tag with which frames leave by it.

A destination names its leg by number. Legs are written, and the program's doors opened, before a destination names
them; they are given away when none does any more.
"""

from __future__ import annotations

import sys
from collections.abc import Collection

from appliance.dataplane.abi import LEGS
from appliance.dataplane.desired import Hop, Outlet
from appliance.dataplane.memory import Memory
from appliance.errors import NoRoom

_Leg = tuple[int, int, int]


class Legs:
    """The legs in one generation's memory."""

    def __init__(self, memory: Memory) -> None:
        """Adopt what the memory holds."""
        self._memory = memory
        self._numbers: dict[_Leg, int] = {}
        for number in range(1, LEGS):
            leg = self._read(number)
            if leg[0]:
                self._numbers[leg] = number

    def number(self, hop: Hop | Outlet) -> int:
        """The leg of a hop, a new one where there is none yet. Raises NoRoom when all are taken."""
        leg = (hop.interface, network16(hop.vlan or 0), min(hop.mtu, 0xFFFF))
        known = self._numbers.get(leg)
        if known is not None:
            return known
        taken = set(self._numbers.values())
        number = next((number for number in range(1, LEGS) if number not in taken), None)
        if number is None:
            raise NoRoom(f"more than {LEGS - 1} pairs of interface and VLAN")
        legs = self._memory.legs
        legs.put(number, "vlan", leg[1])
        legs.put(number, "mtu", leg[2])
        legs.put(number, "interface", leg[0])
        self._memory.door(number, leg[0])
        self._numbers[leg] = number
        return number

    def keep(self, used: Collection[int]) -> None:
        """Give away all legs but these."""
        for leg, number in list(self._numbers.items()):
            if number not in used:
                self._memory.legs.clear(number)
                del self._numbers[leg]

    def _read(self, number: int) -> _Leg:
        legs = self._memory.legs
        return legs.get(number, "interface"), legs.get(number, "vlan"), legs.get(number, "mtu")


def network16(number: int) -> int:
    """A 16-bit number in network order, as a field of this host's order reads it."""
    return int.from_bytes(number.to_bytes(2, "big"), sys.byteorder)
