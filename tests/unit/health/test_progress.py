"""How far the runs of checks have come goes from one program to the next."""

from __future__ import annotations

import json
from ipaddress import IPv4Address

import pytest

from appliance.health.judge import HealthTable
from appliance.model import Backend, Check, CheckKind, Health, Outcome, ProbeResult, Protocol, Service, ServiceKey

KEY = ServiceKey(IPv4Address("203.0.113.10"), 80, Protocol.TCP)
BACKEND = IPv4Address("10.1.10.11")


def _table(window: int | None) -> HealthTable:
    check = Check(CheckKind.TCP, 80, rise=2, fall=3, window=window)
    table = HealthTable()
    table.configure([Service(key=KEY, backends=(Backend(BACKEND, 1),), checks=(check,))], 1.0)
    return table


def _see(table: HealthTable, outcome: Outcome) -> Health:
    table.observe(ProbeResult(KEY, BACKEND, 0, outcome, "", at=2.0, total_ns=1), 2.0)
    return table.health(KEY, BACKEND)


@pytest.mark.parametrize("window", [None, 5])
def test_runs_go_on(window: int | None) -> None:
    first, second, fresh = _table(window), _table(window), _table(window)
    assert _see(first, Outcome.OK) is Health.UP
    for _ in range(2):
        assert _see(first, Outcome.NONE) is Health.UP
    saved, progress = json.loads(json.dumps([first.snapshot(), first.progress()]))
    for table in (second, fresh):
        assert table.restore(saved) == 0
    assert second.proceed(progress) == 0
    assert second.progress() == first.progress()
    assert _see(second, Outcome.NONE) is Health.DEAD
    assert _see(fresh, Outcome.NONE) is Health.UP


ODD: list[object] = [
    None,
    7,
    [7],
    [[]],
    [[str(KEY), str(BACKEND), "x", {}]],
    [[str(KEY), str(BACKEND), "tcp 80 GET   any", {"last": 7}]],
]


@pytest.mark.parametrize("saved", ODD)
def test_what_makes_no_sense_is_left_out(saved: object) -> None:
    table = _table(None)
    _see(table, Outcome.OK)
    table.proceed(saved)
    assert _see(table, Outcome.OK) is Health.UP
