"""What most nodes of a fleet say against what one finds: votes, how long they must stand, who suspects itself."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.health.agreement import patience
from appliance.health.governor import Freeze, Governor
from appliance.health.quorum import FRESH, LATELY, RESTORED, Opinion, Pair, Votes, differing
from appliance.health.relations import relations
from appliance.model import Address, Backend, Check, CheckKind, Health, Service, ServiceKey
from tests.profile import EXAMPLES

WEB, TLS, DNS = (ServiceKey.parse(text) for text in ("192.0.2.1:80/tcp", "192.0.2.1:443/tcp", "192.0.2.2:53/tcp"))
UP, DEAD, WRONG, UNKNOWN = Health.UP, Health.DEAD, Health.WRONG, Health.UNKNOWN
LETTERS = {"u": UP, "d": DEAD, "w": WRONG, "?": UNKNOWN}
CHECK = Check(CheckKind.TCP, 80)
STAND = patience((CHECK,))


def address(number: int) -> Address:
    return ip_address("10.1.1.0") + number


def pair(number: int, key: ServiceKey = WEB) -> Pair:
    return key, address(number)


def service(key: ServiceKey, *numbers: int, max_removal: float | None = None) -> Service:
    return Service(key, tuple(Backend(address(one)) for one in numbers), (CHECK,), max_removal=max_removal)


def opinion(node: int, *down: Pair, heard: float = 0.0, wrong: tuple[Pair, ...] = (), **values: Any) -> Opinion:
    said = dict.fromkeys(down, True) | dict.fromkeys(wrong, False)
    return Opinion(node, f"lb{node}", said, heard, **values)


class Node:
    """One node that hears others."""

    def __init__(self, *services: Service) -> None:
        self.services = services
        self.governor = Governor()
        self.health = {(one.key, backend.address): UP for one in services for backend in one.backends}
        self.others: list[Opinion] = []

    def found(self, key: ServiceKey, backend: Address) -> Health:
        return self.health.get((key, backend), UNKNOWN)

    def see(self, one: Pair, health: Health, now: float) -> None:
        before, self.health[one] = self.health[one], health
        of = next(each for each in self.services if each.key == one[0])
        self.governor.moved(of, one[1], before, health, now)

    def hear(self, now: float, *others: Opinion) -> set[ServiceKey]:
        """Others say this, now and from now on."""
        self.others = [Opinion(**(vars(one) | {"heard": now})) for one in others]
        return self.governor.hear(self.others, self.services, self.found, now)

    def wait(self, now: float) -> set[ServiceKey]:
        """Time passes, and the others go on to say it."""
        self.hear(now, *self.others)
        return self.governor.step(self.services, self.found, now)

    def acted_on(self, one: Pair) -> Health:
        return self.governor.effective(*one, self.health[one])

    def why(self, one: Pair) -> str:
        return self.governor.kept_for(*one, self.health[one])


# What this node finds, what the others say -> what is acted on once that has stood
VOTES = [
    ("d", "", "d"),
    ("d", "u", "d"),  # of two, none outvotes the other
    ("u", "d", "u"),
    ("d", "uu", "u"),
    ("w", "uu", "u"),
    ("d", "ud", "d"),
    ("u", "dd", "d"),
    ("u", "ww", "w"),
    ("u", "dw", "w"),  # most say down, but not dead
    ("u", "ddw", "w"),
    ("u", "dddw", "d"),
    ("u", "du", "u"),
    ("d", "uud", "d"),  # a tie of four
    ("u", "ddu", "u"),
    ("d", "uuu", "u"),
    ("d", "uuud", "u"),
    ("d", "uudd", "d"),
    ("?", "uuu", "?"),
    ("?", "ddd", "?"),
]


@pytest.mark.parametrize(("own", "others", "acted_on"), VOTES)
def test_more_than_half_of_the_votes_outvote_a_node(own: str, others: str, acted_on: str) -> None:
    node = Node(service(WEB, 1, 2))
    node.health[pair(1)] = UNKNOWN if own == "?" else UP
    if own in "dw":
        node.see(pair(1), LETTERS[own], 0.0)
    node.hear(
        0.0,
        *(
            opinion(number, *((pair(1),) if says == "d" else ()), wrong=(pair(1),) if says == "w" else ())
            for number, says in enumerate(others)
        ),
    )
    assert node.acted_on(pair(1)) is LETTERS[own]
    node.wait(STAND)
    assert node.acted_on(pair(1)) is LETTERS[acted_on]
    assert node.acted_on(pair(2)) is UP


def test_votes_are_told() -> None:
    node = Node(service(WEB, 1))
    node.see(pair(1), DEAD, 0.0)
    node.hear(0.0, opinion(1), opinion(2))
    assert node.why(pair(1)) == ""
    assert node.wait(STAND) == {WEB}
    assert node.why(pair(1)) == "quorum: 2 of 3 nodes say up"
    node.see(pair(1), UP, STAND + 1)
    assert node.hear(STAND + 1, opinion(1, pair(1)), opinion(2, wrong=(pair(1),))) == {WEB}  # it has been so lately
    assert node.why(pair(1)) == "quorum: 2 of 3 nodes say down"


# What is not counted: heard how long ago, other values
DEAF: list[tuple[float, dict[str, Any]]] = [
    (FRESH + 0.1, {}),
    (0.0, {"ready": False}),
    (0.0, {"isolated": True}),
    (0.0, {"checks": frozenset({TLS})}),
]


@pytest.mark.parametrize(("ago", "values"), DEAF)
def test_who_has_no_vote(ago: float, values: dict[str, Any]) -> None:
    node = Node(service(WEB, 1))
    node.see(pair(1), DEAD, 10.0)
    others = [opinion(1, heard=10.0), opinion(2, heard=10.0 - ago, **values)]
    node.governor.hear(others, node.services, node.found, 10.0)
    node.governor.step(node.services, node.found, 10.0)
    assert node.governor.quorum.votes(pair(1), DEAD).of == 2


def test_what_another_configuration_says_is_down_is_a_vote() -> None:
    assert opinion(1, pair(1), checks=frozenset()).says(pair(1)) is DEAD
    assert opinion(1, pair(1), checks=frozenset()).says(pair(2)) is None
    assert opinion(1, pair(1), checks=frozenset({WEB})).says(pair(2)) is UP


def test_a_vote_must_stand_in_both_directions() -> None:
    node = Node(service(WEB, 1))
    node.see(pair(1), DEAD, 0.0)
    node.hear(0.0, opinion(1), opinion(2))
    assert node.wait(STAND - 0.1) == set()
    node.hear(STAND - 0.05, opinion(1))  # one is gone for a moment
    node.hear(STAND, opinion(1), opinion(2))
    assert node.wait(STAND) == set()
    assert node.wait(2 * STAND) == {WEB}
    assert node.acted_on(pair(1)) is UP
    node.hear(20.0, opinion(1))
    assert node.wait(20.0 + STAND - 0.1) == set()
    assert node.wait(20.0 + STAND) == {WEB}
    assert node.acted_on(pair(1)) is DEAD


def test_what_most_find_and_this_node_as_well_is_acted_on_at_once() -> None:
    node = Node(service(WEB, 1))
    node.see(pair(1), DEAD, 0.0)
    node.hear(0.0, opinion(1), opinion(2))
    node.wait(STAND)
    assert node.hear(STAND + 0.1, opinion(1), opinion(2, pair(1))) == {WEB}
    assert node.acted_on(pair(1)) is DEAD


def test_who_was_outvoted_lately_is_so_at_once() -> None:
    node = Node(service(WEB, 1))
    node.see(pair(1), DEAD, 0.0)
    node.hear(0.0, opinion(1), opinion(2))
    node.wait(STAND)
    node.see(pair(1), UP, 10.0)
    node.see(pair(1), DEAD, 20.0)
    assert node.acted_on(pair(1)) is UP
    node.see(pair(1), UP, 30.0)
    node.wait(30.0 + LATELY)
    node.see(pair(1), DEAD, 31.0 + LATELY)
    assert node.acted_on(pair(1)) is DEAD


# What stands between a verdict and what is acted on, the first that applies: own verdict, what applies -> acted on, why
PRECEDENCE = [
    ("d", "", "d", ""),
    ("d", "held", "u", "max_removal"),
    ("d", "voted", "u", "quorum: 2 of 3 nodes say up"),
    ("d", "voted held", "u", "quorum: 2 of 3 nodes say up"),
    ("d", "voted stranded", "u", "isolated"),
    ("d", "voted stranded held", "u", "isolated"),
    ("d", "frozen", "w", "frozen"),
    ("d", "frozen voted stranded held", "w", "frozen"),
    ("u", "voted", "d", "quorum: 2 of 3 nodes say down"),
    ("u", "voted held", "u", ""),  # max_removal has no room for it
    ("u", "held", "u", ""),
    ("u", "frozen voted", "w", "frozen"),
    ("?", "voted", "?", ""),
]


@pytest.mark.parametrize(("own", "applies", "acted_on", "why"), PRECEDENCE)
def test_the_order_of_precedence(own: str, applies: str, acted_on: str, why: str) -> None:
    node = Node(service(WEB, 1, 2))
    governor = node.governor
    node.health[pair(1)] = LETTERS[own]
    if "voted" in applies:
        said = (pair(1),) if own == "u" else ()
        node.hear(0.0, opinion(1, *said), opinion(2, *said))
        node.wait(STAND)
    governor.held |= {pair(1)} if "held" in applies else set()
    governor.stranded |= {pair(1)} if "stranded" in applies else set()
    governor.frozen = Freeze("ann", 0.0, {pair(1): WRONG}) if "frozen" in applies else None
    assert node.acted_on(pair(1)) is LETTERS[acted_on]
    assert node.why(pair(1)) == why


def test_those_that_are_voted_out_use_the_allowance_up() -> None:
    node = Node(service(WEB, 1, 2, 3, 4, max_removal=0.25))
    others = [opinion(number, pair(1), pair(2)) for number in (1, 2)]
    node.hear(0.0, *others)
    node.wait(STAND)
    acted = [node.acted_on(pair(number)) for number in (1, 2, 3, 4)]
    assert sorted(acted) == [DEAD, UP, UP, UP]
    node.see(pair(3), DEAD, STAND)
    assert node.acted_on(pair(3)) is UP
    node.hear(STAND, opinion(1, pair(3)), opinion(2, pair(3)))
    assert [node.acted_on(pair(number)) for number in (1, 2)] == [UP, UP]
    node.see(pair(3), UP, STAND + 1)
    assert not node.governor.held
    node.see(pair(4), DEAD, STAND + 2)
    assert node.acted_on(pair(4)) is DEAD


def test_one_that_is_kept_by_others_uses_no_allowance_up() -> None:
    node = Node(service(WEB, 1, 2, 3, 4, max_removal=0.25))
    node.see(pair(1), DEAD, 0.0)
    node.hear(0.0, opinion(1), opinion(2))
    node.wait(STAND)
    node.see(pair(2), DEAD, STAND)
    assert [node.acted_on(pair(number)) for number in (1, 2)] == [UP, DEAD]


# Down here, of three unrelated services with 2 backends each; what the two others say is down -> suspects itself
SUSPICIONS = [
    ("1 3", "", "", True),
    ("1 2", "", "", False),  # of one service
    ("1 3", "1 3", "", False),
    ("1 3", "1", "", False),
    ("1 3 5", "1", "", True),
    ("1 3 5 6", "1 3", "", False),  # half of them
    ("1", "", "", False),
    ("", "", "", False),
]


@pytest.mark.parametrize(("here", "one", "other", "suspects"), SUSPICIONS)
def test_who_suspects_itself(here: str, one: str, other: str, suspects: bool) -> None:
    node = Node(service(WEB, 1, 2), service(TLS, 3, 4), service(DNS, 5, 6))
    by_number = {int(key[1]) & 255: key for key in node.health}

    def pairs(text: str) -> list[Pair]:
        return [by_number[int(number)] for number in text.split()]

    for each in pairs(here):
        node.see(each, WRONG, 0.0)
    node.hear(0.0, opinion(1, *pairs(one)), opinion(2, *pairs(other)))
    node.wait(STAND)
    assert (node.governor.isolated, node.governor.alone) == (suspects, suspects)
    if suspects:
        node.hear(30.0, opinion(1), opinion(2), opinion(3, *pairs(here)))
        node.wait(30.0 + STAND)
        assert not node.governor.isolated


def test_of_two_none_suspects_itself() -> None:
    node = Node(service(WEB, 1, 2), service(TLS, 3, 4))
    for each in (pair(1), pair(3, TLS)):
        node.see(each, WRONG, 0.0)
    node.hear(0.0, opinion(1))
    node.wait(STAND)
    assert not node.governor.isolated
    assert node.acted_on(pair(1)) is WRONG


def test_a_restart_changes_nothing_while_others_say_the_same() -> None:
    node = Node(service(WEB, 1))
    node.see(pair(1), DEAD, 0.0)
    node.hear(0.0, opinion(1), opinion(2))
    node.wait(STAND)
    saved = json.loads(json.dumps(node.governor.snapshot()))
    for others, after in (((opinion(1), opinion(2)), UP), ((), DEAD)):
        again = Node(*node.services)
        again.health = dict(node.health)
        assert again.governor.restore(saved, 100.0) == 0
        assert again.acted_on(pair(1)) is UP
        assert again.why(pair(1)) == "quorum: as before the restart"
        again.hear(101.0, *others)
        again.wait(100.0 + RESTORED + STAND)
        assert again.acted_on(pair(1)) is after


def test_what_is_not_configured_any_more_is_forgotten() -> None:
    node = Node(service(WEB, 1, 2))
    node.see(pair(1), DEAD, 0.0)
    node.hear(0.0, opinion(1), opinion(2))
    node.wait(STAND)
    node.services = (service(WEB, 2),)
    del node.health[pair(1)]
    node.wait(STAND + 1)
    assert not node.governor.quorum.rulings


@pytest.mark.parametrize(
    ("services", "groups"),
    [([(1, 2), (3,)], 2), ([(1, 2), (2, 3), (3, 4)], 1), ([(1,), (2,), (1, 2)], 1), ([], 0), ([(1,), (2,), (3,)], 3)],
)
def test_services_that_share_backends_are_related(services: list[tuple[int, ...]], groups: int) -> None:
    made = [service(key, *numbers) for key, numbers in zip((WEB, TLS, DNS), services, strict=False)]
    assert len(set(relations(made).values())) == groups


SAID = st.dictionaries(st.sampled_from([pair(number) for number in range(1, 5)]), st.booleans())


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(st.integers(0, 3), SAID, st.floats(0, 8), st.sampled_from("udw")), max_size=30))
def test_what_is_reckoned_step_by_step_is_what_the_votes_say(
    steps: list[tuple[int, dict[Pair, bool], float, str]],
) -> None:
    """Whatever is heard in which order: what is in force is backed by votes, or fades; nothing is left over."""
    node, now = Node(service(WEB, 1, 2, 3, 4)), 0.0
    views: dict[int, dict[Pair, bool]] = {}
    for other, said, passes, letter in steps:
        now += passes
        views[other] = said
        node.see(pair(other + 1), LETTERS[letter], now)
        node.hear(now, *(Opinion(number, "", view, now) for number, view in views.items()))
        node.governor.step(node.services, node.found, now)
    now += STAND
    for _ in range(2):
        node.wait(now)
        now += STAND
    for one, own in node.health.items():
        votes = [own, *((DEAD if view[one] else WRONG) if one in view else UP for view in views.values())]
        against = Votes(votes.count(UP), votes.count(DEAD), votes.count(WRONG)).against(own)
        assert node.acted_on(one) is (against or own)
    assert {news.pair for news in node.governor.news() if news.ruling} >= node.governor.quorum.rulings.keys()


@given(SAID, SAID)
def test_views_differ_in_what_only_one_says(one: dict[Pair, bool], other: dict[Pair, bool]) -> None:
    assert differing(one, other) == {each for each in {*one, *other} if one.get(each) != other.get(each)}
