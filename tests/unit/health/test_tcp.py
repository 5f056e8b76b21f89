"""The check tcp, and what may go wrong with a socket before anything is said."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from appliance.health.answer import Answer
from appliance.health.messages import Probe
from appliance.health.ports import BLOCK, SOCKET_PORTS, Ports
from appliance.health.probes.failure import ProbeNotSent
from appliance.health.runner import ATTEMPTS, Job, Runner
from appliance.model import Check, CheckKind, Outcome
from tests.unit.health.servers import START, VIP, descriptors, probe, running

FIRST_PORT = SOCKET_PORTS.start + int(START * len(SOCKET_PORTS) / BLOCK) * BLOCK
"""The first source port of `servers.running`."""


@contextmanager
def listening(host: str = "127.0.0.1", port: int = 0, backlog: int = 16) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(backlog)
        listener.settimeout(5)
        yield listener


@contextmanager
def full() -> Iterator[int]:
    """Yield a port whose backlog is full: SYNs to it are dropped, nothing answers."""
    with listening(backlog=0) as listener, socket.create_connection(listener.getsockname(), timeout=5):
        yield listener.getsockname()[1]


def check(port: int, timeout: float = 5.0) -> Check:
    return Check(CheckKind.TCP, port, timeout=timeout)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_somebody_listens(host: str) -> None:
    with listening(host) as listener:
        answer = asyncio.run(probe(check(listener.getsockname()[1]), host))
        accepted, peer = listener.accept()
        with accepted:
            accepted.settimeout(5)
            assert accepted.recv(1) == b""  # closed in good order, not reset
    assert (answer.outcome, answer.diagnostic) == (Outcome.OK, "connected")
    assert 0 < answer.connect_ns <= answer.total_ns
    assert peer[1] in range(FIRST_PORT, FIRST_PORT + ATTEMPTS)


def test_nobody_listens() -> None:
    with listening() as listener:
        port = listener.getsockname()[1]
    answer = asyncio.run(probe(check(port)))
    assert (answer.outcome, answer.diagnostic, answer.connect_ns) == (Outcome.NONE, "connection refused", 0)


def test_nobody_answers() -> None:
    before = descriptors()
    with full() as port:
        answer = asyncio.run(probe(check(port, timeout=0.2)))
    assert (answer.outcome, answer.diagnostic) == (Outcome.NONE, "timeout (connect)")
    assert answer.total_ns >= 200_000_000
    assert descriptors() <= before


def test_a_source_port_that_is_taken_is_passed_over() -> None:
    with listening(port=FIRST_PORT), listening() as listener:
        answer = asyncio.run(probe(check(listener.getsockname()[1])))
        accepted, peer = listener.accept()
        accepted.close()
    assert answer.outcome is Outcome.OK
    assert peer[1] in range(FIRST_PORT + 1, FIRST_PORT + ATTEMPTS)


def run_with(ports: Ports, port: int) -> Answer:
    async def run() -> Answer:
        runner = Runner(asyncio.get_running_loop(), ports)
        try:
            return await runner.run(Job.of(Probe(1, VIP, ip_address("127.0.0.1"), check(port))))
        finally:
            runner.close()

    return asyncio.run(run())


def test_descriptors_and_ports_that_come_again_belong_to_the_next_probe() -> None:
    async def run(listener: socket.socket) -> list[Answer]:
        job = Job.of(Probe(1, VIP, ip_address("127.0.0.1"), check(listener.getsockname()[1])))
        with running() as runner:
            one_by_one = [await runner.run(job) for _ in range(20)]
            return one_by_one + await asyncio.gather(*(runner.run(job) for _ in range(20)))

    with listening(backlog=64) as listener:
        answers = asyncio.run(run(listener))
    assert {answer.outcome for answer in answers} == {Outcome.OK}


def test_without_a_free_port_there_is_no_verdict() -> None:
    ports = Ports(lambda: 0.0)
    with listening() as listener:
        port = listener.getsockname()[1]
        pool = ports.pool((str(VIP), port, 6, False))
        while pool.take(1e18) is not None:
            pass
        with pytest.raises(ProbeNotSent, match=f"no source port is free for {VIP} port {port}"):
            run_with(ports, port)


def test_without_a_free_descriptor_there_is_no_verdict() -> None:
    async def run() -> None:
        runner = Runner(asyncio.get_running_loop(), Ports(lambda: START))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            with pytest.raises(ProbeNotSent, match="too many open files"):
                await runner.run(Job.of(Probe(1, VIP, ip_address("127.0.0.1"), check(80))))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            runner.close()

    asyncio.run(run())


def test_a_probe_that_is_cancelled_leaves_nothing_behind() -> None:
    async def run(port: int) -> None:
        ports = Ports(lambda: START)
        runner = Runner(asyncio.get_running_loop(), ports)
        task = asyncio.create_task(runner.run(Job.of(Probe(1, VIP, ip_address("127.0.0.1"), check(port)))))
        await asyncio.sleep(0)
        pool = ports.pool((str(VIP), port, 6, False))
        assert pool.outstanding == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert pool.outstanding == 0
        runner.close()

    before = descriptors()
    with full() as port:
        asyncio.run(run(port))
    assert descriptors() <= before
