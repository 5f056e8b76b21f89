"""The sessions over UDP and the backends in one process: that they notice whatever could break a session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.addresses import VIP
from tests.lab.crowd import Datagrams
from tests.lab.patience import wait_for
from tests.lab.sessions import SESSION_BYTES
from tests.lab.tool import Tool
from tests.lab.topology import Lab
from tests.lab.traffic import FlowReport, LongFlows, Sessions
from tests.lab.wire import BYE, DATA, FAULT, HELLO, Frame

NAME, OTHER = bytes(SESSION_BYTES), bytes(SESSION_BYTES - 1) + b"x"


def test_a_backend_answers_only_what_it_has_heard_from_the_beginning() -> None:
    backend = Datagrams("b1")
    asked = [
        (Frame(DATA, 0, NAME + b"ab"), Frame(FAULT, 0, b"b1 does not know this session"), "no beginning"),
        (Frame(HELLO, 0, NAME), Frame(HELLO, 0, b"b1"), "the beginning"),
        (Frame(DATA, 0, NAME + b"ab"), Frame(DATA, 0, b"b1\0ba"), "what comes next"),
        (Frame(DATA, 0, NAME + b"ab"), Frame(DATA, 0, b"b1\0ba"), "said again"),
        (Frame(HELLO, 0, NAME), Frame(HELLO, 0, b"b1"), "the beginning again: nothing is forgotten"),
        (Frame(DATA, 2, NAME + b"cd"), Frame(FAULT, 2, b"b1 has not heard payload 1"), "something is missing"),
        (Frame(DATA, 0, OTHER + b"ab"), Frame(FAULT, 0, b"b1 does not know this session"), "another session"),
    ]
    for question, answer, why in asked:
        assert backend.answer(question) == answer, why
    once = Datagrams("b1")
    once.answer(Frame(HELLO, 0, OTHER))
    once.answer(Frame(DATA, 0, OTHER + b"ab"))
    ends = backend.answer(Frame(BYE, 1, NAME)), once.answer(Frame(BYE, 1, OTHER))
    assert ends[0] == ends[1], "what was said twice counts once"


@contextmanager
def standing() -> Iterator[tuple[Lab, Tool]]:
    """Two backends; packets go past the balancer, directly to b1."""
    with Lab(backends=2, servers=False) as lab:
        lab.route_vip(VIP, lab.backends["b1"].address)
        pairs = [f"{name}={backend.namespace.name}" for name, backend in lab.backends.items()]
        with Tool(lab.switch, "crowd", "--vip", str(VIP), *pairs) as crowd:
            crowd.expect("ready", 15)
            yield lab, crowd


def tell(crowd: Tool, command: str) -> None:
    crowd.tell(command)
    crowd.expect("done", 15)


def talked(flows: LongFlows) -> None:
    wait_for("some talk", lambda: all(flow.frames > 2 for flow in flows.status().flows if not flow.idle))


def reasons(report: FlowReport) -> set[str]:
    return {flow.reason for flow in report.broken}


@pytest.mark.root
@pytest.mark.parametrize("kind", [LongFlows, Sessions])
def test_undisturbed_flows_are_whole(kind: type[LongFlows]) -> None:
    with standing() as (lab, _), kind(lab.client, busy=20, idle=5, interval=0.02) as flows:
        talked(flows)
        flows.begin_more(5, 0.2)
        assert len(flows.opened_more().flows) == 30
        talked(flows)
        report = flows.stop()
    assert {flow.state for flow in report.flows} == {"done"}
    assert all(flow.frames > 0 and flow.opened_at > 0 for flow in report.flows)
    assert set(report.by_backend()) == {"b1"}


@pytest.mark.root
def test_a_session_that_goes_elsewhere_breaks() -> None:
    with standing() as (lab, _), Sessions(lab.client, busy=10, idle=5, interval=0.05) as flows:
        talked(flows)
        lab.route_vip(VIP, lab.backends["b2"].address)
        wait_for("the busy sessions to break", lambda: len(flows.status().broken) == 10)
        assert {flow.backend for flow in flows.more(2).flows if flow.state == "open" and not flow.idle} == {"b2"}
        lab.route_vip(VIP, lab.backends["b1"].address)
        wait_for("these as well", lambda: len(flows.status().broken) == 12)
        report = flows.stop()
    assert reasons(report) == {f"b{one} complains: b{two} does not know this session" for one, two in ("12", "21")}
    assert {flow.state for flow in report.flows if flow.idle} == {"done"}, "they were silent meanwhile"


@pytest.mark.root
def test_a_backend_that_dies_forgets_and_one_that_is_unplugged_does_not() -> None:
    with standing() as (lab, crowd), Sessions(lab.client, busy=10, idle=5, interval=0.05) as flows:
        talked(flows)
        lab.unplug("b1")
        wait_for("silence", lambda: min(flow.longest_stall for flow in flows.status().flows if not flow.idle) > 0.5)
        lab.plug("b1")
        before = {flow.number: flow.frames for flow in flows.status().flows if not flow.idle}
        wait_for(
            "all to go on",
            lambda: all(flow.frames > before[flow.number] + 2 for flow in flows.status().flows if not flow.idle),
        )
        assert flows.status().broken == []
        tell(crowd, "kill b1")
        wait_for("the busy sessions to break", lambda: len(flows.status().broken) == 10)
        tell(crowd, "start b1")
        report = flows.stop()
    assert reasons(report) == {"[Errno 111] Connection refused", "b1 complains: b1 does not know this session"}
    assert len(report.broken) == 15


@pytest.mark.root
def test_health_is_what_it_was_told() -> None:
    with standing() as (lab, crowd):
        command = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code} ", "--max-time", "5")
        url = f"http://{lab.backends['b1'].address}/alive"
        seen = lab.router.run(*command, url)
        for verb in ("unwell b1", "well b1"):
            tell(crowd, verb)
            seen += lab.router.run(*command, url)
        assert seen.split() == ["200", "503", "200"]
