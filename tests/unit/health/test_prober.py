"""The prober process on its own: its command line, its two kinds of socket, and what ends it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from appliance.health.messages import Heartbeat, Probe, Report, Schedule, decode_from_prober
from appliance.model import Check, CheckKind, Outcome
from appliance.paths import PACKAGE
from tests.unit.health.servers import VIP, encoded
from tests.unit.health.test_tcp import listening

TCP = Check(CheckKind.TCP, 80, interval=0.2)


def start(*arguments: str, descriptor: int | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "appliance.health.prober", *arguments],
        pass_fds=() if descriptor is None else (descriptor,),
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )


@contextmanager
def prober() -> Iterator[tuple[socket.socket, subprocess.Popen[str]]]:
    """Start a prober on a socket pair; it has ended afterwards."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = start("--fd", str(theirs.fileno()), descriptor=theirs.fileno())
        ours.settimeout(10)
        try:
            yield ours, process
        finally:
            process.kill()
            process.communicate(timeout=10)


def messages(daemon: socket.socket) -> Iterator[Report | Heartbeat]:
    with daemon.makefile("rb") as lines:
        for line in lines:
            message = decode_from_prober(line)
            assert not isinstance(message, tuple), "nobody drills"
            yield message


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, words = process.communicate(timeout=10)
    return process.returncode, words.strip()


@pytest.mark.parametrize(
    "arguments", [(), ("--help",), ("--fd",), ("--fd", "x"), ("--fd", "-1"), ("--fd", "1", "2"), ("--socket",)]
)
def test_usage(arguments: tuple[str, ...]) -> None:
    assert ended(start(*arguments)) == (
        2,
        "usage: python -m appliance.health.prober --socket PATH | --await PATH | --fd N",
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--socket", "/nonexistent/socket"), "No such file or directory"), (("--fd", "99"), "Bad file descriptor")],
)
def test_without_a_daemon_it_says_so(arguments: tuple[str, ...], words: str) -> None:
    assert ended(start(*arguments)) == (1, f"prober: cannot reach the daemon: {words}; is vc5 running?")


def test_it_waits_for_a_daemon_that_does_not_listen_yet(tmp_path: Path) -> None:
    path = tmp_path / "prober.sock"
    with socket.socket(socket.AF_UNIX) as former:  # nobody listens there any more
        former.bind(str(path))
    process = start("--await", str(path))
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        listener.settimeout(10)
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(10)
            assert isinstance(next(messages(accepted)), Heartbeat)
        assert ended(process) == (0, "")


def test_it_ends_when_the_daemon_is_gone() -> None:
    with prober() as (daemon, process):
        assert isinstance(next(messages(daemon)), Heartbeat)
        daemon.shutdown(socket.SHUT_RDWR)
        assert ended(process) == (0, "")


def test_it_connects_to_a_socket_by_its_path(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "prober.sock"))
        listener.listen(1)
        listener.settimeout(10)
        process = start("--socket", str(tmp_path / "prober.sock"))
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(10)
            assert isinstance(next(messages(accepted)), Heartbeat)
        assert ended(process) == (0, "")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"nonsense\n", "schedule: not JSON: "),
        (b"{}\n", "not a schedule: it needs the keys schedule, limit, checks, probes"),
        (b"\n", "schedule: not JSON: "),
        (b'{"prompt":{}}\n', "prompt: not a list of numbers"),
        (b"x" * ((32 << 20) + 1), "a message of more than 33554432 bytes"),
    ],
)
def test_a_malformed_message_ends_it_with_words(line: bytes, words: str) -> None:
    with prober() as (daemon, process):
        daemon.sendall(line)
        status, said = ended(process)
    assert status == 1
    assert said.startswith(f"prober: malformed message from the daemon: {words}")
    assert "\n" not in said


def test_it_probes_what_the_newest_schedule_says() -> None:
    with listening() as listener, prober() as (daemon, _):
        check = replace(TCP, port=listener.getsockname()[1])
        first = Probe(1, VIP, ip_address("127.0.0.1"), check)
        second = Probe(2, VIP, ip_address("127.0.0.2"), check)
        daemon.sendall(encoded(Schedule(1, (first, second))))
        seen: dict[int, Outcome] = {}
        generation = 0
        stream = messages(daemon)
        while len(seen) < 2:
            message = next(stream)
            if isinstance(message, Report):
                seen[message.number] = message.answer.outcome
            else:
                generation = message.generation
        assert (seen, generation) == ({1: Outcome.OK, 2: Outcome.NONE}, 1)
        daemon.sendall(encoded(Schedule(2, (second,))))
        while not (isinstance(message := next(stream), Heartbeat) and message.generation == 2):
            pass
        after = [next(stream) for _ in range(10)]
        assert {message.number for message in after if isinstance(message, Report)} == {2}


def test_two_messages_at_once_and_one_in_pieces() -> None:
    with prober() as (daemon, _):
        line = encoded(Schedule(1, (Probe(1, VIP, ip_address("127.0.0.1"), TCP),)))
        daemon.sendall(encoded(Schedule(5, ())) + line[:10])
        stream = messages(daemon)
        while not (isinstance(message := next(stream), Heartbeat) and message.generation == 5):
            pass
        daemon.sendall(line[10:])
        while not (isinstance(message := next(stream), Heartbeat) and message.generation == 1):
            pass


def test_it_imports_only_what_it_needs() -> None:
    code = "import sys, appliance.health.prober; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=os.fspath(PACKAGE.parent)
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"yaml", "jinja2", "pyroute2", "bcc", "argparse", "appliance.config", "appliance.paths"}
