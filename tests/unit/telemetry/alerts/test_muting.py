"""What is kept back while the daemon learns, and that it is not lost."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.telemetry.alerts.muting import KEPT, LEARNED, MARGIN, STARTED, Muting
from tests.profile import EXAMPLES
from tests.unit.telemetry.alerts.samples import SERVICE, backend, document, read, vip


def started(sequence: int, learn: Any = 10, **more: Any) -> dict[str, Any]:
    return document(sequence, "daemon", STARTED, "started", details={"learn_s": learn}, **more)


def heard(muting: Muting, *documents: dict[str, Any]) -> list[int]:
    """Return the sequence numbers of what is told when these come."""
    return [told.sequence for found in documents for told in muting.take(read(found))]


def test_the_beginning_is_muted_and_its_end_told() -> None:
    muting = Muting()
    begin = (started(1), backend(2, 11), document(3, "service", "down", service=SERVICE), vip(4))
    assert heard(muting, *begin) == [1]
    assert muting.since == 1
    assert heard(muting, document(5, "alarm", "began", "eth1 is down")) == [5]
    assert heard(muting, document(6, "daemon", LEARNED, "1 of 1 VIPs is down")) == [6]
    assert not muting.on
    assert heard(muting, backend(7, 12)) == [7]
    assert muting.muted == 3


def test_a_start_that_knows_all_mutes_nothing() -> None:
    for nothing in (0, None, "10", True, -1, 1e9, float("nan")):
        assert heard(Muting(), started(1, nothing), backend(2, 11)) == [1, 2]
    assert heard(Muting(), document(1, "daemon", STARTED, "started"), backend(2, 11)) == [1, 2]


def test_if_the_daemon_never_says_it_has_learned_what_is_down_is_told_by_the_clock() -> None:
    muting = Muting()
    heard(muting, started(1), backend(2, 11), backend(3, 12), backend(4, 11, "up"))
    assert [muting.step(now) for now in (100.0, 100.0 + 10 + MARGIN - 0.1)] == [[], []]
    assert [told.sequence for told in muting.step(100.0 + 10 + MARGIN)] == [3]
    assert heard(muting, backend(5, 11)) == [5]


def test_or_by_the_time_in_the_log() -> None:
    muting = Muting()
    heard(muting, started(1), backend(2, 11))
    assert heard(muting, document(3, "alarm", "", "it burns", after=1 + 10 + MARGIN + 1)) == [2, 3]


def test_a_daemon_that_starts_again_learns_again() -> None:
    muting = Muting()
    assert heard(muting, started(1), backend(2, 11), started(3), backend(4, 12)) == [1, 3]
    assert muting.since == 3
    muting.step(0.0)
    assert [told.sequence for told in muting.step(1e6)] == [4]


def test_a_program_that_goes_on_for_another_ends_it() -> None:
    muting = Muting()
    onward = document(4, "daemon", STARTED, "started", details={})
    assert heard(muting, started(1), backend(2, 11), backend(3, 12, "up"), onward, backend(5, 13)) == [1, 2, 4, 5]


def test_what_the_daemon_has_told_of_is_not_told_again() -> None:
    muting = Muting()
    heard(muting, started(1), backend(2, 11), document(3, "daemon", LEARNED, "10.1.10.11 is dead"), started(4))
    muting.step(0.0)
    assert muting.step(1e6) == []


def test_what_is_remembered_is_bounded() -> None:
    muting = Muting()
    muting.take(read(started(1)))
    for number in range(2, 2 * KEPT):
        muting.take(read(document(number, "service", "down", service=f"203.0.113.10:{number}/tcp", after=2)))
    muting.step(0.0)
    assert len(muting.step(1e6)) == KEPT


@given(st.lists(st.tuples(st.sampled_from((*"sldba",)), st.integers(0, 5)), max_size=30))
@settings(max_examples=EXAMPLES)
def test_nothing_is_told_twice_and_only_states_are_muted(story: list[tuple[str, int]]) -> None:
    muting, told, states = Muting(), [], 0
    for sequence, (what, number) in enumerate(story, 1):
        documents = {
            "s": started(sequence),
            "l": document(sequence, "daemon", LEARNED, "so it is"),
            "d": backend(sequence, number),
            "b": backend(sequence, number, "up"),
            "a": document(sequence, "alarm", "", "it burns"),
        }
        states += what in "db"
        told += heard(muting, documents[what])
    told += [one.sequence for one in (*muting.step(0.0), *muting.step(1e9))]
    assert len(set(told)) == len(told)
    assert {at for at, (what, _) in enumerate(story, 1) if what in "sla"} <= set(told)
    assert len(story) - len(told) <= muting.muted <= states
