"""One result may be for a thousand services: each of them gets it, and nobody has to wait for all of them."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address

import pytest

from appliance.health.answer import Answer
from appliance.health.client import TURN, ProberClient
from appliance.health.messages import Report
from appliance.health.sharing import Target
from appliance.model import Check, CheckKind, Outcome, ProbeResult, Protocol, ServiceKey
from appliance.paths import root

SERVICES = 1000
BACKEND, VIP = IPv4Address("192.0.2.10"), IPv4Address("203.0.113.1")
CHECK = Check(CheckKind.SYN, 7)
TARGETS = [
    Target(ServiceKey(VIP, 1000 + number, Protocol.TCP), BACKEND, IPv4Address("10.0.0.0") + number, (CHECK,))
    for number in range(SERVICES)
]


@pytest.mark.parametrize("reloaded_after", [None, 3 * TURN])
def test_a_result_for_a_thousand_services_lets_others_have_their_turn(reloaded_after: int | None) -> None:
    async def scene() -> tuple[list[ProbeResult], int]:
        got: list[ProbeResult] = []
        turns = 0

        def take(result: ProbeResult) -> None:
            got.append(result)
            if len(got) == reloaded_after:
                client.schedule(TARGETS[:10])

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        client = ProberClient(root("client-test"), take, lambda live, why: None)
        client.schedule(TARGETS)
        (number,) = client._sharing.subscribers
        beside = asyncio.create_task(others())
        await client._report(Report(number, 1.0, Answer(Outcome.OK, "SYN-ACK")))
        beside.cancel()
        return got, turns

    got, turns = asyncio.run(scene())
    if reloaded_after is None:
        assert [one.service for one in got] == [target.service for target in TARGETS]
    else:
        assert len(got) == reloaded_after, "what is left of a result does not count after a reload"
    assert turns >= len(got) // TURN
