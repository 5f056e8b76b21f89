"""What the service manager is told, as it arrives at its socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.control.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield end


@contextmanager
def notifying() -> Iterator[Notifier]:
    """A notifier, whose socket the daemon keeps until it ends."""
    made = Notifier()
    yield made
    made._notifier.socket.close()


def test_a_status_is_sent_when_it_changes(manager: socket.socket) -> None:
    with notifying() as notifier:
        assert notifier.heard
        notifier.status("one")
        notifier.status("one")
        notifier.ready("two")
        notifier.status("two")
        notifier.reloading()
        notifier.status("two")
        notifier.alive()
    said = [manager.recv(1000).decode().splitlines()[-1] for _ in range(5)]
    assert said == ["STATUS=one", "STATUS=two", "STATUS=reloading", "STATUS=two", "WATCHDOG=1"]
