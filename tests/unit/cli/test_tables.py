"""The table printer: alignment, widths of all scripts, narrow terminals, short numbers, no terminal tricks."""

from __future__ import annotations

import io
import os
import pty

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.tables import (
    Cell,
    Column,
    Screen,
    Style,
    count,
    cut,
    duration,
    fold,
    octets,
    printable,
    screen,
    table,
    width,
)

COLUMNS = (
    Column("NAME", least=6),
    Column("ADDRESS"),
    Column("COUNT", right=True, drop=1),
    Column("MORE", right=True, drop=2),
    Column("NOTE", least=8),
)
ROWS = [
    ["shop", "10.1.10.11", "1", "22", "fine"],
    ["登録 registration", "2001:db8::1", "12345", "3", "connect: Connection refused"],
]
WIDE = """\
NAME               ADDRESS      COUNT  MORE  NOTE
shop               10.1.10.11       1    22  fine
登録 registration  2001:db8::1  12345     3  connect: Connection refused"""
AT_50 = """\
NAME            ADDRESS      COUNT  MORE  NOTE
shop            10.1.10.11       1    22  fine
登録 registra…  2001:db8::1  12345     3  connect…"""
AT_38 = """\
NAME      ADDRESS      COUNT  NOTE
shop      10.1.10.11       1  fine
登録 re…  2001:db8::1  12345  connect…"""
AT_31 = """\
NAME      ADDRESS      NOTE
shop      10.1.10.11   fine
登録 re…  2001:db8::1  connect…"""
AT_29 = """\
NAME    ADDRESS      NOTE
shop    10.1.10.11   fine
登録 …  2001:db8::1  connect…"""


@pytest.mark.parametrize(
    ("columns", "expected"), [(None, WIDE), (200, WIDE), (50, AT_50), (38, AT_38), (31, AT_31), (29, AT_29), (5, AT_29)]
)
def test_a_table_fits_its_terminal(columns: int | None, expected: str) -> None:
    lines = table(COLUMNS, ROWS, Screen(columns))
    assert [line.rstrip() for line in lines] == expected.splitlines()


def test_empty_columns_and_empty_tables_are_left_out() -> None:
    assert table((Column("A"), Column("B"), Column("C")), [["1", "", "2"], ["3", "", ""]], Screen()) == [
        "A  C",
        "1  2",
        "3",
    ]
    assert table(COLUMNS, [], Screen(80)) == []


def test_colour_does_not_count_as_width() -> None:
    rows: list[list[Cell | str]] = [[Cell("up", Style.GOOD), "1"], [Cell("down", Style.BAD), "2"]]
    plain = table((Column("STATE"), Column("N", right=True)), rows, Screen())
    painted = table((Column("STATE"), Column("N", right=True)), rows, Screen(colour=True))
    assert plain == ["STATE  N", "up     1", "down   2"]
    assert painted[1] == "\x1b[32mup\x1b[0m     1"


@given(st.text(), st.integers(0, 30))
def test_nothing_that_a_terminal_obeys_comes_out(text: str, columns: int) -> None:
    shown = printable(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2028\u200f" for c in shown)
    assert width(cut(shown, columns)) <= columns
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("tab\there", "tab\\there"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\u202eb", "a\\u202eb"),
        ("ä€登", "ä€登"),
        ("\ud800", "\\ud800"),
        ("e\u0301", "e\u0301"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("登録", 4), ("ｆ", 2), ("e\u0301", 1), ("", 0), ("…", 1)])
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns


NUMBERS = [
    (None, "", ""),
    ("7", "", ""),
    (True, "", ""),
    (0, "0", "0B"),
    (999, "999", "999B"),
    (1000, "1.00k", "0.98K"),
    (1023, "1.02k", "1.00K"),
    (9_999, "10.0k", "9.76K"),
    (12_345, "12.3k", "12.1K"),
    (999_949, "1.00M", "977K"),
    (1_048_576, "1.05M", "1.00M"),
    (512_345_678, "512M", "489M"),
    (10**18, "1.00E", "888P"),
    (-5, "-5", "-5B"),
]


@pytest.mark.parametrize(("number", "short", "size"), NUMBERS)
def test_numbers(number: object, short: str, size: str) -> None:
    assert (count(number), octets(number)) == (short, size)


@given(st.integers(0, 2**64))
def test_numbers_stay_short(number: int) -> None:
    assert len(count(number)) <= 5
    assert len(octets(number)) <= 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (-1, ""),
        ("1", ""),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (86_399, "23h59m"),
        (86_400, "1d00h"),
        (1_000_000, "11d13h"),
    ],
)
def test_duration(seconds: object, text: str) -> None:
    assert duration(seconds) == text


def test_a_pipe_has_no_width_and_no_colour() -> None:
    assert screen(io.StringIO()) == Screen(None, False)


@pytest.mark.parametrize(
    ("environment", "colour"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_a_terminal(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], colour: bool) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in {"TERM": "xterm", "COLUMNS": "97", **environment}.items():
        monkeypatch.setenv(name, value)
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as stream:
        assert screen(stream) == Screen(97, colour)
    os.close(leader)


FOLDED: list[tuple[str, int | None, list[str]]] = [
    ("short", 20, ["short"]),
    ("as long as there is no width at all", None, ["as long as there is no width at all"]),
    ("broken at a blank of the line", 20, ["broken at a blank of", "  the line"]),
    ("exactly twenty cols. and more", 20, ["exactly twenty cols.", "  and more"]),
    ("a word-that-is-much-longer-than-a-line", 20, ["a word-that-is-much-", "  longer-than-a-line"]),
    ("  indented, and then some", 20, ["  indented, and then", "  some"]),
    ("登録登録登録登録登録登録", 20, ["登録登録登録登録登録", "  登録"]),
    ("\x1b[1;31mred, and rather long\x1b[0m, all", 20, ["\x1b[1;31mred, and rather", "  long\x1b[0m, all"]),
]


@pytest.mark.parametrize(("line", "columns", "lines"), FOLDED, ids=[row[0] for row in FOLDED])
def test_fold(line: str, columns: int | None, lines: list[str]) -> None:
    assert fold(line, Screen(columns)) == lines


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "Zs"]), max_size=200), st.integers(20, 100))
def test_whatever_is_folded_fits_and_is_all_there(text: str, columns: int) -> None:
    lines = fold(text, Screen(columns))
    assert all(width(line) <= columns for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
