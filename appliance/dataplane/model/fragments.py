"""Datagrams in pieces: where the first fragment went, the later ones follow."""

from __future__ import annotations

from appliance.dataplane.abi import (
    FRAGMENT_EXPIRY_BITS,
    FRAGMENT_LIFE,
    FRAGMENT_NUMBER_BITS,
    FRAGMENT_TAG_BITS,
    MIX,
    WAYS,
)
from appliance.dataplane.hashing import MASK, flow_hash
from appliance.dataplane.memory import Memory
from appliance.dataplane.model.packet import FRAGMENT_HEADER, Ip

CLOCK = 1 << FRAGMENT_EXPIRY_BITS


class Fragments:
    """The table of datagrams whose first fragment was seen."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def remember(self, ip: Ip, number: int) -> None:
        """The datagram of this first fragment went to a destination."""
        first, tag = self._place(ip)
        ways = self._memory.fragments[first : first + WAYS].tolist()
        time = self._memory.time
        scores = [0 if self._tag(way) == tag else 1 + self._life(way, time) for way in ways]
        entry = (tag << FRAGMENT_NUMBER_BITS | number) << FRAGMENT_EXPIRY_BITS | (time + FRAGMENT_LIFE) % CLOCK
        self._memory.fragments[first + scores.index(min(scores))] = entry

    def recall(self, ip: Ip) -> int:
        """The destination of the datagram that this later fragment belongs to, 0 where it is not known."""
        first, tag = self._place(ip)
        ways = self._memory.fragments[first : first + WAYS].tolist()
        known = [way for way in ways if way and self._tag(way) == tag and self._life(way, self._memory.time)]
        return (known[-1] >> FRAGMENT_EXPIRY_BITS) % (1 << FRAGMENT_NUMBER_BITS) if known else 0

    def name(self, ip: Ip) -> int:
        """What all fragments of a datagram have in common, hashed.

        The hash is that of flows, with the identification in the place of the ports. The protocol counts in IPv4 only
        (RFC 791 section 3.2, RFC 8200 section 4.5).
        """
        halves = ip.identification >> 16, ip.identification & 0xFFFF
        ports = (halves[1], 0) if ip.family == 4 else halves
        protocol = ip.protocol if ip.family == 4 else FRAGMENT_HEADER
        flow = flow_hash(self._memory.coefficients(), ip.source, ports[0], ip.destination, ports[1], protocol)
        return ((flow ^ flow >> 29) * MIX) & MASK

    def _place(self, ip: Ip) -> tuple[int, int]:
        """The first way of a datagram's set, and its tag."""
        name = self.name(ip)
        bits = self._memory.shape.fragment_sets.bit_length() - 1
        return (name >> (64 - bits)) * WAYS, name % (1 << FRAGMENT_TAG_BITS)

    @staticmethod
    def _tag(way: int) -> int:
        return way >> (FRAGMENT_EXPIRY_BITS + FRAGMENT_NUMBER_BITS)

    @staticmethod
    def _life(way: int, time: int) -> int:
        """Seconds for which a way lives; 0 for an empty one."""
        life = (way - time) % CLOCK
        return life if way and life <= FRAGMENT_LIFE else 0
