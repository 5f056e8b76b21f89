"""What NOTIFICATIONs say to people."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.routing.bgp.notification import LONGEST, Refusal, shutdown_data, text
from tests.profile import PARSER_INPUTS

TEXTS = [
    # code, subcode, data, what people read
    (1, 1, "", "message header error, connection not synchronized"),
    (1, 2, "0012", "message header error, bad message length: length 18"),
    (1, 3, "09", "message header error, bad message type: type 9"),
    (2, 0, "", "OPEN message error, malformed"),
    (2, 1, "0004", "OPEN message error, unsupported version number: version 4 is supported"),
    (2, 2, "fde8", "OPEN message error, bad peer AS: AS 65000 was claimed"),
    (2, 2, "fa56ea01", "OPEN message error, bad peer AS: AS 4200000001 was claimed"),
    (2, 2, "010203", "OPEN message error, bad peer AS: 01 02 03"),
    (2, 3, "c0000201", "OPEN message error, bad BGP identifier: 192.0.2.1"),
    (2, 6, "0002", "OPEN message error, unacceptable hold time: 2 s"),
    (2, 7, "0104000200010a00", "OPEN message error, unsupported capability: 01 04 00 02 00 01 0a 00"),
    (3, 1, "", "UPDATE message error, malformed attribute list"),
    (4, 0, "", "hold timer expired"),
    (5, 1, "04", "message not expected in this state, in state OpenSent: KEEPALIVE"),
    (6, 1, "00010100000064", "cease, maximum number of prefixes reached: 100 (AFI 1, SAFI 1)"),
    (6, 2, "", "cease, administrative shutdown"),
    # RFC 9003, appendix A: a message, and one of words that are not ASCII.
    (6, 2, "05" + b"until".hex(), 'cease, administrative shutdown: "until"'),
    (6, 4, "0a" + "Grüße, Bo".encode().hex()[:20], 'cease, administrative reset: "Grüße, B"'),
    (6, 2, "04" + b"\x1b[2J".hex(), 'cease, administrative shutdown: "[2J"'),
    (6, 2, "05" + b"a\nb\tc".hex(), 'cease, administrative shutdown: "a b c"'),
    (6, 2, "05" + b"cut".hex(), "cease, administrative shutdown: 05 63 75 74"),
    (6, 2, "02fffe", "cease, administrative shutdown: 02 ff fe"),
    (6, 8, "", "cease, out of resources"),
    # RFC 8538: a hard reset has the real reason inside.
    (6, 9, "0602" + "03" + b"bye".hex(), 'cease, hard reset: cease, administrative shutdown: "bye"'),
    (6, 9, "06090609", "cease, hard reset: 06 09 06 09"),
    (6, 9, "06", "cease, hard reset: 06"),
    (6, 10, "", "cease, BFD down"),
    (6, 77, "", "cease, subcode 77"),
    (7, 1, "", "ROUTE-REFRESH message error, invalid message length"),
    (8, 0, "", "send hold timer expired"),
    (99, 3, "0102", "error code 99, subcode 3: 01 02"),
    (3, 1, "ab" * 65, "UPDATE message error, malformed attribute list: " + " ".join(["ab"] * 64) + " ... (65 bytes)"),
]


@pytest.mark.parametrize(("code", "subcode", "data", "expected"), TEXTS)
def test_it_is_told_what_it_means(code: int, subcode: int, data: str, expected: str) -> None:
    assert text(code, subcode, bytes.fromhex(data)) == expected


@settings(max_examples=PARSER_INPUTS)
@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=300))
def test_nothing_a_peer_sends_is_more_than_one_printable_line(code: int, subcode: int, data: bytes) -> None:
    assert text(code, subcode, data).isprintable()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", b""),
        ("back at 12:00", b"\x0dback at 12:00"),
        ("x" * 300, b"\xff" + b"x" * 255),
        # 127 characters of two bytes fit; half a character is no character.
        ("ü" * 200, b"\xfe" + "ü".encode() * 127),
        ("lone \ud800", b"\x06lone ?"),
    ],
)
def test_a_shutdown_message_is_cut_between_characters(said: str, expected: bytes) -> None:
    assert shutdown_data(said) == expected


@given(st.text())
def test_a_shutdown_message_is_read_as_it_was_written(said: str) -> None:
    data = shutdown_data(said)
    assert len(data) <= 256
    shown = text(6, 2, data)
    if said.isascii() and said.isprintable() and said.split():
        assert shown == f'cease, administrative shutdown: "{" ".join(said[:255].split())}"'


def test_a_refusal_says_why_and_fits_into_a_message() -> None:
    refusal = Refusal(2, 6, bytes(5000), "hold time 2")
    assert (refusal.code, refusal.subcode, refusal.why, len(refusal.data)) == (2, 6, "hold time 2", LONGEST)
    assert Refusal(6, 2).why == "cease, administrative shutdown"
