"""Which verdicts are not acted on: frozen, beyond `max_removal`, or because this node seems to be cut off."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.health.governor import AT_ONCE, Freeze, Governor, cut_off
from appliance.health.quorum import Ruling, Votes
from appliance.model import Address, Backend, Check, CheckKind, Health, Service, ServiceKey

WEB, TLS, DNS = (ServiceKey.parse(text) for text in ("192.0.2.1:80/tcp", "192.0.2.1:443/tcp", "192.0.2.2:53/tcp"))
HEALTHS = {"u": Health.UP, "d": Health.DEAD, "w": Health.WRONG, "?": Health.UNKNOWN}


def address(number: int) -> Address:
    return ip_address("10.1.1.0") + number


def service(key: ServiceKey, *numbers: int, **values: Any) -> Service:
    backends = tuple(Backend(address(number)) for number in numbers)
    return Service(key, backends, (Check(CheckKind.TCP, 80),), **values)


class Site:
    """Services, verdicts on their backends, and a governor that hears of every transition."""

    def __init__(self, *services: Service) -> None:
        self.services = services
        self.governor = Governor()
        self.health = {(one.key, b.address): Health.UP for one in services for b in one.backends}

    def found(self, key: ServiceKey, backend: Address) -> Health:
        return self.health[key, backend]

    def see(self, key: ServiceKey, number: int, letter: str, now: float) -> None:
        pair = key, address(number)
        before, self.health[pair] = self.health[pair], HEALTHS[letter]
        one = next(one for one in self.services if one.key == key)
        if before is not self.health[pair]:
            self.governor.moved(one, pair[1], before, self.health[pair], now)

    def step(self, now: float) -> set[ServiceKey]:
        return self.governor.step(self.services, self.found, now)

    def isolated(self) -> bool:
        return self.governor.isolated

    def effective(self, key: ServiceKey = WEB) -> str:
        letters = {health: letter for letter, health in HEALTHS.items()}
        return "".join(
            letters[self.governor.effective(*pair, health)] for pair, health in self.health.items() if pair[0] == key
        )


# Share, what the four backends turn into one after the other (number, letter) -> what is acted on
REMOVALS: list[tuple[float | None, list[tuple[int, str]], str]] = [
    (None, [(1, "d"), (2, "d"), (3, "d"), (4, "w")], "dddw"),
    (0.5, [(1, "d"), (2, "w"), (3, "d")], "dwuu"),
    (0.5, [(1, "d"), (2, "d"), (3, "d"), (4, "d")], "dduu"),
    (0.5, [(1, "d"), (2, "d"), (1, "u"), (3, "d"), (4, "d")], "uddu"),
    (0.5, [(1, "d"), (1, "w"), (2, "d"), (3, "d")], "wduu"),
    (0.5, [(1, "d"), (2, "d"), (3, "d"), (3, "w"), (3, "u")], "dduu"),
    (0.25, [(1, "d"), (2, "d")], "duuu"),
    (0.24, [(1, "d"), (2, "d")], "uuuu"),
    (0.0, [(1, "d")], "uuuu"),
    (1.0, [(1, "d"), (2, "d"), (3, "d"), (4, "d")], "dddd"),
]


@pytest.mark.parametrize(("share", "steps", "acted_on"), REMOVALS)
def test_never_more_than_max_removal(share: float | None, steps: list[tuple[int, str]], acted_on: str) -> None:
    site = Site(service(WEB, 1, 2, 3, 4, max_removal=share))
    for now, (number, letter) in enumerate(steps):
        site.see(WEB, number, letter, float(now))
        site.step(float(now))
    assert site.effective() == acted_on


def test_the_window_lets_go_of_what_is_held() -> None:
    site = Site(service(WEB, 1, 2, 3, 4, max_removal=0.25, removal_window=60.0))
    for number in (1, 2, 3):
        site.see(WEB, number, "d", float(number))
    assert site.effective() == "duuu"
    assert site.governor.kept_for(WEB, address(2), Health.DEAD) == "max_removal"
    assert site.step(60.9) == set()
    assert site.step(61.0) == {WEB}
    assert site.effective() == "dduu"
    assert site.step(120.9) == set()
    assert site.step(121.0) == {WEB}
    assert site.effective() == "dddu"


def test_disabled_backends_and_fallbacks_do_not_count() -> None:
    one = service(WEB, 1, 2, max_removal=0.5)
    extra = (Backend(address(3), enabled=False), Backend(address(4), fallback=True))
    site = Site(replace(one, backends=(*one.backends, *extra)))
    site.see(WEB, 1, "d", 1.0)
    site.see(WEB, 2, "d", 1.0)
    assert site.effective() == "duuu"


def test_disabled_backends_and_fallbacks_use_no_allowance_up() -> None:
    """Those that are out for maintenance, and fail there, must not have a dead backend kept in service."""
    one = service(WEB, 1, 2, max_removal=0.5)
    extra = (Backend(address(3), enabled=False), Backend(address(4), fallback=True))
    site = Site(replace(one, backends=(*extra, *one.backends)))
    site.see(WEB, 3, "d", 1.0)
    site.see(WEB, 4, "w", 1.0)
    site.see(WEB, 1, "d", 2.0)
    assert site.effective() == "dwdu"
    site.see(WEB, 2, "d", 3.0)
    assert site.effective() == "dwdu"
    assert site.governor.held == {(WEB, address(2))}


def test_a_limit_that_a_reload_took_away_holds_nothing() -> None:
    one = service(WEB, 1, 2, max_removal=0.0)
    site = Site(one)
    site.see(WEB, 1, "d", 1.0)
    assert site.governor.moved(one, address(1), Health.DEAD, Health.WRONG, 1.5)
    assert not site.governor.moved(replace(one, max_removal=None), address(1), Health.WRONG, Health.DEAD, 1.6)


def test_one_that_was_not_down_after_all_is_let_go_of() -> None:
    """After a restart without the verdicts, what was kept is found up: from up to up is no change, but news."""
    site = Site(service(WEB, 1), service(TLS, 2), service(DNS, 3))
    for key, number in ((WEB, 1), (TLS, 2), (DNS, 3)):
        site.see(key, number, "d", 1.0)
    site.step(1.0)
    assert site.isolated()
    again = Site(*site.services)
    again.governor.restore(site.governor.snapshot(), 2.0)
    again.step(2.0)
    assert again.isolated()
    for one in site.services:
        again.governor.moved(one, one.backends[0].address, Health.UP, Health.UP, 3.0)
    again.step(3.0)
    assert not again.isolated()
    assert not again.governor.removed


def test_a_first_verdict_is_no_removal() -> None:
    site = Site(service(WEB, 1, 2, max_removal=0.0))
    site.health[WEB, address(1)] = Health.UNKNOWN
    site.see(WEB, 1, "d", 1.0)
    assert site.effective() == "du"


# Backends of three services, those that fail -> is this node cut off
CUT_OFF = [
    ((1, 2), (3, 4), (5,), {1, 2, 3}, True),
    ((1, 2), (3, 4), (5,), {1, 3, 5}, True),
    ((1, 2), (3, 4), (5, 6), {1, 2, 3}, False),  # half
    ((1, 2), (1, 2), (1, 2), {1, 2}, False),  # all of them have the same backends
    ((1, 2), (2, 3), (3, 4), {1, 2, 3}, False),  # related by one in between
    ((1, 2, 3), (4,), (5,), {1, 2, 3}, False),  # most, but of one service
    ((1,), (2,), (3,), {1, 2}, True),
    ((1,), (2,), (3,), set(), False),
]


@pytest.mark.parametrize(("web", "tls", "dns", "failing", "cut"), CUT_OFF)
def test_whose_fault_it_is(
    web: tuple[int, ...], tls: tuple[int, ...], dns: tuple[int, ...], failing: set[int], cut: bool
) -> None:
    site = Site(service(WEB, *web), service(TLS, *tls), service(DNS, *dns))
    fell = [pair for pair in site.health if int(pair[1]) & 255 in failing]
    assert cut_off(site.services, site.found, fell) is cut


def test_an_address_that_answers_for_one_service_has_not_failed() -> None:
    site = Site(service(WEB, 1, 2), service(TLS, 3), service(DNS, 3))
    fell = [(WEB, address(1)), (TLS, address(3))]
    assert not cut_off(site.services, site.found, fell)
    assert cut_off(site.services, site.found, [*fell, (DNS, address(3))])


def test_a_node_that_is_cut_off_keeps_its_tables_until_most_answer_again() -> None:
    site = Site(service(WEB, 1, 2), service(TLS, 3, 4), service(DNS, 5))
    site.see(WEB, 1, "d", 1.0)
    site.see(TLS, 3, "d", 2.0)
    assert site.step(2.0) == set()
    assert not site.isolated()
    site.see(WEB, 2, "d", 3.0)
    assert site.step(3.0) == {WEB, TLS}
    assert site.isolated()
    assert site.governor.kept_for(WEB, address(1), Health.DEAD) == "isolated"
    site.see(TLS, 4, "d", 9.0)
    assert (site.effective(), site.effective(TLS), site.effective(DNS)) == ("uu", "uu", "u")
    assert site.step(500.0) == set()
    site.see(WEB, 1, "u", 501.0)
    site.step(501.0)
    assert site.isolated()
    site.see(WEB, 2, "u", 502.0)
    assert site.step(502.0) == {TLS}
    assert not site.isolated()
    assert (site.effective(), site.effective(TLS)) == ("uu", "dd")


def test_failures_one_after_the_other_are_not_at_once() -> None:
    site = Site(service(WEB, 1, 2), service(TLS, 3), service(DNS, 4))
    for turn, (key, number) in enumerate(((WEB, 1), (WEB, 2), (TLS, 3), (DNS, 4))):
        site.see(key, number, "d", turn * AT_ONCE)
        site.step(turn * AT_ONCE)
        assert not site.isolated()


def test_wrong_answers_do_not_speak_against_this_node() -> None:
    site = Site(service(WEB, 1), service(TLS, 2), service(DNS, 3))
    for key, number in ((WEB, 1), (TLS, 2), (DNS, 3)):
        site.see(key, number, "w", 1.0)
    site.step(1.0)
    assert not site.isolated()


def test_frozen_verdicts_stand_and_new_backends_have_their_own() -> None:
    governor = Governor()
    governor.frozen = Freeze("ann", 5.0, {(WEB, address(1)): Health.UP, (WEB, address(2)): Health.DEAD})
    assert governor.effective(WEB, address(1), Health.DEAD) is Health.UP
    assert governor.effective(WEB, address(2), Health.UP) is Health.DEAD
    assert governor.effective(WEB, address(3), Health.WRONG) is Health.WRONG
    assert governor.kept_for(WEB, address(1), Health.DEAD) == "frozen"
    assert governor.kept_for(WEB, address(1), Health.UP) == ""


def test_frozen_failures_do_not_speak_against_this_node() -> None:
    site = Site(service(WEB, 1), service(TLS, 2), service(DNS, 3))
    site.governor.frozen = Freeze("ann", 5.0, dict(site.health))
    for key, number in ((WEB, 1), (TLS, 2), (DNS, 3)):
        site.see(key, number, "d", 1.0)
    assert site.step(1.0) == set()
    assert not site.isolated()
    site.governor.frozen = None
    site.step(1.0 + AT_ONCE)
    assert (site.isolated(), site.effective()) == (False, "d")


def test_a_restart_changes_nothing() -> None:
    site = Site(service(WEB, 1, 2, 3, 4, max_removal=0.25), service(TLS, 5), service(DNS, 6))
    for number in (1, 2, 3):
        site.see(WEB, number, "d", 10.0)
    site.see(TLS, 5, "d", 10.0)
    site.step(10.0)
    site.governor.frozen = Freeze("ann", 5.0, dict(site.health))
    site.governor.quorum.rulings[WEB, address(4)] = Ruling(Health.DEAD, Votes(1, 2))
    again = Governor()
    assert again.restore(json.loads(json.dumps(site.governor.snapshot())), 11.0) == 0
    for name in ("frozen", "held", "stranded", "removed", "isolated"):
        assert getattr(again, name) == getattr(site.governor, name), name
    assert {pair: one.health for pair, one in again.quorum.rulings.items()} == {(WEB, address(4)): Health.DEAD}


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.sampled_from([str(WEB), "10.1.1.1", "up"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["who", "since", "verdicts"]), inner),
    max_leaves=9,
)


@given(st.dictionaries(st.sampled_from(["held", "stranded", "removed", "voted", "frozen"]), JSON) | JSON)
def test_garbage_is_left_out(saved: Any) -> None:
    governor = Governor()
    governor.restore(saved, 5.0)
    governor.step([service(WEB, 1)], lambda key, address: Health.DEAD, 6.0)
    json.dumps(governor.snapshot(), allow_nan=False)
