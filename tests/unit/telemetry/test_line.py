"""One event as one line: any text goes in, one harmless line comes out, and it reads back as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import Event, EventKind
from appliance.telemetry import line, segments
from tests.unit.telemetry.events import STORY

ANY_TEXT = st.text(st.characters(exclude_categories=()))
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(
    message=ANY_TEXT,
    outcome=ANY_TEXT,
    details=st.none() | st.dictionaries(ANY_TEXT, JSON_VALUES, max_size=4),
    sequence=st.integers(1, 2**63),
)
def test_round_trip(message: str, outcome: str, details: dict[str, Any] | None, sequence: int) -> None:
    written = line.encode(Event(12.5, EventKind.PROBE, message, outcome=outcome, details=details), sequence)
    assert written[-1:] == b"\n"
    assert all(0x20 <= byte < 0x7F for byte in written[:-1])
    read = segments.parse(written)
    assert read is not None
    assert (read["sequence"], read["at"], read["kind"], read["message"]) == (sequence, 12.5, "probe", message)
    assert read.get("outcome", "") == outcome
    assert read.get("details") == (details or None)


def test_names_of_the_fields() -> None:
    assert json.loads(line.encode(STORY[1], 7)) == {
        "sequence": 7,
        "at": 101.0,
        "kind": "probe",
        "message": "HTTP 200",
        "service": "203.0.113.10:443/tcp",
        "backend": "10.1.10.11",
        "outcome": "ok",
        "details": {"total_ns": 1200000},
    }


def deep() -> dict[str, Any]:
    """Return details nested more deeply than JSON's encoder follows."""
    inner: dict[str, Any] = {}
    for _ in range(100_000):
        inner = {"x": inner}
    return inner


@pytest.mark.parametrize(
    "details", [{"nan": float("nan")}, {"set": {1}}, {(1, 2): 3}, deep()], ids=["nan", "set", "key", "deep"]
)
def test_details_that_are_not_json(details: dict[Any, Any]) -> None:
    read = segments.parse(line.encode(Event(1.0, EventKind.ALARM, "odd", details=details), 1))
    assert read is not None
    assert list(read["details"]) == ["unreadable"]


@pytest.mark.parametrize("at", [float("nan"), float("inf"), -float("inf")])
def test_a_time_that_is_none(at: float) -> None:
    read = segments.parse(line.encode(Event(at, EventKind.ALARM, "odd"), 1))
    assert read is not None
    assert read["at"] == 0.0


@pytest.mark.parametrize(
    "event",
    [
        Event(1.0, EventKind.ALARM, "\x00" * 70_000, details={"kept": "no"}),
        Event(1.0, EventKind.ALARM, "m", details={"body": "x" * 70_000}),
    ],
    ids=["message", "details"],
)
def test_a_line_is_bounded(event: Event) -> None:
    written = line.encode(event, 1)
    read = segments.parse(written)
    assert read is not None
    assert len(written) <= line.LINE_BYTES
    assert read["shortened"] is True
    assert "details" not in read


GARBAGE = [
    b"",
    b"\n",
    b"{\n",
    b"[]\n",
    b"7\n",
    b"{}\n",
    b'{"sequence":"1"}\n',
    b'{"sequence":true}\n',
    b"\0\0\n",
    b'{"sequence":1}',
    b"[" * 100_000 + b"\n",
    b"\xff\xfe\n",
]


@pytest.mark.parametrize("written", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_no_event(written: bytes) -> None:
    assert segments.parse(written) is None


@given(st.binary())
def test_any_bytes_parse_or_do_not(data: bytes) -> None:
    event = segments.parse(data + b"\n")
    assert event is None or type(event["sequence"]) is int
