"""The door for probers that come by themselves: who gets in, what is replaced, what the client does with a visitor."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance import paths
from appliance.errors import HostError
from appliance.health import client
from appliance.health.client import ProberClient
from appliance.health.door import Door
from appliance.health.messages import Heartbeat, decode_schedule, encode_heartbeat

ME = pwd.getpwuid(os.geteuid()).pw_name
BEAT = encode_heartbeat(Heartbeat(generation=1, finished=1))


def connected(path: Path) -> socket.socket:
    prober = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    prober.setblocking(False)
    prober.connect(str(path))
    return prober


async def until_hung_up(prober: socket.socket) -> bytes:
    """Return what was said before the other side hung up."""
    said = b""
    async with asyncio.timeout(10):
        while data := await asyncio.get_running_loop().sock_recv(prober, 1 << 16):
            said += data
    return said


class Record:
    """What a client tells."""

    def __init__(self) -> None:
        self.states: list[tuple[bool, str]] = []
        self._changed = asyncio.Event()

    def state(self, live: bool, why: str) -> None:
        self.states.append((live, why))
        self._changed.set()

    async def next(self) -> tuple[bool, str]:
        async with asyncio.timeout(10):
            await self._changed.wait()
        self._changed.clear()
        return self.states[-1]


@asynccontextmanager
async def waiting(path: Path) -> AsyncIterator[tuple[ProberClient, Record, Path]]:
    """Yield a client that has a door, and what it tells."""
    root = paths.root(str(path))
    root.run.mkdir()
    record = Record()
    prober = ProberClient(root, lambda result: None, record.state, Door(root.prober_socket, ME))
    prober.schedule([])
    await prober.start()
    try:
        yield prober, record, root.prober_socket
    finally:
        await prober.stop()
        assert not root.prober_socket.exists()


def test_there_must_be_such_a_user(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="there is no user 'no such user' on this host"):
        Door(tmp_path / "s", "no such user")


def test_the_socket_is_for_the_group_of_the_prober(tmp_path: Path) -> None:
    door = Door(tmp_path / "s", ME)
    door.open()
    door.open()
    entry = door.path.stat()
    assert (stat.S_IMODE(entry.st_mode), entry.st_gid) == (0o660, pwd.getpwnam(ME).pw_gid)
    door.close()
    door.close()
    assert not door.path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody who may not")
def test_who_may_not_give_the_socket_away_is_told_what_is_missing(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid() and parent.is_relative_to("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o011)
    group = grp.getgrnam("games").gr_gid
    door = Door(tmp_path / "s", "nobody")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(group, group, group)
            os.setresuid(1, 1, 1)
            door.open()
        except HostError as error:
            status = 0 if "SupplementaryGroups=vc5-prober" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_socket_that_was_left_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
    door = Door(path, ME)
    door.open()
    door.close()
    path.write_text("something")
    with pytest.raises(HostError, match="is in the way of the prober's socket and is no socket; move it away"):
        door.open()
    with pytest.raises(HostError, match="cannot make the socket for the prober"):
        Door(tmp_path / "nowhere" / "s", ME).open()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else than the prober")
def test_somebody_else_is_hung_up_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def journey() -> None:
        door = Door(tmp_path / "s", "nobody")
        door.open()
        stranger = connected(door.path)
        waiting = asyncio.create_task(door.visitor())
        assert await until_hung_up(stranger) == b""
        assert not waiting.done()
        waiting.cancel()
        stranger.close()
        door.close()

    asyncio.run(journey())
    assert f"hung up on uid 0 (pid {os.getpid()}): only user nobody is the prober" in caplog.text


def test_a_prober_is_given_the_schedule_and_believed(tmp_path: Path) -> None:
    async def journey() -> None:
        async with waiting(tmp_path) as (prober, record, path):
            visitor = connected(path)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(visitor, BEAT)
            assert await record.next() == (True, f"prober {os.getpid()} is running")
            schedule = b""
            while not schedule.endswith(b"\n"):
                schedule += await loop.sock_recv(visitor, 1 << 16)
            assert decode_schedule(schedule).generation == 1
            assert (prober.pid, prober.restarts) == (os.getpid(), 0)
            visitor.close()
            live, why = await record.next()
            assert (live, prober.pid) == (False, None)
            assert why.startswith(f"prober {os.getpid()}: the socket was closed, its unit starts the next one; health")
            again = connected(path)
            await loop.sock_sendall(again, BEAT)
            assert (await record.next())[0]
            assert prober.restarts == 1
            again.close()
            await record.next()

    asyncio.run(journey())


@pytest.mark.parametrize("said", [b"[1]\n", b"\xff\0\n", b"x" * (1 << 20)], ids=["no message", "no text", "no end"])
def test_who_talks_nonsense_is_hung_up_on(tmp_path: Path, said: bytes) -> None:
    async def journey() -> None:
        async with waiting(tmp_path) as (_, record, path):
            visitor = connected(path)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(visitor, BEAT)
            assert (await record.next())[0]
            try:
                await loop.sock_sendall(visitor, said)
                await until_hung_up(visitor)
            except ConnectionError:
                pass
            live, why = await record.next()
            assert not live
            assert "it said something malformed" in why
            visitor.close()

    asyncio.run(journey())


def test_a_silent_one_and_one_that_never_comes_freeze_health(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SILENCE", 0.3)
    monkeypatch.setattr(client, "TICK", 0.05)

    async def journey() -> None:
        async with waiting(tmp_path) as (_, record, path):
            live, why = await record.next()
            assert not live
            assert f"no prober has come to {path} for 0.3 s; see `systemctl status vc5-prober`" in why
            visitor = connected(path)
            await asyncio.get_running_loop().sock_sendall(visitor, BEAT)
            assert (await record.next())[0]
            await until_hung_up(visitor)
            live, why = await record.next()
            assert not live
            assert "it has been silent for 0.3 s, its unit starts the next one" in why
            visitor.close()

    asyncio.run(journey())
