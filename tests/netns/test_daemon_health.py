"""What becomes of connections when their backend answers wrongly, or not at all."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.lab.addresses import CLIENT_ADDRESSES, ECHO, VIP
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.traffic import LongFlows
from tests.netns.scenario_operator import ECHO_SERVICE, configuration, prepared, wait_states

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


def test_a_backend_that_answers_wrongly_keeps_its_connections(lab: Lab) -> None:
    with prepared(lab, "drain", configuration(port="7000/tcp", service="on_down: drain")) as daemon:
        daemon.start()
        wait_states(daemon, ECHO_SERVICE, b11="available", b12="available")
        with LongFlows(lab.client, busy=40, idle=10) as flows:
            assert set(flows.opened.by_backend()) == {"b1", "b2"}
            lab.backends["b1"].set_alive(False)
            try:
                wait_states(daemon, ECHO_SERVICE, b11="draining", b12="available")
                old = {flow.number for flow in flows.status().flows}
                new = [flow for flow in flows.more(30).flows if flow.number not in old]
                assert {flow.backend for flow in new} == {"b2"}
            finally:
                lab.backends["b1"].set_alive(True)
            wait_states(daemon, ECHO_SERVICE, b11="available", b12="available")
            assert flows.stop().broken == []
        assert daemon.stop() == 0


def test_cut_makes_a_wrong_answer_deadly(lab: Lab) -> None:
    text = configuration(port="7000/tcp", service="on_down: cut\non_dead: reset")
    with prepared(lab, "cut", text) as daemon:
        daemon.start()
        wait_states(daemon, ECHO_SERVICE, b11="available", b12="available")
        with LongFlows(lab.client, busy=40, idle=0, interval=0.05) as flows:
            mine = {flow.number for flow in flows.opened.flows if flow.backend == "b1"}
            lab.backends["b1"].set_alive(False)
            try:
                wait_states(daemon, ECHO_SERVICE, b11="dead", b12="available")
                wait_for("resets", lambda: {flow.number for flow in flows.status().broken} == mine)
            finally:
                lab.backends["b1"].set_alive(True)
            assert {flow.reason for flow in flows.status().broken} == {"[Errno 104] Connection reset by peer"}
        assert daemon.stop() == 0


@pytest.mark.parametrize("policy", ["reselect", "reset", "drop"])
def test_connections_of_a_dead_backend(lab: Lab, policy: str) -> None:
    """The backend falls silent: what a client learns, and when, is what `on_dead` says.

    With reselect another backend, which does not know the connection, resets it; so does the program with reset; with
    drop the client waits.
    """
    check = "{type: syn, port: 7000}"
    text = configuration(port="7000/tcp", service=f"on_dead: {policy}", check=check).replace(
        "timeout: 2s", "timeout: 1s"
    )
    with prepared(lab, f"dead-{policy}", text) as daemon:
        daemon.start()
        wait_states(daemon, ECHO_SERVICE, b11="available", b12="available")
        # Clients repeat what is lost after pauses that double: one may last longer than flows usually wait.
        with LongFlows(lab.client, busy=40, idle=0, interval=0.05, patience=60) as flows:
            mine = {flow.number for flow in flows.opened.flows if flow.backend == "b1"}
            assert mine
            lab.unplug("b1")
            try:
                wait_states(daemon, ECHO_SERVICE, b11="dead", b12="available")
                if policy == "drop":
                    wait_for("dropped packets", lambda: daemon.status()["reasons"].get("dead", 0) > 5)
                    assert flows.status().broken == []
                else:
                    wait_for("resets", lambda: mine <= {flow.number for flow in flows.status().broken}, 55)
                    others = [flow for flow in flows.status().broken if flow.number not in mine]
                    assert others == [], daemon.errors[-2000:]
                    assert {flow.reason for flow in flows.status().broken} == {"[Errno 104] Connection reset by peer"}
                reasons = daemon.status()["reasons"]
                assert ("reset" in reasons) == (policy == "reset")
                assert ("dead" in reasons) == (policy == "drop")
                assert {_greeted(lab) for _ in range(6)} == {"b2"}
            finally:
                lab.plug("b1")
            wait_states(daemon, ECHO_SERVICE, b11="available", b12="available")
            assert {flow.number for flow in flows.status().broken} <= mine
        assert daemon.stop() == 0


def _greeted(lab: Lab) -> str:
    """Return the name in the greeting of a new connection."""

    def connect() -> str:
        source = (str(CLIENT_ADDRESSES[7]), 0)
        with socket.create_connection((str(VIP), ECHO), 3, source) as connection:
            return connection.recv(64)[16:].decode()

    return lab.client.call(connect)
