"""What goes from one program to the next under a booted systemd: by exec, by a restart, and after a sudden end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.patience import wait_for
from tests.lab.traffic import Requests
from tests.netns.scenario_operator import configuration, fetch
from tests.systemd.booted import CODE, Booted
from tests.systemd.conftest import Site
from tests.systemd.test_units import pid, started, status, text_of, wait_serving

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.appliance]

OVERRIDE = "/etc/systemd/system/vc5.service.d/test.conf"
PEER = ("10.1.10.11", 1790)
# A daemon that holds a session with a peer, as it would a router's: it counts the programs that had it.
SESSION = f"""

import socket as _socket

_plain_serve = Daemon._serve


async def _serve_with_a_session(self):
    left = self.descriptors.take("test-session")
    if left is None:
        self._session, count, heard = _socket.create_connection({PEER}, 5), 1, b""
    else:
        self._session, count = _socket.socket(fileno=left.descriptor), left.state + 1
        try:
            heard = self._session.recv(100, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            heard = b""
    self.descriptors.keep("test-session", self._session.fileno(), count)
    self._session.sendall(f"{{count}} {{os.getpid()}} {{heard.decode()}}\\n".encode())
    await _plain_serve(self)


Daemon._serve = _serve_with_a_session
"""
DIES = '\nimport os\nif "VC5_HANDOVER" in os.environ:\n    os._exit(9)\n'


@contextmanager
def changed(system: Booted, file: str, text: str) -> Iterator[None]:
    """The installed program has this text added to one of its files, for a while."""
    place = system.file(f"/{CODE}/{file}")
    before = place.read_text()
    place.write_text(before + text)
    try:
        yield
    finally:
        place.write_text(before)


@contextmanager
def overridden(system: Booted, setting: str) -> Iterator[None]:
    system.file(OVERRIDE).parent.mkdir(parents=True, exist_ok=True)
    system.file(OVERRIDE).write_text(f"[Service]\n{setting}\n")
    system.run("systemctl", "daemon-reload")
    try:
        yield
    finally:
        system.file(OVERRIDE).unlink()
        system.run("systemctl", "daemon-reload")


def stored(system: Booted) -> int:
    """How many descriptors systemd holds for the daemon."""
    return int(system.show("vc5.service", "NFileDescriptorStore"))


def control_socket(system: Booted) -> str:
    """The number of the socket that listens for commands."""
    lines = system.run("cat", "/proc/net/unix").splitlines()
    return next(line.split()[6] for line in lines if line.endswith("/run/vc5/control.sock") and " 00010000 " in line)


def test_systemd_notices_nothing_of_a_reexecution(site: Site) -> None:
    system = site.system
    with overridden(system, "WatchdogSec=2"):
        started(site)
        names = ("MainPID", "NRestarts", "InvocationID", "ActiveEnterTimestampMonotonic")
        before = {name: system.show("vc5.service", name) for name in names}
        listening, ground = control_socket(system), system.show("vc5-netns.service", "InvocationID")
        for _ in range(2):
            assert "runs in place of" in system.run("vc5", "reexec")
            assert {name: system.show("vc5.service", name) for name in names} == before
            assert control_socket(system) == listening
            assert stored(system) == 0, "what was held for the case of a failure is not needed any more"
        wait_serving(site)
        assert system.show("vc5-netns.service", "InvocationID") == ground
        # The prober's unit starts once for each program, and waits until that listens.
        assert "Failed" not in system.journal("vc5-prober.service")
        # The watchdog and what is told go on.
        for _ in range(3):
            last = system.show("vc5.service", "WatchdogTimestampMonotonic")
            wait_for("word", lambda last=last: system.show("vc5.service", "WatchdogTimestampMonotonic") != last)  # type: ignore[misc]
        system.configure("services: 7\n")
        assert system.attempt("systemctl", "reload", "vc5").returncode != 0
        assert "reload refused" in text_of(system)
        system.configure(configuration())
        system.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "vc5")
        wait_for("another process", lambda: pid(system) not in (0, int(before["MainPID"])), 30)
        wait_serving(site)


def test_a_restart_is_a_stop_and_a_start(site: Site) -> None:
    system = site.system
    started(site)
    before = pid(system)
    system.run("systemctl", "restart", "vc5")
    wait_serving(site)
    assert pid(system) != before
    assert stored(system) == 0
    assert "\nstopped\n" in system.journal("vc5")
    said = system.journal("vc5").rpartition("Stopped vc5.service")[2]
    assert "with a program that was compiled before" in said, "nothing was left to go on with"


def test_the_control_socket_outlives_a_version_that_dies(site: Site) -> None:
    system = site.system
    started(site)
    before, listening = int(system.show("vc5.service", "NRestarts")), control_socket(system)
    with Requests(site.lab.client, rate=50) as requests:
        with changed(system, "appliance/__init__.py", DIES):
            assert system.attempt("vc5", "reexec").returncode == 1
            # Nobody is there now; who comes in between waits, and is answered by the next.
            assert system.run("vc5", "overrides")
            wait_serving(site)
        assert [request.failure for request in requests.stop().failed] == []
    assert int(system.show("vc5.service", "NRestarts")) == before + 1
    assert control_socket(system) == listening
    assert stored(system) == 0


def test_a_connection_survives_a_reexecution_and_a_sudden_end(site: Site) -> None:
    system = site.system
    with (
        site.lab.backends["b1"].namespace.call(lambda: socket.create_server(PEER)) as listener,
        changed(system, "appliance/control/daemon.py", SESSION),
    ):
        listener.settimeout(10)
        started(site)
        connection, _ = listener.accept()
        with connection, connection.makefile("rw") as peer:
            connection.settimeout(20)
            first = pid(system)
            assert peer.readline().split() == ["1", str(first)]
            assert stored(system) == 2, "the connection, and what is told of it"
            assert "runs in place of" in system.run("vc5", "reexec")
            assert peer.readline().split() == ["2", str(first)]
            assert stored(system) == 2
            for count in range(3, 6):
                process = pid(system)
                system.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "vc5")
                connection.sendall(b"while-nobody-was-there")
                assert {fetch(site.lab) for _ in range(12)} == {"b1", "b2"}
                told = peer.readline().split()
                wait_serving(site)
                assert told == [str(count), str(pid(system)), "while-nobody-was-there"]
                assert pid(system) != process
                assert stored(system) == 2
            assert "runs in place of" in system.run("vc5", "reexec")
            assert peer.readline().split()[0] == "6"
            # It was the same all the time, and a stop ends it.
            system.run("systemctl", "restart", "vc5")
            assert peer.readline() == ""
        connection, _ = listener.accept()
        with connection, connection.makefile("r") as peer:
            connection.settimeout(20)
            assert peer.readline().split()[0] == "1"
            wait_serving(site)
            connection.close()
        assert status(system)["pid"] == pid(system)
        system.run("systemctl", "stop", "vc5")
