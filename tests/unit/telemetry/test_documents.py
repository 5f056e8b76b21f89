"""Documents: any text goes in, one harmless record comes out, with declared fields, and it reads back as it was."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import CheckKind, Event, EventKind, Outcome, ProbeResult, Severity
from appliance.routing.status import BfdState, Direction, RoutingStatus, SessionState
from appliance.telemetry import documents, record
from appliance.telemetry.documents import Documents, Observer
from appliance.telemetry.fields import FIELDS, FieldType
from appliance.telemetry.routing import bfd_details, bgp_details, every_minute
from appliance.telemetry.streams import Stream
from tests.unit.routing.samples import INSIDE, REFUSED, ROUTING
from tests.unit.telemetry.events import DNS, FIRST, SHOP, STORY

ANY_TEXT = st.text(st.characters(exclude_categories=()))
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)
WRITER = Documents("4be2f09a1c37", Observer("lb1.example.com", "balancer-1", "0.1.0"), "production")
EVENTS = st.builds(
    Event,
    at=st.floats(0, 1e10),
    kind=st.sampled_from(sorted(set(EventKind) - {EventKind.PROBE})),
    message=ANY_TEXT,
    service=st.sampled_from([None, SHOP, DNS]),
    backend=st.sampled_from([None, FIRST]),
    vip=st.sampled_from([None, SHOP.vip, DNS.vip]),
    interface=ANY_TEXT,
    peer=st.sampled_from([None, FIRST]),
    outcome=ANY_TEXT,
    before=ANY_TEXT,
    reason=ANY_TEXT,
    severity=st.sampled_from([None, *Severity]),
    details=st.none() | st.dictionaries(ANY_TEXT, JSON_VALUES, max_size=4),
)
PROBES = st.builds(
    ProbeResult,
    service=st.sampled_from([SHOP, DNS]),
    backend=st.sampled_from([FIRST, ipaddress.ip_address("2001:db8::9")]),
    check=st.integers(0, 9),
    outcome=st.sampled_from(list(Outcome)),
    diagnostic=ANY_TEXT,
    at=st.floats(0, 1e10),
    total_ns=st.integers(0, 1 << 53),
    connect_ns=st.integers(0, 1 << 53),
    tls_ns=st.integers(0, 1 << 53),
    first_byte_ns=st.integers(0, 1 << 53),
    http_status=st.sampled_from([0, 200, 503]),
    tls_version=st.sampled_from(["", "TLSv1.3", "odd"]),
    certificate_expires=st.sampled_from([0, 1, 2_000_000_000, 1 << 40]),
    kind=st.sampled_from([None, *CheckKind]),
)


def taken_apart(written: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return action and document of a record, which is two lines of printable ASCII."""
    assert all(0x20 <= byte < 0x7F for byte in written.replace(b"\n", b""))
    action, document, nothing = written.split(b"\n")
    assert nothing == b""
    assert action.startswith(record.ACTION)
    assert not document.startswith(record.ACTION)
    return json.loads(action), json.loads(document)


def leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield the fields of a document by their full names; what is flattened is one."""
    if isinstance(value, dict) and TYPES.get(name) is not FieldType.FLATTENED:
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value


TYPES = {field.name: field.type for field in FIELDS}
STREAMS = {field.name: field.streams for field in FIELDS}
PYTHON: dict[FieldType, type | tuple[type, ...]] = {
    FieldType.LONG: int,
    FieldType.DOUBLE: (int, float),
    FieldType.BOOLEAN: bool,
    FieldType.FLATTENED: dict,
}


def declared(document: dict[str, Any], stream: Stream) -> None:
    """Hold every field of a document against the table."""
    for name, value in leaves(document):
        assert stream in STREAMS[name], name
        for one in value if isinstance(value, list) else [value]:
            assert isinstance(one, PYTHON.get(TYPES[name], str)), (name, one)
        if TYPES[name] is FieldType.IP:
            ipaddress.ip_address(value)  # type: ignore[arg-type]


@given(EVENTS, st.integers(1, 2**53))
def test_any_event(event: Event, sequence: int) -> None:
    action, document = taken_apart(WRITER.event(event, sequence))
    number = f"4be2f09a1c37-{sequence}"
    assert action == {"create": {"_index": "logs-vc5.event-production", "_id": number}}
    assert document["event"]["id"] == number
    assert document["event"]["severity"] == event.grave
    declared(document, Stream.EVENT)
    read = documents.read(document)
    assert (read["sequence"], read["kind"], read["message"]) == (sequence, event.kind, event.message)
    assert abs(read["at"] - event.at) < 1e-5
    for name in ("outcome", "interface", "before"):
        assert read.get(name, "") == getattr(event, name)
    if event.reason:
        assert read["reason"] == event.reason
    assert read.get("service") == (str(event.service) if event.service else None)
    assert read.get("backend") == (str(event.backend) if event.backend else None)
    assert read.get("details", {}) == (event.details or {}) or event.kind is EventKind.TRAFFIC


@given(PROBES, st.integers(1, 2**53))
def test_any_probe(result: ProbeResult, sequence: int) -> None:
    action, document = taken_apart(WRITER.probe(result, sequence))
    assert action == {"create": {"_index": "logs-vc5.probe-production", "_id": f"4be2f09a1c37-{sequence}"}}
    declared(document, Stream.PROBE)
    assert document["event"]["outcome"] == ("success" if result.outcome is Outcome.OK else "failure")
    assert document["event"]["duration"] == result.total_ns
    assert ("error" in document) == (result.outcome is not Outcome.OK and result.diagnostic != "")
    read = documents.read(document)
    assert (read["sequence"], read["kind"], read["outcome"]) == (sequence, "probe", result.outcome)
    assert read["message"] == result.diagnostic[: documents.MESSAGE_CHARACTERS]
    assert (read["service"], read["backend"]) == (str(result.service), str(result.backend))
    details = read["details"]
    assert details["check"] == result.check
    for name in ("total_ns", "connect_ns", "tls_ns", "first_byte_ns", "http_status"):
        assert details.get(name, 0) == getattr(result, name)
    # The year 9999 is the last that a date can have.
    if result.certificate_expires < 1e11:
        assert details.get("certificate_expires", 0) == result.certificate_expires


def test_a_probe() -> None:
    result = ProbeResult(
        SHOP, FIRST, 1, Outcome.WRONG, "HTTP 503, expected 200", 1795335070.25, 900, 100, 200, 300, 503, "TLSv1.3",
        1795335070 + 864000, CheckKind.HTTPS,
    )  # fmt: skip
    assert taken_apart(WRITER.probe(result, 7))[1] == {
        "@timestamp": "2026-11-22T08:11:10.250000Z",
        "event": {
            "id": "4be2f09a1c37-7",
            "sequence": 7,
            "outcome": "failure",
            "duration": 900,
            "kind": "event",
            "category": ["network"],
            "type": ["info"],
            "dataset": "vc5.probe",
            "module": "vc5",
            "action": "probe",
        },
        "service": {"name": "203.0.113.10:443/tcp"},
        "destination": {"ip": "203.0.113.10", "port": 443},
        "network": {"transport": "tcp", "type": "ipv4"},
        "server": {"ip": "10.1.10.11"},
        "message": "HTTP 503, expected 200",
        "error": {"type": "status", "message": "HTTP 503, expected 200"},
        "http": {"response": {"status_code": 503}},
        "tls": {"version": "1.3", "version_protocol": "tls", "server": {"not_after": "2026-12-02T08:11:10.000000Z"}},
        "vc5": {
            "outcome": "wrong-answer",
            "timing": {"connect_ns": 100, "tls_ns": 200, "first_byte_ns": 300},
            "certificate": {"days_left": 10.0},
            "kind": "probe",
            "check": {"index": 1, "kind": "https"},
        },
        "observer": {
            "hostname": "lb1.example.com",
            "name": "balancer-1",
            "version": "0.1.0",
            "type": "load-balancer",
            "product": "vc5",
        },
        "ecs": {"version": "8.11.0"},
        "data_stream": {"type": "logs", "dataset": "vc5.probe", "namespace": "production"},
    }


def test_a_control_character_of_a_backend_is_escaped() -> None:
    result = ProbeResult(SHOP, FIRST, 0, Outcome.WRONG, "\x7f\x00\u202e", 1.0, 1)
    assert taken_apart(WRITER.probe(result, 1))[1]["message"] == "\x7f\x00\u202e"


def test_a_change() -> None:
    event = Event(
        1795335070.0, EventKind.BACKEND, "up -> down: timeout", SHOP, FIRST, outcome="down", before="up",
        reason="timeout", details={"fall": 3},
    )  # fmt: skip
    document = taken_apart(WRITER.event(event, 8))[1]
    assert document["event"]["action"] == "backend-down"
    assert document["event"]["kind"] == "state"
    assert document["event"]["reason"] == "timeout"
    assert document["event"]["severity"] == 5
    assert document["vc5"] == {"kind": "backend", "outcome": "down", "before": "up", "details": {"fall": 3}}


def test_traffic_can_be_added_up() -> None:
    details = {"traffic": {"packets": 5, "octets": 500}, "backends": {"up": 2, "total": 3}}
    event = Event(1.0, EventKind.TRAFFIC, "", SHOP, outcome="up", details=details)
    document = taken_apart(WRITER.event(event, 9))[1]
    declared(document, Stream.EVENT)
    assert document["service"] == {"name": "203.0.113.10:443/tcp", "state": "up"}
    assert document["vc5"]["traffic"] == {"packets": 5, "octets": 500}
    assert documents.read(document)["details"] == details


def test_what_becomes_of_a_session() -> None:
    """Codes and bytes have fields of their own, by which a session's end can be found."""
    error = REFUSED.last_error
    assert error is not None
    details = bgp_details(REFUSED, error, lasted=1.5)
    event = Event(
        1.0, EventKind.BGP, f"refused: {error.text}", peer=REFUSED.address, outcome="refused", before="down",
        reason=error.text, details=details | {"next_attempt_s": 11.8},
    )  # fmt: skip
    document = taken_apart(WRITER.event(event, 9))[1]
    declared(document, Stream.EVENT)
    assert document["event"]["action"] == "bgp-refused"
    assert document["event"]["outcome"] == "failure"
    assert document["vc5"] == {
        "kind": "bgp",
        "outcome": "refused",
        "before": "down",
        "peer": "10.1.10.253",
        "bgp": {
            "state": "idle",
            "local_as": 65001,
            "remote_as": 65000,
            "direction": "sent",
            "code": 2,
            "subcode": 2,
            "hex": error.data.hex(),
            "lasted_ns": 1_500_000_000,
        },
        "details": {"next_attempt_s": 11.8},
    }
    read = documents.read(document)
    assert read["details"] == details | {"next_attempt_s": 11.8}
    assert read["peer"] == "10.1.10.253"


