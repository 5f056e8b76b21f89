"""What the bench of the health checks makes of what a prober says."""

from __future__ import annotations

import pytest

from appliance.health.answer import Answer
from appliance.health.messages import Heartbeat, Report
from appliance.model import Outcome
from bench.health import gap_rows, lateness_rows, starts_of
from bench.verdicts import most_at_once


def report(number: int, start: float) -> Report:
    return Report(number, start + 0.25, Answer(Outcome.OK, "", total_ns=250_000_000))


@pytest.mark.parametrize(
    ("starts", "long", "skipped"),
    [
        ([1, 3, 5, 7, 9], 0, 0),
        ([0.5, 2.9, 5.3, 7.7], 0, 0),
        ([1, 3.5, 5, 7, 9], 1, 0),
        ([1, 3, 7, 9], 1, 1),
        ([3.5, 5, 7, 9], 1, 1),
        ([1, 3, 5], 1, 1),
        ([], 1, 4),
    ],
)
def test_gaps_between_starts_are_found(starts: list[float], long: int, skipped: int) -> None:
    reports = [report(1, at) for at in (-1, *reversed(starts), 10.1)]
    found = starts_of(reports, [1], 0.0, 10.0)
    assert found == {1: pytest.approx(starts)}
    row, missed = gap_rows(found, 0.0, 10.0, 0, {})
    assert row.value == pytest.approx(100 * long / (len(starts) + 1))
    assert (missed.value, missed.ok) == (skipped, not skipped)


def test_what_could_not_be_sent_was_skipped() -> None:
    assert gap_rows({1: [1.0]}, 0.0, 2.0, 3, {})[1].value == 3


def test_the_share_of_late_starts_is_that_beyond_200_ms() -> None:
    beats = [
        Heartbeat(starts=(990, 4, 3, 2, 1, 0, 0), late_ms=450),
        Heartbeat(starts=(999, 0, 0, 0, 0, 0, 1), late_ms=9),
    ]
    share, worst = lateness_rows(beats, {})
    assert share.value == pytest.approx(0.1)
    assert share.more["starts"] == 2000
    assert worst.value == 450


def test_probes_at_once_are_counted() -> None:
    spans = [(0.0, 2.0), (1.0, 3.0), (1.5, 1.75), (2.5, 4.0)]
    probes = [{"at": end, "details": {"total_ns": int((end - start) * 1e9)}} for start, end in spans]
    assert most_at_once(probes) == 3
