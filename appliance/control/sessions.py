"""BGP sessions outlive the program: what is handed over at a re-execution, and what is held against a sudden end.

    vc5 reexec, upgrade   the sockets go by exec with all there is to say of each session: nobody notices
    killed, crashed       the service manager has held a copy of each socket (descriptors.py), so the connection is
                          still there; the next daemon tells all routes again, and withdraws what may be too much
    left (SIGUSR1)        the same, with all there is to say
    no service manager    the connections end without a word: routers that restart gracefully keep the routes

A router whose hold time may be over before the next daemon serves it would drop the routes of a connection that is held
(RFC 4271 section 6.5), and keeps them where the connection is gone (RFC 4724 section 4.2); so such a one is not held.

Which VIPs may have been announced is in a file in memory that is held like the sockets.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from appliance.control.handover import DOCUMENT
from appliance.control.heritage import Bequest
from appliance.errors import HostError
from appliance.model import Address, EventKind
from appliance.routing.bgp import succession
from appliance.routing.bgp.agreement import Local
from appliance.routing.bgp.message import Notification, encode
from appliance.routing.bgp.notification import Cease, Code
from appliance.routing.bgp.session import Session
from appliance.routing.bgp.succession import Left
from appliance.routing.speaker import Speaker

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

PREFIX = "bgp-peer-"
VIPS = "bgp-vips"
MOST = 1 << 22
"""Bytes of VIPs that are read."""
AWAY = 8
"""Seconds within which a daemon that ended serves its sessions again: the service manager waits for one of them."""
SPARE = 1000
"""How many VIPs that are announced no more are noted, besides as many as are announced."""


def name_of(peer: Address) -> str:
    """Return under which name a session is kept."""
    return PREFIX + peer.packed.hex()


class Sessions:
    """What is kept of the sessions of a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._kept: dict[Address, bool] = {}
        """Peers whose sessions are held, each with whether it was amid a message when that was said."""
        self._vips: frozenset[Address] = frozenset()
        self._file: int | None = None

    def resume(self, speaker: Speaker, wanted: Mapping[Address, Local], announced: Iterable[Address]) -> int:
        """Go on with the sessions that the former program has left; return with how many."""
        inherited, resumed = self._daemon.inherited, 0
        speaker.held_up = partial(self._held_up, speaker)
        left = self._daemon.descriptors.take(VIPS)
        if left is not None and left.descriptor is not None:
            self._file = left.descriptor
            self._vips = frozenset(_read(left.descriptor))
        suspects = self._vips.union(announced)
        names = [one for one in inherited.names if one.startswith(PREFIX)]
        if names:
            # Who fails from here on leaves no exact state: some of it may have been sent by then.
            self._daemon.notifier.forget(DOCUMENT)
            self._write(suspects)
        for name in names:
            bequest = self._daemon.descriptors.take(name)
            if bequest is not None and bequest.descriptor is not None:
                resumed += self._resume(speaker, wanted, suspects, bequest.descriptor, bequest.state)
        return resumed

    def _resume(
        self,
        speaker: Speaker,
        wanted: Mapping[Address, Local],
        suspects: Iterable[Address],
        descriptor: int,
        state: Any,
    ) -> bool:
        found = succession.read(state.get("session")) if isinstance(state, Mapping) else None
        if found is None or not isinstance(state, Mapping) or (state.get("partial") and not found.exact):
            _close(descriptor)
            return False
        try:
            peer = ip_address(str(state.get("peer")))
        except ValueError:
            _close(descriptor)
            return False
        local = wanted.get(peer)
        if local is None:
            _close(descriptor, Cease.PEER_DECONFIGURED, found.unsent)
            return False
        self._keep(peer, descriptor, found.suddenly(), amid=bool(found.unsent))
        if not speaker.resume(local, found, descriptor, suspects):
            self.release(peer)
            _close(descriptor, Cease.OTHER_CHANGE, found.unsent)
            return False
        if _better_ended(speaker.sessions[peer]):
            self.release(peer)
        how = "goes on where the former program ended" if found.exact else "goes on after a sudden end"
        self._daemon.record(EventKind.BGP, f"the session {how}", peer=peer, outcome="established")
        return True

    def keep(self, speaker: Speaker, session: Session) -> None:
        """Have a session outlive a sudden end, once it is established."""
        if _better_ended(session):
            return
        given = speaker.left(session, exact=False)
        if given is not None:
            self._keep(session.local.peer.address, *given, amid=speaker.blocked(session))

    def _keep(self, peer: Address, descriptor: int, left: Left, *, amid: bool) -> None:
        self._kept[peer] = amid
        try:
            self._daemon.descriptors.keep(name_of(peer), descriptor, _state(peer, left, amid=amid))
        except HostError:
            self._daemon.descriptors.release(name_of(peer))  # then it ends with this program, as it would without us

    def release(self, peer: Address) -> None:
        """A session is over."""
        if self._kept.pop(peer, None) is not None:
            self._daemon.descriptors.release(name_of(peer))

    def _held_up(self, speaker: Speaker, session: Session) -> None:
        """A peer takes no more for now: who is killed before it does has been killed amid a message."""
        if self._kept.get(session.local.peer.address) is False:
            self.keep(speaker, session)

    def look(self, speaker: Speaker, announced: Collection[Address]) -> None:
        """Every second: note who takes messages again, and forget VIPs that nobody knows any more."""
        for session in speaker.sessions.values():
            peer = session.local.peer.address
            if peer in self._kept and self._kept[peer] != speaker.blocked(session):
                self.keep(speaker, session)
        if len(self._vips) > 2 * len(announced) + SPARE:
            told = [session.outbox.told for session in speaker.sessions.values() if session.outbox is not None]
            self._write(frozenset(announced).union(*told))

    def note(self, speaker: Speaker, announced: Iterable[Address]) -> None:
        """Before anybody is told of these VIPs: note that they may be known."""
        known = self._vips.union(announced)
        if speaker.sessions and known != self._vips:
            self._write(known)

    def hand_over(self, speaker: Speaker) -> None:
        """Leave everything as it is, to the program that is about to take the place of this one."""
        speaker.breathe()
        for one in self._exactly(speaker, speaker.sessions.values()):
            self._daemon.estate.offer(one.name, lambda one=one: one)  # type: ignore[misc]

    def leave(self, speaker: Speaker) -> None:
        """Leave everything as it is to whoever follows, where the service manager holds it so long."""
        if not self._daemon.notifier.heard:
            return
        speaker.breathe()
        for one in self._exactly(
            speaker, [session for session in speaker.sessions.values() if not _better_ended(session)]
        ):
            assert one.descriptor is not None
            with suppress(HostError):  # too much to be told: what is told already is enough to go on
                self._daemon.descriptors.keep(one.name, one.descriptor, one.state)

    def _exactly(self, speaker: Speaker, sessions: Iterable[Session]) -> Iterator[Bequest]:
        for session in sessions:
            given = speaker.left(session, exact=True)
            if given is not None:
                peer, (descriptor, left) = session.local.peer.address, given
                yield Bequest(name_of(peer), descriptor, _state(peer, left, amid=speaker.blocked(session)))

    def _write(self, known: frozenset[Address]) -> None:
        """Replace what the file says; who reads it amid that finds a list that is too short, never a wrong one."""
        self._vips = known
        fours = b"".join(one.packed for one in known if one.version == 4)
        sixes = b"".join(one.packed for one in known if one.version == 6)
        if self._file is None:
            self._file = os.memfd_create(VIPS, os.MFD_CLOEXEC)
        data = len(fours).to_bytes(4, "big") + fours + sixes
        os.pwrite(self._file, data, 0)
        os.ftruncate(self._file, len(data))
        self._daemon.descriptors.keep(VIPS, self._file)


