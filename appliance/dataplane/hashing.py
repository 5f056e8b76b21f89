"""The two hashes of the data plane, bit for bit as the program computes them.

The *flow hash* is keyed: nobody outside can aim packets at one slot. The *perfect hash* finds services and VIPs: it is
built here, by displacement, so that a lookup in the program is one comparison.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from appliance.dataplane.abi import COEFFICIENTS, MAPPED, MIX, SOURCE_PARTS, TAG_BITS, WORDS
from appliance.errors import PlanError
from appliance.model import Address

MASK = (1 << 64) - 1
_ATTEMPTS = 64
_DIRECT_ATTEMPTS = 4096


def coefficients(seed: bytes) -> tuple[int, ...]:
    """Expand a seed of 16 bytes to the 64-bit coefficients of the flow hash.

    COEFFICIENTS for IPv4 and the ports, SOURCE_PARTS for an IPv6 source, of which the first is odd, and WORDS for the
    words of an IPv6 VIP.
    """
    material = hashlib.blake2b(seed, digest_size=8 * COEFFICIENTS, person=b"vc5 flow hash").digest()
    material += hashlib.blake2b(seed, digest_size=8 * (SOURCE_PARTS + WORDS), person=b"vc5 flow hash 6").digest()
    made = [int.from_bytes(material[at : at + 8], "little") for at in range(0, len(material), 8)]
    made[COEFFICIENTS] |= 1
    return tuple(made)


def flow_hash(
    k: Sequence[int],
    source: Address,
    source_port: int,
    vip: Address,
    vip_port: int,
    protocol: int,
    *,
    sticky: bool = False,
) -> int:
    """The 64-bit hash of a packet; ports and the protocol are numbers. Without ports and protocol where it is `sticky`.

    Multilinear hashing with half the multiplications (Lemire and Kaser, "Strongly universal string hashing is
    fast", section 3): its high 32 bits are strongly universal. Words are the bytes as they lie in the packet, the
    first one lowest. The first half of an IPv6 source is one word: sources that only differ there collide with at most
    twice that chance (Dietzfelbinger and others, "A reliable randomized algorithm for the closest-pair problem").
    """
    ports = word16(source_port) | word16(vip_port) << 16
    rest = 0 if sticky else (k[3] + ports) * (k[4] + protocol)
    if vip.version == 6:
        parts = (halves(source)[0], *words(source)[2:], *words(vip))
        pairs = zip(k[COEFFICIENTS:], parts, strict=True)
        return (k[0] + sum(factor * word for factor, word in pairs) + rest) & MASK
    return (k[0] + (k[1] + word32(int(source))) * (k[2] + word32(int(vip))) + rest) & MASK


@dataclass(frozen=True)
class Factors:
    """The flow hash of one service, multiplied out: `source * source_word + ports * ports_word + rest`.

    For IPv6 `source` is 0, and the words of the source have the factors that all services share.
    """

    source: int
    ports: int
    rest: int


def hash_factors(k: Sequence[int], vip: Address, protocol: int, *, sticky: bool = False) -> Factors:
    """Multiply out what a service's packets have in common."""
    ports = 0 if sticky else (k[4] + protocol) & MASK
    if vip.version == 6:
        pairs = zip(k[COEFFICIENTS + SOURCE_PARTS :], words(vip), strict=True)
        return Factors(0, ports, (k[0] + sum(factor * word for factor, word in pairs) + k[3] * ports) & MASK)
    source = (k[2] + word32(int(vip))) & MASK
    return Factors(source, ports, (k[0] + k[1] * source + k[3] * ports) & MASK)


def words(address: Address) -> tuple[int, ...]:
    """The 32-bit words of an IPv6 address as the program reads them from a frame."""
    return tuple(int.from_bytes(address.packed[at : at + 4], "little") for at in range(0, 16, 4))


def halves(address: Address) -> tuple[int, int]:
    """An address as two 64-bit words, the bytes as they lie in a frame, the first one lowest; IPv4 is mapped."""
    packed = mapped(address)
    return int.from_bytes(packed[:8], "little"), int.from_bytes(packed[8:], "little")


def mapped(address: Address) -> bytes:
    """16 bytes for an address of either family."""
    return address.packed if address.version == 6 else MAPPED + address.packed


def unmapped(packed: bytes) -> Address:
    """The address for which 16 bytes stand."""
    return IPv4Address(packed[12:]) if packed[:12] == MAPPED else IPv6Address(packed)


def fold(multipliers: Sequence[int], address: Address) -> int:
    """32 bits for an IPv6 address."""
    high, low = halves(address)
    return ((high * multipliers[0] + low * multipliers[1]) & MASK) >> 32


def fold_multipliers(addresses: Collection[Address]) -> tuple[int, int]:
    """Multipliers under which no two of these IPv6 addresses are folded alike. Raises PlanError if none are found."""
    for attempt in range(_ATTEMPTS):
        material = hashlib.blake2b(attempt.to_bytes(4, "big"), digest_size=16, person=b"vc5 fold").digest()
        multipliers = int.from_bytes(material[:8], "big") | 1, int.from_bytes(material[8:], "big") | 1
        if len({fold(multipliers, address) for address in addresses}) == len(addresses):
            return multipliers
    raise PlanError(f"no way to fold {len(addresses)} IPv6 addresses apart")


def word32(number: int) -> int:
    """An address as the program reads it from a frame."""
    return int.from_bytes(number.to_bytes(4, "big"), "little")


def word16(number: int) -> int:
    """A port as the program reads it from a frame."""
    return int.from_bytes(number.to_bytes(2, "big"), "little")


def slot_of(flow: int, count: int) -> int:
    """Which of `count` slots a flow hash names.

    The flow hash is linear in each word, so successive ports or addresses of clients walk over it in even steps. Under
    one seed in a hundred these steps come back to few slots. h(h + 1) scatters them as by chance. Every even number
    comes up for two hashes (halved it is a permutation, as triangular numbers modulo a power of two are), and hashes
    that differ only in high bits stay apart, which they would not in a bare square.
    """
    return ((flow * (flow + 1) & MASK) >> 32) * count >> 32


def flow_name(flow: int, sets: int) -> tuple[int, int]:
    """The set number and the tag of a flow hash, for a flow table of so many sets (a power of two above 1)."""
    name = whole_name(flow)
    return name >> (64 - (sets.bit_length() - 1)), name & ((1 << TAG_BITS) - 1)


def whole_name(flow: int) -> int:
    """The 64 bits by which a flow is remembered, whatever the size of the flow table, from its flow hash."""
    return ((flow ^ flow >> 29) * MIX) & MASK


@dataclass(frozen=True)
class PerfectHash:
    """Where each key lies: `positions[i]` is that of key i; `displacements` has one entry for a position, or none."""

    multiplier: int
    displacements: tuple[int, ...]
    positions: tuple[int, ...]


def position(key: int, multiplier: int, displacements: Sequence[int]) -> int:
    """The only position at which the key can be, in a table with displacements."""
    size = len(displacements)
    mixed = (key * multiplier) & MASK
    return ((mixed >> 32) ^ displacements[mixed >> (64 - (size.bit_length() - 1))]) & (size - 1)


def direct_position(key: int, multiplier: int, size: int) -> int:
    """The only position at which the key can be, in a table without."""
    return ((key * multiplier) & MASK) >> (64 - (size.bit_length() - 1))


def perfect_hash(keys: Sequence[int], size: int, copy: int = 1) -> PerfectHash:
    """Place distinct 64-bit keys on `size` positions, a power of two from 2 to 65,536 and at least twice their number.

    The lowest bit of the multiplier is `copy`, so that it can tell where the table lies.

    Raises PlanError if no displacement is found, which with this much room does not happen.
    """
    for attempt in range(_ATTEMPTS):
        placed = _place(keys, size, _multiplier(attempt, copy))
        if placed is not None:
            return placed
    raise PlanError(f"no perfect hash for {len(keys)} keys on {size} positions")


def direct_hash(keys: Sequence[int], size: int, copy: int = 1) -> PerfectHash:
    """Place keys without displacements, which takes sixteen times as many positions, and at most some 128 keys.

    The lowest bit of the multiplier is `copy`. Raises PlanError if no multiplier is found.
    """
    for attempt in range(_DIRECT_ATTEMPTS):
        multiplier = _multiplier(attempt, copy)
        positions = tuple(direct_position(key, multiplier, size) for key in keys)
        if len(set(positions)) == len(positions):
            return PerfectHash(multiplier, (), positions)
    raise PlanError(f"no direct hash for {len(keys)} keys on {size} positions")


def _multiplier(attempt: int, copy: int) -> int:
    name = attempt.to_bytes(4, "big")
    drawn = int.from_bytes(hashlib.blake2b(name, digest_size=8, person=b"vc5 lookup").digest(), "big")
    return (drawn | 1) << 1 & MASK | copy


def _place(keys: Sequence[int], size: int, multiplier: int) -> PerfectHash | None:
    shift = 64 - (size.bit_length() - 1)
    buckets: dict[int, list[tuple[int, int]]] = {}
    for number, key in enumerate(keys):
        mixed = (key * multiplier) & MASK
        buckets.setdefault(mixed >> shift, []).append((number, (mixed >> 32) & (size - 1)))
    displacements = [0] * size
    positions = [0] * len(keys)
    taken = bytearray(size)
    free = 0
    for bucket, members in sorted(buckets.items(), key=lambda item: (-len(item[1]), item[0])):
        if len(members) == 1:  # most of them, and last: any position will do that is free
            free = taken.index(0, free)
            number, low = members[0]
            displacements[bucket], positions[number], taken[free] = low ^ free, free, 1
            continue
        lows = {low for _, low in members}
        if len(lows) < len(members):
            return None
        for displacement in range(size):
            if not any(taken[low ^ displacement] for low in lows):
                break
        else:
            return None
        displacements[bucket] = displacement
        for number, low in members:
            positions[number] = low ^ displacement
            taken[low ^ displacement] = 1
    return PerfectHash(multiplier, tuple(displacements), tuple(positions))