def test_what_bfd_finds() -> None:
    assert INSIDE.bfd is not None
    details = bfd_details(INSIDE.bfd)
    event = Event(1.0, EventKind.BFD, "up -> down", peer=INSIDE.address, outcome="down", before="up", details=details)
    document = taken_apart(WRITER.event(event, 9))[1]
    declared(document, Stream.EVENT)
    assert document["vc5"]["bfd"] == {
        "state": "down",
        "remote_state": "down",
        "diagnostic": "control detection time expired",
        "detection_ns": 900_000_000,
        "flaps": 4,
    }
    assert documents.read(document)["details"] == details


def test_how_it_stands_with_routers() -> None:
    events = list(every_minute(ROUTING, 60.0))
    assert [(str(event.peer), event.outcome) for event in events] == [
        ("10.1.10.252", "established"),
        ("10.1.10.253", "down"),
        ("10.1.10.254", "down"),
        ("2001:db8:10::252", "established"),
    ]
    made = [taken_apart(WRITER.event(event, 9))[1] for event in events]
    for document in made:
        declared(document, Stream.EVENT)
    assert made[0]["message"] == "established, 2 routes, BFD up"
    assert [documents.read(one)["details"] for one in made] == [event.details for event in events]
    assert made[0]["vc5"]["bgp"]["routes"] == {"advertised": 2, "pending": 0, "withheld": 1}
    assert "bfd" not in made[1]["vc5"]
    assert list(every_minute(RoutingStatus("10.1.10.5"), 60.0)) == []


