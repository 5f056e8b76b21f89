"""Probes that run at once, because another balancer has found something else: how soon, and how many at most."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.health.messages import Probe, Report, decode_prompt, encode_prompt, is_prompt
from appliance.health.messages import Schedule as Told
from appliance.health.schedule import CONFIRM_LEAST, PROMPT_RATE, PROMPT_WITHIN, Schedule
from appliance.health.sharing import Sharing, Target
from appliance.model import Check, CheckKind, Outcome, ServiceKey
from tests.profile import EXAMPLES, PARSER_INPUTS
from tests.unit.health.servers import VIP, encoded
from tests.unit.health.test_prober import TCP, messages, prober
from tests.unit.health.test_tcp import listening

WEB, TLS = ServiceKey.parse("192.0.2.1:80/tcp"), ServiceKey.parse("192.0.2.2:443/tcp")
B1, B2 = IPv4Address("10.1.1.1"), IPv4Address("10.1.1.2")
HTTP = Check(CheckKind.HTTP, 80, "www.example.com")


def schedule(count: int, interval: float) -> Schedule:
    made = Schedule(lambda: 0.5, 10_000)
    made.configure(dict.fromkeys(range(count), Check(CheckKind.TCP, 80, interval=interval)), 0.0)
    for number in made.start_due(1.0, count):
        made.finish(number, Outcome.OK, 1.0)
    return made


def test_it_runs_at_once_and_is_confirmed_at_once() -> None:
    one = schedule(1, 60.0)
    assert one.next_due() == 61.0
    one.prompt([0, 7], 10.0)
    assert one.next_due() == 10.0
    for turn in range(2):
        now = one.next_due()
        assert now is not None
        assert now == pytest.approx(10.0 + turn * CONFIRM_LEAST)
        assert one.start_due(now, 9) == [0]
        one.finish(0, Outcome.NONE, now)
    assert one.next_due() == pytest.approx(70.0 + CONFIRM_LEAST)


def test_one_that_is_under_way_is_confirmed_at_once() -> None:
    one = schedule(1, 60.0)
    one.start_due(61.0, 1)
    one.prompt([0], 61.5)
    one.finish(0, Outcome.NONE, 61.6)
    assert one.next_due() == pytest.approx(61.6)  # CONFIRM_LEAST after its start


def test_what_is_as_it_was_is_not_confirmed() -> None:
    one = schedule(1, 60.0)
    one.prompt([0], 10.0)
    one.start_due(10.0, 1)
    one.finish(0, Outcome.OK, 10.0)
    assert one.next_due() == 70.0
    one.start_due(70.0, 1)
    one.finish(0, Outcome.NONE, 70.0)
    assert one.next_due() == 85.0  # nobody has said anything of that


def test_a_few_come_within_a_moment_and_many_as_fast_as_all_run_anyway() -> None:
    few, many = schedule(5, 60.0), schedule(2000, 20.0)
    few.prompt(range(5), 10.0)
    assert len(few.start_due(10.0 + PROMPT_WITHIN, 9)) == 5
    many.prompt(range(2000), 5.0)
    for moment in (5.0, 7.0, 15.0):
        started = len(many.start_due(moment, 9999))
        assert 0 < started <= 100 * (moment - 5.0 + PROMPT_WITHIN) + 1
    assert PROMPT_RATE < 100


@settings(max_examples=EXAMPLES // 5)
@given(st.lists(st.floats(0.01, 3.0), min_size=1, max_size=8), st.sampled_from([0.5, 2.0, 7.0]), st.integers(1, 9))
def test_nobody_has_it_run_more_than_twice_as_often(waits: list[float], interval: float, count: int) -> None:
    one, now, end, runs, turn = schedule(count, interval), 1.0, 1.0 + 20 * interval, 0, 0
    while now < end:
        now, turn = now + waits[turn % len(waits)], turn + 1
        due = one.next_due()
        while due is not None and due < now:
            for number in one.start_due(due, 99):
                runs += 1
                one.finish(number, Outcome.OK, due)
            due = one.next_due()
        one.prompt(range(count), now)
    assert runs <= 2 * count * ((now - 1.0) / interval / 0.9 + 1)


def test_whose_probes_they_are() -> None:
    sharing = Sharing()
    assert sharing.numbers([(WEB, B1)]) == set()
    checks = (HTTP, Check(CheckKind.TCP, 81))
    nats = iter(range(1, 9))
    targets = [
        Target(key, backend, IPv4Address("10.0.0.0") + next(nats), checks) for key in (WEB, TLS) for backend in (B1, B2)
    ]
    sharing.take(targets, str)
    by_number = {probe.number: probe for probe in sharing.probes()}
    for key, backend in ((WEB, B1), (TLS, B2)):
        numbers = sharing.numbers([(key, backend)])
        asked = {
            number
            for number, subscribers in sharing.subscribers.items()
            if any((one.service, one.backend) == (key, backend) for one in subscribers)
        }
        assert numbers == asked | {by_number[one].leader for one in asked} - {0}
    assert sharing.numbers([(WEB, B1), (WEB, B2)]) == sharing.numbers([(WEB, B1)]) | sharing.numbers([(WEB, B2)])
    assert sharing.numbers([(WEB, IPv4Address("10.9.9.9"))]) == set()
    sharing.take(targets[:1], str)
    assert sharing.numbers([(TLS, B2)]) == set()


@given(st.sets(st.integers(0, 1 << 53)))
def test_what_goes_in_comes_out(numbers: set[int]) -> None:
    line = encode_prompt(numbers)
    assert is_prompt(line)
    assert set(decode_prompt(line)) == numbers


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=4)


@settings(max_examples=PARSER_INPUTS)
@given(st.binary() | st.dictionaries(st.sampled_from(["prompt", "x"]), JSON).map(lambda one: json.dumps(one).encode()))
def test_garbage_is_refused_with_words(line: bytes) -> None:
    found: Any = ()
    words = "prompt"
    try:
        found = decode_prompt(line)
    except ValueError as error:
        words = str(error)
    assert words.startswith("prompt")
    assert all(isinstance(number, int) and number >= 0 for number in found)


def test_a_prober_that_is_asked_to_looks_at_once() -> None:
    """Its next look is an hour away: what comes is what was asked for."""
    with listening() as server, prober() as (daemon, _):
        check = replace(TCP, port=server.getsockname()[1], interval=3600.0)
        daemon.sendall(encoded(Told(1, (Probe(3, VIP, ip_address("127.0.0.1"), check),))))
        reports = (one for one in messages(daemon) if isinstance(one, Report))
        assert next(reports).answer.outcome is Outcome.OK
        server.close()
        daemon.sendall(encode_prompt([3, 99]))
        assert [next(reports).answer.outcome for _ in range(check.fall)] == [Outcome.NONE] * check.fall
