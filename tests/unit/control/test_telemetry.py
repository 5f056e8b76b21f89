"""The daemon's side of the telemetry process, as far as it needs none."""

from __future__ import annotations

import asyncio

import pytest

from appliance.control.telemetry import TelemetryClient
from appliance.model_logging import Logging
from appliance.telemetry.documents import Observer
from appliance.telemetry.messages import Settings


def test_a_trouble_is_told_once_however_often_somebody_looks() -> None:
    told: list[tuple[str, str, str]] = []
    client = TelemetryClient(lambda *words: told.append(words))
    for _ in range(3):
        client.trouble("telemetry-place", "/var/lib/vc5: read-only")
    client._heard({"tell": "status", "shipper": {"trouble": "no answer"}})
    client._heard({"tell": "status", "shipper": {"trouble": "still none"}})
    assert told == [("telemetry-place", "/var/lib/vc5: read-only", "began"), ("shipper", "no answer", "began")]
    assert client.troubles() == ["still none", "/var/lib/vc5: read-only"]
    client._heard({"tell": "status"})
    client.trouble("telemetry-place", "")
    assert told[2:] == [("shipper", "still none", "over"), ("telemetry-place", "/var/lib/vc5: read-only", "over")]
    assert client.troubles() == []


def test_who_was_stopped_for_another_program_that_never_came_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when execve(2) fails: the daemon goes on, with the same settings."""
    begun = 0

    async def supervise(client: TelemetryClient) -> None:
        nonlocal begun
        begun += 1
        await asyncio.Event().wait()

    async def run() -> None:
        monkeypatch.setattr(TelemetryClient, "_supervise", supervise)
        client = TelemetryClient(lambda *words: None)
        settings = Settings("/log", "/place", Observer("a", "b", "c"), Logging(slack="https://hooks.example.com/x"))
        for expected in (1, 2):
            for _ in range(3):
                client.follow(settings)
                await asyncio.sleep(0)
            assert begun == expected
            await client.stop()

    asyncio.run(run())
