"""The prober's sign of life."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from appliance.child.watchdog import alive


@pytest.mark.parametrize("abstract", [False, True])
def test_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    address = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0", 1))
        manager.settimeout(5)
        alive()
        assert manager.recv(100) == b"READY=1\nWATCHDOG=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all", f"/{'x' * 200}"])
def test_nobody_to_take_it_is_no_fault(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    alive()
