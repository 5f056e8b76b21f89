"""The lines of the log that consoles are told: in order, bounded, found again by their numbers."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.web.history import FIRST, History, Line, line_of


def event(number: int, **more: Any) -> dict[str, Any]:
    return {"sequence": number, "at": 1.5, "kind": "backend", "message": f"event {number}", **more}


def filled(*numbers: int, kept: int = 1000) -> History:
    history = History(kept)
    for number in numbers:
        line = line_of(event(number, outcome="dead" if number % 2 else "up"), 3)
        assert line is not None
        history.add(line)
    return history


def ids(lines: list[Line]) -> list[int]:
    return [line["id"] for line in lines]


def test_what_a_line_tells() -> None:
    told = line_of(event(7, service="s", backend="b", peer="", details={"secret": 1}), 4)
    assert told == {
        "id": 7,
        "at": 1.5,
        "severity": 4,
        "kind": "backend",
        "message": "event 7",
        "service": "s",
        "backend": "b",
    }
    assert line_of(event(1, kind="probe"), 3) is None
    assert line_of(event(1, kind="traffic"), 3) is None


@pytest.mark.parametrize("severity", [None, "3", -1, 8, 2.5])
def test_a_severity_that_is_none_is_informational(severity: object) -> None:
    line = line_of(event(1), severity)
    assert line is not None
    assert line["severity"] == 6


def test_lines_behind_a_number() -> None:
    history = filled(1, 5, 6, 9)
    assert ids(history.after(None)) == [1, 5, 6, 9]
    assert [ids(history.after(number)) for number in (0, 1, 4, 5, 9, 99)] == [
        *([1, 5, 6, 9], [5, 6, 9], [5, 6, 9], [6, 9], [], [])
    ]
    assert ids(history.after(1, 2)) == [5, 6]
    assert len(filled(*range(1, 900)).after(None)) == FIRST


def test_what_is_not_newer_was_there_before() -> None:
    told: list[Line] = []
    history = filled(1, 2)
    history.told = told.append
    for number in (2, 1, 3):
        line = line_of(event(number), 3)
        assert line is not None
        history.add(line)
    assert (ids(history.after(None)), ids(told)) == ([1, 2, 3], [3])


def test_it_is_bounded() -> None:
    assert ids(filled(*range(1, 10), kept=3).after(0)) == [7, 8, 9]


def test_a_reader_goes_on_where_it_was_and_loses_nothing() -> None:
    history, found, place = filled(*range(1, 30)), [], 0
    while True:
        lines, behind = history.chosen(place, 4, "backend", "DEAD")
        if behind == place:
            break
        found += ids(lines)
        place = behind
    assert (found, place) == (list(range(1, 30, 2)), 29)
    assert history.chosen(None, 2, "", "")[0] == history.after(27)
    assert history.chosen(None, 5, "vip", "") == ([], 29)
    assert History().chosen(None, 5, "", "") == ([], 0)
    assert History().chosen(12, 5, "", "") == ([], 12)
