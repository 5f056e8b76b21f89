"""The control socket: requests, refusals, bounds, who may listen, and what a stranger cannot do to it."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import logging
import os
import select
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.control import socket as control
from appliance.control.allowance import Rate
from appliance.control.socket import DEFAULT_LIMITS, Encoded, Limits, Request
from appliance.errors import AlreadyRunning, ConfigError, HostError, Issue, KernelError, Severity
from tests.lab.patience import wait_for
from tests.profile import PARSER_INPUTS
from tests.unit.control.running import running
from tests.unit.house.tree import ROOT

ISSUE = Issue("f.yaml", 3, 4, "services[0]", Severity.ERROR, "range", "weight 101 is too large", "0 to 100")


async def echo(request: Request) -> Any:
    """Answer with what was asked, and by whom."""
    return {"verb": request.verb, "arguments": dict(request.arguments), "peer": vars(request.peer)}


async def refuse(_: Request) -> Any:
    """Refuse as a daemon refuses a configuration."""
    raise ConfigError((ISSUE,))


async def kernel(_: Request) -> Any:
    """Fail as the kernel may."""
    raise KernelError("attach XDP to", "eth0", 16)


async def defect(_: Request) -> Any:
    """Fail as no handler should."""
    raise ZeroDivisionError("no such thing")


async def unspeakable(_: Request) -> Any:
    """Return what JSON cannot hold."""
    return {1, 2}


async def asleep(_: Request) -> Any:
    """Never end."""
    await asyncio.Event().wait()


async def large(_: Request) -> Any:
    """Return more than a socket buffer holds."""
    return "x" * 3_000_000


async def encoded(_: Request) -> Any:
    """Return what is JSON already."""
    return Encoded(('{"a": [', "1, ", "2", "]}"))


HANDLERS = {
    "encoded": encoded,
    "echo": echo,
    "refuse": refuse,
    "kernel": kernel,
    "defect": defect,
    "unspeakable": unspeakable,
    "asleep": asleep,
    "large": large,
}
QUICK = Limits(connections=3, request_bytes=4096, request_seconds=0.5, work_seconds=0.1, reply_seconds=0.1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


@pytest.fixture
def server(path: Path) -> Iterator[Path]:
    """Return the path of a server with small limits."""
    with running(path, HANDLERS, QUICK):
        yield path


def connect(path: Path) -> socket.socket:
    """Return a connection with a time limit."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(os.fspath(path))
    return connection


def ask(path: Path, data: bytes, *, end: bool = False) -> list[dict[str, Any]]:
    """Send bytes, and return all answers until the server hangs up; with `end`, say that no more will come."""
    with connect(path) as connection:
        try:
            connection.sendall(data)
            if end:
                connection.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                answer += part
    return [json.loads(line) for line in answer.splitlines()]


def test_a_result_may_be_encoded_already(server: Path) -> None:
    assert ask(server, b'{"verb": "encoded"}\n', end=True) == [{"ok": True, "result": {"a": [1, 2]}}]


def test_a_long_result_is_handed_over_in_portions(path: Path) -> None:
    rows = [f'"{number:05d}{"x" * 995}", ' for number in range(3000)]
    pieces = ["[", *rows, '"end"]']
    sizes = [len(portion) for portion in control.portions(pieces)]
    assert len(sizes) > 40
    assert max(sizes) < control.PORTION + 2000, "one portion must not hold up the loop"
    assert b"".join(control.portions(pieces)) == control.success("".join(pieces))

    # What fits into the buffer of the socket is never waited for, and gives way all the same.
    few, turns = ["[", *rows[:190], '"end"]'], [0]

    async def long(_: Request) -> Encoded:
        asyncio.get_running_loop().call_soon(count)
        return Encoded(few)

    def count() -> None:
        turns[0] += 1
        if turns[0] < 100:
            asyncio.get_running_loop().call_soon(count)

    async def counted(_: Request) -> int:
        return turns[0]

    with running(path, {"long": long, "counted": counted}, DEFAULT_LIMITS):
        first, second = ask(path, b'{"verb": "long"}\n{"verb": "counted"}\n', end=True)
    assert first["result"] == json.loads("".join(few))
    assert second["result"] >= 2, "others have their turn between two portions"


