"""What the program has to be able to do. Equal shape, equal text: nothing to compile.

Capacities are powers of two with headroom, and never shrink while a program runs, so that most changes of the
configuration are table writes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from math import isqrt

from appliance.dataplane.abi import INDEX_LIMIT, MAPS, NARROW_TRACKED, WAYS
from appliance.dataplane.encapsulation import LENGTHS, encapsulations
from appliance.dataplane.spec import MAX_MAP_BYTES, MapKind
from appliance.errors import PlanError
from appliance.model import Address, Config, Forward, Mode, OnDead, Service, Tracking

PRIMES = (
    *(307, 409, 509, 641, 809, 1021, 1283, 1621, 2039, 2579, 3251, 4093, 5153, 6491, 8191, 10321, 13007),
    *(16381, 20641, 26003, 32749, 41263, 51991, 65521, 82549, 104003, 131071),
)
"""Slot counts to choose from, each about a quarter larger than the one before."""
SLOTS_PER_BACKEND = 40
"""At least so many slots for each backend that a service has room for: equal shares differ by one slot at most, so by
less than 2.5 percent when the room is used up, and by two before. More would balance no better that anybody could
measure, and cost every packet: the slots of all services are what fills the cache."""
DIRECT_LIMIT = 128
"""Up to so many services a lookup needs no displacements; finding a multiplier for more takes too long."""
DIRECT_LEAST = 256
"""The smallest lookup table without displacements, positions."""
ONE_BUFFER_MTU = 3000
"""Up to this MTU, bytes, a frame is taken to come in one buffer.

Drivers give a frame one page at most, less 256 bytes of headroom and what the kernel keeps behind it (veth takes 3,506
bytes), some of them three quarters of that. Above it they refuse a program that is not made for several buffers.
"""


NO_NEWS = 1 << 16
"""Bytes of the ring of news where nothing is told: the largest page that a kernel has, for it wants whole ones."""
MOST_NEWS = 1 << 20
"""Bytes of the largest ring of news: 32,768 of them, some six seconds of 5,000 new flows a second."""


def power_of_two(number: int, least: int) -> int:
    """The smallest power of two that is at least `number` and at least `least`."""
    return max(least, 1 << max(0, number - 1).bit_length())


def direct_positions(services: int) -> int:
    """Positions of a lookup table without displacements: with an eighth of the square, one multiplier in 55 fits."""
    return power_of_two((services * services + 7) // 8, DIRECT_LEAST)


def slot_count(backends: int) -> int:
    """How many slots a new service with so many backends gets: enough for a quarter more, and two.

    Those that drain count as well. Raises PlanError above 2,047, the most that a slot can name.
    """
    _bounded(backends)
    wanted = SLOTS_PER_BACKEND * max(backends + 2, backends * 5 // 4)
    return next((prime for prime in PRIMES if prime >= wanted), PRIMES[-1])


def _bounded(backends: int) -> None:
    if backends >= INDEX_LIMIT:
        raise PlanError(f"a service holds at most {INDEX_LIMIT - 1} backends, not {backends}")


def destination_count(backends: int) -> int:
    """How many destination numbers a new service gets: itself, its backends, and room for those that drain."""
    _bounded(backends)
    return min(INDEX_LIMIT, (1 + backends + max(5, backends // 2) + 3) // 4 * 4)


@dataclass(frozen=True)
class Shape:
    """A program's capacities and features. `services` counts positions of the lookup table.

    A `direct` lookup table has no displacements. `wide` slots have two bytes, for services with over 127 destinations.
    With `previous`, older flows can be answered by the slots and the hash of before a hash change. `mixed` goes with
    mode vlan: untagged frames come and go as well. A `multi_buffer` program takes frames that lie in several buffers.
    `narrow`: packets may be longer than the MTU of the leg that they leave by, and are then answered.
    One that `counts_sources` counts by prefix of the source, one that `blocks` drops what comes from blocked prefixes.
    `tunnels` are the encapsulations in use, by name, in the order of their numbers.
    With `nat` there are backends that do not hold the VIP.
    With `tracks_all`, services may remember every flow. One in a `fleet` tells which flows it remembers.
    """

    mode: Mode = Mode.SIMPLE
    cpus: int = 1
    services: int = 256
    destinations: int = 4096
    slots: int = 1 << 17
    sets: int = 1 << 17
    resets: bool = False
    direct: bool = False
    wide: bool = True
    previous: bool = False
    ipv6: bool = False
    mixed: bool = False
    multi_buffer: bool = False
    narrow: bool = False
    fragment_sets: int = 1024
    counts_sources: bool = False
    blocks: bool = False
    tunnels: tuple[str, ...] = ()
    nat: bool = False
    tracks_all: bool = False
    fleet: bool = False

    @property
    def tagged(self) -> bool:
        """Whether frames with VLAN tags are the program's."""
        return self.mode is Mode.VLAN

    @property
    def redirects(self) -> bool:
        """Whether packets leave by other interfaces than they came in by."""
        return self.mode is Mode.MULTI_NIC or self.mixed

    @property
    def udp_tunnels(self) -> bool:
        """Whether packets travel in UDP, whose checksum may have to cover them."""
        return any(name.startswith(("fou", "gue")) for name in self.tunnels)

    @property
    def wraps(self) -> list[tuple[str, int, int]]:
        """The encapsulations with a header: name, length of the outer IP header, length of the whole header, bytes."""
        return [(name.upper(), *LENGTHS[name]) for name in self.tunnels if name in LENGTHS]

    @property
    def tunnel_count(self) -> int:
        """How many tunnels the table holds: one for each destination, where there are tunnels at all."""
        return self.destinations if self.tunnels else 1

    @property
    def owners(self) -> int:
        """For how many ways of the flow table it is known whose flow they hold."""
        return self.sets * WAYS if self.tracks_all or self.fleet else WAYS

    @property
    def news(self) -> int:
        """Bytes of the ring in which the program tells of remembered flows, a power of two."""
        return min(max(2 * NO_NEWS, self.sets * WAYS), MOST_NEWS) if self.fleet else NO_NEWS

    @property
    def service_limit(self) -> int:
        """How many services the lookup table holds, and how many VIPs."""
        return min(DIRECT_LIMIT, isqrt(8 * self.services)) if self.direct else self.services // 2

    def grown(self, previous: Shape | None) -> Shape:
        """This shape with no capacity below the previous one's."""
        if previous is None:
            return self
        kept = {
            field.name: max(getattr(self, field.name), getattr(previous, field.name))
            for field in fields(self)
            if field.name in ("cpus", "services", "destinations", "slots", "sets", "fragment_sets")
        }
        return replace(
            self,
            **kept,
            direct=self.direct and previous.direct,
            wide=self.wide or previous.wide,
            multi_buffer=self.multi_buffer or previous.multi_buffer,
            blocks=self.blocks or previous.blocks,
            nat=self.nat or previous.nat,
            tracks_all=self.tracks_all or previous.tracks_all,
        )

    def doubled(self) -> Shape:
        """Twice the room, for what does not fit the gaps that are left."""
        return replace(
            self, services=2 * self.services, destinations=2 * self.destinations, slots=2 * self.slots, wide=True
        )


