"""The real program with real tables: loaded for a number of services, without an interface or a daemon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address

from appliance.control.requirements import read_possible_cpus
from appliance.dataplane.compile import Compiled, compile_text
from appliance.dataplane.desired import Desired, DesiredService, Hop, Member
from appliance.dataplane.enums import State
from appliance.dataplane.generation import Generation
from appliance.dataplane.render import FUNCTIONS, render
from appliance.dataplane.shape import Shape, shape_for
from appliance.dataplane.tables import Tables
from appliance.dataplane.text import digest
from appliance.model import Backend, Config, Protocol, Service, ServiceKey
from appliance.paths import TEMPLATES

VIPS = tuple(IPv4Address("203.0.113.0") + number for number in range(64))
PORT = 80
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
    remember_all: bool = False,
) -> tuple[DesiredService, ...]:
    """Return one service for each VIP, all with the same backends: `first` and those after it, and some that drain."""
    numbers = dict.fromkeys(draining, State.DRAINING)
    numbers |= dict.fromkeys(range(first, first + backends), State.AVAILABLE)
    members = tuple(
        Member(address, 1, state, Hop(LOOPBACK, MACS, IPv4Address("192.0.2.1")))
        for address, state in sorted((IPv4Address("192.0.2.10") + number, state) for number, state in numbers.items())
    )
    return tuple(
        DesiredService(ServiceKey(vip, PORT, protocol), members, 900, remember_all=remember_all) for vip in VIPS
    )


def desired(wanted: tuple[DesiredService, ...]) -> Desired:
    """Return table content with these services, every VIP up."""
    return Desired(wanted, dict.fromkeys(VIPS, True), SEED)


def shape() -> Shape:
    """Return the shape of a configuration with these services and all defaults."""
    pool = tuple(Backend(IPv4Address("192.0.2.10") + number) for number in range(2 * BACKENDS))
    config = Config(services=tuple(Service(ServiceKey(vip, PORT, Protocol.TCP), pool, ()) for vip in VIPS))
    return shape_for(config, read_possible_cpus())


@cache
def compiled(wanted: Shape) -> Compiled:
    """Compile the program of a shape, once in this process."""
    return compile_text(render(wanted, TEMPLATES), FUNCTIONS)


@contextmanager
def balancer(protocol: Protocol = Protocol.TCP, *, remember_all: bool = False) -> Iterator[tuple[Generation, Tables]]:
    """Load the program; its services are settled: every slot untracked, no flow remembered; or they remember all."""
    wanted = replace(shape(), tracks_all=remember_all)
    generation = Generation.load(wanted, digest(wanted, TEMPLATES), compiled(wanted).code)
    try:
        tables = Tables(generation.memory)
        tables.apply(desired(services(protocol=protocol, remember_all=remember_all)))
        if (tracked := sum(tables.tracked().values())) and not remember_all:
            raise ValueError(f"{tracked} slots are tracked in a balancer that never changed")
        yield generation, tables
    finally:
        generation.close()
