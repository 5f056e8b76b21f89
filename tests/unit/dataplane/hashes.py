"""What tests of a change of the hash begin with: established flows in a program that can ask the generation before."""

from __future__ import annotations

from dataclasses import replace

from appliance.dataplane import lookup
from appliance.dataplane.desired import Desired
from appliance.dataplane.tables import Tables
from appliance.model import ServiceKey
from tests.unit.dataplane.clients import Clients
from tests.unit.dataplane.desires import (
    SHAPE,
    WEB,
    later,
    memory_at,
)

BOTH = replace(SHAPE, previous=True, tracks_all=True)
"""A program that can ask the generation before, and remember every flow."""


def seeded(wanted: Desired, number: int) -> Desired:
    """The same with another seed."""
    return replace(wanted, seed=bytes([number]) * 16)


def started(wanted: Desired, flows: int = 60) -> tuple[Tables, Clients]:
    """Tables with established flows of each of the services."""
    tables = Tables(memory_at(1_000, BOTH))
    clients = Clients(tables.memory)
    tables.apply(wanted)
    for one in wanted.services:
        clients.open_many(one.key, range(flows))
    return tables, clients


def pass_time(tables: Tables, wanted: Desired, seconds: int) -> None:
    """Seconds go by, and the daemon sweeps in each."""
    for _ in range(seconds):
        later(tables, 1)
        tables.sweep(wanted.services)


def entry(tables: Tables, key: ServiceKey = WEB) -> lookup.Entry:
    """Where a service lies, as the program finds it."""
    return lookup.entries(tables.memory)[key]
