"""Remembered flows as nodes of a fleet tell them: read out of the flow table, and learnt into that of another node.

Theory of operation. All nodes with the same `hash_seed` give a flow the same name of 64 bits. Its top bits choose the
set and its low TAG_BITS are the tag, whatever the size of the flow table; what lies between is only known to who tells
of a flow at once (the program's news), not to who finds it in the table later. A node whose table has more sets than
the known bits tell apart puts the flow into all the sets that it may belong to: the copies that nothing finds expire.

What is told may meet what is known already:

  the same backend   the later expiry holds, and a flow is confirmed once either node has seen it confirmed;
  another backend    a connection that has just begun (`opened`) replaces what is known: whoever answered its SYN knows
                     best. A candidate that belongs to older flows replaces nothing, for it is a guess. What has just
                     been confirmed replaces a candidate. All else replaces what was alive well before it (DOUBT);
  a dead backend     is replaced by whatever is told.

A candidate takes no way of another candidate, so that a flood at one node does not put out what others remember.

Others see none of a flow's packets. So every node tells again, a piece of the table at a time, the flows that were
alive within the last round; and the program tells of one at once that goes on after it was silent for more than a
quarter of `idle`, since others might forget it before the next round. So that a flow does not live on by being told to
and fro, a round is long (a third of `idle`) beside what a life gains on the way: the second of the clock, and the time
of the transfer.

What remains: a flow that comes to another node before the record of it, and that of its slot, did. It is answered like
an older flow there. So is a 5-tuple that is used again at another node sooner than records travel.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

from appliance.dataplane.abi import (
    CANDIDATE,
    EXPIRY_BITS,
    HALF_TIME,
    INDEX_LIMIT,
    TAG_BITS,
    WAY_INDEX_SHIFT,
    WAY_TAG_SHIFT,
    WAYS,
)
from appliance.dataplane.enums import State
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.model import Address, Protocol, ServiceKey

WHOLE = 64
"""Bits of a name that is known whole."""
MOST_COPIES = 64
"""A flow whose name is known in part is put into so many sets at most."""
DOUBT = 5
"""Seconds by which a flow must have been alive later than another of its name to be the one that is meant: what is told
is older than it says by the time that it took."""
PIECE = 8192
"""Ways that are looked at together."""
_MASK = (1 << EXPIRY_BITS) - 1
_TAG = (1 << TAG_BITS) - 1


@dataclass(frozen=True)
class News:
    """What the program tells of a flow: its whole name, whose it is, and when it is forgotten.

    Destination and slot are numbers, counted over all services; `expiry` is a coarse time, not modulo anything. A
    `candidate` is new, and no second packet has confirmed it; one that was `opened` chose anew, as a connection that
    begins does.
    """

    name: int
    destination: int
    slot: int
    expiry: int
    candidate: bool
    opened: bool = False


class Remembered(NamedTuple):
    """A flow out of the table: the known bits of its name (`name_bits`), whose it is, the seconds it has left."""

    name: int
    destination: int
    left: int
    candidate: bool


def name_bits(memory: Memory) -> int:
    """How many top bits of a name the place in this flow table tells; the low TAG_BITS are known besides."""
    return memory.shape.sets.bit_length() - 1


def round_time(idle: int) -> int:
    """Seconds that a round of telling flows again takes; at least 1."""
    return max(1, idle // 3)


class Foreign:
    """What was stored of flows that others told of. As long as a way is as it was stored, its flow comes elsewhere.

    Of the flow table, pieces of PIECE ways are kept, those in which anything was stored.
    """

    def __init__(self) -> None:
        self._pieces: dict[int, array[int]] = {}

    def note(self, way: int, word: int) -> None:
        """A word has been stored."""
        first = way - way % PIECE
        if first not in self._pieces:
            self._pieces[first] = array("Q", bytes(8 * PIECE))
        self._pieces[first][way - first] = word

    def piece(self, first: int) -> array[int] | None:
        """Return what was stored from a multiple of PIECE on; None: nothing."""
        return self._pieces.get(first)


def flows_of(
    memory: Memory, first: int, count: int, least: int = 1, but: Foreign | None = None
) -> Iterator[Remembered]:
    """The living flows with at least so many seconds left in some ways, `but` for those that go by other nodes.

    `first` and `count` are multiples of PIECE, or `count` is the whole table's.

    A flow has no owner, and is passed over, from the start of a program that is in a fleet until its next packet.
    """
    time, bits = memory.time, name_bits(memory)
    for start in range(first, min(first + count, memory.shape.owners), PIECE):
        size = min(PIECE, memory.shape.owners - start)
        owners = memory.owner_part(start, size)
        if not any(bytes(owners)):
            continue
        others = but.piece(start) if but is not None else None
        parts = zip(memory.flow_part(start, size).tolist(), owners.tolist(), others or repeat(0), strict=False)
        for at, (way, owner, other) in enumerate(parts, start):
            left = (way - time) & _MASK
            if owner and way and way != other and least <= left <= HALF_TIME:
                name = at // WAYS << (WHOLE - bits) | way >> WAY_TAG_SHIFT
                yield Remembered(name, owner, left, bool(way & CANDIDATE))


def whose(memory: Memory, number: int) -> tuple[ServiceKey, Address] | None:
    """The service and the backend that a destination's number stands for, or stood for until a moment ago."""
    get = memory.identities.get
    if not 0 < number < memory.shape.destinations or not get(number, "used"):
        return None
    try:
        protocol = Protocol(get(number, "protocol"))
    except ValueError:
        return None
    return ServiceKey(memory.address(number, "vip"), get(number, "port"), protocol), memory.backend(number)


