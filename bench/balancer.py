"""The real program with real tables: loaded for a number of services, without an interface or a daemon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address, IPv6Address

from appliance.control.requirements import read_possible_cpus
from appliance.dataplane.compile import Compiled, compile_text
from appliance.dataplane.desired import Desired, DesiredService, Hop, Member, Outlet
from appliance.dataplane.enums import State
from appliance.dataplane.generation import Generation
from appliance.dataplane.render import FUNCTIONS, render
from appliance.dataplane.shape import Shape, shape_for
from appliance.dataplane.tables import Tables
from appliance.dataplane.text import digest
from appliance.model import Address, Backend, Config, Forward, Mode, Network, Protocol, Service, ServiceKey
from appliance.paths import TEMPLATES

VIPS = tuple(IPv4Address("203.0.113.0") + number for number in range(64))
VIPS6 = tuple(IPv6Address("2001:db8:5::") + number for number in range(64))
BACKEND, OWN = IPv4Address("192.0.2.10"), IPv4Address("192.0.2.1")
BACKEND6, OWN6 = IPv6Address("2001:db8:10::10"), IPv6Address("2001:db8:10::1")
NETWORK = 10
"""The VLAN of the backends, in mode vlan."""
PORT = 80
MAPPED = 8000
BACKENDS = 10
LOOPBACK = 1
"""Where a test run arrives if nobody says otherwise, in every network namespace."""
SEED = bytes(range(16))
MACS = bytes.fromhex("020000000002020000000001")


def services(
    first: int = 0,
    backends: int = BACKENDS,
    draining: Sequence[int] = (),
    protocol: Protocol = Protocol.TCP,
    mode: Mode = Mode.SIMPLE,
    family: int = 4,
    remember_all: bool = False,
    weights: Mapping[int, int] | None = None,
) -> tuple[DesiredService, ...]:
    """Return one service for each VIP, all with the same backends: `first` and those after it, and some that drain."""
    weight = weights or {}
    numbers = dict.fromkeys(draining, State.DRAINING)
    numbers |= dict.fromkeys(range(first, first + backends), State.AVAILABLE)
    base, own = (BACKEND, OWN) if family == 4 else (BACKEND6, OWN6)
    hop = Hop(LOOPBACK, MACS, own, NETWORK if mode is Mode.VLAN else None)
    members = tuple(
        Member(base + number, weight.get(number, 1), state, hop) for number, state in sorted(numbers.items())
    )
    vips: tuple[Address, ...] = VIPS if family == 4 else VIPS6
    return tuple(
        DesiredService(ServiceKey(vip, PORT, protocol), members, 900, remember_all=remember_all) for vip in vips
    )


def behind_nat() -> tuple[DesiredService, ...]:
    """Return the same services behind NAT, each at a port of its own."""
    return tuple(
        replace(
            service,
            forward=Forward.NAT,
            members=tuple(replace(member, port=MAPPED + number) for member in service.members),
        )
        for number, service in enumerate(services())
    )


def desired(wanted: tuple[DesiredService, ...]) -> Desired:
    """Return table content with these services, every VIP up."""
    return Desired(wanted, {service.key.vip: True for service in wanted}, SEED)


def shape(mode: Mode = Mode.SIMPLE, family: int = 4) -> Shape:
    """Return the shape of a configuration with these services and all defaults."""
    pool = tuple(Backend((BACKEND if family == 4 else BACKEND6) + number) for number in range(2 * BACKENDS))
    vips: tuple[Address, ...] = VIPS if family == 4 else VIPS6
    config = Config(mode=mode, services=tuple(Service(ServiceKey(vip, PORT, Protocol.TCP), pool, ()) for vip in vips))
    return shape_for(config, read_possible_cpus())


@cache
def compiled(wanted: Shape) -> Compiled:
    """Compile the program of a shape, once in this process."""
    return compile_text(render(wanted, TEMPLATES), FUNCTIONS)


@contextmanager
def balancer(
    protocol: Protocol = Protocol.TCP,
    mode: Mode = Mode.SIMPLE,
    family: int = 4,
    *,
    counts_sources: bool = False,
    blocked: tuple[Network, ...] = (),
    nat: bool = False,
    outlets: Mapping[int, Outlet] | None = None,
    remember_all: bool = False,
    weights: Mapping[int, int] | None = None,
    fleet: bool = False,
) -> Iterator[tuple[Generation, Tables]]:
    """Load the program; its services are settled: every slot untracked, no flow remembered."""
    wanted = replace(shape(mode, family), counts_sources=counts_sources, blocks=bool(blocked))
    wanted = replace(wanted, nat=nat, tracks_all=remember_all, fleet=fleet)
    generation = Generation.load(wanted, digest(wanted, TEMPLATES), compiled(wanted).code)
    try:
        tables = Tables(generation.memory)
        plain = services(protocol=protocol, mode=mode, family=family, remember_all=remember_all, weights=weights)
        some = behind_nat() if nat else plain
        tables.apply(replace(desired(some), blocked=blocked, outlets=outlets or {}))
        if (tracked := sum(tables.tracked().values())) and not remember_all:
            raise ValueError(f"{tracked} slots are tracked in a balancer that never changed")
        yield generation, tables
    finally:
        generation.close()
