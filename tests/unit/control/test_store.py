"""What is kept on disk is whole or absent, belongs to its owner alone, and what is unusable is said to be."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control import store
from appliance.errors import AlreadyRunning, HostError
from appliance.paths import Root, root
from tests.unit.house.tree import ROOT


@pytest.fixture
def place(tmp_path: Path) -> Root:
    """A root with its directories."""
    made = root(str(tmp_path / "root"))
    store.make_directories(made)
    return made


def mode(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_directories_are_made_once(place: Root) -> None:
    assert (mode(place.state) & 0o027, mode(place.run) & 0o022) == (0, 0)
    store.make_directories(place)


def test_directories_that_cannot_be(tmp_path: Path) -> None:
    tmp_path.joinpath("root").write_text("a file")
    with pytest.raises(HostError, match=r"state: cannot be made: .*--root DIR"):
        store.make_directories(root(str(tmp_path / "root")))


def test_one_instance_holds_the_lock(place: Root) -> None:
    lock = store.Lock(place.lock)
    assert place.lock.read_text() == f"{os.getpid()}\n"
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()} "):
        store.Lock(place.lock)
    lock.release()
    store.Lock(place.lock).release()


HOLDING = """
import sys
from pathlib import Path
from appliance.control.store import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_holds_nothing(place: Root) -> None:
    place.lock.write_text("a much longer text that an earlier version has left here, without any number\n")
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDING, place.lock], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunning, match=f"process {child.pid} "):
            store.Lock(place.lock)
        child.kill()
    store.Lock(place.lock).release()


def test_a_lock_that_cannot_be(place: Root) -> None:
    with pytest.raises(HostError, match="cannot be opened: Is a directory"):
        store.Lock(place.run)
    with pytest.raises(HostError, match="cannot be opened: No such file or directory"):
        store.Lock(place.run / "absent" / "lock")


def test_the_seed_is_made_once(place: Root) -> None:
    made = store.seed(place)
    assert len(made) == store.SEED_BYTES
    assert store.seed(place) == made
    assert (mode(place.seed_file), place.seed_file.read_text()) == (0o600, made.hex() + "\n")
    place.seed_file.unlink()
    assert store.seed(place) != made


@pytest.mark.parametrize("text", ["", "zz" * 16, "ab" * 15, "ab" * 17, "\u00e9" * 32, "\0"])
def test_a_seed_file_that_holds_something_else_is_not_touched(place: Root, text: str) -> None:
    place.seed_file.write_text(text)
    with pytest.raises(HostError, match="does not hold 32 hexadecimal digits; restore it"):
        store.seed(place)
    assert place.seed_file.read_text() == text


def test_a_seed_file_that_cannot_be_read(place: Root) -> None:
    place.seed_file.mkdir()
    with pytest.raises(HostError, match="hash_seed: cannot be read: Is a directory"):
        store.seed(place)


JSON = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()))


@given(JSON)
def test_the_state_comes_back(content: dict[str, Any]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "state.json"
        assert store.load_state(path) == ({}, "")
        for one in ({"longer": "x" * 300}, content):
            store.save_state(path, one)
            assert store.load_state(path) == (one, "")
            assert (mode(path), os.listdir(directory)) == (0o600, ["state.json"])


UNUSABLE = [b"", b"{", b'{"a":1}x', b"\xff\xfe\x00", b"[" * 100_000, b"9" * 10_000, b"[]", b"7", b'"text"', b"null"]


@pytest.mark.parametrize("content", UNUSABLE, ids=range(len(UNUSABLE)))
def test_an_unusable_state_file_is_told(place: Root, content: bytes) -> None:
    place.state_file.write_bytes(content)
    found, why = store.load_state(place.state_file)
    assert found == {}
    assert why.startswith(f"{place.state_file}: ")
    assert why.endswith("drains and verdicts of the last run are unknown")


def test_a_state_file_that_is_no_file_is_told(place: Root) -> None:
    place.state_file.mkdir()
    assert "Is a directory" in store.load_state(place.state_file)[1]
    with pytest.raises(HostError, match=r"state.json: cannot be written: "):
        store.save_state(place.state_file, {})


def test_a_write_that_fails_leaves_what_was(place: Root) -> None:
    store.save_state(place.state_file, {"a": 1})
    place.state_file.with_name("state.json.new").mkdir()
    with pytest.raises(HostError, match=r"state.json: cannot be written: Is a directory"):
        store.save_state(place.state_file, {"a": 2})
    assert store.load_state(place.state_file) == ({"a": 1}, "")


def test_a_half_written_file_of_a_killed_process_is_no_obstacle(place: Root) -> None:
    place.state_file.with_name("state.json.new").write_text("{" * 500)
    store.save_state(place.state_file, {"a": 2})
    assert store.load_state(place.state_file) == ({"a": 2}, "")
