"""The client of the control socket, against the real server and against things that are none."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from appliance import paths
from appliance.cli import client
from appliance.control.socket import Limits, Request
from appliance.errors import ConfigError, ControlError, Issue, KernelError, Severity
from appliance.paths import Root
from tests.unit.control.running import running

ISSUE = Issue("f.yaml", 3, 4, "services[0]", Severity.ERROR, "range", "weight 101 is too large", "0 to 100")


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return paths.root(str(tmp_path))


async def echo(request: Request) -> Any:
    """Answer with the arguments."""
    return dict(request.arguments)


async def refuse(_: Request) -> Any:
    """Refuse a configuration."""
    raise ConfigError((ISSUE,))


async def kernel(_: Request) -> Any:
    """Fail as the kernel may."""
    raise KernelError("attach XDP to", "eth0", 16)


async def large(_: Request) -> Any:
    """Return more than a socket buffer holds."""
    return "x" * 3_000_000


def test_results_and_errors_arrive_as_they_were(root: Root) -> None:
    with running(root.control_socket, {"echo": echo, "refuse": refuse, "kernel": kernel, "large": large}):
        assert client.call(root, "echo", service="s", verb="v", root=[1, None]) == {
            "service": "s",
            "verb": "v",
            "root": [1, None],
        }
        assert len(client.call(root, "large")) == 3_000_000
        with pytest.raises(ConfigError) as refused:
            client.call(root, "refuse")
        assert (refused.value.issues, refused.value.exit_status) == ((ISSUE,), 78)
        with pytest.raises(ControlError, match=r"^attach XDP to eth0: Device or resource busy \[EBUSY\]$") as failed:
            client.call(root, "kernel")
        assert failed.value.exit_status == 1


async def nothing_to_say(_: Request) -> Any:
    """Refuse with a status that is not the usual one, and no issues."""
    raise ConfigError(())


def test_the_exit_status_is_the_daemons(root: Root) -> None:
    with running(root.control_socket, {"reload": nothing_to_say}), pytest.raises(ControlError) as refused:
        client.call(root, "reload")
    assert refused.value.exit_status == 78


def test_a_request_that_is_too_large_is_told_so(root: Root) -> None:
    with (
        running(root.control_socket, {"echo": echo}, Limits(request_bytes=1000)),
        pytest.raises(ControlError, match="no valid request: it is longer than 1000 bytes"),
    ):
        client.call(root, "echo", text="x" * 5_000_000)


def test_no_daemon(root: Root) -> None:
    with pytest.raises(ControlError, match="no vc5 daemon answers here; start it with `systemctl start vc5`"):
        client.call(root, "status")
    root.run.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(root.control_socket))
    with pytest.raises(ControlError, match="no vc5 daemon answers here"):
        client.call(root, "status")


def test_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="AF_UNIX path too long"):
        client.call(paths.root(str(tmp_path / ("x" * 110))), "status")


STRANGERS = [
    (b"", "was cut off; did it end meanwhile"),
    (b'{"ok": tr', "was cut off; did it end meanwhile"),
    (b"hello\n", "none that this version of vc5 understands"),
    (b"[]\n", "none that this version of vc5 understands"),
    (b"{}\n", "none that this version of vc5 understands"),
    (b'{"ok": true}\n', "none that this version of vc5 understands"),
    (b'{"ok": false, "error": "x", "exit_status": "y"}\n', "none that this version of vc5 understands"),
    (b'{"ok": false, "error": "x", "issues": [7]}\n', "none that this version of vc5 understands"),
    (b'{"ok": false, "error": "x", "issues": [{"severity": "error"}]}\n', "none that this version of vc5 understands"),
    (b"[" * 100_000 + b"\n", "none that this version of vc5 understands"),
]


@pytest.mark.parametrize(("answer", "text"), STRANGERS, ids=range(len(STRANGERS)))
def test_strange_answers(root: Root, answer: bytes, text: str) -> None:
    root.run.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(root.control_socket))
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as peer:
                peer.recv(65536)
                peer.sendall(answer)

        stranger = threading.Thread(target=serve)
        stranger.start()
        with pytest.raises(ControlError, match=text):
            client.call(root, "status")
        stranger.join()


def test_a_daemon_that_does_not_answer(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SECONDS", 0.05)
    root.run.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(root.control_socket))
        listener.listen()
        with pytest.raises(ControlError, match=r"did not answer `status` within 0\.05 s"):
            client.call(root, "status")


def test_an_answer_without_end(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "REPLY_BYTES", 100_000)
    with running(root.control_socket, {"large": large}), pytest.raises(ControlError, match="is too long"):
        client.call(root, "large")