def test_the_words_of_fields_are_those_that_are_written() -> None:
    about = {field.name: field.about for field in FIELDS}
    for name, words in (("vc5.bgp.state", SessionState), ("vc5.bfd.state", BfdState), ("vc5.bgp.direction", Direction)):
        assert [word for word in words if word not in about[name]] == []


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
    document = taken_apart(WRITER.event(Event(1.0, EventKind.ALARM, "odd", details=details), 1))[1]
    assert list(document["vc5"]["details"]) == ["unreadable"]


@pytest.mark.parametrize("at", [float("nan"), float("inf"), -float("inf"), -1.0, 1e18])
def test_a_time_that_is_none(at: float) -> None:
    document = taken_apart(WRITER.event(Event(at, EventKind.ALARM, "odd"), 1))[1]
    assert document["@timestamp"] == "1970-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    "event",
    [
        Event(1.0, EventKind.ALARM, "\x00" * 70_000, details={"kept": "no"}),
        Event(1.0, EventKind.ALARM, "m", reason="\x00" * 70_000, details={"kept": "no"}),
        Event(1.0, EventKind.ALARM, "m", details={"body": "x" * 70_000}),
        Event(1.0, EventKind.BGP, "m", details={"hex": "ff" * 35_000}),
    ],
    ids=["message", "reason", "details", "bytes"],
)
def test_a_document_is_bounded(event: Event) -> None:
    written = WRITER.event(event, 1)
    assert len(written) < documents.DOCUMENT_BYTES
    assert taken_apart(written)[1]["vc5"]["details"] == {"shortened": True}


def test_every_story_reads_back() -> None:
    read = [documents.read(taken_apart(WRITER.event(event, number))[1]) for number, event in enumerate(STORY)]
    assert [one["message"] for one in read] == [event.message for event in STORY]


GARBAGE = [
    b"",
    b"\n",
    b"{\n",
    b"[]\n",
    b"7\n",
    b"{}\n",
    b'{"event":{"sequence":"1"}}\n',
    b'{"event":{"sequence":true}}\n',
    b'{"event":[1]}\n',
    b"\0\0\n",
    b'{"event":{"sequence":1}}',
    b"[" * 100_000 + b"\n",
    b"\xff\xfe\n",
]


@pytest.mark.parametrize("written", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_no_document(written: bytes) -> None:
    assert record.parse(written) is None


@given(st.binary())
def test_any_bytes_parse_or_do_not(data: bytes) -> None:
    document = record.parse(data + b"\n")
    assert document is None or type(document["event"]["sequence"]) is int


@given(JSON_VALUES, JSON_VALUES, JSON_VALUES)
def test_any_document_reads_or_does_not(event: Any, own: Any, rest: Any) -> None:
    document = {**(rest if isinstance(rest, dict) else {}), "event": event, "vc5": own, "@timestamp": "1970-01-01"}
    try:
        documents.read(document)
    except ValueError:
        pass
