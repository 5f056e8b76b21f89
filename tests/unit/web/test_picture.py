"""What consoles are told: everything once, and then what has changed."""

from __future__ import annotations

import json
from typing import Any

from appliance.web.picture import PIECE, Counts, Frame, Picture

WALL = 1_800_000_000.0


def backend(address: str, **more: Any) -> dict[str, Any]:
    told = {"address": address, "state": "up", "since_s": 60.0, "took_ms": 1.0, "packets": 5, "packets_per_second": 1.0}
    return {**told, "octets": 9, "flows": 1, "drops": 0, "active_flows": 3, "diagnostic": "", **more}


def service(key: str, *backends: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"service": key, "up": True, "since_s": 60.0, "packets": 5, "backends": list(backends), **more}


def body(*services: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"version": "1", "uptime_s": 100.0, "vips": [{"vip": "v", "up": True, "since_s": 5.0}], **more} | {
        "services": list(services)
    }


def counts(at: float, *numbers: int, active: int | None = 4, key: str = "a") -> Counts:
    return Counts.of({"at": at, "services": [[key, list(numbers), active, [["b1", *numbers, active]]]]})


def kinds(frames: list[Frame]) -> list[str]:
    return [frame.event for frame in frames]


def test_moments_are_told_and_counters_are_not() -> None:
    overview, services = Picture().take(body(service("a", backend("b1"))), WALL)
    assert overview.data["started"] == WALL - 100
    assert overview.data["vips"] == [{"vip": "v", "up": True, "since": WALL - 5}]
    assert "services" not in overview.data
    [told] = services.data["changed"]
    assert told["since"] == told["backends"][0]["since"] == WALL - 60
    assert not {"packets", "packets_per_second", "since_s", "active_flows"} & (told.keys() | told["backends"][0].keys())
    assert (services.data["removed"], services.data["complete"]) == ([], True)


def test_only_what_changed_is_told_again() -> None:
    picture = Picture()
    first = body(service("a", backend("b1")), service("b", backend("b2")))
    picture.take(first, WALL)
    later = body(service("a", backend("b1", since_s=69.2, took_ms=1.2)), service("b", backend("b2", since_s=70.9)))
    for one in later["services"]:
        one["since_s"] = 70.0
    assert kinds(picture.take(later, WALL + 10)) == ["overview"], (
        "a moment that moves by rounding, and a time by little"
    )
    later["services"][0]["backends"][0] |= {"state": "dead", "since_s": 0.5}
    _, services = picture.take(later, WALL + 10)
    assert [one["service"] for one in services.data["changed"]] == ["a"]
    assert services.data["changed"][0]["backends"][0]["since"] == WALL + 9.5
    _, services = picture.take(body(service("b", backend("b2", since_s=70.0), since_s=70.0)), WALL + 10)
    assert services.data == {"changed": [], "removed": ["a"], "complete": True}


def test_the_same_state_since_another_moment_is_a_change() -> None:
    picture = Picture()
    picture.take(body(service("a", backend("b1"))), WALL)
    _, services = picture.take(body(service("a", backend("b1", since_s=3.0), since_s=70.0)), WALL + 10)
    assert services.data["changed"][0]["backends"][0]["since"] == WALL + 7


def test_rates_are_differences_and_never_negative() -> None:
    picture = Picture()
    assert picture.count(counts(10.0, 100, 1000, 10, 0), WALL).data["total"] == [0, 0, 0, 0, 4]
    frame = picture.count(counts(12.0, 300, 5000, 11, 2), WALL)
    assert frame.data["services"] == {
        "a": {"rates": [100, 2000, 0.5, 1, 4], "backends": {"b1": [100, 2000, 0.5, 1, 4]}}
    }
    assert (frame.data["total"], frame.data["seconds"]) == ([100, 2000, 0.5, 1, 4], 2.0)
    assert picture.count(counts(14.0, 500, 9000, 12, 4), WALL).data["services"] == {}, "the same rates again"
    # A program that was loaded anew counts from zero.
    assert picture.count(counts(16.0, 0, 0, 0, 0), WALL).data["total"][:4] == [0, 0, 0, 0]
    # A service that is new has no rates yet; one that is gone has none any more.
    assert picture.count(counts(18.0, 9, 9, 9, 9, key="new"), WALL).data["services"]["new"]["rates"][:4] == [0] * 4
    assert list(picture.rates) == ["new"]


def test_who_comes_later_sees_it_all_in_pieces() -> None:
    picture = Picture()
    picture.take(body(*(service(str(number), backend("b1")) for number in range(2 * PIECE + 1))), WALL)
    picture.count(counts(10.0, 0, 0, 0, 0, key="7"), WALL)
    overview, *pieces, numbers = picture.whole(WALL)
    assert (overview.event, numbers.event) == ("overview", "numbers")
    assert [len(piece.data["changed"]) for piece in pieces] == [PIECE, PIECE, 1]
    assert [piece.data["complete"] for piece in pieces] == [False, False, True]
    assert list(numbers.data["services"]) == ["7"]
    empty = Picture()
    empty.take(body(), WALL)
    assert kinds(list(empty.whole(WALL))) == ["overview", "services", "numbers"]


def test_an_event_is_three_lines_whatever_is_in_it() -> None:
    encoded = Frame("log", {"message": "a\nb\r\u2028c\x00é"}, 7).encode()
    assert encoded.count(b"\n") == 4
    assert encoded.startswith(b"id: 7\nevent: log\ndata: {")
    assert encoded.endswith(b"}\n\n")
    assert json.loads(encoded.split(b"data: ")[1])["message"] == "a\nb\r\u2028c\x00é"
