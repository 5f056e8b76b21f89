"""The checker looks at itself: what it finds, when it says so, and that it is in no statistics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from appliance.health import selfcheck
from appliance.health.answer import Answer
from appliance.health.messages import Heartbeat, Schedule
from appliance.health.ports import Ports
from appliance.health.probes.failure import ProbeNotSent
from appliance.health.runner import Job, Runner
from appliance.health.selfcheck import Responder, SelfCheck
from appliance.model import Outcome
from tests.unit.health.servers import encoded
from tests.unit.health.test_prober import messages, prober

START = 0.3


class Always(asyncio.Protocol):
    """A server whose answer is the same for everything."""

    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self.answer)
        transport.close()


class Never(Always):
    answer = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"


class Garbage(Always):
    answer = b"\0\0\0\0\r\n"


class Moody(Responder):
    """A server that can be switched to silence."""

    silent = False

    def data_received(self, data: bytes) -> None:
        if not Moody.silent:
            super().data_received(data)


class Failing(Runner):
    """A runner with a fault of its own."""

    fault: Exception = ProbeNotSent("too many open files")

    async def run(self, job: Job) -> Answer:
        raise self.fault


class Confirming(Runner):
    """A runner that takes everything for good."""

    async def run(self, job: Job) -> Answer:
        answer = await super().run(job)
        return Answer(Outcome.OK, answer.diagnostic)


@asynccontextmanager
async def checking(
    kind: type[Runner] = Runner, responder: Callable[[], asyncio.Protocol] = Responder
) -> AsyncIterator[tuple[SelfCheck, list[str]]]:
    """Run a self-check; yield it with what it has found, one by one."""
    loop = asyncio.get_running_loop()
    runner = kind(loop, Ports(lambda: START))
    found: list[str] = []
    check = SelfCheck(loop, runner, lambda: found.append(check.broken), responder)
    task = loop.create_task(check.run())
    try:
        yield check, found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        runner.close()


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not look():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("kind", "responder", "words"),
    [
        (Runner, Responder, ""),
        (Runner, Always, "the known-bad target passes: HTTP 200"),
        (Confirming, Responder, "the known-bad target passes: HTTP 503, expected 200"),
        (Runner, Never, "the known-good target fails: HTTP 503, expected 200"),
        (Runner, Garbage, "the known-good target fails: not valid HTTP: illegal"),
        (Failing, Responder, "the known-good target cannot be probed: too many open files"),
    ],
)
def test_what_is_found(kind: type[Runner], responder: type[asyncio.Protocol], words: str) -> None:
    async def journey() -> None:
        async with checking(kind, responder) as (check, found):
            await until(lambda: check.ready)
            assert len(found) == 1
            assert found[0].startswith(words)
            assert check.broken == found[0]
            assert bool(found[0]) == bool(words)

    asyncio.run(journey())


def test_a_defect_of_ours_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Failing, "fault", RuntimeError("oops"))

    async def journey() -> None:
        async with checking(Failing) as (_, found):
            await until(lambda: found)
            assert found == ["the known-good target cannot be probed: defect in the prober: RuntimeError('oops')"]

    asyncio.run(journey())


def test_twice_in_a_row_counts_and_it_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfcheck, "ROUND", 0.3)
    monkeypatch.setattr(selfcheck, "RETRY", 0.02)
    monkeypatch.setattr(selfcheck, "PATIENCE", 0.1)
    monkeypatch.setattr(Moody, "silent", False)
    rounds: list[str] = []
    once = SelfCheck._round

    async def counted(self: SelfCheck) -> str:
        rounds.append(await once(self))
        if rounds.count("the known-good target fails: timeout (response)") == 1:
            Moody.silent = False  # only the first is left without an answer
        return rounds[-1]

    async def journey() -> None:
        async with checking(responder=Moody) as (check, found):
            await until(lambda: found)
            monkeypatch.setattr(SelfCheck, "_round", counted)
            Moody.silent = True
            check.suspect()
            await until(lambda: len(rounds) >= 3)
            assert any(rounds)
            assert found == [""]
            monkeypatch.setattr(SelfCheck, "_round", once)
            Moody.silent = True
            await until(lambda: check.broken)
            Moody.silent = False
            await until(lambda: not check.broken)
            assert found == ["", "the known-good target fails: timeout (response)", ""]

    asyncio.run(journey())


def test_a_suspicion_brings_the_next_round_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfcheck, "ROUND", 600.0)

    async def journey() -> None:
        async with checking(responder=Moody) as (check, found):
            await until(lambda: check.ready)
            monkeypatch.setattr(Moody, "silent", True)
            monkeypatch.setattr(selfcheck, "PATIENCE", 0.1)
            check.suspect()
            await until(lambda: check.broken)
            assert found[-1] == "the known-good target fails: timeout (response)"

    asyncio.run(journey())


def test_it_is_in_no_statistics() -> None:
    """A prober with nothing to do makes two probes at once, and speaks of none."""
    with prober() as (daemon, _):
        daemon.sendall(encoded(Schedule(1, ())))
        heartbeats = []
        for message in messages(daemon):
            assert isinstance(message, Heartbeat)
            heartbeats.append(message)
            if len(heartbeats) == 4:
                break
    assert heartbeats[-1].generation == 1
    for each in heartbeats:
        assert (each.finished, each.unsent, each.outstanding, each.broken) == (0, 0, 0, "")


def test_nothing_is_said_to_be_in_force_before_the_first_finding() -> None:
    with prober() as (daemon, _):
        daemon.sendall(encoded(Schedule(5, ())))
        first = next(messages(daemon))
        assert isinstance(first, Heartbeat)
        assert first.generation in (0, 5)
