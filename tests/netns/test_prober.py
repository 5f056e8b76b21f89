"""The client and its prober in a real namespace.

             root.namespace
lo     10.9.0.0/16     every address is local: whoever listens, answers; else refused
quiet  10.8.0.0/16     a veth whose other end takes no frame: silence
(no other route)       probes cannot be sent
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from appliance import paths
from appliance.child.code import handed_over
from appliance.errors import HostError
from appliance.health import client, process
from appliance.health.client import ProberClient, Target
from appliance.health.judge import HealthTable
from appliance.model import Backend, Check, CheckKind, Health, Outcome, ProbeResult, Service, ServiceKey
from tests.lab.namespace import Namespace, run
from tests.lab.patience import wait_for

pytestmark = pytest.mark.root

KEY = ServiceKey.parse("203.0.113.10:80/tcp")
LOCAL, QUIET, NOWHERE = IPv4Address("10.9.0.0"), IPv4Address("10.8.0.0"), IPv4Address("10.7.0.0")
HTTP = Check(CheckKind.HTTP, 80)
HTTP_ONCE = Check(CheckKind.HTTP, 80, interval=600.0, timeout=3.0)
TCP = Check(CheckKind.TCP, 80, interval=0.2)
CAP_NET_RAW = 1 << 13
ESTABLISHED, SYN_SENT = 1, 2


@dataclass
class Place:
    """An instance with its probe namespace."""

    root: paths.Root

    @property
    def namespace(self) -> Namespace:
        return Namespace(self.root.namespace)

    def listen(self) -> socket.socket:
        """Return a socket that listens on port 80 of every local address inside."""
        return self.namespace.call(lambda: socket.create_server(("0.0.0.0", 80), backlog=4096))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(paths.root(str(tmp_path)))
    inside = made.namespace
    run("ip", "netns", "add", inside.name)
    try:
        inside.run("ip", "link", "set", "lo", "up")
        inside.run("ip", "route", "add", "local", f"{LOCAL}/16", "dev", "lo")
        inside.run("ip", "link", "add", "quiet", "type", "veth", "peer", "name", "nobody")
        inside.run("ip", "address", "add", "10.8.255.1/32", "dev", "quiet")
        inside.run("ip", "link", "set", "nobody", "up")
        inside.run("ip", "link", "set", "quiet", "up")
        inside.run("ip", "neigh", "add", "10.8.255.254", "lladdr", "02:00:00:00:00:01", "dev", "quiet")
        inside.run("ip", "route", "add", f"{QUIET}/16", "via", "10.8.255.254", "dev", "quiet", "onlink")
        yield made
    finally:
        run("ip", "netns", "delete", inside.name)


@dataclass
class Record:
    """What a client has reported."""

    results: list[ProbeResult] = field(default_factory=list)
    states: list[tuple[bool, str]] = field(default_factory=list)


async def until(what: str, look: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait until `look` returns something true."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not look():
        assert loop.time() < deadline, f"waited {seconds:g} s in vain for {what}"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def started(place: Place, *targets: Target) -> AsyncIterator[tuple[ProberClient, Record]]:
    """Start a client; wait until results can flow."""
    record = Record()
    prober = ProberClient(place.root, record.results.append, lambda live, why: record.states.append((live, why)))
    prober.schedule(targets)
    await prober.start()
    try:
        await until("the prober", lambda: record.states)
        yield prober, record
    finally:
        await prober.stop()


def target(nat: IPv4Address, *checks: Check) -> Target:
    """Return a target whose backend address is derived from its NAT address."""
    return Target(KEY, IPv4Address(int(nat) ^ 0x00F00000), nat, checks)


def status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: values.split() for name, _, values in (line.partition(":") for line in lines)}


def outstanding(pid: int, port: int = 80) -> list[int]:
    """Return the source ports of all connections to `port` under way, as the kernel of the namespace sees them."""
    ports = []
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        if remote.endswith(f":{port:04X}") and int(state, 16) in (ESTABLISHED, SYN_SENT):
            ports.append(int(local.rpartition(":")[2], 16))
    return ports


def test_a_thousand_probes_at_once_of_one_service_half_of_it_dead(place: Place) -> None:
    live = [target(LOCAL + number, HTTP_ONCE) for number in range(1, 501)]
    dead = [target(QUIET + number, HTTP_ONCE) for number in range(1, 501)]
    table = HealthTable()
    backends = tuple(sorted((Backend(each.backend) for each in live + dead), key=lambda each: each.address))
    table.configure([Service(KEY, backends, (HTTP_ONCE,))], 0.0)

    async def journey() -> None:
        go = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                await go.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            finally:
                writer.close()

        server = await asyncio.start_server(answer, sock=place.listen())
        async with server, started(place, *live, *dead) as (prober, record):
            pid = prober.pid
            assert pid is not None
            await until("all connections", lambda: len(outstanding(pid)) == 1000)
            ports = outstanding(pid)
            assert len(set(ports)) == 1000
            go.set()
            await until("all results", lambda: len(record.results) >= 1000)
            for result in record.results:
                table.observe(result, result.at)
        for each in live:
            assert table.health(KEY, each.backend) is Health.UP, table.standing(KEY, each.backend)
        for each in dead:
            assert table.health(KEY, each.backend) is Health.DEAD, table.standing(KEY, each.backend)
        assert {result.diagnostic for result in record.results} == {"HTTP 200", "timeout (connect)"}
        assert prober.heartbeat.unsent == prober.stray == 0

    asyncio.run(journey())


def test_it_holds_cap_net_raw_and_nothing_else(place: Place) -> None:
    async def journey() -> None:
        async with started(place, target(LOCAL + 1, TCP)) as (prober, _):
            assert prober.pid is not None
            held = status(prober.pid)
            for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(held[name][0], 16) == CAP_NET_RAW, name
            assert held["Uid"] == held["Gid"] == ["65534"] * 4
            assert held["Groups"] == []
            assert held["NoNewPrivs"] == ["1"]
            inside = os.stat(f"/proc/{prober.pid}/ns/net")
            assert inside.st_ino == place.namespace.path.stat().st_ino
            environment = Path(f"/proc/{prober.pid}/environ").read_bytes().split(b"\0")
            assert {each.partition(b"=")[0] for each in environment if each} == {b"PYTHONPATH", b"LANG"}
            files = {os.readlink(each) for each in Path(f"/proc/{prober.pid}/fd").iterdir()}
            assert {name.partition(":")[0] for name in files} <= {"/dev/null", "socket", "pipe", "anon_inode"}

    asyncio.run(journey())


def test_it_runs_from_what_only_root_can_read(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = shutil.copytree(paths.PACKAGE, tmp_path / "home" / "appliance")
    package.parent.chmod(0o700)
    monkeypatch.setattr("appliance.child.process.handed_over", lambda: handed_over(package))

    async def journey() -> None:
        async with started(place, target(LOCAL + 1, TCP)) as (prober, record):
            await until("a result", lambda: record.results)
            assert record.results[0].outcome is Outcome.OK
            assert prober.restarts == 0
            assert b"PYTHONPATH=/proc/self/fd/" in Path(f"/proc/{prober.pid}/environ").read_bytes()

    with place.listen():
        asyncio.run(journey())


def test_each_kind_of_check_at_once(place: Place) -> None:
    checks = (HTTP, TCP, Check(CheckKind.SYN, 80), Check(CheckKind.SYN, 81), Check(CheckKind.HTTPS, 80))

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async def journey() -> None:
        server = await asyncio.start_server(refuse, sock=place.listen(), limit=256)
        async with server, started(place, target(LOCAL + 1, *checks)) as (_, record):
            await until("all results", lambda: {result.check for result in record.results} == set(range(5)))
        by_check = {result.check: result for result in record.results}
        outcomes = [by_check[index].outcome for index in range(4)]
        assert outcomes == [Outcome.WRONG, Outcome.OK, Outcome.OK, Outcome.NONE]
        assert by_check[0].http_status == 503
        assert by_check[0].backend == target(LOCAL + 1).backend

    asyncio.run(journey())


def test_killed_it_freezes_health_and_comes_back(place: Place) -> None:
    async def journey() -> None:
        async with started(place, target(LOCAL + 1, TCP)) as (prober, record):
            await until("results", lambda: record.results)
            pid = prober.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await until("the end to be noticed", lambda: len(record.states) == 2)
            live, why = record.states[-1]
            assert not live
            assert f"prober {pid}: the socket was closed, ended by signal 9; health is frozen" in why
            seen = len(record.results)
            await until("the next prober", lambda: len(record.states) == 3)
            assert record.states[-1][0]
            assert prober.pid not in (None, pid)
            assert prober.restarts == 1
            await until("its results", lambda: len(record.results) > seen)
            assert not Path(f"/proc/{pid}").exists()

    asyncio.run(journey())


def test_silent_it_is_replaced(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SILENCE", 2.0)

    async def journey() -> None:
        async with started(place, target(LOCAL + 1, TCP)) as (prober, record):
            pid = prober.pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            await until("the silence to be noticed", lambda: len(record.states) == 2)
            assert f"prober {pid}: it has been silent for 2 s, ended by signal 9" in record.states[-1][1]
            await until("the next prober", lambda: len(record.states) == 3)
            assert not Path(f"/proc/{pid}").exists()

    asyncio.run(journey())


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo nonsense >&{fd}; exec sleep 60", "it said something malformed (report: not JSON"),
        ("head -c 70000 /dev/zero >&{fd}; exec sleep 60", "it said something malformed (more than 65536 bytes"),
        ("echo '[1]' >&{fd}; exec sleep 60", "it said something malformed (a report has 11 items, not 1)"),
        ("echo 'cannot \033[31mstart' >&2; exit 3", r"ended with status 3: cannot \x1b[31mstart"),
    ],
)
def test_a_prober_that_misbehaves_is_replaced_and_its_words_are_reported(
    place: Place,
    script: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    real = process.command
    monkeypatch.setattr(process, "command", lambda root, fd: ["/bin/bash", "-c", script.format(fd=fd)])

    async def journey() -> None:
        async with started(place, target(LOCAL + 1, TCP)) as (prober, record):
            live, why = record.states[0]
            assert not live
            assert words in why
            await until("further attempts", lambda: prober.restarts == 2)
            monkeypatch.setattr(process, "command", real)
            await until("the real one", lambda: record.states[-1][0])

    with caplog.at_level(logging.WARNING):
        asyncio.run(journey())
    waits = [entry.getMessage().rpartition("next attempt in ")[2] for entry in caplog.records]
    assert [wait for wait in waits if wait.endswith(" s")][:3] == ["0.2 s", "0.4 s", "0.8 s"]


def test_what_cannot_be_sent_has_no_verdict(place: Place) -> None:
    async def journey() -> None:
        async with started(place, target(NOWHERE + 1, TCP), target(NOWHERE + 1, TCP, TCP)) as (_, record):
            await until("the alarm", lambda: record.states[-1][0] is False)
            assert "no probe can be sent: cannot connect: network unreachable" in record.states[-1][1]
            assert record.results == []
            place.namespace.run("ip", "route", "add", "local", f"{NOWHERE}/16", "dev", "lo")
            await until("results", lambda: record.results)
            await until("the all-clear", lambda: record.states[-1][0])
            assert record.results[0].diagnostic == "connection refused"

    asyncio.run(journey())


def test_a_reload_during_probes_mixes_nothing_up(place: Place) -> None:
    """Checks change places while the slow one is under way: no result is ever reported for the other one."""
    good, slow = TCP, Check(CheckKind.TCP, 81, interval=0.3, timeout=0.3)

    def fill() -> socket.socket:
        return socket.create_connection((str(LOCAL + 1), 81))

    async def journey() -> None:
        silent = place.namespace.call(lambda: socket.create_server(("0.0.0.0", 81), backlog=0))
        with place.listen(), silent, place.namespace.call(fill):
            async with started(place, target(LOCAL + 1, good, slow)) as (prober, record):
                expected = [Outcome.OK, Outcome.NONE]
                for _ in range(10):
                    record.results.clear()
                    expected.reverse()
                    order = (good, slow) if expected[0] is Outcome.OK else (slow, good)
                    prober.schedule([target(LOCAL + 1, *order)])
                    await until("a result of each", lambda: len({result.check for result in record.results}) == 2)
                    await until("the slow one under way", lambda: outstanding(prober.pid or 0, 81))
                    for result in record.results:
                        assert result.outcome is expected[result.check]

    asyncio.run(journey())


def test_stopped_it_leaves_nothing(place: Place) -> None:
    async def journey() -> None:
        async with started(place, target(QUIET + 1, TCP)) as (prober, record):
            pid = prober.pid
            await until("a probe under way", lambda: prober.heartbeat.outstanding)
        assert not Path(f"/proc/{pid}").exists()
        assert [live for live, _ in record.states] == [True]
        again = ProberClient(place.root, record.results.append, lambda live, why: None)
        await again.start()
        pid = again.pid
        await again.stop()
        assert not Path(f"/proc/{pid}").exists()

    before = sorted(os.listdir("/proc/self/fd"))
    asyncio.run(journey())
    assert sorted(os.listdir("/proc/self/fd")) == before


PARENT = """
import asyncio, json, sys
from appliance import paths
from appliance.child.code import handed_over
from appliance.health.client import ProberClient
async def main():
    prober = ProberClient(paths.root(sys.argv[1]), lambda result: None, lambda live, why: print(prober.pid, flush=True))
    await prober.start()
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_it_dies_with_the_daemon(place: Place) -> None:
    directory = str(place.root.config.parent)
    environment = {"PYTHONPATH": str(paths.PACKAGE.parent)}
    command = [sys.executable, "-c", PARENT, directory]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as daemon:
        assert daemon.stdout is not None
        pid = json.loads(daemon.stdout.readline())
        os.kill(pid, signal.SIGSTOP)  # it cannot notice by itself that the socket is closed
        daemon.kill()
    wait_for("the prober to end", lambda: not Path(f"/proc/{pid}").exists())


def test_without_the_namespace_the_error_says_so(tmp_path: Path) -> None:
    prober = ProberClient(paths.root(str(tmp_path)), lambda result: None, lambda live, why: None)
    with pytest.raises(HostError, match=r"there is no network namespace /run/netns/vc5-\w+; vc5 makes it at its start"):
        asyncio.run(prober.start())


def test_without_root_the_error_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    prober = ProberClient(place.root, lambda result: None, lambda live, why: None)
    start: Coroutine[Any, Any, None] = prober.start()
    with pytest.raises(HostError, match="entering it needs root; run vc5 as root"):
        asyncio.run(start)
