"""Probes that lean on others, against real servers: what is asked, what is said, and what a broken path is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address

import pytest

from appliance.health.answer import Answer
from appliance.health.following import Following
from appliance.health.messages import Probe
from appliance.health.runner import Job
from appliance.health.schedule import Schedule
from appliance.model import Check, CheckKind, Outcome
from tests.unit.health.servers import running, says, serving

pytestmark = pytest.mark.root

FIRST, SECOND = ip_address("192.0.2.1"), ip_address("192.0.2.2")
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"


class Scene:
    """A leader and a follower of it; `turn` gives one of them its turn."""

    def __init__(self, following: Following, schedule: Schedule, probes: tuple[Probe, Probe]) -> None:
        self.jobs = {probe.number: Job.of(probe) for probe in probes}
        self._following = following
        self._schedule = schedule
        self._far = asyncio.get_running_loop().time()

    def start(self) -> None:
        """Make both outstanding, whenever they are due."""
        self._far += 1e6
        self._schedule.start_due(self._far, 99)

    async def turn(self, number: int) -> tuple[Answer, bool]:
        loop = asyncio.get_running_loop()
        self.start()
        answer, leaning = await self._following.run(self.jobs[number])
        assert self._schedule.finish(number, answer.outcome, loop.time(), leaning=leaning)
        if answer.outcome is Outcome.OK and not leaning:
            self._following.learn(number, answer)
        return answer, leaning


@asynccontextmanager
async def scene(check: Check, second: str = "127.0.0.1") -> AsyncIterator[Scene]:
    loop = asyncio.get_running_loop()
    with running() as runner:
        schedule = Schedule(lambda: 0.5, 99)
        following = Following(loop, runner, schedule)
        probes = (
            Probe(1, FIRST, ip_address("127.0.0.1"), check),
            Probe(2, SECOND, ip_address(second), check, leader=1),
        )
        following.configure(probes)
        assert {destination[3] for destination in following.destinations()} == {True}
        schedule.configure({1: check, 2: check}, loop.time(), leaders={2: 1})
        yield Scene(following, schedule, probes)


def http(port: int) -> Check:
    return Check(CheckKind.HTTP, port, "www.example.com", timeout=0.5)


def test_after_good_news_only_the_path_is_looked_at() -> None:
    async def journey() -> None:
        asked: list[int] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(1)
            await says(FINE)(reader, writer)

        async with serving(handle) as port, scene(http(port)) as scenery:
            answer, leaning = await scenery.turn(2)
            assert (answer.diagnostic, leaning, len(asked)) == ("HTTP 200", False, 1)  # the leader has said nothing
            await scenery.turn(1)
            answer, leaning = await scenery.turn(2)
            assert (answer.outcome, leaning, len(asked)) == (Outcome.OK, True, 2)
            assert answer.diagnostic == "HTTP 200 at 192.0.2.1, path 192.0.2.2: SYN-ACK"
            assert answer.http_status == 200

    asyncio.run(journey())


def test_a_broken_path_is_a_failure_whatever_the_leader_says() -> None:
    async def journey() -> None:
        async with serving(says(FINE)) as port, scene(http(port), "127.0.0.2") as scenery:
            await scenery.turn(1)
            answer, leaning = await scenery.turn(2)
            assert (answer.outcome, answer.diagnostic) == (Outcome.NONE, "path 192.0.2.2: connection refused")
            assert leaning

    asyncio.run(journey())


def test_after_bad_news_everybody_asks() -> None:
    async def journey() -> None:
        async with serving(says(BAD)) as port, scene(http(port)) as scenery:
            await scenery.turn(1)
            answer, leaning = await scenery.turn(2)
            assert (answer.diagnostic, leaning) == ("HTTP 503, expected 200", False)

    asyncio.run(journey())


def test_good_news_that_turns_bad_while_the_path_is_looked_at_does_not_count() -> None:
    """The leader finds the server broken before the SYN-ACK comes."""

    async def journey() -> None:
        good = True

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await says(FINE if good else BAD)(reader, writer)

        async with serving(handle) as port:
            check = replace(http(port), interval=0.2)
            async with scene(check) as scenery:
                await scenery.turn(1)
                loop = asyncio.get_running_loop()
                scenery.start()
                good = False
                path = scenery._following._runner.run

                async def slow(job: Job) -> Answer:
                    answer = await path(job)
                    if job.check.kind is CheckKind.SYN:
                        scenery._schedule.finish(1, Outcome.WRONG, loop.time())
                    return answer

                scenery._following._runner.run = slow  # type: ignore[method-assign]
                answer, leaning = await scenery._following.run(scenery.jobs[2])
                assert (answer.diagnostic, leaning) == ("HTTP 503, expected 200", False)

    asyncio.run(journey())


def test_a_reload_forgets_what_is_led_no_more() -> None:
    async def journey() -> None:
        async with serving(says(FINE)) as port, scene(http(port)) as scenery:
            await scenery.turn(1)
            alone = Probe(2, SECOND, ip_address("127.0.0.1"), http(port))
            scenery._following.configure((alone,))
            assert scenery._following.destinations() == frozenset()
            answer, leaning = await scenery.turn(2)
            assert (answer.diagnostic, leaning) == ("HTTP 200", False)

    asyncio.run(journey())
