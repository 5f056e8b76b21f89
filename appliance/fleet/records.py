"""What nodes tell each other about: the nouns. Their bytes are made in codec.py and messages.py.

Records carry meaning: a service is its VIP, port and protocol, a backend is its address. There are no MACs in them, no
indexes of one node's tables and no times of day: what has happened is told by its age in seconds.

Two kinds of fact differ in who may tell them. `SHARED` ones are true for the whole fleet, whoever tells them: which
slots are tracked, whose a flow is. They may come from any node, more than once and in any order of nodes. All others
are a node's own, and the latest one holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from appliance.model_address import Address, ServiceKey

WHOLE_NAME = 64
"""`name_bits` of flows whose names are known whole."""
OLDEST = 0xFFFF
"""Seconds: ages of slots and lives of flows that are greater are told as this."""
LONGEST = 0xFFFFFFFF
"""Seconds: likewise how long a backend has been down."""
DIGEST = 8
"""Octets of each digest."""


class Slot(NamedTuple):
    """One tracked slot: its number (from 0), and the seconds since it `changed` and since it `diverted`, 0..OLDEST."""

    number: int
    changed: int
    diverted: int


@dataclass(frozen=True)
class Slots:
    """Tracked slots of a service that have the same backends: `was` for older flows, `now` for new ones; None: none.

    `slot_count` is how many slots the service has, at the node that tells.
    """

    service: ServiceKey
    slot_count: int
    was: Address | None
    now: Address | None
    entries: tuple[Slot, ...]


CANDIDATE, OPENED = 1, 2
"""Flags of a flow: no second packet has confirmed it yet; it has just begun, and chose its backend anew."""


class Flow(NamedTuple):
    """One remembered flow: its name (64 bits), the seconds until it is forgotten (0..OLDEST), its flags."""

    name: int
    left: int
    flags: int = 0


@dataclass(frozen=True)
class Flows:
    """Remembered flows that belong to one backend of a service.

    `name_bits` is WHOLE_NAME, or else the top `name_bits` bits and the low TAG_BITS of each name are known, and the
    others are 0.
    """

    service: ServiceKey
    backend: Address
    entries: tuple[Flow, ...]
    name_bits: int = WHOLE_NAME


class Down(NamedTuple):
    """A backend that is taken for down: `dead`, or else answering wrongly; for `age` seconds (0..LONGEST)."""

    backend: Address
    dead: bool
    age: int


@dataclass(frozen=True)
class ServiceDown:
    """The backends of a service that are taken for down."""

    service: ServiceKey
    down: tuple[Down, ...]


@dataclass(frozen=True)
class View:
    """The health view of a node, whole: every backend that it takes for down; all others it takes for up.

    A view replaces the former. On its way it may be in several parts (`part` of `of`, from 0); the exchange takes it
    apart and puts it together, so whoever publishes one, or learns of one, sees part 0 of 1.
    """

    digest: bytes
    """DIGEST octets, as the node's HELLO has them."""
    services: tuple[ServiceDown, ...]
    part: int = 0
    of: int = 1


class BackendLoad(NamedTuple):
    """How many flows of a service are active at a backend, by one node's count (0..2^32-1)."""

    backend: Address
    flows: int


@dataclass(frozen=True)
class ServiceLoad:
    """Active flows of one service."""

    service: ServiceKey
    backends: tuple[BackendLoad, ...]


@dataclass(frozen=True)
class Load:
    """Active flows, by one node's count. What is told of a backend of a service holds until something else is told."""

    services: tuple[ServiceLoad, ...]


class TableDigest(NamedTuple):
    """What a service's table is like: digests of the slots by backend address, and of the service's configuration.

    A service that is gone has 0 slots.
    """

    service: ServiceKey
    slot_count: int
    slots: bytes
    configuration: bytes


@dataclass(frozen=True)
class Tables:
    """What tables are like. What is told of a service holds until something else is told."""

    entries: tuple[TableDigest, ...]


class How(IntEnum):
    """How a node announces a VIP to its routers, as it stands on the wire."""

    NO = 0
    YES = 1
    DEMOTE = 2
    """As a last resort."""
    LAST = 3
    """It is down; kept, as a last resort, because no other node announces it."""


class Announced(NamedTuple):
    """How one VIP is announced."""

    vip: Address
    how: How


@dataclass(frozen=True)
class Announces:
    """How a node announces VIPs. What is told of a VIP holds until something else is told."""

    entries: tuple[Announced, ...]


class Override(NamedTuple):
    """What operators said of a backend, in the words of the commands (`drain, weight 3`); empty: nothing any more."""

    service: ServiceKey
    backend: Address
    words: str
    """At most WORDS octets of UTF-8."""


@dataclass(frozen=True)
class Overrides:
    """What operators said at a node. What is told of a backend of a service holds until something else is told."""

    entries: tuple[Override, ...]


WORDS = 64
Record = Slots | Flows | View | Load | Tables | Announces | Overrides
SHARED = (Slots, Flows)
"""What any node may tell of the whole fleet; all else is of the node that tells."""


@dataclass(frozen=True)
class TableOf:
    """All slots of one service: to each slot the index of its backend in `backends` plus 1, or 0 for none."""

    service: ServiceKey
    backends: tuple[Address, ...]
    owners: tuple[int, ...]


class NodeState(IntEnum):
    """What a node is doing, as it stands on the wire."""

    LEARNING = 0
    """It has announced nothing yet, and asks others for what they know."""
    READY = 1
    DRAINING = 2
    """Traffic is to go elsewhere; it still forwards what comes."""
    LEAVING = 3
    """It says goodbye: this is its last word."""


@dataclass(frozen=True)
class Facts:
    """A node's own facts, as its HELLO tells them each second."""

    name: str
    """At most NAME octets of UTF-8; what is longer is cut."""
    version: str
    """At most VERSION octets."""
    state: NodeState
    configuration: bytes = bytes(DIGEST)
    tables: bytes = bytes(DIGEST)
    health: bytes = bytes(DIGEST)
    """Digests."""
    tracked_slots: int = 0
    flows: int = 0
    packets: int = 0
    """A second."""
    isolated: bool = False
    """Whether it takes itself for cut off."""


NAME = 64
VERSION = 32
