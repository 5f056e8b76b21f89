"""Who sends most: rates from two snapshots of the counters."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from appliance.control.sources import PERIOD, Biggest, Blocked, Snapshot, SourceCounts, pages, prefix_of
from appliance.dataplane.abi import SOURCE_SAMPLE, SOURCES
from appliance.model import Network

PLACE = 0xC6336


def counters(**counts: int) -> memoryview[int]:
    """Counters that are zero but for these, named by p and their place."""
    view = memoryview(bytearray(4 * SOURCES)).cast("I")
    for name, count in counts.items():
        view[int(name[1:])] = count
    return view


def told(now: memoryview[int], before: memoryview[int] | None, top: int = 3) -> Biggest:
    biggest = Biggest(top, [])
    for page in pages(Snapshot(10.0, now.tobytes()), Snapshot(0.0, before.tobytes()) if before else None):
        biggest.take(page)
    return biggest


def test_the_fastest_come_first_and_the_largest_of_equals() -> None:
    before = counters(p1=5, p2=1000, p3=7, p900000=50, p1048575=1)
    now = counters(p1=15, p2=1000, p3=7, p900000=150, p1048575=1, p77=1)
    assert told(now, before, 4).rows == [(100, 150, 900000), (10, 15, 1), (1, 1, 77), (0, 1000, 2)]
    assert (told(now, before).grown, told(now, before).total, told(now, before).prefixes) == (111, 1174, 6)


def test_a_counter_that_began_anew_has_grown() -> None:
    assert told(counters(p5=3), counters(p5=(1 << 32) - 2)).rows == [(5, 3, 5)]


def test_without_a_former_snapshot_there_are_totals_only() -> None:
    biggest = told(counters(p5=3, p6=4), None)
    assert biggest.rows == [(0, 4, 6), (0, 3, 5)]
    answer = biggest.as_json(0.0, ())
    assert (answer["rate"], answer["top"][0]["rate"], answer["top"][0]["share"]) == (None, None, 0.0)


def test_the_answer() -> None:
    view = counters()
    view[PLACE] = 100
    answer = told(view, counters()).as_json(8.0, (ip_network("198.51.100.0/24"),))
    assert answer == {
        "sample": SOURCE_SAMPLE,
        "seconds": 8.0,
        "rate": 800.0,
        "packets": 6400,
        "prefixes": 1,
        "top": [
            {
                "prefix": "198.51.96.0/20",
                "rate": 800.0,
                "rate_error": 80.0,
                "packets": 6400,
                "share": 1.0,
                "blocked": "partly",
            }
        ],
    }


def test_rates_are_of_the_last_one_or_two_periods() -> None:
    counts, view = SourceCounts(), counters(p1=1)
    assert counts.before() is None
    for second in range(40):
        counts.look(view, 100.0 + second)
        found = counts.before()
        assert found is not None
        age = 100.0 + second - found.at
        assert age <= 2 * PERIOD
        assert age >= PERIOD or second < PERIOD
    counts.look(None, 200.0)
    assert counts.before() is None


# The drop list -> whether 198.51.96.0/20 is blocked
BLOCKED: list[tuple[list[str], str]] = [
    ([], "no"),
    (["198.51.96.0/20"], "yes"),
    (["198.0.0.0/8", "198.51.96.0/24"], "yes"),
    (["198.51.100.0/24"], "partly"),
    (["198.51.96.0/24"], "partly"),
    (["198.51.112.0/20", "::/0"], "no"),
    (["198.51.80.0/20"], "no"),
    (["198.51.96.0/21", "198.51.104.0/21"], "yes"),
    (["0.0.0.0/0", "10.0.0.0/8"], "yes"),
]


@pytest.mark.parametrize(("texts", "how"), BLOCKED)
def test_how_far_a_prefix_is_blocked(texts: list[str], how: str) -> None:
    blocked: tuple[Network, ...] = tuple(ip_network(text) for text in texts)
    assert Blocked(blocked).how(prefix_of(PLACE)) == how