def test_requests_on_one_connection_are_answered_in_order(server: Path) -> None:
    first, second = ask(server, b'{"verb":"echo","arguments":{"n":1}}\n{"verb":"echo"}\n', end=True)
    me = {"pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid()}
    assert first == {"ok": True, "result": {"verb": "echo", "arguments": {"n": 1}, "peer": me}}
    assert second["result"]["arguments"] == {}


ERRORS = [
    ("refuse", 78, "f.yaml:3:4: services[0]: weight 101 is too large (0 to 100)", [ISSUE.as_json()]),
    ("kernel", 1, "attach XDP to eth0: Device or resource busy [EBUSY]", []),
    ("defect", 1, "defect failed inside the daemon: ZeroDivisionError: no such thing; this is a defect of vc5", []),
    ("unspeakable", 1, "unspeakable failed inside the daemon: TypeError", []),
    ("asleep", 1, "asleep did not finish within 0.1 s and was given up", []),
    ("dance", 1, "the daemon knows no verb 'dance'; it knows asleep, defect, echo", []),
]


@pytest.mark.parametrize(("verb", "status", "text", "issues"), ERRORS)
def test_errors_are_answers(
    server: Path, caplog: pytest.LogCaptureFixture, verb: str, status: int, text: str, issues: list[Any]
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    refused, after = ask(server, json.dumps({"verb": verb}).encode() + b'\n{"verb":"echo"}\n', end=True)
    assert refused["ok"] is False
    assert refused["error"].startswith(text)
    assert "Traceback" not in refused["error"]
    assert (refused["exit_status"], refused["issues"]) == (status, issues)
    assert after["ok"] is True


def test_a_defect_is_logged_with_its_traceback(server: Path, caplog: pytest.LogCaptureFixture) -> None:
    ask(server, b'{"verb":"defect"}\n', end=True)
    assert [record.exc_info is not None for record in caplog.records] == [True]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["verb", "arguments", ""]) | st.text(), inner),
    max_leaves=6,
)

GARBAGE = [
    (b"GET / HTTP/1.1\r\n", "it is not JSON"),
    (b"\n", "it is not JSON"),
    (b"\xff\xfe\n", "it is not JSON"),
    (b"[" * 4000 + b"\n", "it is not JSON"),
    (b'["echo"]\n', "it is not a JSON object"),
    (b'{"arguments":{}}\n', 'it has no text "verb"'),
    (b'{"verb":7}\n', 'it has no text "verb"'),
    (b'{"verb":"echo","arguments":[]}\n', 'its "arguments" are not a JSON object'),
    (b'{"verb":"echo"', "it does not end with a newline"),
    (b"x" * 5000 + b"\n", "it is longer than 4096 bytes"),
    (b"x" * 3_000_000, "it is longer than 4096 bytes"),
]


