"""Operators overrule the configuration for single backends: over reloads and restarts, until they take it back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.netns.scenario_operator import (
    SERVICE,
    assert_refused,
    backends,
    configuration,
    events,
    running,
    states,
    wait_states,
)

pytestmark = [pytest.mark.root, pytest.mark.slow]

B1, B2 = "10.1.10.11", "10.1.10.12"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


def listed(daemon: Daemon) -> list[tuple[str, str, Any]]:
    return [(one["backend"], one["override"], one["weight"]) for one in daemon.ask("overrides")["overrides"]]


def ask(daemon: Daemon, *argv: str) -> None:
    verb, address, *more = argv
    done = daemon.vc5(verb, SERVICE, address, *more)
    assert done.returncode == 0, done.stderr


def test_overrides_stand_until_they_are_taken_back(lab: Lab) -> None:
    with running(lab, "overrides") as daemon:
        began = time.time()
        ask(daemon, "weight", B2, "3")
        ask(daemon, "disable", B1)
        assert states(daemon) == {"11": "draining", "12": "available"}
        expected = [(B1, "disable", None), (B2, "weight", 3)]
        assert listed(daemon) == expected
        [b1, b2] = backends(daemon)
        assert (b1["enabled"], b1["slots"], b2["weight"]) == (False, 0, 3)
        assert b1["overrides"][0]["who"].startswith("uid 0 (")
        assert began - 1 <= b1["overrides"][0]["since"] <= time.time()
        assert "disable by uid 0 (" in daemon.vc5("status").stdout
        assert "weight 3" in daemon.vc5("overrides").stdout

        # The configuration says otherwise, and is not heard for these.
        done = daemon.reload(configuration(servers=f"{B1} weight=9, {B2} weight=5"))
        assert done.returncode == 0, done.stderr
        assert listed(daemon) == expected
        assert [(row["enabled"], row["weight"]) for row in backends(daemon)] == [(False, 9), (True, 3)]

        daemon.kill9()
        daemon.start()
        assert states(daemon) == {"11": "draining", "12": "available"}
        assert listed(daemon) == expected

        ask(daemon, "enable", B1)
        wait_states(daemon, b11="available", b12="available")
        shares = {row["address"]: row["share"] for row in backends(daemon)}
        assert shares[B1] == pytest.approx(9 / 12, abs=0.05)
        ask(daemon, "weight", B2, "default")
        assert listed(daemon) == []
        shares = {row["address"]: row["share"] for row in backends(daemon)}
        assert shares[B1] == pytest.approx(9 / 14, abs=0.05)

        assert_refused(daemon.vc5("enable", SERVICE, B1), 1, "is not disabled; nothing to take back")
        assert_refused(daemon.vc5("weight", SERVICE, B1, "default"), 1, "has its configured weight, 9")
        assert_refused(daemon.vc5("weight", SERVICE, "10.1.10.13", "3"), 1, "has no backend 10.1.10.13")
        assert daemon.stop() == 0


def test_an_override_goes_with_its_backend(lab: Lab) -> None:
    with running(lab, "dropped") as daemon:
        for verb in ("disable", "drain"):
            ask(daemon, verb, B2)
        ask(daemon, "weight", B1, "7")
        began = time.time()
        assert daemon.reload(configuration(servers=B1)).returncode == 0
        assert listed(daemon) == [(B1, "weight", 7)]
        assert daemon.reload(configuration()).returncode == 0
        wait_states(daemon, b11="available", b12="available")
        wait_for("the events", lambda: len(events(daemon, "operator", began)) >= 2)
        told = [event["message"] for event in events(daemon, "operator", began)]
        assert daemon.stop() == 0
        assert sorted(text.partition(",")[0] for text in told if "dropped" in text) == ["disable", "drain"]


def test_enable_overrules_the_mark_of_the_configuration(lab: Lab) -> None:
    with running(lab, "mark") as daemon:
        assert daemon.reload(configuration(servers=f"{B1}, {B2}*")).returncode == 0
        wait_states(daemon, b11="available", b12="draining")
        ask(daemon, "enable", B2)
        wait_states(daemon, b11="available", b12="available")
        assert listed(daemon) == [(B2, "enable", None)]
        ask(daemon, "disable", B2)
        assert states(daemon) == {"11": "available", "12": "draining"}
        assert listed(daemon) == []
        assert daemon.stop() == 0
