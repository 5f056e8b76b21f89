"""The two directions of the socket: what goes in comes out, and garbage is refused with words."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.health.answer import Answer
from appliance.health.diagnostic import LIMIT, printable
from appliance.health.messages import (
    PIECE,
    Heartbeat,
    Probe,
    Report,
    Schedule,
    decode_from_prober,
    decode_schedule,
    encode_heartbeat,
    encode_report,
    schedule_pieces,
)
from appliance.model import Check, CheckKind, Outcome, Protocol
from tests.profile import PARSER_INPUTS
from tests.unit.health.servers import encoded

HTTP = Check(CheckKind.HTTPS, 443, "www.example.com", "/health", "HEAD", (200, 204), 1.5, 0.5, 3, 4)
EVERYTHING = Check(
    CheckKind.DNS,
    53,
    body="ok",
    body_pattern="o+k",
    verify=True,
    ca="/etc/ca.pem",
    expiry_warning=3,
    transport=Protocol.UDP,
    query="example.com",
    qtype="NS",
    rcode=(0, 3),
    send=b"\0\xff",
    receive=b"PONG",
    service="shop",
    tls=True,
    mtu=True,
)
PROBES = (
    Probe(1, ip_address("203.0.113.1"), ip_address("10.255.0.1"), HTTP),
    Probe(2, ip_address("2001:db8::1"), ip_address("fd00::1"), HTTP),
    Probe(7, ip_address("203.0.113.1"), ip_address("10.255.0.2"), Check(CheckKind.SYN, 22, expect=())),
    Probe(8, ip_address("203.0.113.1"), ip_address("10.255.0.3"), HTTP, (ip_address("10.1.1.5"), 8443), "", 3),
    Probe(10, ip_address("203.0.113.2"), ip_address("10.255.0.4"), HTTP, backend=3, leader=1),
    Probe(9, ip_address("203.0.113.1"), ip_address("10.255.0.3"), EVERYTHING, authority="PEM"),
)
REPORT = Report(3, 1795265728.25, Answer(Outcome.WRONG, "HTTP 503", 10, 2, 3, 4, 503, "TLSv1.3", 1795300000))
HEARTBEAT = Heartbeat(
    4, 500, 1, "no port", 17, 3, (490, 7, 2, 1, 0, 0, 0), 10**12, "the known-good target fails: timeout"
)


def test_a_schedule_survives_the_journey_and_names_each_check_once() -> None:
    schedule = Schedule(9, PROBES, 640)
    line = encoded(schedule)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_schedule(line) == schedule
    assert len(json.loads(line)["checks"]) == 3


@pytest.mark.parametrize("count", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])
def test_a_schedule_of_many_pieces_is_one_line(count: int) -> None:
    checks = HTTP, PROBES[2].check
    probes = tuple(
        Probe(at, ip_address("203.0.113.1"), ip_address("10.255.0.0") + at, checks[at % 2]) for at in range(count)
    )
    pieces = list(schedule_pieces(4, probes))
    assert len(pieces) == -(-count // PIECE) + 3
    assert b"\n" not in b"".join(pieces)[:-1]
    assert decode_schedule(b"".join(pieces)) == Schedule(4, probes)


@pytest.mark.parametrize("message", [REPORT, Report(0, 0.0, Answer(Outcome.OK, ""))])
def test_reports_survive_the_journey(message: Report) -> None:
    assert decode_from_prober(encode_report(message)) == message


def test_heartbeats_survive_the_journey() -> None:
    assert decode_from_prober(encode_heartbeat(HEARTBEAT)) == HEARTBEAT
    assert decode_from_prober(encode_heartbeat(Heartbeat())) == Heartbeat()


def changed(path: list[Any], value: object) -> bytes:
    """Return a good schedule with one thing in it replaced."""
    message: Any = json.loads(encoded(Schedule(9, PROBES)))
    place = message
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(message).encode()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"9" * 10_000, "not JSON"),
        (b"3", "needs the keys"),
        (b"{}", "needs the keys"),
        (changed(["schedule"], 0), "generation"),
        (changed(["schedule"], True), "generation"),
        (changed(["checks"], {}), "must be lists"),
        (changed(["authorities"], []), "must be a map"),
        (changed(["authorities", "/etc/ca.pem"], 5), "authorities: not a text"),
        (changed(["probes", 0], {}), r"probes\[0\]: a probe is"),
        (changed(["probes", 0], [1, 2]), r"probes\[0\]: a probe is"),
        (changed(["probes", 0, 0], 2), "same number"),
        (changed(["probes", 0, 0], -1), "number"),
        (changed(["probes", 0, 1], "x"), r"probes\[0\]: VIP: 'x' is not an IP address"),
        (changed(["probes", 0, 2], 7), "NAT address"),
        (changed(["limit"], -1), "limit"),
        (changed(["probes", 0, 4], -1), "backend"),
        (changed(["probes", 0, 5], "1"), "leader"),
        (changed(["probes", 0, 5], 99), "its leader 99 is none"),
        (changed(["probes", 0, 5], 1), "its leader 1 is none"),
        (changed(["probes", 0, 5], 10), "its leader 10 is none"),
        (changed(["probes", 0, 3], 3), "check: 3 is not an integer from 0 to 2"),
        (changed(["checks", 0, "kind"], "gopher"), "unknown kind"),
        (changed(["checks", 0, "kind"], []), "unknown kind"),
        (changed(["checks", 0, "port"], 0), r"checks\[0\].port"),
        (changed(["checks", 0, "port"], 65536), r"checks\[0\].port"),
        (changed(["checks", 0, "host"], None), r"checks\[0\].host"),
        (changed(["checks", 0, "path"], "x" * 5000), r"checks\[0\].path"),
        (changed(["checks", 0, "expect"], 200), "expect is not a list"),
        (changed(["checks", 0, "expect"], ["200"]), r"checks\[0\].expect"),
        (changed(["checks", 0, "interval"], 0), r"checks\[0\].interval"),
        (changed(["checks", 0, "interval"], float("nan")), r"checks\[0\].interval"),
        (changed(["checks", 0, "timeout"], "2"), r"checks\[0\].timeout"),
        (changed(["checks", 0, "rise"], 0), r"checks\[0\].rise"),
        (changed(["checks", 0, "other"], 0), "exactly the keys"),
        (changed(["checks", 0, "body"], 5), r"checks\[0\].body"),
        (changed(["checks", 0, "body_pattern"], "(a"), r"checks\[0\].body_pattern: it ends within"),
        (changed(["checks", 0, "verify"], 1), r"checks\[0\].verify: 1 is neither true nor false"),
        (changed(["checks", 0, "expiry_warning"], -1), r"checks\[0\].expiry_warning"),
        (changed(["checks", 0, "transport"], 1), r"checks\[0\].transport: 1 is no protocol"),
        (changed(["checks", 0, "transport"], "tcp"), r"checks\[0\].transport: 'tcp' is no protocol"),
        (changed(["checks", 0, "rcode"], 0), "rcode is not a list"),
        (changed(["checks", 0, "rcode"], [16]), r"checks\[0\].rcode"),
        (changed(["checks", 0, "send"], "0g"), r"checks\[0\].send: not hexadecimal"),
        (changed(["checks", 0, "receive"], None), r"checks\[0\].receive"),
    ],
)
def test_malformed_schedules_are_refused_with_words(line: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        decode_schedule(line)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def heartbeat(**changes: object) -> dict[str, object]:
    """Return a good heartbeat with some things in it replaced."""
    return {"heartbeat": {**json.loads(encode_heartbeat(HEARTBEAT))["heartbeat"], **changes}}


GOOD = [3, "ok", "fine", 1.0, 1, 1, 1, 1, 200, "", 0]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (3, "neither"),
        ({"heartbeat": 3}, "neither"),
        ({"heartbeat": {}}, "exactly the keys"),
        (heartbeat(unsent=-1), "unsent"),
        (heartbeat(starts=7), "starts are 7 counts"),
        (heartbeat(starts=[0] * 6), "starts are 7 counts"),
        (heartbeat(starts=[0, 0, 0, -1, 0, 0, 0]), "starts: -1 is not"),
        (heartbeat(starts=[0, 0, 0, True, 0, 0, 0]), "starts: True is not"),
        (heartbeat(starts=[0, 0, 0, 0.5, 0, 0, 0]), "starts: 0.5 is not"),
        ([], "11 items"),
        (["3", *GOOD[1:]], "number"),
        ([3, "fine", *GOOD[2:]], "no outcome"),
        ([3, ["ok"], *GOOD[2:]], "no outcome"),
        ([3, "ok", "x" * (LIMIT + 1), *GOOD[3:]], "diagnostic"),
        ([3, "ok", "", -1.0, *GOOD[4:]], "time"),
        ([3, "ok", "", 10**400, *GOOD[4:]], "time"),
        ([3, "ok", "", float("nan"), *GOOD[4:]], "time"),
        ([*GOOD[:4], -1, *GOOD[5:]], "total"),
        ([*GOOD[:4], 1.5, *GOOD[5:]], "total"),
        ([*GOOD[:8], 1000, "", 0], "status"),
        ([*GOOD[:9], None, 0], "TLS version"),
        ([*GOOD[:10], -1], "certificate expires"),
    ],
)
def test_a_prober_that_talks_nonsense_is_refused(message: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode_from_prober(json.dumps(message).encode())


def test_the_daemon_does_not_trust_the_words_of_the_prober() -> None:
    report = decode_from_prober(json.dumps([3, "ok", "a\nb\x1b[31m", *GOOD[3:]]).encode())
    assert isinstance(report, Report)
    assert report.answer.diagnostic == r"a\nb\x1b[31m"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äöü 日本", "plain äöü 日本"),
        ("a\r\nb", r"a\r\nb"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\u202eevil\u2028", r"\u202eevil\u2028"),
        ("\ud800", r"\ud800"),
        ("x" * 500, "x" * (LIMIT - 3) + "..."),
        ("\n" * 500, r"\n" * 78 + "\\..."),
    ],
)
def test_diagnostics_are_one_short_printable_line(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(max_size=400), st.integers(10, 300))
def test_any_text_becomes_printable(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    assert printable(shown, limit) == shown


def complaint(decode: Callable[[bytes], object], line: bytes) -> str:
    """Return what a decoder has to say against a line, empty if nothing."""
    try:
        decode(line)
    except ValueError as error:
        return str(error)
    return ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=10) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=PARSER_INPUTS)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_refused_and_never_raises_anything_else(line: bytes) -> None:
    assert complaint(decode_schedule, line).isprintable()
    assert complaint(decode_from_prober, line).isprintable()


@pytest.mark.parametrize(
    ("decode", "good"),
    [
        (decode_schedule, encoded(Schedule(9, PROBES))),
        (decode_from_prober, encode_report(REPORT)),
        (decode_from_prober, encode_heartbeat(HEARTBEAT)),
    ],
)
@settings(max_examples=PARSER_INPUTS)
@given(data=st.data())
def test_one_wrong_thing_anywhere_never_raises_anything_else(
    decode: Callable[[bytes], object], good: bytes, data: st.DataObject
) -> None:
    message: Any = json.loads(good)
    place: Any = message
    while True:
        steps = list(place) if isinstance(place, dict) else list(range(len(place)))
        step = data.draw(st.sampled_from(steps))
        if not isinstance(place[step], dict | list) or not place[step] or data.draw(st.booleans()):
            place[step] = data.draw(JSON)
            break
        place = place[step]
    assert complaint(decode, json.dumps(message).encode()).isprintable()
