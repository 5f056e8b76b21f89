"""Blocked prefixes in the tables: the kernel's trie, which knows them all, and the bits before it. Pure.

A clear bit says that no source that begins so is blocked. Bits are found by the first 20 bits of an IPv4 source, and by
a hash of the first 32 bits of an IPv6 source. Who shares a bit with a blocked prefix and is not blocked is looked up
in the trie, and goes on by the second program.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from ipaddress import IPv4Network, IPv6Network

from appliance.dataplane.abi import BLOCKED_LIMIT, MAPPED, SOURCE_FACTOR, SOURCE_PREFIX, SOURCES
from appliance.dataplane.memory import Memory
from appliance.errors import PlanError
from appliance.model import Address, Network

_WORD = 64
_ALL = (1 << _WORD) - 1
_U32 = (1 << 32) - 1
_HASHED = 32
"""Bits of an IPv6 source that its place depends on."""
_WIDE = 16
"""IPv6 prefixes shorter than this make every IPv6 source a suspect."""


def check(memory: Memory, blocked: Collection[Network]) -> None:
    """Raise PlanError where the tables cannot hold these."""
    if len(blocked) > BLOCKED_LIMIT:
        raise PlanError(
            f"{len(blocked):,} prefixes are to be blocked, and at most {BLOCKED_LIMIT:,} can be; join neighbours into "
            "shorter prefixes, or remove some (`vc5 block list`)"
        )
    if blocked and not memory.shape.blocks:
        raise PlanError("the running program cannot block prefixes; reload for one that can")


def write(memory: Memory, blocked: Collection[Network]) -> None:
    """Make the tables hold exactly these; a source that was blocked and still is does not get through meanwhile."""
    if not memory.shape.blocks:
        return
    wanted, present = {key(prefix) for prefix in blocked}, set(memory.blocked)
    for new in wanted - present:
        memory.blocked.add(new)
    memory.fence()
    view, bits = memory.suspects, suspects(blocked)
    for at, (before, after) in enumerate(zip(view.tolist(), bits, strict=True)):
        if before != after:
            view[at] = after
    for old in present - wanted:
        memory.blocked.discard(old)


def key(prefix: Network) -> bytes:
    """Return a prefix as the trie knows it: its length in the host's byte order, its address in network order."""
    length, packed = prefix.prefixlen, prefix.network_address.packed
    if prefix.version == 4:
        length, packed = length + 96, MAPPED + packed
    return length.to_bytes(4, sys.byteorder) + packed


def prefix_of(key: bytes) -> Network:
    """Return the prefix that `key` made this of."""
    length, packed = int.from_bytes(key[:4], sys.byteorder), key[4:]
    if packed.startswith(MAPPED) and length >= 96:
        return IPv4Network((packed[12:], length - 96))
    return IPv6Network((packed, length))


def suspects(blocked: Iterable[Network]) -> list[int]:
    """Return the bits that these prefixes set, as words of 64."""
    words = [0] * (2 * SOURCES // _WORD)
    for prefix in blocked:
        for place in _places(prefix):
            if place.step == _WORD:
                words[place.start // _WORD : place.stop // _WORD] = [_ALL] * len(place)
            else:
                for bit in place:
                    words[bit // _WORD] |= 1 << bit % _WORD
    return words


def _places(prefix: Network) -> Iterable[range]:
    """Yield which bits a prefix sets; a range of step 64 stands for whole words."""
    first, length = int(prefix.network_address), prefix.prefixlen
    if prefix.version == 4:
        start, count = first >> 32 - SOURCE_PREFIX, 1 << max(0, SOURCE_PREFIX - length)
        yield range(start, start + count, _WORD if count >= _WORD else 1)
    elif length < _WIDE:
        yield range(SOURCES, 2 * SOURCES, _WORD)
    else:
        start = first >> 128 - _HASHED
        for word in range(start, start + (1 << max(0, _HASHED - length))):
            place = SOURCES + ((word * SOURCE_FACTOR & _U32) >> _HASHED - SOURCE_PREFIX)
            yield range(place, place + 1)


def blocking(prefixes: Iterable[Network], source: Address) -> Network | None:
    """Return the longest of the prefixes that a source is in; None for a source that none covers."""
    covering = [prefix for prefix in prefixes if prefix.version == source.version and source in prefix]
    return max(covering, key=lambda prefix: prefix.prefixlen, default=None)
