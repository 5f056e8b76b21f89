"""What the next program does with a session that was left to it, and what a service manager holds of it meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.control.descriptors import Descriptors
from appliance.control.handover import DOCUMENT, LEDGER, Estate, Inheritance
from appliance.control.heritage import Bequest, Heritage
from appliance.control.ledger import read
from appliance.control.notify import Notifier
from appliance.control.sessions import AWAY, VIPS, Sessions, name_of
from appliance.model_address import Address
from appliance.routing.bgp.agreement import Local
from appliance.routing.bgp.message import Keepalive, Notification, Update, encode
from appliance.routing.bgp.session import Session
from appliance.routing.bgp.succession import Left
from appliance.routing.route import Routes
from appliance.routing.speaker import Speaker
from tests.unit.control.test_descriptors import Manager
from tests.unit.routing.bgp import samples
from tests.unit.routing.bgp.pair import RIGHT
from tests.unit.routing.bgp.test_succession import SOME, left_of

NAME = name_of(RIGHT)


class Holder(Manager):
    """A service manager, and the way to it."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.notifier = Notifier()

    def end(self) -> None:
        self.listen()
        for number in self.store.values():
            os.close(number)
        self._end.close()
        self.notifier._notifier.socket.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Holder]:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    made = Holder(tmp_path / "notify")
    yield made
    made.end()


class Program:
    """A program that goes on with what it is left."""

    def __init__(
        self, manager: Holder, left: tuple[Bequest, ...], wanted: dict[Address, Local], routes: Routes
    ) -> None:
        for one in left:
            if one.descriptor is not None and one.name not in manager.store:
                manager.store[one.name] = os.dup(one.descriptor)
        notifier, estate = manager.notifier, Estate()
        self.estate = estate
        inherited = Inheritance(Heritage("1", left), [DOCUMENT, *(one.name for one in left)])
        descriptors = Descriptors(estate, inherited, notifier)
        daemon: Any = SimpleNamespace(
            inherited=inherited, descriptors=descriptors, notifier=notifier, estate=estate, record=lambda *_, **__: None
        )
        self.speaker = Speaker(lambda session: routes, lambda session, news: None, lambda *_: None)
        self.sessions = Sessions(daemon)
        self.resumed = self.sessions.resume(self.speaker, wanted, routes)
        descriptors.forget_rest()

    @property
    def session(self) -> Session:
        return self.speaker.sessions[RIGHT]


def remains(left: Left, descriptor: int, **more: Any) -> Bequest:
    return Bequest(NAME, descriptor, {"peer": str(RIGHT), "partial": False, "session": left.as_json(), **more})


