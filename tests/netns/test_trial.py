"""`vc5 reload --confirm`: what nobody confirms goes back, over kills and restarts, and no connection notices."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.netns.scenario import Scenario
from tests.netns.scenario_operator import assert_refused, backends, configuration, events, running, states

pytestmark = [pytest.mark.root, pytest.mark.slow]

OLD, NEW, THIRD = configuration(), configuration(servers="10.1.10.11"), configuration(servers="10.1.10.12")
BOTH = {"11": "available", "12": "available"}
ONE = {"11": "available", "12": "draining"}
SHORT = "3"
"""Seconds of a trial that is to run out."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


def trial(daemon: Daemon) -> str:
    """Return the phase of the trial, empty if there is none."""
    found = daemon.status()["config"]["trial"]
    return found["phase"] if found else ""


def try_out(daemon: Daemon, seconds: str, text: str = NEW) -> None:
    """Reload with a time to confirm."""
    daemon.configuration_file.write_text(text)
    done = daemon.vc5("reload", "--confirm", seconds)
    assert (done.returncode, "`vc5 confirm` keeps it" in done.stdout) == (0, True), done.stderr
    assert trial(daemon) == "waiting"


def warned(daemon: Daemon, words: str) -> bool:
    """Whether the status warns in these words."""
    return any(words in warning["message"] for warning in daemon.status()["warnings"])


def test_what_is_confirmed_stays_and_what_is_not_goes_back(lab: Lab) -> None:
    with running(lab, "trying", OLD) as daemon:
        assert_refused(daemon.vc5("confirm"), 1, "no configuration waits to be confirmed")
        try_out(daemon, "1h")
        assert states(daemon) == ONE
        assert warned(daemon, "the configuration is on trial")
        assert daemon.vc5("confirm").returncode == 0
        assert (trial(daemon), states(daemon)) == ("", ONE)
        assert not daemon.places.trial_file.exists()

        # Nobody has confirmed the second, so it is the first that comes back.
        try_out(daemon, "1h", OLD)
        try_out(daemon, SHORT, THIRD)
        wait_for("the first to come back", lambda: trial(daemon) == "back", 20)
        assert states(daemon)["11"] == "available"
        assert [row["address"] for row in backends(daemon) if row["drained_by"] is None] == ["10.1.10.11"]
        assert warned(daemon, "is not in force: nobody confirmed it in time")
        # What happened is on disk within a second.
        wait_for("the alarm", lambda: any("nobody confirmed" in one["message"] for one in events(daemon, "alarm")), 10)
        assert_refused(daemon.vc5("confirm"), 1, "no configuration waits to be confirmed", "came back")

        # A reload that asks for no confirmation is meant.
        assert daemon.reload(OLD).returncode == 0
        assert trial(daemon) == ""
        wait_for("both", lambda: states(daemon) == BOTH)

        # A trial that is refused leaves everything as it was, the trial before included.
        try_out(daemon, "1h")
        daemon.configuration_file.write_text("services: 7\n")
        assert_refused(daemon.vc5("reload", "--confirm", "60"), 78, "services: must be a list")
        daemon.configuration_file.write_text(configuration("eth9"))
        assert_refused(daemon.vc5("reload", "--confirm", "60"), 1, "interface eth9 does not exist")
        assert (trial(daemon), states(daemon)) == ("waiting", ONE)
        assert daemon.vc5("confirm").returncode == 0
        assert daemon.stop() == 0


def test_what_could_not_go_back_is_not_tried(lab: Lab) -> None:
    with running(lab, "no-return") as daemon:
        before = states(daemon)
        daemon.configuration_file.write_text(configuration(top="hash_seed: 000102030405060708090a0b0c0d0e0f"))
        done = daemon.vc5("reload", "--confirm", "60")
        assert_refused(done, 1, "nothing was changed", "no way back for 1800 s", "without --confirm")
        assert (trial(daemon), daemon.status()["config"]["generation"]) == ("", 1)
        assert daemon.vc5("reload").returncode == 0
        daemon.configuration_file.write_text(configuration())
        # This is why: the former seed cannot come back yet.
        assert_refused(daemon.vc5("reload"), 1, "another change now would break connections")
        assert states(daemon) == before
        assert daemon.stop() == 0


def test_it_goes_back_although_the_daemon_is_killed(lab: Lab) -> None:
    with running(lab, "killed", OLD) as daemon:
        # Killed and started within the time: the trial goes on, and ends.
        try_out(daemon, "8")
        daemon.kill9()
        daemon.start()
        assert (trial(daemon), states(daemon)) == ("waiting", ONE)
        wait_for("the one before", lambda: trial(daemon) == "back" and states(daemon) == BOTH, 30)

        # What went back does not come in force by a restart, but by a reload.
        daemon.kill9()
        daemon.start()
        assert (trial(daemon), states(daemon)) == ("back", BOTH)
        assert daemon.reload().returncode == 0
        assert (trial(daemon), states(daemon)) == ("", ONE)

        # Killed, and started when the time is over: it begins with the one before.
        try_out(daemon, SHORT, OLD)
        end = time.monotonic() + float(SHORT)
        daemon.kill9()
        wait_for("the time to be over", lambda: time.monotonic() > end, 10)
        daemon.start()
        assert (trial(daemon), states(daemon)["11"]) == ("back", "available")
        assert [row["address"] for row in backends(daemon) if row["drained_by"] is None] == ["10.1.10.11"]

        # A changed file is meant, too.
        daemon.kill9()
        daemon.configuration_file.write_text(OLD + "idle: 20m\n")
        daemon.start()
        assert trial(daemon) == ""
        wait_for("both", lambda: states(daemon) == BOTH)
        assert daemon.stop() == 0


def test_a_record_that_makes_no_sense_is_told_of(lab: Lab) -> None:
    with running(lab, "muddled", OLD) as daemon:
        daemon.kill9()
        daemon.places.trial_file.write_text('{"version": 1, "phase": "waiting", "until": 1, "seconds": 1}')
        daemon.start()
        wait_for("both", lambda: states(daemon) == BOTH)
        told = "trial.json: cannot be used"
        wait_for("the alarm", lambda: any(told in event["message"] for event in events(daemon, "alarm")), 10)
        assert daemon.stop() == 0


@pytest.mark.appliance
def test_no_connection_notices() -> None:
    with Scenario(Lab(backends=3), idle_flows=20) as scenario:
        for weights in (scenario.weights(b1=None), scenario.weights(b2=5)):
            before = scenario.pool.weights
            scenario.write(weights=weights)
            scenario.ask("reload", confirm=4)
            scenario.talk("on trial")
            scenario.note_stakes(scenario.flows.status().flows)
            scenario.wait("the one before", lambda: trial(scenario.daemon) == "back", 20)
            scenario.write(weights=before)
            scenario.check("the one before came back")
        scenario.write(weights=scenario.weights(b3=None))
        scenario.ask("reload", confirm=20)
        scenario.daemon.kill9()
        scenario.talk("no daemon")
        scenario.daemon.start()
        scenario.wait("the one before", lambda: trial(scenario.daemon) == "back", 40)
        scenario.check("the one before came back after a kill")
        scenario.finish()
