"""BFD with BIRD and FRR: what their own tables say of us, whatever becomes of our daemon."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.lab.namespace import LabError
from tests.lab.patience import wait_for
from tests.netns.bfd_scene import BIRDS, FRRS, OURS, Bfdd, Bird, Daemon, Row, Scene, missing, processes

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=missing())]
ALL = (*BIRDS, *FRRS)
DETECTION = 0.9


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with Scene() as made:
        yield made


@pytest.fixture(scope="module")
def bird(scene: Scene) -> Iterator[Bird]:
    with Bird(scene) as made:
        yield made


@pytest.fixture(scope="module")
def frr(scene: Scene) -> Iterator[Bfdd]:
    with Bfdd(scene) as made:
        yield made


@pytest.fixture
def routers(bird: Bird, frr: Bfdd) -> tuple[Bird, Bfdd]:
    return bird, frr


def up(routers: tuple[Bird, Bfdd]) -> bool:
    bird, frr = routers
    wanted = {**dict.fromkeys(OURS["bird"], "up"), **dict.fromkeys(OURS["frr"], "up")}
    return {**bird.states(), **frr.states()} == wanted


def down(routers: tuple[Bird, Bfdd]) -> bool:
    states = {**routers[0].states(), **routers[1].states()}
    # One that answers nothing at the moment does not say that anything is down.
    return states.keys() == {*OURS["bird"], *OURS["frr"]} and not {"up", "init"} & set(states.values())


def begin(daemon: Daemon, routers: tuple[Bird, Bfdd], rows: tuple[Row, ...] = ALL, grace: float = 60.0) -> int:
    """Have all sessions up, as the routers see it; returns the process's id."""
    daemon.follow(rows, grace)
    try:
        wait_for("all sessions to be up", lambda: daemon.up(rows), 15)
    except LabError as error:
        raise LabError(f"{error}\n{daemon.ask()}\n{daemon.errors}\n{[each.states() for each in routers]}") from None
    wait_for("the routers to say so", lambda: up(routers))
    return daemon.bfd


def gone(daemon: Daemon) -> None:
    wait_for("the process of BFD to end", lambda: not processes(daemon.root), 10)


def test_sessions_of_every_kind_come_up_and_end_with_a_word(scene: Scene, routers: tuple[Bird, Bfdd]) -> None:
    with Daemon(scene) as daemon:
        begin(daemon, routers)
        frr = routers[1]
        for address, peer in frr.peers().items():
            assert peer["remote-detect-multiplier"] == 3, address
            wait_for(f"300 ms at {address}", lambda a=address: frr.peers()[a]["remote-transmit-interval"] == 300)  # type: ignore[misc]
            assert peer["remote-receive-interval"] == 300
        states = {one["peer"]: one for one in daemon.ask()["states"]}
        assert set(states) == {row[0] for row in ALL}
        for one in states.values():
            assert 49152 <= one["port"] <= 65535
            assert one["trouble"] == ""
            assert not one["drops"]
        wait_for("300 ms x 3", lambda: {one["detection"] for one in daemon.ask()["states"]} == {DETECTION})
        assert len({one["port"] for one in states.values()}) == len(ALL)
        daemon.stop(farewell=True)
        gone(daemon)
        wait_for("the routers to know", lambda: down(routers))
        # AdminDown, and not silence, is what the router has heard last.
        for peer in frr.peers().values():
            assert peer["diagnostic"] == "neighbor signaled session down"
            assert peer["remote-diagnostic"] == "administratively down"
        assert not list(daemon.root.glob("run-bfd/*"))


def test_a_stopped_process_is_noticed_within_the_detection_time(scene: Scene, routers: tuple[Bird, Bfdd]) -> None:
    with Daemon(scene) as daemon:
        process = begin(daemon, routers)
        began = time.monotonic()
        os.kill(process, signal.SIGSTOP)
        try:
            wait_for("the routers to notice", lambda: down(routers), DETECTION + 1)
            noticed = time.monotonic() - began
        finally:
            os.kill(process, signal.SIGCONT)
        print(f"noticed within {noticed:.2f} s, their answers included")
        assert noticed >= DETECTION * 0.5
        # And so do we, of their own word; then all is well again.
        why = "the peer says that it is down: control detection time expired"
        wait_for("our own knowledge", lambda: why in daemon.whys)
        wait_for("all sessions to be up again", lambda: daemon.up(ALL) and up(routers), 15)
        daemon.stop(farewell=True)
        gone(daemon)


