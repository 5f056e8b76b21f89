"""What is compared: ways for many balancers to answer alike, as the answer to one packet.

Where nothing is remembered of a flow, the slot's present owner answers; what differs is who remembers what.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from appliance.dataplane.enums import State
from appliance.dataplane.hashing import MASK
from appliance.dataplane.model.packet import ACK, FIN, SYN, Transport
from appliance.dataplane.slots import ToldSlot
from bench.simulate.ground import Views
from bench.simulate.site import Site

OPENING, GOING_ON, CLOSING = Transport(0, 0, flags=SYN), Transport(0, 0, flags=ACK), Transport(0, 0, flags=FIN | ACK)
_SPREAD = 0x9E3779B97F4A7C15


@dataclass(order=True)
class Telling:
    """Something a balancer tells all others at `time`: the coarse second of the last packet that it is about.

    Until then packets still make `value` later. It is never told where its sender is gone by then.
    """

    time: float
    sender: int
    value: int = field(compare=False)
    told: bool = field(compare=False, default=True)
    news: bool = field(compare=False, default=False)
    """Told by the program at once; otherwise by the daemon, in its round."""
    candidate: bool = field(compare=False, default=False)
    opened: bool = field(compare=False, default=False)
    slot: ToldSlot | None = field(compare=False, default=None)
    """What is said of a slot, but for `diverted`, which `value` is."""

    @property
    def name(self) -> int:
        """What chance knows it by."""
        return int(self.time * 1e6) << 20 | self.sender


@dataclass
class Kept:
    """A connection that settled slots remember: since when and where; what has been told of it; until when."""

    since: float
    where: int
    tellings: list[Telling] = field(default_factory=list)
    until: float = 0.0


@dataclass(eq=False, slots=True)
class Connection:
    """A client's connection. `broken` has a bit for each scheme that has broken it."""

    name: int
    """64 bits by chance, in the place of the hash of addresses and ports."""
    end: float
    pauses: tuple[float, ...]
    owner: int = 0
    dies: float = 0.0
    """When its backend takes it along."""
    balancer: int = -1
    last: float = 0.0
    broken: int = 0
    opened: float = 0.0
    packets: int = 0
    held: dict[str, dict[int, tuple[int, float]]] = field(default_factory=dict)
    """By full tracking and balancer: whose it is, and when it was last seen."""
    kept: dict[str, Kept] = field(default_factory=dict)
    """By settled slots: where and since when it is remembered."""

    @property
    def bits(self) -> int:
        """What the router spreads flows by."""
        return self.name >> 32


class Scheme(Protocol):
    """One way; `name` as in tables. Balancers and times as everywhere: numbers, seconds."""

    name: str

    def answer(self, flow: Connection, who: int, time: float, transport: Transport) -> int:
        """The index of the backend to which a balancer sends a packet; asked in the order of time."""

    def joined(self, who: int, time: float) -> None:
        """A balancer comes, new or again, and knows nothing by itself."""

    def closed(self, flow: Connection, time: float) -> None:
        """A connection is over, or broken: nothing more comes of it."""


def hash_at(flow: Connection, who: int) -> int:
    """The hash of a flow at a balancer, where all balancers share a flow table."""
    return (flow.name + who * _SPREAD) & MASK


class Stateless:
    """The present owner answers, always: Maglev's table alone, without its memory."""

    name = "stateless"

    def __init__(self, views: Views) -> None:
        self._views = views

    def answer(self, flow: Connection, who: int, time: float, transport: Transport) -> int:
        """The owner."""
        return self._views.step(who, time).owner

    def joined(self, who: int, time: float) -> None:
        """There is nothing to know."""

    def closed(self, flow: Connection, time: float) -> None:
        """Nothing was kept."""


class SecondChance(Stateless):
    """A backend that does not know a flow passes it on to the one that owned the slot before (GLB, Beamer)."""

    name = "second chance"

    def answer(self, flow: Connection, who: int, time: float, transport: Transport) -> int:
        """The owner, or the former one where the flow is its."""
        step = self._views.step(who, time)
        if not transport.opens and flow.owner == step.former and step.states[step.former] >= State.DRAINING:
            return step.former
        return step.owner


def patience(site: Site, room: float) -> float:
    """For how long a table of the least recently used, of `room` entries for the whole site, remembers a silent flow.

    That is its characteristic time (Che, Tung and Wang, "Hierarchical Web caching systems", 2002): in that time as many
    flows are seen as there is room for. A flow takes room for the shorter of each pause and this time, and once more
    after its end, since nothing else makes an entry go.
    """

    def seen(time: float) -> float:
        total = 0.0
        for kind in site.kinds:
            part = sum(min(pause, time) for pause in kind.pauses) / sum(kind.pauses)
            total += site.arrivals * kind.share * (kind.mean * part + time)
        return total

    low, high = 0.0, 1.0
    while seen(high) < room:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if seen(middle) < room else (low, middle)
    return high


class FullTracking:
    """Every balancer remembers each of its flows, in a table of bounded size (as Katran does)."""

    name = "full tracking"

    def __init__(self, views: Views, patience: float) -> None:
        """`patience`: seconds after which a silent flow has been pushed out."""
        self._views, self._patience = views, patience
        self._births: dict[int, int] = {}

    def _key(self, who: int) -> int:
        return who | self._births.get(who, 0) << 16

    def answer(self, flow: Connection, who: int, time: float, transport: Transport) -> int:
        """The flow's own backend while that lives, else the owner."""
        key, step = self._key(who), self._views.step(who, time)
        owner, held = step.owner, flow.held.setdefault(self.name, {})
        if not transport.opens and key in held:
            known, last = held[key]
            if time - last <= self._patience and step.states[known] >= State.DRAINING:
                owner = known
        held[key] = owner, time
        return owner

    def joined(self, who: int, time: float) -> None:
        """Its table is empty."""
        self._births[who] = self._births.get(who, 0) + 1

    def closed(self, flow: Connection, time: float) -> None:
        """Entries go by their age alone."""


class SharedTracking(FullTracking):
    """The same, and every flow is told to all others when it begins, and again while it lives."""

    name = "full tracking, shared"

    def __init__(self, views: Views, patience: float, delay: float) -> None:
        """All hold the same flows; `delay` is that of a record, seconds."""
        super().__init__(views, patience)
        self._delay = delay

    def _key(self, who: int) -> int:
        return 0

    def answer(self, flow: Connection, who: int, time: float, transport: Transport) -> int:
        """As before; a record that is still on its way helps nobody."""
        if who != flow.balancer and not transport.opens and time < flow.opened + self._delay:
            return self._views.step(who, time).owner
        return super().answer(flow, who, time, transport)

    def joined(self, who: int, time: float) -> None:
        """It is told everything."""
