"""What one program leaves to the next: names, descriptors and states, of any version, and bytes of nobody's."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.control.handover import VARIABLE, Estate, Inheritance, receive
from appliance.control.heritage import Bequest, Heritage, decode, encode
from tests.profile import PARSER_INPUTS

LEFT = Heritage("1.2", (Bequest("daemon", state={"a": [1, None]}), Bequest("bgp-192.0.2.1", 7, {"rib": "x"})))


def test_what_is_written_is_read() -> None:
    assert decode(encode(LEFT)) == LEFT
    assert decode(encode(LEFT)).notes == ()


def test_a_later_version_says_more() -> None:
    text = {
        "version": 9,
        "program": "9.0",
        "new": True,
        "entries": [{"name": "control", "fd": 5, "state": None, "colour": "red"}, {"name": "spool", "fd": 6}],
    }
    found = decode(json.dumps(text).encode())
    assert [(one.name, one.descriptor) for one in found.bequests] == [("control", 5), ("spool", 6)]
    assert found.notes == ()


ODD: list[Any] = [
    7,
    {"name": "Control", "fd": 5},
    {"name": "control", "fd": "5"},
    {"name": "control", "fd": 2},
    {"name": "control", "fd": True},
    {"fd": 5},
]


@pytest.mark.parametrize("entry", ODD)
def test_an_entry_that_makes_no_sense_is_left_out(entry: Any) -> None:
    found = decode(json.dumps({"entries": [entry, {"name": "lock", "fd": 9}]}).encode())
    assert [one.name for one in found.bequests] == ["lock"]
    assert len(found.notes) == 1


def test_of_equal_names_the_first_counts() -> None:
    found = decode(b'{"entries": [{"name": "a", "fd": 5}, {"name": "a", "fd": 6}]}')
    assert [one.descriptor for one in found.bequests] == [5]
    assert len(found.notes) == 1


@settings(max_examples=PARSER_INPUTS)
@given(
    st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_any_bytes_are_read(text: bytes) -> None:
    assert isinstance(decode(text), Heritage)


def test_a_name_that_systemd_would_not_take() -> None:
    with pytest.raises(ValueError, match="no name"):
        Bequest("a:b")


def test_an_estate_asks_its_givers_at_the_end() -> None:
    estate = Estate()
    estate.offer("a", lambda: Bequest("a", 5))
    estate.offer("b", lambda: None)
    estate.offer("c", lambda: Bequest("c"))
    estate.withdraw("c")
    assert estate.gather() == (Bequest("a", 5),)


def _document(content: bytes) -> int:
    number = os.memfd_create("test")
    os.write(number, content)
    return number


def test_descriptors_are_taken_or_closed() -> None:
    ours, theirs = socket.socketpair()
    mine, strange = os.dup(ours.fileno()), os.dup(ours.fileno())
    os.set_inheritable(mine, True)
    document = _document(encode(Heritage("1.0", (Bequest("control", mine, {"x": 1}), Bequest("spool", strange)))))
    environment = {VARIABLE: str(document), "HOME": "/"}
    found = receive(environment)
    assert environment == {"HOME": "/"}
    assert found.program == "1.0"
    taken = found.take("control")
    assert taken is not None
    assert (taken.descriptor, taken.state) == (mine, {"x": 1})
    assert not os.get_inheritable(mine)
    assert found.take("control") is None
    assert [note.partition(":")[0] for note in found.close()] == ["spool"]
    os.close(mine)
    for number in (strange, document):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
    ours.close()
    theirs.close()


def test_what_is_not_open_is_told() -> None:
    found = Inheritance(Heritage("1.0", (Bequest("control", 1 << 20),)))
    assert found.take("control") is None
    assert found.notes == ["control: was left, but is not open"]


def test_nothing_was_left() -> None:
    found = receive({"LISTEN_PID": "1", "LISTEN_FDS": "2"})
    assert (found.program, found.close()) == ("", [])


TAKES = """
import json, os
from appliance.control.handover import receive
found = receive(os.environ)
taken = found.take("control")
print(json.dumps([found.program, taken.descriptor, taken.state, sorted(found.kept), found.close(),
                  [name for name in os.environ if name.startswith("LISTEN")], os.path.exists("/proc/self/fd/5")]))
"""


def test_what_the_service_manager_held() -> None:
    ours, theirs = socket.socketpair()
    document = _document(encode(Heritage("1.0", (Bequest("control", 77, {"x": 1}), Bequest("lock", 78)))))
    names = "control:handover:strange"
    script = (
        f"exec 3<&{ours.fileno()} 4<&{document} 5<&{theirs.fileno()}; "
        f"LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES={names} exec {sys.executable} -c '{TAKES}'"
    )
    high = [fcntl.fcntl(one, fcntl.F_DUPFD, 20) for one in (ours.fileno(), document, theirs.fileno())]
    for low, number in zip((ours.fileno(), document, theirs.fileno()), high, strict=True):
        script = script.replace(f"<&{low} ", f"<&{number} ").replace(f"<&{low};", f"<&{number};")
    done = subprocess.run(["bash", "-c", script], pass_fds=high, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    told = ["1.0", 3, {"x": 1}, ["control", "handover", "strange"], [], [], False]
    assert json.loads(done.stdout) == told
    for number in (*high, document):
        os.close(number)
    ours.close()
    theirs.close()


STRANGE_DOCUMENTS = (b"", b"no JSON", b"[]", b'{"entries": 7}')


@pytest.mark.parametrize("content", STRANGE_DOCUMENTS)
def test_a_document_of_nobodys(content: bytes) -> None:
    found = receive({VARIABLE: str(_document(content))})
    assert found.program == ""
    assert len(found.close()) == 1
