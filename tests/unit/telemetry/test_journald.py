"""What is sent to the journal, and that nothing is waited for. The real one reads it in tests/systemd."""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model import Event, EventKind, Severity
from appliance.telemetry.journald import VALUE_BYTES, JournalHandler, entry, fields, listens, priority
from tests.profile import PARSER_INPUTS
from tests.unit.telemetry.events import FIRST, SHOP

DOWN = Event(1.0, EventKind.BACKEND, "up -> dead", SHOP, FIRST, outcome="dead", before="up", reason="timeout")


def parsed(datagram: bytes) -> dict[str, str]:
    """Read an entry as the journal does."""
    found, rest = {}, datagram
    while rest:
        line, _, after = rest.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", after[:8])
            value, after = after[8 : 8 + length], after[8 + length :]
            assert after[:1] == b"\n"
            after = after[1:]
        found[name.decode()] = value.decode("utf-8", "replace")
        rest = after
    return found


@given(st.dictionaries(st.sampled_from(("MESSAGE", "VC5_REASON", "VC5_KIND")), st.text(max_size=200)))
@settings(max_examples=PARSER_INPUTS)
def test_whatever_is_said_is_one_field(told: dict[str, str]) -> None:
    assert parsed(entry(told)) == {name: text.encode("utf-8", "replace").decode() for name, text in told.items()}


def test_a_long_value_is_cut() -> None:
    assert parsed(entry({"MESSAGE": "x" * 10**6})) == {"MESSAGE": "x" * VALUE_BYTES}


def test_the_fields_of_an_event() -> None:
    assert fields(DOWN) == {
        "VC5_KIND": "backend",
        "VC5_OUTCOME": "dead",
        "VC5_BEFORE": "up",
        "VC5_REASON": "timeout",
        "VC5_SERVICE": str(SHOP),
        "VC5_BACKEND": str(FIRST),
        "VC5_VIP": str(SHOP.vip),
    }
    assert fields(Event(1.0, EventKind.DAEMON, "started")) == {"VC5_KIND": "daemon"}


def record(level: int = logging.INFO, event: Event | None = None, text: str = "a line") -> logging.LogRecord:
    made = logging.LogRecord("vc5", level, "", 0, text, (), None)
    if event is not None:
        made.event = event
    return made


@pytest.mark.parametrize(
    ("level", "event", "grave"),
    [
        (logging.INFO, None, 6),
        (logging.ERROR, None, 3),
        (logging.DEBUG, None, 7),
        (logging.INFO, DOWN, 5),
        (logging.INFO, Event(1.0, EventKind.VIP, "", severity=Severity.ERROR), 3),
    ],
)
def test_how_grave_a_line_is(level: int, event: Event | None, grave: int) -> None:
    assert priority(record(level, event)) == grave


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(os.fspath(tmp_path / "socket"))
        yield listening


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[JournalHandler]:
    made = JournalHandler(tmp_path / "socket")
    yield made
    made.close()


def test_a_line_arrives_with_its_event(journal: socket.socket, handler: JournalHandler) -> None:
    handler.emit(record(event=DOWN, text="two\nlines"))
    told = parsed(journal.recv(65536))
    assert {name: told[name] for name in ("MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "VC5_BACKEND")} == {
        "MESSAGE": "two\nlines",
        "PRIORITY": "5",
        "SYSLOG_IDENTIFIER": "vc5",
        "VC5_BACKEND": str(FIRST),
    }


def test_a_journal_that_does_not_read_is_not_waited_for(journal: socket.socket, handler: JournalHandler) -> None:
    sent = 0
    while not handler.lost:
        handler.emit(record(text=f"line {sent}"))
        sent += 1
    for _ in range(9):
        handler.emit(record())
    assert handler.lost == 10
    for number in range(sent - 1):
        assert parsed(journal.recv(65536))["MESSAGE"] == f"line {number}"
    handler.emit(record(text="back"))
    assert parsed(journal.recv(65536))["MESSAGE"] == "10 lines lost: the journal did not take them"
    assert parsed(journal.recv(65536))["MESSAGE"] == "back"
    assert handler.lost == 0


def test_without_a_journal_lines_go_to_standard_error(
    handler: JournalHandler, capsys: pytest.CaptureFixture[str]
) -> None:
    handler.emit(record(event=DOWN, text="two\nlines"))
    assert capsys.readouterr().err == "<5>two\n<5>lines\n"
    assert handler.lost == 0


def test_whether_standard_error_leads_there(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        status = os.fstat(file.fileno())
        assert listens({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, file.fileno())
        assert not listens({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"}, file.fileno())
        assert not listens({}, file.fileno())
    assert not listens({"JOURNAL_STREAM": "1:2"}, 9999)
