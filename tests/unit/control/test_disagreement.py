"""What is checked at once since another node finds something else, and what is told of rulings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.control import disagreement
from appliance.control.disagreement import AGAIN, MOST, SINGLY, Disagreement, told
from appliance.control.judging import Judging
from appliance.health.agreement import patience
from appliance.health.governor import Governor, News
from appliance.health.quorum import Opinion, Pair, Ruling, Votes
from appliance.model import Address, Health, ServiceKey
from tests.unit.control.sample import HTTP, TLS, WEB, address, service

UP, DEAD, UNKNOWN = Health.UP, Health.DEAD, Health.UNKNOWN


def pair(number: int, key: ServiceKey = WEB) -> Pair:
    return key, address(number)


def opinion(node: int, *down: int, heard: float = 0.0, **values: Any) -> Opinion:
    return Opinion(node, f"lb{node}", {pair(number): True for number in down}, heard, **values)


class Verdicts:
    """What this node finds: these are down, and 9 is not known yet."""

    def __init__(self, *down: int) -> None:
        self.down = {pair(number) for number in down}

    def __call__(self, key: ServiceKey, backend: Address) -> Health:
        return UNKNOWN if (key, backend) == pair(9) else DEAD if (key, backend) in self.down else UP


# Down here, what a node said before (None: it is new) and says now -> what is checked at once
SAID: list[tuple[tuple[int, ...], tuple[int, ...] | None, tuple[int, ...], set[int]]] = [
    ((), None, (1, 2), {1, 2}),
    ((1,), None, (1, 2), {2}),
    ((), (), (1,), {1}),
    ((), (1,), (1,), set()),
    ((1,), (1,), (), {1}),  # it is up again there
    ((1,), (), (1,), set()),
    ((), (1,), (), set()),
    ((1,), None, (), set()),  # that it is up there, it has not just found out
    ((), None, (9,), set()),
]


@pytest.mark.parametrize(("down", "before", "now", "checked"), SAID)
def test_what_another_node_finds_anew_is_checked_at_once(
    down: tuple[int, ...], before: tuple[int, ...] | None, now: tuple[int, ...], checked: set[int]
) -> None:
    one = Disagreement()
    if before is not None:
        one.hear([opinion(1, *before)], Verdicts(*before, *down), 0.0)
    found = one.hear([opinion(1, *now, heard=AGAIN)], Verdicts(*down), AGAIN)
    assert set(found) == {pair(number) for number in checked}


@pytest.mark.parametrize("values", [{"heard": -9.0}, {"ready": False}, {"isolated": True}])
def test_who_does_not_count_is_not_listened_to(values: dict[str, Any]) -> None:
    assert Disagreement().hear([opinion(1, 1, **values)], Verdicts(), 0.0) == []


def test_who_says_something_else_each_moment_is_heard_once_in_a_while() -> None:
    one, checked = Disagreement(), 0
    for moment in range(1000):
        now = moment / 100
        checked += len(one.hear([opinion(1, *((1,) if moment % 2 else ()), heard=now)], Verdicts(), now))
    assert checked <= 10 / AGAIN + 1


def test_no_more_than_so_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST > 2000
    monkeypatch.setattr(disagreement, "MOST", 3)
    assert len(Disagreement().hear([opinion(1, *range(20, 40))], Verdicts(), 0.0)) == 3


def ruling(health: Health, up: int, dead: int) -> Ruling:
    return Ruling(health, Votes(up, dead))


@pytest.mark.parametrize(
    ("here", "before", "after", "outcome", "text"),
    [
        (1, None, ruling(UP, 2, 1), "begin", "kept in service although dead here: 2 of 3 nodes say up"),
        (0, None, ruling(DEAD, 1, 2), "begin", "taken out although up here: 2 of 3 nodes say down"),
        (1, ruling(UP, 2, 1), None, "end", "not kept in service by other nodes any more, dead here"),
        (0, ruling(DEAD, 1, 2), None, "end", "not taken out by other nodes any more, up here"),
        (0, ruling(UP, 2, 1), ruling(DEAD, 1, 2), "begin", "taken out although up here: 2 of 3 nodes say down"),
    ],
)
def test_rulings_are_told(here: int, before: Ruling | None, after: Ruling | None, outcome: str, text: str) -> None:
    (one,) = told([News(pair(1), after, before)], Verdicts(here))
    assert (one.text, one.outcome, one.service, one.backend) == (text, outcome, *pair(1))


def test_dead_in_the_place_of_wrong_is_no_news() -> None:
    assert told([News(pair(1), ruling(DEAD, 1, 2), ruling(Health.WRONG, 1, 2))], Verdicts()) == []


def test_many_rulings_are_told_in_sum() -> None:
    news = [News(pair(number), ruling(UP, 2, 1), None) for number in range(1, SINGLY + 2)]
    news += [News(pair(number, TLS), ruling(UP, 2, 1), None) for number in range(1, 3)]
    news += [News(pair(99), None, ruling(UP, 2, 1))]
    assert [(one.text, one.outcome, one.backend) for one in told(news, Verdicts())] == [
        (f"most nodes say otherwise of {SINGLY + 3} backends in 2 services", "begin", None),
        ("not kept in service by other nodes any more, up here", "end", address(99)),
    ]


class Listener:
    """As much of a daemon as what others say concerns."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.planned: list[ServiceKey] = []
        self.prompted: list[Pair] = []
        services = (service(WEB, 1, 2, 3),)
        self.instance = SimpleNamespace(
            found=Verdicts(1), governor=Governor(), state=SimpleNamespace(staying=lambda: services)
        )
        self.prober = SimpleNamespace(prompt=self.prompted.extend)

    def plan_soon(self, key: ServiceKey, *, unsaved: bool) -> None:
        self.planned.append(key)

    def record(self, kind: Any, message: str, *, outcome: str, **more: Any) -> None:
        self.events.append((message, outcome))


@pytest.mark.parametrize("quorum", [True, False])
def test_the_daemon_checks_plans_and_tells(monkeypatch: pytest.MonkeyPatch, quorum: bool) -> None:
    daemon, now = Listener(), 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    judging = Judging(cast(Any, daemon))

    def hear() -> None:
        judging.heard([opinion(1, 2, heard=now), opinion(2, 2, heard=now)], quorum=quorum)

    hear()
    assert daemon.prompted == [pair(2)]
    governor = daemon.instance.governor
    now += patience((HTTP,))
    hear()
    changed = governor.step(daemon.instance.state.staying(), daemon.instance.found, now)
    assert changed == ({WEB} if quorum else set())
    hear()
    texts = [
        "kept in service although dead here: 2 of 3 nodes say up",
        "taken out although up here: 2 of 3 nodes say down",
    ]
    assert sorted(daemon.events) == ([(text, "begin") for text in texts] if quorum else [])
    assert daemon.prompted == [pair(2)]
    judging.heard([], quorum=quorum)
    assert daemon.planned == []
    daemon.instance.found.down = {pair(2)}
    governor.moved(service(WEB, 1, 2, 3), address(2), UP, DEAD, now)
    hear()
    assert (("not taken out by other nodes any more, dead here", "end") in daemon.events) is quorum