def shape_for(
    config: Config,
    cpus: int,
    extra: tuple[Service, ...] = (),
    *,
    previous: bool = False,
    mtu: int = 0,
    narrow: bool = False,
) -> Shape:
    """The shape that a configuration needs on a host with so many possible CPUs.

    `extra` are services that are gone from the configuration and still drain, `mtu` the largest of the interfaces;
    `narrow`: they differ in it. Raises PlanError where a table would be larger than a map can be.
    """
    services = (*config.services, *extra)
    slots = sum(_slot_counts(services))
    numbers = [destination_count(len(service.backends)) for service in services]
    direct = len(services) <= DIRECT_LIMIT
    shape = Shape(
        mode=config.mode,
        cpus=power_of_two(cpus, 1),
        services=direct_positions(len(services)) if direct else power_of_two(2 * len(services), 1024),
        destinations=_numbers(sum(numbers), power_of_two(cpus, 1)),
        slots=power_of_two(2 * slots if previous else slots, 1 << 17),
        sets=power_of_two(config.max_flows // WAYS, 512),
        resets=any(service.on_dead is OnDead.RESET for service in config.services),
        direct=direct,
        previous=previous,
        ipv6=any(service.key.vip.version == 6 for service in services),
        tunnels=encapsulations(services),
        wide=max(numbers, default=0) > NARROW_TRACKED,
        multi_buffer=mtu > ONE_BUFFER_MTU,
        mixed=config.mixed_tags,
        narrow=narrow,
        counts_sources=config.count_prefixes,
        blocks=bool(config.block),
        nat=any(service.forward is Forward.NAT for service in services),
        tracks_all=any(service.tracking is Tracking.ALL for service in config.services),
        fleet=config.fleet is not None,
    )
    check(shape)
    return shape


def _numbers(wanted: int, cpus: int) -> int:
    """How many destination numbers there shall be; half as many more than wanted, if their counters fit a map."""
    ample, bare = power_of_two(wanted * 3 // 2 + 16, 4096), power_of_two(wanted + 16, 4096)
    counters = next(layout for layout in MAPS if layout.name == "vc5_counters")
    fits = counters.element_size * counters.elements(Shape(cpus=cpus, destinations=ample)) <= MAX_MAP_BYTES
    return ample if fits else bare


def _slot_counts(services: Sequence[Service]) -> list[int]:
    """The slots of each service; sticky services of a VIP have as many as the largest of them."""
    counts = [slot_count(len(service.backends)) for service in services]
    most: dict[Address, int] = {}
    for service, count in zip(services, counts, strict=True):
        if service.sticky:
            most[service.key.vip] = max(count, most.get(service.key.vip, 0))
    return [most[service.key.vip] if service.sticky else count for service, count in zip(services, counts, strict=True)]


def check(shape: Shape) -> None:
    """Raise PlanError where a table of this shape is larger than a map can be."""
    for layout in MAPS:
        size = layout.element_size * layout.elements(shape)
        if layout.kind is MapKind.ARRAY and size > MAX_MAP_BYTES:
            per_cpu = f" for {shape.cpus} possible CPUs" if layout.name == "vc5_counters" else ""
            raise PlanError(
                f"the table of {layout.name.removeprefix('vc5_')} would need {size >> 20} MiB{per_cpu}, more than the "
                f"{MAX_MAP_BYTES >> 20} MiB a map can hold: use fewer services or backends, or a smaller max_flows"
            )
    if shape.services > 1 << 16:
        raise PlanError(f"at most {1 << 15} services fit the lookup table")
