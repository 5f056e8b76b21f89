"""What is read of a document, and who hears of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model import EventKind, Severity
from appliance.telemetry.alerts.notice import alerts, moment, notice, plain
from tests.profile import PARSER_INPUTS
from tests.unit.telemetry.alerts.samples import AT, SERVICE, backend, document, read, vip

# document -> subject, text
TOLD = [
    (backend(1, 11), f"backend 10.1.10.11 of {SERVICE}", f"backend 10.1.10.11 of {SERVICE} dead: connection refused"),
    (vip(1), "VIP 203.0.113.10", f"VIP 203.0.113.10 down: {SERVICE} is down"),
    (document(1, "service", "up", service=SERVICE), f"service {SERVICE}", f"service {SERVICE} up"),
    (
        document(1, "interface", "down", "no carrier", interface="eth1"),
        "interface eth1",
        "interface eth1 down: no carrier",
    ),
    (
        document(1, "bgp", "established", peer="10.0.0.1"),
        "BGP session with 10.0.0.1",
        "BGP session with 10.0.0.1 established",
    ),
    (
        document(1, "bgp", "refused", peer="10.0.0.1", reason="OPEN message error, bad peer AS"),
        "BGP session with 10.0.0.1",
        "BGP session with 10.0.0.1 refused: OPEN message error, bad peer AS",
    ),
    (
        document(1, "bfd", "down", peer="10.0.0.1", reason="control detection time expired"),
        "BFD session with 10.0.0.1",
        "BFD session with 10.0.0.1 down: control detection time expired",
    ),
    (
        document(1, "bgp", "malformed", "an UPDATE was treated as a withdrawal", peer="10.0.0.1"),
        "",
        "10.0.0.1: an UPDATE was treated as a withdrawal",
    ),
    (document(1, "alarm", "began", "eth1 is down"), "", "eth1 is down"),
    (document(1, "alarm", "", "kept in service", service=SERVICE), "", f"{SERVICE}: kept in service"),
    (document(1, "operator", "", f"drain {SERVICE}", service=SERVICE), "", f"drain {SERVICE}"),
]


@pytest.mark.parametrize(("found", "subject", "text"), TOLD)
def test_what_a_document_says(found: dict[str, Any], subject: str, text: str) -> None:
    heard = read(found)
    assert (heard.subject, heard.text) == (subject, text)
    assert heard.at == AT + 1


# kind, severity, the setting `alert` -> told
CHOICE = [
    ("vip", 3, 3, True),
    ("vip", 3, 2, False),
    ("backend", 5, 4, False),
    ("backend", 5, 5, True),
    ("alarm", 0, 0, True),
    ("probe", 0, 7, False),
    ("traffic", 0, 7, False),
]


@pytest.mark.parametrize(("kind", "severity", "least", "told"), CHOICE)
def test_who_is_told_of_what(kind: str, severity: int, least: int, told: bool) -> None:
    assert alerts(read(document(1, kind, "down", severity=severity)), least) is told


def test_without_a_severity_that_of_the_kind_counts() -> None:
    found = document(1, "alarm", "began", "it burns")
    for nonsense in (None, "3", 8, -1, True):
        found["event"]["severity"] = nonsense
        assert read(found).severity is Severity.WARNING


@pytest.mark.parametrize(
    ("text", "most", "told"),
    [
        ("plain", 10, "plain"),
        ("two\nlines\x1b[2J", 40, "two lines\\x1b[2J"),
        ("a\u202eb\u2066c", 40, "a\\u202eb\\u2066c"),
        ("x" * 20, 10, "x" * 9 + "…"),
        ("\ud800", 20, "\\ud800"),
        ("Größe 日本", 20, "Größe 日本"),
    ],
)
def test_texts_are_made_printable(text: str, most: int, told: str) -> None:
    assert plain(text, most) == told


@given(st.text(max_size=200), st.integers(1, 60))
@settings(max_examples=PARSER_INPUTS)
def test_a_plain_text_is_printable_and_short(text: str, most: int) -> None:
    told = plain(text, most)
    assert told.isprintable()
    assert len(told) <= most


@pytest.mark.parametrize(
    "value", [None, 5, "", "yesterday", "2026-11-22T08:00:00", "9999-12-31T23:59:59-23:59", "1960-01-01T00:00:00Z"]
)
def test_what_is_no_time_is_not_known(value: object) -> None:
    assert moment(value) == 0.0


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = ("event", "vc5", "service", "server", "destination", "message", "@timestamp")
INNER = ("kind", "outcome", "severity", "sequence", "reason", "name", "ip", "before", "details", "interface", "peer")


@given(
    st.fixed_dictionaries(
        {}, optional={name: JUNK | st.dictionaries(st.sampled_from(INNER), JUNK, max_size=6) for name in NAMES}
    ),
    st.sampled_from(list(EventKind)),
)
@settings(max_examples=PARSER_INPUTS)
def test_no_document_is_too_odd(found: dict[str, Any], kind: EventKind) -> None:
    notice(found)
    if isinstance(found.get("vc5"), dict):
        found["vc5"]["kind"] = str(kind)
        heard = read(found)
        assert heard.text.isprintable()
        assert heard.subject.isprintable()
