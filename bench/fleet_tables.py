"""What remembered flows cost a daemon between its tables and the exchange, in plain memory.

told     processor time to make records of what the program tells, as in control/fleet_flows.py, 5,000 flows a second
learnt   to store what another node tells
swept    to read 100,000 remembered flows out of the flow table, as for a joining node; the table has room for a million
stored   to store as many, as a joining node does
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from ipaddress import IPv4Address

from appliance.control.fleet_flows import FlowsLearnt, remembered, told_at_once
from appliance.dataplane.desired import Desired, DesiredService, Hop, Member
from appliance.dataplane.enums import State
from appliance.dataplane.flowshare import News
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import Shape
from appliance.dataplane.tables import Tables
from appliance.fleet.records import Flows
from appliance.model import Protocol, ServiceKey
from bench.report import Row

SERVICES, BACKENDS, IDLE = 10, 20, 900
FLOWS = 100_000
RATE = 5_000
BATCH = 15
"""Flows that begin within the few milliseconds for which news gathers."""
CPU_LIMIT = 20.0
SYNC_LIMIT = 2000.0


def run() -> list[Row]:
    """Measure."""
    tables, draw = _tables(), random.Random(1)
    owners = [number for key in tables.tracked() for number in tables.numbers(key).values()]
    expiry = tables.memory.time + IDLE
    news = [
        News(draw.getrandbits(64), draw.choice(owners), 0, expiry, candidate=False, opened=True) for _ in range(FLOWS)
    ]
    batches = [news[at : at + BATCH] for at in range(0, FLOWS, BATCH)]
    records: list[Flows] = []
    telling = _seconds(lambda: records.extend(one for batch in batches for one in told_at_once(tables.memory, batch)))
    learnt = FlowsLearnt()

    def learn() -> None:
        for record in records:
            learnt.learn(tables, record, 0.0)

    learning = _seconds(learn)
    if learnt.learnt < FLOWS * 0.99:
        raise ValueError(f"{learnt.learnt} of {FLOWS} flows were learnt")
    found = 0

    def sweep() -> None:
        nonlocal found
        found = sum(len(one.entries) for one in remembered(tables.memory, 0, tables.memory.shape.owners))

    sweeping = _seconds(sweep)
    if found != learnt.learnt:
        raise ValueError(f"{found} flows were found of {learnt.learnt}")
    labels: dict[str, str | int] = {"records_s": RATE, "backends": SERVICES * BACKENDS}
    rows = [
        Row("fleet-daemon-cpu", seconds / FLOWS * RATE * 100, "% of a core", {**labels, "side": side}, limit=CPU_LIMIT)
        for side, seconds in (("tells", telling), ("hears", learning))
    ]
    seconds = {"fleet-sweep": sweeping, "fleet-store": learning}
    return [*rows, *(Row(name, one * 1e3, "ms", {"flows": FLOWS}, limit=SYNC_LIMIT) for name, one in seconds.items())]


def _seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _tables() -> Tables:
    shape = Shape(services=64, destinations=1024, slots=1 << 15, sets=1 << 17, fleet=True)
    tables = Tables(Memory.plain(shape))
    tables.memory.settings.put(0, "time", 1 << 17)
    members = []
    for number in range(BACKENDS):
        mac = bytes((2, 0, 0, 0, 0, number))
        members.append(
            Member(IPv4Address("10.1.0.1") + number, 1, State.AVAILABLE, Hop(2, mac * 2, IPv4Address("10.1.0.0")))
        )
    keys = [ServiceKey(IPv4Address("203.0.113.0") + number, 443, Protocol.TCP) for number in range(SERVICES)]
    services = tuple(DesiredService(key, tuple(members), IDLE) for key in keys)
    tables.apply(Desired(services, {key.vip: True for key in keys}, bytes(16), IDLE))
    return tables
