"""The snapshot for metrics: what is in it, that it comes in turns, and that a reload in the middle does no harm."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.control import measuring
from appliance.control.measuring import Measuring
from appliance.control.pulse import Turns
from appliance.control.state import State
from appliance.dataplane.enums import Reason
from appliance.dataplane.memory import COUNTERS, Memory
from appliance.dataplane.shape import Shape
from appliance.dataplane.tables import Tables
from appliance.errors import HostError
from appliance.health.governor import Governor
from appliance.health.judge import HealthTable
from appliance.model import Health, Outcome, ProbeResult
from appliance.telemetry.exposition import exposition
from appliance.telemetry.metrics import METRICS
from tests.unit.control.sample import TLS, WEB, Planner, address, config, service

SHAPE = Shape(cpus=2, services=128, destinations=1024, slots=1 << 14, sets=64)


class Measured:
    """As much of a daemon as is measured: tables in plain memory, backend 2 of the first service dead."""

    def __init__(self, *services: Any) -> None:
        self.planner = Planner(State(config(*services)))
        self.planner.set(WEB, {2: Health.DEAD})
        self.health = HealthTable()
        self.health.configure(services, 50.0)
        self.memory = Memory.plain(SHAPE)
        self.tables = Tables(self.memory)
        self.instance = SimpleNamespace(
            state=self.planner.state,
            health=self.health,
            governor=Governor(),
            vips_since={},
            current=None,
            found=self.planner.verdict,
            active_flows=lambda key: {},
            data=SimpleNamespace(
                generation=SimpleNamespace(memory=self.memory, shape=SHAPE, programs={}),
                tables=self.tables,
                attachments=SimpleNamespace(links={"eth0": None}),
            ),
        )
        self.started, self.loaded_at, self.refusal = time.monotonic() - 60, 940.0, ""
        self.pulse = SimpleNamespace(turns=lambda: Turns(0.5, 0.5, 0.02, 0.01, 3, 0))
        self.judging = SimpleNamespace(prober_gone="", frozen=lambda: "")
        self.prober = SimpleNamespace(restarts=1)
        self.measuring = Measuring(cast(Any, self))

    def plan(self) -> None:
        self.instance.current = self.planner.plan()
        self.tables.apply(self.instance.current.desired)

    def snapshot(self) -> dict[str, Any]:
        encoded = asyncio.run(self.measuring.snapshot())
        found: dict[str, Any] = json.loads("".join(encoded.pieces))
        return found


@pytest.fixture
def daemon() -> Measured:
    made = Measured(service(WEB, 1, 2, 3, name="shop", need=2), service(TLS, 1))
    made.plan()
    return made


def test_what_is_in_it(daemon: Measured) -> None:
    numbers = daemon.tables.numbers(WEB)
    for at, name in enumerate(COUNTERS, 1):
        daemon.memory.set_counter(numbers[address(1)], name, 10 * at)
        daemon.memory.set_counter(numbers[address(2)], name, at)
    entry = daemon.tables.entry(WEB)
    assert entry is not None
    daemon.memory.set_counter(entry.destinations, "drops", 1000)
    daemon.memory.add_reason(Reason.NO_BACKEND, 1000)
    daemon.memory.add_reason(Reason.REMEMBERED, 5)
    for outcome, words in ((Outcome.OK, "HTTP 200"), (Outcome.NONE, "timeout (connect)"), (Outcome.NONE, "timeout")):
        result = ProbeResult(WEB, address(1), 0, outcome, words, 100.0, 2_000_000)
        daemon.health.observe(result, 100.0)
        daemon.measuring.probed(result)
    daemon.measuring.probed(ProbeResult(WEB, address(9), 0, Outcome.OK, "of nobody", 100.0, 1))
    daemon.measuring.sources.append(lambda: {"alerts_sent_total": {"slack": 2}, "spool_dropped_total": 4})
    told = daemon.snapshot()
    web, tls = told["services"]
    assert web[:6] == [str(WEB), "shop", 1, 3, 2, 2]
    assert web[7] == [11, 22, 33, 1044]
    assert [row[:5] for row in web[8]] == [
        ["10.1.10.1", 1, 1, 1, None],
        ["10.1.10.2", 0, 0, 0, None],
        ["10.1.10.3", 1, 1, 0, None],
    ]
    assert [row[6:] for row in web[8]] == [[10, 20, 30, 40], [1, 2, 3, 4], [0, 0, 0, 0]]
    assert (tls[0], tls[7]) == (str(TLS), [0, 0, 0, 0])
    assert told["probes"]["http"]["failures"] == {"timeout": 2}
    assert sum(told["probes"]["http"]["buckets"]) == 3
    said = told["numbers"]
    assert (said["verdicts_total"]["no-backend"], said["tracking_total"]["remembered"]) == (1000, 5)
    assert "forward" not in said["verdicts_total"]
    assert said["map_entries"]["services"] == 2
    assert (said["interface_attached"], said["prober_restarts_total"]) == ({"eth0": 1}, 1)
    assert (said["spool_dropped_total"], said["alerts_sent_total"]) == (4, {"slack": 2})
    assert (said["event_loop_lag_seconds"], said["event_loop_stalls_total"]) == (0.02, 3)
    known = {one.short for one in METRICS}
    assert set(said) <= known
    assert exposition(told)[0].count(b"\n") > 100


def test_it_comes_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Measured(*(service(type(WEB)(WEB.vip, port, WEB.protocol), 1) for port in range(1, 31)))
    daemon.plan()

    async def turns() -> int:
        count, asked = 0, asyncio.ensure_future(daemon.measuring.snapshot())
        while not asked.done():
            count += 1
            await asyncio.sleep(0)
        return count

    calm = asyncio.run(turns())
    monkeypatch.setattr(measuring, "TURN", 0.0)
    assert asyncio.run(turns()) >= calm + 28


def test_what_a_reload_removes_meanwhile_is_not_told_of(daemon: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "TURN", 0.0)

    async def reload() -> list[str]:
        asked = asyncio.ensure_future(daemon.measuring.snapshot())
        await asyncio.sleep(0)
        daemon.planner.state.config = config(service(WEB, 1, 2, 3))
        daemon.plan()
        told = json.loads("".join((await asked).pieces))
        return [one[0] for one in told["services"]]

    assert asyncio.run(reload()) == [str(WEB)]


def test_how_long_a_service_has_been_as_it_is(daemon: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(time=lambda: 1000.0, monotonic=time.monotonic)
    monkeypatch.setattr(measuring, "time", clock)
    assert [one[6] for one in daemon.snapshot()["services"]] == [1000.0, 1000.0]
    clock.time = lambda: 1010.0
    daemon.planner.set(WEB, {1: Health.DEAD})
    daemon.plan()
    assert [one[6] for one in daemon.snapshot()["services"]] == [1010.0, 1000.0]


def test_before_there_is_a_plan() -> None:
    with pytest.raises(HostError, match="the daemon is still starting"):
        Measured(service(WEB, 1)).snapshot()