class FlowLearner:
    """Learns flows. It holds the whole flow table mapped, so it is made for a batch, and let go of after that."""

    def __init__(self, memory: Memory, foreign: Foreign | None = None) -> None:
        """What is stored is noted in `foreign`."""
        self._memory, self._foreign = memory, foreign
        self._flows = memory.flows
        self._owners = memory.owners if memory.shape.owners > WAYS else None
        self._bits = name_bits(memory)
        self._time = memory.time
        self._idle = min(memory.settings.get(0, "idle"), HALF_TIME)

    def learn(
        self,
        service: Entry,
        index: int,
        name: int,
        left: int,
        *,
        bits: int = WHOLE,
        candidate: bool = False,
        opened: bool = False,
    ) -> bool:
        """Remember a flow of the service's destination `index` (1..capacity - 1) for `left` seconds, or for `idle`.

        Of the name (0..2^64 - 1) at least the top `bits` and the low TAG_BITS are known. Returns whether it is
        remembered now as told: not if it is over, if there is no room, or if something better is known.
        """
        left = min(left, self._idle)
        copies = 1 << max(0, self._bits - bits)
        if left <= 0 or not 0 < index < service.capacity or copies > MOST_COPIES:
            return False
        first = (name >> (WHOLE - self._bits)) & -copies
        fresh = (name & _TAG) << WAY_TAG_SHIFT | index << WAY_INDEX_SHIFT | (CANDIDATE if candidate else 0)
        firm = 2 if opened else int(bits == WHOLE)
        known = [self._put(service, (first + copy) * WAYS, fresh, left, firm) for copy in range(copies)]
        return all(known)

    def _put(self, service: Entry, first: int, fresh: int, left: int, firm: int) -> bool:
        """Write the way, without its expiry, into a set, if that is right.

        What is told is `firm`: 0 told again, 1 told when it happened, 2 told by who saw the flow begin.
        """
        ways = self._flows[first : first + WAYS].tolist()
        tag, place = fresh >> WAY_TAG_SHIFT, -1
        for at, way in enumerate(ways):
            if way and way >> WAY_TAG_SHIFT == tag:
                place = at
        candidate = fresh & CANDIDATE
        if place < 0:
            place = self._victim(ways, candidate)
        else:
            way = ways[place]
            known, there = (way - self._time) & _MASK, way >> WAY_INDEX_SHIFT & (INDEX_LIMIT - 1)
            if 1 <= known <= HALF_TIME and there < service.capacity:
                if there == fresh >> WAY_INDEX_SHIFT & (INDEX_LIMIT - 1):
                    left = max(left, known)
                    fresh &= ~(~way & CANDIDATE)
                elif _stays(firm, bool(candidate), bool(way & CANDIDATE), left - known) and self._lives(service, there):
                    return False
        if place < 0:
            return False
        fresh |= (self._time + left) & _MASK
        if self._owners is not None:
            owner = service.destinations + (fresh >> WAY_INDEX_SHIFT & (INDEX_LIMIT - 1))
            if self._owners[first + place] != owner:
                self._owners[first + place] = owner
        if fresh != ways[place]:
            self._flows[first + place] = fresh
            if self._foreign is not None:
                self._foreign.note(first + place, fresh)
        return True

    def _lives(self, service: Entry, index: int) -> bool:
        return self._memory.state(service.destinations + index) >= State.DRAINING

    def _victim(self, ways: list[int], candidate: int) -> int:
        """The last empty or expired way, else, for a confirmed flow, the last candidate's; -1: there is none."""
        free = other = -1
        for at, way in enumerate(ways):
            if not way or not 1 <= (way - self._time) & _MASK <= HALF_TIME:
                free = at
            elif way & CANDIDATE and not candidate:
                other = at
        return free if free >= 0 else other


def _stays(firm: int, guess: bool, guessed: bool, later: int) -> bool:
    """Whether what is known (perhaps `guessed`) holds against what is told of another backend (perhaps a `guess`).

    `later` is by how many seconds what is told expires after it.
    """
    if firm == 2:
        return False
    return guess or (later <= DOUBT and not (firm and guessed))
