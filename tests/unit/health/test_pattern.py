"""Patterns against Python's own expressions, and against bodies that would keep those busy for ever."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.health.pattern import MAX_ROWS, NEW_ROWS, PatternError, Search, compiled


def found(pattern: str, body: bytes, pieces: int = 3) -> bool:
    """Search in pieces of so many bytes."""
    search = Search(compiled(pattern))
    for begin in range(0, len(body), pieces):
        piece, at = body[begin : begin + pieces], 0
        while at < len(piece):
            at = search.feed(piece, at)
    return search.ended()


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("ready", [b"ready", b"is ready."], [b"", b"read", b"reaady", b"READY"]),
        ("a.c", [b"abc", b"a c", b"a\xffc"], [b"ac", b"a\nc"]),
        (r"status: *(ok|fine)", [b"status:ok", b"x status:   fine y"], [b"status ok", b"status: bad"]),
        (r"\d{2,3}ms", [b"12ms", b"1234ms"], [b"1ms", b"12 ms"]),
        (r"^\{", [b"{}"], [b" {", b"x\n{"]),
        (r"\}$", [b"{}", b"{}\n"], [b"} ", b"}\n\n", b"}x"]),
        ("^ok$", [b"ok", b"ok\n"], [b"ok ok", b"not ok", b"", b"ok\nx"]),
        (r"\$", [b"5$"], [b"5"]),
        (r"a\\$", [b"a\\"], [b"a\\b", b"a"]),
        ("[a-c-]x", [b"-x", b"bx"], [b"dx", b"x"]),
        ("[]x]y", [b"]y", b"xy"], [b"y"]),
        (r"[^\w\s]", [b"a b!"], [b"a b_9"]),
        ("a{0}b", [b"b", b"ab"], [b"a"]),
        ("a{2,}b", [b"aab", b"aaaab"], [b"ab", b"aa"]),
        ("(?:ab)+?c", [b"abc", b"ababc"], [b"ac"]),
        ("(a|)b", [b"b"], [b"a"]),
        ("größe", ["die größe".encode()], [b"gr\xf6\xdfe"]),
        (r"\x00\xff", [b"\0\xff"], [b"\0"]),
    ],
)
def test_what_is_found(pattern: str, inside: list[bytes], outside: list[bytes]) -> None:
    assert [body for body in inside if not found(pattern, body)] == []
    assert [body for body in outside if found(pattern, body)] == []


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "1 to 256 characters"),
        ("x" * 257, "1 to 256 characters"),
        ("(a", "ends within"),
        ("a)", r"a \) without its \("),
        ("[a", r"ends within \[ \]"),
        ("a\\", "ends within an escape"),
        (r"\xg0", "no byte"),
        ("*a", "nothing before"),
        ("a**", "repetition of a repetition"),
        ("a{x}", "is no count"),
        ("a{5,2}", "ends before it begins"),
        ("a{99999}", "too large"),
        (r"(a)\1", "back references"),
        (r"a\b", "not supported"),
        ("(?=a)", r"\(\? other than"),
        ("(?i)a", r"\(\? other than"),
        ("a^b", "within the pattern"),
        ("a$b", "within the pattern"),
        ("^a|b", "beside alternatives"),
        ("a*", "even in nothing"),
        ("(((a{99}){99}){99}){99}", "too large"),
        ("((((){99}){99}){99}){99}a", "too large"),
        ("(" * 50 + "a" + ")" * 50, "groups within"),
        ("[z-a]", "ends before it begins"),
        ("[ä]", "only ASCII"),
    ],
)
def test_what_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(PatternError, match=words):
        compiled(pattern)


PIECES = st.recursive(
    st.sampled_from(["a", "b", "c", ".", "[ab]", "[^a]", r"\w", r"\n", "-"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?"])).map(
            lambda two: f"(?:{two[0]}){two[1]}"
        ),
    ),
    max_leaves=8,
)


@given(PIECES, st.text("abc\n-", max_size=12), st.booleans(), st.booleans(), st.integers(1, 5))
def test_it_finds_what_python_finds(inner: str, body: str, begin: bool, end: bool, pieces: int) -> None:
    pattern = ("^" if begin else "") + f"(?:{inner})" + ("$" if end else "")
    try:
        compiled(pattern)
    except PatternError as error:
        assert "even in nothing" in str(error) and re.fullmatch(inner, "")  # noqa: PT017, PT018
        return
    expected = re.search(pattern.encode(), body.encode())
    assert found(pattern, body.encode(), pieces) == bool(expected), (pattern, body)


@given(st.text(max_size=300))
def test_any_text_is_a_pattern_or_refused_with_words(text: str) -> None:
    try:
        pattern = compiled(text)
    except PatternError as error:
        assert str(error)  # noqa: PT017
        return
    Search(pattern).feed(b"some body\n")


HOSTILE = [
    (r"(a+)+b", b"a" * 100_000),
    (r"(a|a)*b", b"a" * 100_000),
    (r".*.*.*.*x", b"a" * 100_000),
    (r"(a?){100}a{100}b", b"a" * 20_000),
]


@pytest.mark.parametrize(("pattern", "body"), HOSTILE)
def test_what_makes_python_hang_takes_little_time(pattern: str, body: bytes) -> None:
    began = time.process_time()
    assert not found(pattern, body, 16384)
    assert time.process_time() - began < 5  # seconds; backtracking would take years


def test_ever_new_states_neither_fill_the_memory_nor_hold_up_others() -> None:
    """[ab]*a[ab]{60}c has 2^60 states, and a body without a period brings up one after the other."""
    pattern = compiled("[ab]*a[ab]{60}c")
    body = bytes(b"ab"[int(bit)] for number in range(3000) for bit in f"{number:012b}")
    search, at, turns = Search(pattern), 0, 0
    while at < len(body):
        before, at = at, search.feed(body, at)
        assert at > before
        turns += 1
    assert not search.found
    assert turns >= (len(body) // 2) // NEW_ROWS
    assert len(pattern._rows) <= MAX_ROWS
