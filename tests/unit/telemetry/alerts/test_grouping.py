"""Many events, one message: what is in it, when it comes, and that nothing is lost or told twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.telemetry.alerts.grouping import MOST, OUTCOMES, Batch, Grouping, Standing
from appliance.telemetry.alerts.message import NAMED, compose
from tests.profile import EXAMPLES
from tests.unit.telemetry.alerts.samples import SERVICE, backend, document, read, vip


def batch(*documents: dict[str, Any]) -> Batch:
    made = Batch()
    for found in documents:
        made.add(read(found))
    return made


def told(*documents: dict[str, Any]) -> tuple[str, list[str], int]:
    """Return the title of the message that tells all these, its lines, and how many more there are."""
    message = compose(batch(*documents), "lb1")
    return message.title, [row.text for row in message.rows], message.more


def test_forty_backends_are_one_message() -> None:
    title, lines, more = told(vip(1), *(backend(2 + number, 10 + number) for number in range(40)))
    assert title == "lb1: 1 VIP down, 40 backends dead"
    assert lines[0] == f"VIP 203.0.113.10 down: {SERVICE} is down"
    assert lines[1] == f"backend 10.1.10.10 of {SERVICE} dead: connection refused"
    assert (len(lines), more) == (NAMED, 41 - NAMED)


def test_one_event_is_its_own_title() -> None:
    title, lines, more = told(backend(1, 11))
    assert title == f"lb1: backend 10.1.10.11 of {SERVICE} dead"
    assert (len(lines), more) == (1, 0)


def test_a_server_with_many_services_is_one_line() -> None:
    services = [f"203.0.113.{number}:443/tcp" for number in range(1, 31)]
    title, lines, _ = told(*(backend(number, 11, service=service) for number, service in enumerate(services, 1)))
    assert title == "lb1: backend 10.1.10.11 in 30 services dead"
    assert lines == ["backend 10.1.10.11 in 30 services dead: connection refused"]


# what happens to one backend -> what is told of it
STORIES = [
    (("dead",), Standing.BAD, "dead: connection refused"),
    (("dead", "up"), Standing.FLAPPING, "flapping: up again after 2 changes"),
    (("up", "dead"), Standing.FLAPPING, "flapping: dead again after 2 changes"),
    (("dead", "up", "dead"), Standing.BAD, "dead (3 changes): connection refused"),
    (("dead", "wrong"), Standing.BAD, "wrong (2 changes): connection refused"),
    (("up",), Standing.GOOD, "up: connection refused"),
]


@pytest.mark.parametrize(("outcomes", "standing", "text"), STORIES)
def test_what_became_of_one(outcomes: tuple[str, ...], standing: Standing, text: str) -> None:
    message = compose(batch(*(backend(at, 11, outcome) for at, outcome in enumerate(outcomes, 1))), "lb1")
    assert [(row.standing, row.text) for row in message.rows] == [(standing, f"backend 10.1.10.11 of {SERVICE} {text}")]
    assert message.events == len(outcomes)


def test_a_session_that_came_back_has_flapped() -> None:
    down = document(1, "bgp", "down", peer="10.0.0.1", before="established", reason="hold timer expired")
    refused = document(2, "bgp", "refused", peer="10.0.0.1", before="down", reason="bad peer AS")
    up = document(3, "bgp", "established", peer="10.0.0.1", before="down")
    title = "lb1: BGP session with 10.0.0.1 "
    assert told(down) == (f"{title}down", ["BGP session with 10.0.0.1 down: hold timer expired"], 0)
    assert told(down, refused)[1] == ["BGP session with 10.0.0.1 refused (2 changes): bad peer AS"]
    assert told(down, refused, up)[0] == f"{title}flapping"
    assert told(refused, up)[0] == f"{title}established"


def test_what_was_never_well_does_not_flap() -> None:
    assert told(backend(1, 11, "wrong", before="dead"), backend(2, 11, "dead", before="wrong"))[0].endswith(" dead")
    assert told(backend(1, 11, "up", before="unknown"), backend(2, 11, "dead"))[0].endswith(" dead")


def test_the_gravest_comes_first() -> None:
    lines = told(
        document(1, "operator", "", "drain it"),
        backend(2, 12, "up"),
        backend(3, 11),
        document(4, "alarm", "began", "eth1 is down", severity=4),
        document(5, "service", "down", service=SERVICE),
        vip(6),
    )[1]
    assert [line.split()[0] for line in lines] == ["VIP", "eth1", "service", "backend", "backend", "drain"]
    assert "10.1.10.11" in lines[3]


def test_numbers_are_in_order() -> None:
    lines = told(*(backend(at, number) for at, number in enumerate((100, 9, 10), 1)))[1]
    assert [line.split()[1] for line in lines] == ["10.1.10.9", "10.1.10.10", "10.1.10.100"]


def test_the_same_words_again_are_counted() -> None:
    assert told(*(document(at, "alarm", "", "it burns") for at in range(1, 4)))[1] == ["it burns (3 times)"]


def test_when_a_message_is_due() -> None:
    grouping = Grouping(wait=2.0, pause=30.0)
    assert not grouping.due(100.0)
    grouping.take(read(backend(1, 11)))
    assert [grouping.due(at) for at in (100.0, 101.9, 102.0)] == [False, False, True]
    assert grouping.begin(102.0).events == 1
    grouping.take(read(backend(2, 12)))
    assert not grouping.due(200.0)  # one under way at a time
    grouping.done()
    assert [grouping.due(at) for at in (103.0, 131.9, 132.0)] == [False, False, True]


def test_what_failed_is_told_with_what_came_after() -> None:
    grouping = Grouping()
    grouping.take(read(backend(1, 11)))
    assert grouping.due(0.0) is False
    assert grouping.due(2.0)
    grouping.begin(2.0)
    grouping.take(read(backend(2, 11, "up")))
    grouping.take(read(backend(3, 12)))
    grouping.again(5.0, 4.0)
    assert grouping.untold == 1
    assert [grouping.due(at) for at in (8.9, 9.0)] == [False, True]
    message = compose(grouping.begin(9.0), "")
    assert message.title == "1 backend dead, 1 backend flapping"
    assert message.events == 3
    assert grouping.done() == 3
    assert grouping.untold is None


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(("backend", "service", "alarm", "vip", "reload", "tick", "begin", "again", "done")),
        st.integers(0, 700),
        st.sampled_from(("up", "dead", "wrong", "")),
    ),
    max_size=60,
)


def happening(sequence: int, kind: str, number: int, outcome: str) -> dict[str, Any]:
    name = f"203.0.113.{number % 250}:{number}/tcp"
    return document(
        sequence,
        kind,
        outcome,
        f"message {number % 3}",
        service=name,
        backend=f"10.1.0.{number % 7}",
        severity=number % 8,
    )


@given(EVENTS, st.integers(1, 20))
@settings(max_examples=EXAMPLES)
def test_every_event_is_in_one_message(story: list[tuple[str, int, str]], repeat: int) -> None:
    """Told, under way or waiting: no event twice and none nowhere, and each message accounts for all of its own."""
    grouping, now, taken, done, under_way = Grouping(), 0.0, 0, 0, False
    for kind, number, outcome in story:
        if kind in ("tick", "begin", "again", "done"):
            now += number / 10
            if under_way and kind == "again":
                grouping.again(now, 1.0)
                under_way = False
            elif under_way and kind == "done":
                done += grouping.done()
                under_way = False
            elif grouping.due(now):
                under_way = True
                _accounts(grouping.begin(now))
            continue
        for more in range(repeat):
            taken += 1
            grouping.take(read(happening(taken, kind, number + more * 701, outcome)))
    assert done + grouping.waiting == taken
    # What is told first is what happened first, so everything before the oldest that waits is told.
    assert grouping.untold == (done + 1 if grouping.waiting else None)


def _accounts(told: Batch) -> None:
    message = compose(told, "lb1")
    assert sum(row.events for row in message.rows) + message.more_events == message.events == told.events
    assert sum(entry.events for entry in told.entries.values()) + told.counted.total() == told.events
    assert len(message.rows) <= NAMED
    assert (message.more > 0) == (message.more_events > 0)


def test_memory_is_bounded() -> None:
    made = Batch()
    for number in range(5 * MOST):
        made.add(read(document(number + 1, "alarm", f"word-{number}", f"text {number}")))
    assert len(made.entries) == MOST
    assert len(made.counted) <= OUTCOMES + 1
    _accounts(made)
    later = Batch()
    later.follow(made)
    later.follow(made)
    assert later.events == 10 * MOST
    _accounts(later)
    assert compose(later, "").more_events > 0


def test_what_does_not_fit_is_counted_with_all_its_events() -> None:
    full, more = Batch(), Batch()
    for number in range(MOST):
        full.add(read(document(number + 1, "service", "down", service=f"203.0.113.10:{number}/tcp")))
    for outcome in ("dead", "up", "dead"):
        more.add(read(backend(9999, 11, outcome)))
    full.follow(more)
    assert len(full.entries) == MOST
    assert full.counted.total() == 3
    _accounts(full)
