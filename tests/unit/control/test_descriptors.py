"""What outlives the program: a service manager holds it, as systemd does, and a real next program takes it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control import ledger
from appliance.control.descriptors import Descriptors
from appliance.control.handover import LEDGER, Estate, Inheritance
from appliance.control.heritage import Bequest, Heritage
from appliance.control.ledger import PLACE, Ledger
from appliance.control.notify import Notifier
from appliance.errors import HostError

NEXT = """
import json, os, socket, sys
from appliance.control.descriptors import Descriptors
from appliance.control.handover import Estate, receive
from appliance.control.notify import Notifier

count = len(os.environ["LISTEN_FDNAMES"].split(":"))
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count)}
inherited = receive(os.environ)
descriptors = Descriptors(Estate(), inherited, Notifier())
found = {}
for name in sys.argv[1:]:
    left = descriptors.take(name)
    if left is None:
        found[name] = None
        continue
    found[name] = left.state
    with socket.socket(fileno=os.dup(left.descriptor)) as end:
        end.sendall(name.encode())
    descriptors.keep(name, left.descriptor, "again")
descriptors.forget_rest()
print(json.dumps([found, inherited.close()]))
"""


class Manager:
    """The store of a service manager: descriptors by name, each open file once."""

    def __init__(self, place: Path) -> None:
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._end.bind(str(place))
        self._end.setblocking(False)
        self.store: dict[str, int] = {}
        self.said: list[str] = []

    def listen(self) -> None:
        """Do what was asked for meanwhile."""
        while True:
            try:
                data, numbers, _, _ = socket.recv_fds(self._end, 1000, 4)
            except BlockingIOError:
                return
            words = dict(line.partition("=")[::2] for line in data.decode().splitlines())
            name = words.get("FDNAME", "")
            if "FDSTORE" in words:
                assert name not in self.store, "two of one name"
                [self.store[name]] = numbers
                self.said.append(f"+{name}")
            elif "FDSTOREREMOVE" in words and name in self.store:
                os.close(self.store.pop(name))
                self.said.append(f"-{name}")

    def start(self, *wanted: str) -> Any:
        """Start a next program, which takes what it wants; returns the states, and notes on the rest."""
        self.listen()
        # As systemd passes them: from number 3 on.
        names = ":".join(self.store)
        move = (
            "import os, sys; numbers = [os.dup(int(n)) for n in sys.argv[1].split()]; high = [os.dup2(n, n + 100)"
            " for n in numbers]; [os.dup2(n, 3 + i) for i, n in enumerate(high)];"
            " os.execv(sys.executable, [sys.executable, '-c', *sys.argv[2:]])"
        )
        done = subprocess.run(
            [sys.executable, "-c", move, " ".join(map(str, self.store.values())), NEXT, *wanted],
            pass_fds=tuple(self.store.values()),
            env={**os.environ, "LISTEN_FDNAMES": names},
            capture_output=True,
            text=True,
        )
        assert done.stderr == ""
        self.listen()
        return json.loads(done.stdout)

    def close(self) -> None:
        for number in self.store.values():
            os.close(number)
        self._end.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


@pytest.fixture
def kept() -> Iterator[tuple[Descriptors, Estate]]:
    estate, notifier = Estate(), Notifier()
    yield (made := Descriptors(estate, Inheritance(Heritage("")), notifier)), estate
    made.release_all()
    for one in estate.gather():
        if one.descriptor is not None:
            os.close(one.descriptor)
    notifier._notifier.socket.close()


def test_a_connection_outlives_programs_that_are_killed(manager: Manager, kept: tuple[Descriptors, Estate]) -> None:
    descriptors, _ = kept
    ours, theirs = socket.socketpair()
    with ours, theirs:
        descriptors.keep("bgp-192.0.2.1", ours.fileno(), {"as": 65000})
        manager.listen()
        assert manager.said == ["+ledger", "+bgp-192.0.2.1"]
        for state in ({"as": 65000}, "again", "again"):
            assert manager.start("bgp-192.0.2.1", "bgp-192.0.2.2") == [
                {"bgp-192.0.2.1": state, "bgp-192.0.2.2": None},
                [],
            ]
            assert theirs.recv(100) == b"bgp-192.0.2.1"
        assert manager.said == ["+ledger", "+bgp-192.0.2.1"], "what is held stays held, without a gap"


def test_what_nobody_takes_is_closed_everywhere(manager: Manager, kept: tuple[Descriptors, Estate]) -> None:
    descriptors, _ = kept
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            descriptors.keep("bgp-192.0.2.1", ours.fileno())
        _, notes = manager.start()
        assert [note.partition(":")[0] for note in notes] == ["bgp-192.0.2.1"]
        assert manager.store == {}
        assert theirs.recv(100) == b"", "the peer hears of it"


def test_what_is_released_is_held_no_more(manager: Manager, kept: tuple[Descriptors, Estate]) -> None:
    descriptors, estate = kept
    one, other = socket.socketpair()
    with one, other:
        descriptors.keep("a", one.fileno(), 1)
        descriptors.keep("b", other.fileno(), 2)
        descriptors.keep("a", one.fileno(), 3)
        manager.listen()
        assert manager.said == ["+ledger", "+a", "+b"]
        assert {left.name: left.state for left in estate.gather() if left.name != LEDGER} == {"a": 3, "b": 2}
        descriptors.keep("a", manager.store["ledger"])
        descriptors.release("b")
        descriptors.release("never")
        manager.listen()
        assert manager.said[3:] == ["-a", "+a", "-b"], "another file of that name takes its place"
        assert descriptors.names == {"a", LEDGER}
        descriptors.release_all()
        manager.listen()
        assert (manager.store, descriptors.names) == ({}, frozenset())
        assert [left.name for left in estate.gather()] == [LEDGER]


def test_too_long_a_state_changes_nothing(manager: Manager, kept: tuple[Descriptors, Estate]) -> None:
    descriptors, estate = kept
    one, other = socket.socketpair()
    with one, other:
        descriptors.keep("a", one.fileno(), 1)
        with pytest.raises(HostError, match="too much to keep"):
            descriptors.keep("a", one.fileno(), "x" * PLACE)
        with pytest.raises(ValueError, match="no name of a bequest"):
            descriptors.keep("A:b", one.fileno())
        assert [left.state for left in estate.gather() if left.name == "a"] == [1]
        assert manager.start("a") == [{"a": 1}, []]


@given(st.integers(0, 60), st.binary(max_size=3))
def test_a_torn_writing_is_as_none(cut: int, garbage: bytes) -> None:
    written = Ledger()
    try:
        for state in range(3):
            written.write([Bequest("a", 5, state)])
        assert ledger.read(written.descriptor).bequests == (Bequest("a", 5, 2),)
        # The next writing goes to the other place, and comes no further than this.
        before = os.pread(written.descriptor, PLACE, 0)
        written.write([Bequest("a", 5, 3)])
        after = os.pread(written.descriptor, len(before), 0)
        assert after != before
        os.pwrite(written.descriptor, (after[:cut] + garbage + before)[: len(before)], 0)
        assert ledger.read(written.descriptor).bequests[0].state in (2, 3)
        again = Ledger(written.descriptor)
        again.write([Bequest("b", 5)])
        assert ledger.read(written.descriptor).bequests == (Bequest("b", 5),)
    finally:
        os.close(written.descriptor)


@given(st.binary(max_size=100))
def test_any_bytes_are_no_ledger(content: bytes) -> None:
    number = os.memfd_create("test")
    try:
        os.write(number, content)
        assert ledger.read(number).bequests == ()
    finally:
        os.close(number)