@pytest.mark.parametrize(("data", "text"), GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_refused_and_hung_up_on(server: Path, data: bytes, text: str) -> None:
    answers = ask(server, data, end=not data.endswith(b"\n"))
    assert len(answers) == 1
    assert answers[0]["ok"] is False
    assert answers[0]["error"].startswith(f"no valid request: {text}")
    assert ask(server, b'{"verb":"echo"}\n', end=True)[0]["ok"] is True


def test_silence_is_hung_up_on(server: Path) -> None:
    assert "none came within 0.5 s" in ask(server, b'{"verb"')[0]["error"]


def test_who_does_not_read_is_hung_up_on(server: Path) -> None:
    with connect(server) as connection:
        connection.sendall(b'{"verb":"large"}\n' * 10)
        assert ask(server, b'{"verb":"echo"}\n', end=True)[0]["ok"] is True
        hung_up = select.poll()
        hung_up.register(connection, 0)
        assert hung_up.poll(20_000) == [(connection.fileno(), select.POLLHUP)]
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += len(part)
    assert received < 3_000_000


def test_a_user_asks_only_so_often(path: Path) -> None:
    with running(path, HANDLERS, replace(QUICK, rate=Rate(per_second=2.0, burst=5))):
        line = b'{"verb": "echo"}\n'
        replies = ask(path, line * 8, end=True)
        assert [reply["ok"] for reply in replies] == [True] * 5 + [False] * 3
        assert "asks for more than 2 things in a second; try again in 0." in replies[-1]["error"]
        assert not ask(path, line, end=True)[0]["ok"], "another connection is of the same user"
        wait_for("the bucket to fill", lambda: ask(path, line, end=True)[0]["ok"])


def test_there_are_only_so_many_connections(server: Path) -> None:
    open_ones = [connect(server) for _ in range(3)]
    for connection in open_ones:
        connection.sendall(b'{"verb":"echo"}\n')
        assert json.loads(connection.makefile().readline())["ok"] is True
    assert "3 control connections are open" in ask(server, b"")[0]["error"]
    for connection in open_ones:
        connection.close()
    for _ in range(1000):
        if ask(server, b'{"verb":"echo"}\n', end=True)[0]["ok"]:
            return
    pytest.fail("closed connections still count")


@settings(max_examples=PARSER_INPUTS)
@given(st.binary(max_size=100) | st.builds(json.dumps, JSON).map(str.encode))
def test_any_bytes_are_a_request_or_refused(line: bytes) -> None:
    peer = control.Peer(1, 2, 3)
    with contextlib.suppress(control.Refused):
        request = control.parse_request(line, peer)
        assert isinstance(request.verb, str)
        assert isinstance(request.arguments, dict)


def test_the_mode_of_the_socket(path: Path) -> None:
    old = os.umask(0)
    try:
        with running(path, HANDLERS):
            state = path.stat()
            assert stat.S_IMODE(state.st_mode) == 0o660
            try:
                group = grp.getgrnam("vc5").gr_gid
            except KeyError:
                group = os.getgid()
            assert state.st_gid == group
            assert os.umask(0) == 0
    finally:
        os.umask(old)
    assert not path.exists()


DYING = """
import asyncio, os, sys
from pathlib import Path
from appliance.control.socket import ControlServer
async def main():
    await ControlServer(Path(sys.argv[1]), {}).start()
    os._exit(9)
asyncio.run(main())
"""


def test_the_socket_of_a_dead_daemon_is_replaced(path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", DYING, path], cwd=ROOT)
    assert dead.returncode == 9
    assert path.is_socket()
    with running(path, HANDLERS):
        assert ask(path, b'{"verb":"echo"}\n', end=True)[0]["ok"] is True


def test_a_live_daemon_is_left_alone(server: Path) -> None:
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()} already runs vc5"), running(server, HANDLERS):
        pass
    assert ask(server, b'{"verb":"echo"}\n', end=True)[0]["ok"] is True


def test_a_live_daemon_that_answers_nobody_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(os.fspath(path))
        hung.listen(0)
        with connect(path), pytest.raises(AlreadyRunning), running(path, HANDLERS):
            pass
    assert path.is_socket()


def test_a_file_in_the_way(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("precious", encoding="ascii")
    with pytest.raises(HostError, match="is no socket; move it away"), running(path, HANDLERS):
        pass
    assert path.read_text(encoding="ascii") == "precious"


def test_places_where_no_socket_can_be(tmp_path: Path) -> None:
    tmp_path.joinpath("file").touch()
    below_a_file = tmp_path / "file" / "control.sock"
    with pytest.raises(HostError, match="cannot make the control socket: "), running(below_a_file, HANDLERS):
        pass
    too_long = tmp_path / ("x" * 110)
    with pytest.raises(HostError, match="longer than the 107 bytes"), running(too_long, HANDLERS):
        pass


def test_closing_ends_connections_and_leaves_a_successor_alone(path: Path) -> None:
    connections = []
    with running(path, HANDLERS):
        for _ in range(3):
            connection = connect(path)
            connection.sendall(b'{"verb":"echo"}\n')
            assert json.loads(connection.makefile().readline())["ok"] is True
            connections.append(connection)
        connections[0].sendall(b'{"verb":"asleep"}\n')
        path.unlink()
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(os.fspath(path))
    assert path.is_socket()
    for connection in connections:
        with connection:
            assert connection.recv(1) == b""
