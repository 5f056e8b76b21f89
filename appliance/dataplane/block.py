"""Blocked prefixes in the tables: the kernel's trie, which knows them all, and the bits before it. Pure.

A clear bit says that no source that begins so is blocked. Bits are found by the first 20 bits of an IPv4 source, and by
a hash of the first 32 bits of an IPv6 source. Who shares a bit with a blocked prefix and is not blocked is looked up
in the trie, and goes on by the second program.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
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
_FEW = 256
"""So many changes are made bit by bit."""


def check(memory: Memory, blocked: Collection[Network]) -> None:
    """Raise PlanError where the tables cannot hold these."""
    if len(blocked) > BLOCKED_LIMIT:
        raise PlanError(
            f"{len(blocked):,} prefixes are to be blocked, and at most {BLOCKED_LIMIT:,} can be; join neighbours into "
            "shorter prefixes, or remove some (`vc5 block list`)"
        )
    if blocked and not memory.shape.blocks:
        raise PlanError("the running program cannot block prefixes; reload for one that can")


class BlockTable:
    """What is blocked, in one generation's memory. One prefix more or less costs no look at all the others' bits."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._given: Collection[Network] | None = None
        self._known: set[Network] | None = None
        """What the tables hold; None where that must be read."""
        self._users: Counter[int] = Counter()
        """How many prefixes need a bit, those left out that need whole words."""
        self._wide = 0
        """How many need whole words."""

    def write(self, blocked: Collection[Network]) -> None:
        """Make the tables hold exactly these; a source that was blocked and still is does not get through meanwhile.

        Raises KernelError with part of it done; the next call does the rest.
        """
        if blocked is self._given or not self._memory.shape.blocks:
            return
        wanted, known, trie = set(blocked), self._known, self._memory.blocked
        self._given = self._known = None
        few = known is not None
        if known is None:
            known = {prefix_of(key) for key in trie}
        added, gone = wanted - known, known - wanted
        for prefix in added:
            trie.add(key(prefix))
        self._memory.fence()
        if few and len(added) + len(gone) <= _FEW and not any(map(_is_wide, added)) and not (gone and self._wide):
            self._change_bits(added, gone)
        else:
            self._write_bits(wanted)
        for prefix in gone:
            trie.discard(key(prefix))
        self._given, self._known = blocked, wanted

    def _change_bits(self, added: Iterable[Network], gone: Iterable[Network]) -> None:
        view = self._memory.suspects
        for bit in _bits(added):
            self._users[bit] += 1
            view[bit // _WORD] |= 1 << bit % _WORD
        for bit in _bits(gone):
            self._users[bit] -= 1
            if not self._users[bit]:
                del self._users[bit]
                view[bit // _WORD] &= ~(1 << bit % _WORD)

    def _write_bits(self, wanted: Collection[Network]) -> None:
        self._users, self._wide = Counter(_bits(wanted)), sum(map(_is_wide, wanted))
        view = self._memory.suspects
        for at, (before, after) in enumerate(zip(view.tolist(), suspects(wanted), strict=True)):
            if before != after:
                view[at] = after


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


def _bits(prefixes: Iterable[Network]) -> Iterator[int]:
    """Yield the bits that prefixes need, those left out that are told in whole words."""
    for prefix in prefixes:
        for place in _places(prefix):
            if place.step != _WORD:
                yield from place


def _is_wide(prefix: Network) -> bool:
    """Whether a prefix needs whole words."""
    return prefix.prefixlen < (_WIDE if prefix.version == 6 else SOURCE_PREFIX - 5)


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