def _better_ended(session: Session) -> bool:
    """Return whether a router keeps more of a session that ends with the daemon than of one that is held too long."""
    agreement = session.agreement
    if agreement is None or agreement.graceful_restart is None or not session.local.peer.graceful_restart:
        return False
    return 0 < agreement.hold_time < AWAY


def _state(peer: Address, left: Left, *, amid: bool) -> dict[str, Any]:
    return {"peer": str(peer), "partial": amid, "session": left.as_json()}


def _read(descriptor: int) -> Iterable[Address]:
    data = os.pread(descriptor, MOST, 0)
    fours = int.from_bytes(data[:4], "big")
    for start in range(4, min(4 + fours, len(data)) - 3, 4):
        yield IPv4Address(data[start : start + 4])
    for start in range(4 + fours, len(data) - 15, 16):
        yield IPv6Address(data[start : start + 16])


def _close(descriptor: int, subcode: int | None = None, unsent: bytes = b"") -> None:
    """Close a connection; with a subcode after a Cease, without one as if it had ended with the former program.

    Shut down as well, for the service manager may hold it open. `unsent` is what the peer has to hear before the Cease.
    """
    with suppress(OSError), socket.socket(fileno=descriptor) as end:
        end.setblocking(False)
        with suppress(OSError):
            if subcode is not None:
                end.send(unsent + encode(Notification(Code.CEASE, subcode)))
        end.shutdown(socket.SHUT_RDWR)