def test_a_router_that_falls_silent_is_noticed_and_told_at_once(scene: Scene, routers: tuple[Bird, Bfdd]) -> None:
    with Daemon(scene) as daemon:
        begin(daemon, routers)
        bird = scene.spaces["bird"]
        cut = time.monotonic()
        scene.ours.run("ip", "link", "set", "up2", "down")
        try:
            wait_for("the end of the session", lambda: daemon.heard("10.9.2.3", "down"), 5)
        finally:
            scene.ours.run("ip", "link", "set", "up2", "up")
            scene.ours.run("ip", "-6", "address", "replace", "fd09:2::1/64", "dev", "up2", "nodad")
            scene.ours.run("ip", "route", "replace", "10.9.99.2", "via", "10.9.2.3")
            scene.ours.run("ip", "-6", "route", "replace", "fd09:99::2", "via", "fd09:2::3")
        told = daemon.heard("10.9.2.3", "down") or daemon.changes[-1]
        one = next(one for one in daemon.changes if one["changed"][:2] == ["10.9.2.3", "down"] and one["at"] > cut)
        assert one["changed"][2:] == [1, "the peer has not been heard for 0.9 s"]
        print(f"told {one['at'] - cut:.3f} s after the cable was cut; {bird.name} {told['at']:.0f}")
        wait_for("all sessions to be up again", lambda: daemon.up(ALL) and up(routers), 20)
        daemon.stop(farewell=True)
        gone(daemon)


def test_the_sessions_outlive_the_daemon(scene: Scene, routers: tuple[Bird, Bfdd]) -> None:
    with Daemon(scene) as first:
        process = begin(first, routers)
        before = routers[0].since()
        first.kill9()
        time_over = time.monotonic() + 2 * DETECTION
        wait_for("twice the detection time", lambda: time.monotonic() > time_over)
        assert up(routers)
        with Daemon(scene) as second:
            assert begin(second, routers) == process
            assert {one["changed"][1] for one in second.changes} == {"up"}, "a daemon that comes back finds them up"
            # An orderly end without farewell is no other.
            second.stop(farewell=False)
        with Daemon(scene) as third:
            assert begin(third, routers) == process
            assert routers[0].since() == pytest.approx(before, abs=0.01), "nothing has happened to them"
            third.stop(farewell=True)
            gone(third)


def test_when_the_grace_is_over_the_routers_are_told(scene: Scene, routers: tuple[Bird, Bfdd]) -> None:
    with Daemon(scene) as daemon:
        begin(daemon, routers, grace=1.5)
        daemon.kill9()
        wait_for("the routers to be told", lambda: down(routers), 6)
        wait_for(
            "frr to have heard AdminDown",
            lambda: {one["remote-diagnostic"] for one in routers[1].peers().values()} == {"administratively down"},
        )
        gone(daemon)
    with Daemon(scene) as again:
        begin(again, routers)
        again.stop(farewell=True)
        gone(again)


def test_another_program_takes_over_and_no_session_notices(scene: Scene, routers: tuple[Bird, Bfdd]) -> None:
    with Daemon(scene) as first:
        process = begin(first, routers)
        before, drops = routers[0].since(), first.ask()["drops"]
        first.kill9()
    with Daemon(scene, version="0.0.0-other") as second:
        assert begin(second, routers) == process
        gap = wait_for("another program", lambda: second.ask()["hello"].get("gap"))
        print(f"a gap of {gap * 1e3:.0f} ms")
        wait_until = time.monotonic() + 2 * DETECTION
        wait_for("twice the detection time", lambda: time.monotonic() > wait_until)
        assert up(routers)
        assert routers[0].since() == pytest.approx(before, abs=0.01)
        assert {one["changed"][1] for one in second.changes} == {"up"}
        # A router may go on for a moment with the sessions that a process before had; nothing else is lost.
        assert second.ask()["drops"] == drops
        second.stop(farewell=True)
        gone(second)


def test_intervals_change_and_sessions_come_and_go(scene: Scene, routers: tuple[Bird, Bfdd]) -> None:
    bird, frr = routers
    with Daemon(scene) as daemon:
        process = begin(daemon, routers)
        before = bird.since()
        slow = tuple((row[0], 1.0, 5, *row[3:]) for row in ALL)
        daemon.follow(slow)
        wait_for("frr to know", lambda: {one["remote-transmit-interval"] for one in frr.peers().values()} == {1000})
        wait_for(
            "both to agree",
            lambda: {(one["interval"], one["detection"]) for one in daemon.ask()["states"]} == {(1.0, 3.0)},
        )
        daemon.follow(ALL)
        wait_for("both to agree", lambda: {one["detection"] for one in daemon.ask()["states"]} == {DETECTION})
        daemon.follow(BIRDS)
        wait_for("frr to be told", lambda: set(frr.states().values()) == {"down"})
        assert {one["remote-diagnostic"] for one in frr.peers().values()} == {"administratively down"}
        assert bird.since() == pytest.approx(before, abs=0.01)
        assert daemon.bfd == process
        # Without any the process ends, and the next one begins anew.
        daemon.follow(())
        gone(daemon)
        assert begin(daemon, routers) != process
        daemon.stop(farewell=True)
        gone(daemon)


def test_what_dies_is_started_again(scene: Scene, routers: tuple[Bird, Bfdd]) -> None:
    with Daemon(scene) as daemon:
        process = begin(daemon, routers)
        os.kill(process, signal.SIGKILL)
        wait_for("another process", lambda: daemon.ask()["hello"].get("pid", process) != process, 10)
        wait_for("all sessions to be up again", lambda: daemon.up(ALL) and up(routers), 20)
        assert not [one for one in daemon.changes if one["changed"][2] == 1 and one["changed"][1] == "up"]
        daemon.stop(farewell=True)
        gone(daemon)
