"""What a drill does, and what follows from what it has seen: tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from appliance.control.drill import (
    LONGEST,
    SETTLE,
    Action,
    Done,
    Evidence,
    Seen,
    Step,
    course,
    judge,
    pace,
    question,
    report,
    spread,
)
from appliance.health.drill import FlowState
from appliance.model import Backend, Check, CheckKind, Forward, Protocol, Service, ServiceKey, Tracking

A, B, C = (IPv4Address(f"10.1.10.{number}") for number in (11, 12, 13))
KEY = ServiceKey(IPv4Address("203.0.113.10"), 80, Protocol.TCP)
HTTP = Check(CheckKind.HTTP, 80)
SERVICE = Service(KEY, (Backend(A, 1), Backend(B, 1)), (HTTP,))


def test_every_backend_is_disabled_and_enabled_and_one_is_drained() -> None:
    steps = course((A, B))
    assert [str(step) for step in steps] == [
        "open flows",
        f"disable {A}",
        f"enable {A}",
        f"disable {B}",
        f"enable {B}",
        f"drain {A}",
        f"undrain {A}",
        "reload",
        "recompile",
        "settle",
    ]
    assert sum(step.hold for step in course((A, B), 100)) == pytest.approx(100)
    assert steps[-1].hold == SETTLE


@pytest.mark.parametrize("seconds", [0.0, 16.9, LONGEST + 1, -1.0])
def test_a_time_that_is_too_short_or_too_long_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="takes 17 to 3600 seconds, not"):
        course((A, B), seconds)


def test_so_many_backends_that_the_hour_is_full_get_less_time_each() -> None:
    many = tuple(A + number for number in range(1000))
    assert sum(step.hold for step in course(many)) == pytest.approx(LONGEST)


def test_flows_are_dealt_out() -> None:
    assert spread(None, 3) == [4, 4, 4]
    assert spread(7, 3) == [3, 2, 2]
    assert sum(spread(None, 600)) == 1000
    for flows in (2, 1001):
        with pytest.raises(ValueError, match="with 3 backends a drill has 3 to 1000 flows"):
            spread(flows, 3)
    assert (pace(10), pace(1000)) == (1.0, 10.0)


TCP, DNS, UDP = Check(CheckKind.TCP, 80), Check(CheckKind.DNS, 53, transport=Protocol.UDP), Check(CheckKind.UDP, 53)
OVER_TCP = Check(CheckKind.DNS, 53)
QUESTIONS = {
    "http": (KEY, (TCP, HTTP), HTTP),
    "https": (KEY, (Check(CheckKind.HTTPS, 80),), Check(CheckKind.HTTPS, 80)),
    "of another port": (KEY, (Check(CheckKind.HTTP, 8080),), None),
    "tcp": (KEY, (TCP,), None),
    "none": (KEY, (), None),
    "dns": (ServiceKey(KEY.vip, 53, Protocol.UDP), (OVER_TCP, DNS), DNS),
    "udp": (ServiceKey(KEY.vip, 53, Protocol.UDP), (UDP,), UDP),
    "dns over tcp": (ServiceKey(KEY.vip, 53, Protocol.TCP), (OVER_TCP,), None),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_is_asked(name: str) -> None:
    key, checks, wanted = QUESTIONS[name]
    assert question(replace(SERVICE, key=key, checks=checks)) == wanted


def test_behind_nat_a_check_may_ask_where_the_backend_listens() -> None:
    check = Check(CheckKind.HTTP, 8080)
    mapped = replace(SERVICE, backends=(Backend(A, 1, port=8080), Backend(B, 1, port=8080)), checks=(check,))
    assert question(mapped) is None
    assert question(replace(mapped, forward=Forward.NAT)) is check


def test_udp_without_a_datagram_that_may_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="give it one of type dns or udp"):
        question(replace(SERVICE, key=ServiceKey(KEY.vip, 53, Protocol.UDP), checks=(OVER_TCP,)))


def flow(number: int, backend: IPv4Address, **more: object) -> Seen:
    values: dict[str, object] = {"state": FlowState.OPEN, "first": backend, "went": backend, "answered": 3}
    return Seen(number, backend, 8000 + number, 0.1, **{"step": 0} | values | more)  # type: ignore[arg-type]


def good(protocol: Protocol = Protocol.TCP, tracking: Tracking = Tracking.AUTO) -> Evidence:
    """A drill without a fault: two flows through each backend, one new flow while A is out."""
    seen = Evidence(protocol, tracking, (A, B))
    for at, step in enumerate(course((A, B))):
        carried = 2 if step.action.withdraws else 0
        seen.steps.append(Done(step, float(at), 0.002, carried=carried, open=4))
    for number, backend in enumerate((A, A, B, B), 1):
        seen.flows[number] = flow(number, backend)
    seen.flows[5] = flow(5, A, step=1, new=True, first=B, went=B, closed=True)
    return seen


def broken(seen: Evidence) -> None:
    seen.flows[1] = flow(1, A, state=FlowState.BROKEN, words="connection reset (response)", ended=2.0, ended_step=1)


def moved(seen: Evidence) -> None:
    seen.flows[1].sent_to(B, 4.04)


def to_withdrawn(seen: Evidence) -> None:
    seen.flows[5] = flow(5, A, step=1, new=True)


def new_refused(seen: Evidence) -> None:
    seen.flows[5] = flow(5, A, step=1, new=True, first=B, went=B, state=FlowState.FAILED, words="no answer")


def not_opened(seen: Evidence) -> None:
    seen.flows[3] = flow(3, B, state=FlowState.FAILED, first=None, went=None, words="connection refused")


def elsewhere(seen: Evidence) -> None:
    seen.flows[3] = flow(3, B, first=A, went=A)


def not_in_force(seen: Evidence) -> None:
    seen.steps[1].trouble = "not in force after 10 s"


def nothing_carried(seen: Evidence) -> None:
    seen.steps[1].carried = 0


def cut_short(seen: Evidence) -> None:
    seen.cut_short = "interrupted"


def left(seen: Evidence) -> None:
    seen.left = "the override could not be removed"


def unwell(seen: Evidence) -> None:
    seen.health.append(f"{B} went down: connection refused")


def wrong(seen: Evidence) -> None:
    seen.flows[2].wrong = 2


FAULTS: dict[Callable[[Evidence], None], str] = {
    broken: f"1 flow through {A} broke during `disable {A}`: connection reset (response)",
    moved: f"a flow of {A} was sent to {B}, 4.0 s after the beginning",
    to_withdrawn: f"a new flow went to {A} during `disable {A}`",
    new_refused: "1 new flow of 1 got no service while a backend was out: no answer",
    not_opened: f"1 flow through {B} could not be opened: connection refused",
    elsewhere: f"a flow was sent to {A}, and the slots said {B}",
    not_in_force: f"`disable {A}`: not in force after 10 s",
    cut_short: "the drill was ended early: interrupted",
    left: "the override could not be removed",
    unwell: f"{B} went down: connection refused",
    wrong: "2 answers that the check would not take",
}


def test_without_a_fault_it_passes() -> None:
    assert judge(good()) == ()


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.__name__ for fault in FAULTS])
def test_each_fault_is_a_reason(fault: Callable[[Evidence], None]) -> None:
    seen = good()
    fault(seen)
    assert judge(seen) == (FAULTS[fault],)


def test_a_step_that_no_flow_outlives_shows_nothing() -> None:
    seen = good()
    nothing_carried(seen)
    [reason] = judge(seen)
    assert reason.startswith(f"`disable {A}` shows nothing: no flow through it was open from before to after")


def test_servers_may_end_connections_as_long_as_others_outlive_the_step() -> None:
    seen = good()
    seen.flows[1] = flow(1, A, state=FlowState.ENDED, words="closed by the server")
    assert judge(seen) == ()


@pytest.mark.parametrize("fault", [moved, nothing_carried, to_withdrawn])
def test_udp_that_is_not_tracked_need_not_stay(fault: Callable[[Evidence], None]) -> None:
    seen = good(Protocol.UDP, Tracking.NONE)
    fault(seen)
    assert judge(seen) == ()


def test_the_report_has_the_counts() -> None:
    seen = good()
    broken(seen)
    told = report(seen, SERVICE, HTTP, 33.333, "uid 0 (root)")
    assert (told["verdict"], told["seconds"], told["asked"]) == ("FAIL", 33.3, "http")
    assert told["backends"][0] == {
        "address": str(A),
        "flows": 2,
        "open": 1,
        "ended": 0,
        "broken": 1,
        "resets": 1,
        "failed": 0,
        "moved": 0,
        "answered": 6,
        "wrong": 0,
    }
    assert told["new_flows"] == {"opened": 1, "refused": 0, "to_withdrawn": 0}
    assert told["steps"][1] == {
        "action": "disable",
        "backend": str(A),
        "at_s": 1.0,
        "in_force_ms": 2.0,
        "carried": 2,
        "open": 4,
        "trouble": None,
    }
    assert report(good(), SERVICE, HTTP, 1.0, "x")["verdict"] == "PASS"


def test_a_step_in_words() -> None:
    assert str(Step(Action.DRAIN, C)) == f"drain {C}"