def ends() -> tuple[int, socket.socket]:
    """A connection: the descriptor of our end, and the peer's."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    return ours.detach(), theirs


def heard(end: socket.socket) -> tuple[list[Any], bool]:
    """Return the messages that came, and whether that was all."""
    data = b""
    while True:
        try:
            more = end.recv(1 << 16)
        except BlockingIOError:
            return samples.read(data, internal=True, extended=True), False
        if not more:
            return samples.read(data, internal=True, extended=True), True
        data += more


def told(manager: Holder) -> Any:
    """What the service manager would give to the next program of this session."""
    manager.listen()
    states = {one.name: one.state for one in read(manager.store[LEDGER]).bequests}
    return json.loads(json.dumps(states[NAME]))


def exactly(**ours: Any) -> tuple[Session, Left]:
    session, left = left_of(**ours)
    return session, replace(left, unsent=b"", told=SOME)


def test_what_is_exact_goes_on_and_is_held_as_what_it_will_be(manager: Holder) -> None:
    session, left = exactly()

    async def run() -> None:
        ours, theirs = ends()
        with theirs:
            program = Program(manager, (remains(left, ours),), {RIGHT: session.local}, SOME)
            assert program.resumed == 1
            await asyncio.sleep(0)
            program.session.tick(program.session.deadline or 0.0)
            program.speaker._act(program.session)
            assert heard(theirs) == ([Keepalive()], False), "nothing is told that the peer knows"
            state = told(manager)
            assert (state["session"]["exact"], state["partial"], state["session"]["told"]) == (False, False, [])
            assert set(manager.store) == {NAME, LEDGER, VIPS}
            # Who leaves says it all, and closes nothing that somebody holds.
            program.sessions.leave(program.speaker)
            program.speaker.abandon()
            state = told(manager)
            assert state["session"]["exact"] is True
            assert heard(theirs) == ([Keepalive()], False)
            again = Program(manager, (Bequest(NAME, os.dup(manager.store[NAME]), state),), {RIGHT: session.local}, SOME)
            assert (again.resumed, heard(theirs)) == (1, ([], False))
            program.speaker.abandon()
            again.speaker.abandon()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("ours", "held"),
    [
        ({"hold_time": AWAY - 1}, False),
        ({"hold_time": AWAY}, True),
        ({"hold_time": 0}, True),
        ({"hold_time": AWAY - 1, "graceful_restart": False}, True),
    ],
    ids=str,
)
def test_none_is_held_that_a_router_would_end_before_the_next_daemon_is_there(
    manager: Holder, ours: dict[str, Any], held: bool
) -> None:
    session, left = exactly(**ours)

    async def run() -> None:
        fd, theirs = ends()
        with theirs:
            program = Program(manager, (remains(left, fd),), {RIGHT: session.local}, SOME)
            assert program.resumed == 1
            for step in (program.sessions.keep, lambda speaker, _: program.sessions.leave(speaker)):
                step(program.speaker, program.session)
                manager.listen()
                assert (NAME in manager.store) == held
            assert heard(theirs)[1] is False, "the program itself goes on"
            program.sessions.hand_over(program.speaker)
            assert NAME in [one.name for one in program.estate.gather()], "who follows at once"
            program.speaker.abandon()
            assert heard(theirs)[1] is not held

    asyncio.run(run())


def test_after_a_sudden_end_all_is_told_again_and_the_rest_withdrawn(manager: Holder) -> None:
    session, left = exactly()
    gone = ip_address("203.0.113.77")
    vips = os.memfd_create("vips")
    os.write(vips, (4).to_bytes(4, "big") + gone.packed)

    async def run() -> None:
        ours, theirs = ends()
        with theirs:
            found = (remains(left.suddenly(), ours), Bequest(VIPS, vips))
            program = Program(manager, found, {RIGHT: session.local}, SOME)
            messages, over = heard(theirs)
            assert not over
            updates = [one for one in messages if isinstance(one, Update)]
            come = {network.network_address for one in updates for part in one.announced for network in part.networks()}
            went = {network.network_address for one in updates for part in one.withdrawn for network in part.networks()}
            assert (come, went) == (set(SOME), {gone})
            program.speaker.abandon()

    asyncio.run(run())


Spoil = Callable[[Left], tuple[Left, dict[str, Any]]]
OVER: dict[str, tuple[Spoil, tuple[int, int] | None]] = {
    "killed amid a message": (lambda left: (left.suddenly(), {"partial": True}), None),
    "damaged": (lambda left: (left, {"session": {"version": 1}}), None),
    "nothing": (lambda left: (left, {"session": None}), None),
    "no address": (lambda left: (left, {"peer": "router"}), None),
    "no peer any more": (lambda left: (left, {"peer": "192.0.2.77"}), (6, 3)),
    "another session": (lambda left: (replace(left, digest="other"), {}), (6, 6)),
    "another session, amid a message": (
        lambda left: (replace(left, digest="other", unsent=encode(Keepalive())), {}),
        (6, 6),
    ),
}


@pytest.mark.parametrize(("spoil", "cease"), OVER.values(), ids=OVER)
def test_what_cannot_go_on_is_ended_and_held_no_more(
    manager: Holder, spoil: Spoil, cease: tuple[int, int] | None
) -> None:
    session, whole = exactly()
    left, more = spoil(whole)

    async def run() -> None:
        ours, theirs = ends()
        with theirs:
            program = Program(manager, (remains(left, ours, **more),), {RIGHT: session.local}, SOME)
            messages, over = heard(theirs)
            assert over, "although the service manager holds it open still"
            last = [(one.code, one.subcode) for one in messages if isinstance(one, Notification)]
            assert last == ([cease] if cease else [])
            assert len(messages) == len(last) + bool(left.unsent and cease)
            manager.listen()
            assert NAME not in manager.store
            assert program.speaker.sessions == {}

    asyncio.run(run())


def test_who_takes_no_more_is_known_at_once(manager: Holder) -> None:
    """So that nobody goes on amid a message."""
    session, left = exactly()

    async def run() -> None:
        ours, theirs = ends()
        with theirs:
            program = Program(manager, (remains(left, ours),), {RIGHT: session.local}, SOME)
            heard(theirs)
            assert told(manager)["partial"] is False
            serving = program.session.serving
            assert serving is not None
            wire = program.speaker._wires[RIGHT, serving.serial]
            while not wire.waiting:
                program.session.outbox.resend()  # type: ignore[union-attr]
                program.speaker._act(program.session)
            assert told(manager)["partial"] is True
            while wire.waiting or program.session.outbox.pending:  # type: ignore[union-attr]
                heard_bytes(theirs)
                program.speaker._act(program.session)
            program.sessions.look(program.speaker, SOME)
            assert told(manager)["partial"] is False
            program.speaker.abandon()

    asyncio.run(run())


def heard_bytes(end: socket.socket) -> None:
    try:
        end.recv(1 << 20)
    except BlockingIOError:
        return


def test_peers_are_told_of_everything_in_turns(manager: Holder) -> None:
    """So that many of them with many routes hold up nothing else."""
    session, left = exactly()

    async def run() -> None:
        ours, theirs = ends()
        with theirs:
            speaker = Program(manager, (remains(left, ours),), {RIGHT: session.local}, SOME).speaker
            speaker.sessions |= {ip_address(f"192.0.2.{last}"): speaker.sessions[RIGHT] for last in (77, 78)}
            turn, turns = 0, []

            def routes(session: Session) -> Routes:
                turns.append(turn)
                return SOME

            speaker._routes = routes
            speaker.want()
            for turn in range(1, 9):
                await asyncio.sleep(0)
                if turn == 2:
                    speaker.want()
            assert turns == [1, 2, 3, 4, 5], "and those that were told before it changed are told again"
            speaker.abandon()

    asyncio.run(run())


def test_vips_are_noted_before_they_are_told_and_forgotten_when_nobody_knows_them(manager: Holder) -> None:
    session, left = exactly()

    async def run() -> None:
        ours, theirs = ends()
        with theirs:
            program = Program(manager, (remains(left, ours),), {RIGHT: session.local}, SOME)
            many = [ip_address(f"198.18.{high}.{low}") for high in range(20) for low in range(200)]
            program.sessions.note(program.speaker, many)
            manager.listen()
            size = os.fstat(manager.store[VIPS]).st_size
            assert size == 4 + 4 * len(many) + sum(len(vip.packed) for vip in SOME)
            program.sessions.look(program.speaker, SOME)
            assert os.fstat(manager.store[VIPS]).st_size == 4 + sum(len(vip.packed) for vip in SOME)
            program.speaker.abandon()

    asyncio.run(run())
