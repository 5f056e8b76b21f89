"""The largest tables that are promised, in the kernel: packets find the first, the middle, the last of everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

import pytest

from appliance.control.requirements import read_possible_cpus
from appliance.dataplane.compile import compile_text
from appliance.dataplane.desired import Desired, DesiredService, Hop, Member
from appliance.dataplane.enums import State
from appliance.dataplane.generation import Generation
from appliance.dataplane.hashing import flow_hash, slot_of
from appliance.dataplane.kernel import Program, Verdict
from appliance.dataplane.render import FUNCTIONS, render
from appliance.dataplane.shape import shape_for
from appliance.dataplane.tables import Tables
from appliance.dataplane.text import digest
from appliance.model import Backend, Config, Protocol, Service, ServiceKey
from appliance.paths import TEMPLATES
from tests.dataplane.frames import Frame

pytestmark = [pytest.mark.root, pytest.mark.slow]

CLIENT = IPv4Address("198.51.100.7")
FIRST_VIP, FIRST_BACKEND = IPv4Address("203.0.113.0"), IPv4Address("10.0.0.1")
LOOPBACK = 1
PORTS = 64
"""Services of one VIP."""


def key(number: int) -> ServiceKey:
    """The key of a service."""
    return ServiceKey(FIRST_VIP + number // PORTS, 1000 + number % PORTS, Protocol.TCP)


def macs(number: int) -> bytes:
    """MAC addresses of the way to a backend, destination first."""
    return bytes((2, 0)) + number.to_bytes(4, "big") + bytes((2, 0, 0, 0, 0, 1))


def member(number: int) -> Member:
    """A backend that is there."""
    return Member(FIRST_BACKEND + number, 1, State.AVAILABLE, Hop(LOOPBACK, macs(number), IPv4Address("10.0.0.0")))


@contextmanager
def filled(services: int, backends: int) -> Iterator[tuple[Tables, Program]]:
    """The program for so many services, each with backends of its own, settled."""
    config = Config(
        services=tuple(
            Service(key(at), tuple(Backend(FIRST_BACKEND + at * backends + n) for n in range(backends)), ())
            for at in range(services)
        )
    )
    shape = shape_for(config, read_possible_cpus())
    code = compile_text(render(shape, TEMPLATES), FUNCTIONS).code
    generation = Generation.load(shape, digest(shape, TEMPLATES), code)
    try:
        tables = Tables(generation.memory)
        wanted = tuple(
            DesiredService(key(at), tuple(member(at * backends + n) for n in range(backends)), 900)
            for at in range(services)
        )
        tables.apply(Desired(wanted, {one.key.vip: True for one in wanted}, bytes(range(16))))
        yield tables, generation.programs["vc5_main"]
    finally:
        generation.close()


def source_port(tables: Tables, service: ServiceKey, backend: int) -> int:
    """A source port with which the client's packets belong to a backend of a service."""
    entry, memory = tables.entry(service), tables.memory
    assert entry is not None
    index = tables.numbers(service)[FIRST_BACKEND + backend] - entry.destinations
    for port in range(1024, 65536):
        flow = flow_hash(memory.coefficients(), CLIENT, port, service.vip, service.port, int(service.protocol))
        if memory.slots[entry.slots + slot_of(flow, entry.slot_count)] == index:
            return port
    raise AssertionError(f"no flow of this client belongs to backend {backend} of {service}")


@pytest.mark.parametrize(
    ("services", "backends"),
    [
        pytest.param(4096, 1, id="4,096 services"),
        pytest.param(1, 1500, id="1,500 backends of one service, over 65,537 slots"),
        pytest.param(4096, 16, id="65,536 destinations"),
    ],
)
def test_the_first_the_middle_and_the_last(services: int, backends: int) -> None:
    with filled(services, backends) as (tables, program):
        if services == 1:
            entry = tables.entry(key(0))
            assert entry is not None
            assert entry.slot_count >= 65_537
        for at in {0, services // 2, services - 1}:
            for n in {0, backends // 2, backends - 1}:
                number = at * backends + n
                port = source_port(tables, key(at), number)
                frame = Frame().ipv4(str(CLIENT), str(key(at).vip)).tcp(port, key(at).port, "S").padded(60).bytes
                found = program.test_run(frame)
                assert found.verdict is Verdict.TX
                assert found.frame[:12] == macs(number)
                assert tables.memory.counter(tables.numbers(key(at))[FIRST_BACKEND + number], "packets") == 1
