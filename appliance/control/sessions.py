"""BGP sessions outlive the program: what is handed over at a re-execution, and what is held against a sudden end.

    vc5 reexec, upgrade   the sockets go by exec with all there is to say of each session: nobody notices
    killed, crashed       the service manager has held a copy of each socket (descriptors.py), so the connection is
                          still there; the next daemon tells all routes again, and withdraws what may be too much
    no service manager    the connections end without a word: routers that restart gracefully keep the routes

Which VIPs may have been announced is in a file in memory that is held like the sockets.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from appliance.control.heritage import Bequest
from appliance.errors import HostError
from appliance.model import Address, EventKind
from appliance.model_address import same_addresses
from appliance.routing.bgp import succession
from appliance.routing.bgp.agreement import Local
from appliance.routing.bgp.message import Notification, encode
from appliance.routing.bgp.notification import Cease, Code
from appliance.routing.bgp.session import Session
from appliance.routing.speaker import Speaker

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

PREFIX = "bgp-peer-"
VIPS = "bgp-vips"
MOST = 1 << 22
"""Bytes of VIPs that are read."""


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
        self._looked: Mapping[Address, object] = {}
        """What was announced when that was last looked at."""
        self._file: int | None = None

    def resume(self, speaker: Speaker, wanted: Mapping[Address, Local]) -> int:
        """Go on with the sessions that the former program has left; return with how many."""
        inherited, resumed = self._daemon.inherited, 0
        left = self._daemon.descriptors.take(VIPS)
        if left is not None and left.descriptor is not None:
            self._file = left.descriptor
            self._vips = frozenset(_read(left.descriptor))
        for name in [one for one in inherited.names if one.startswith(PREFIX)]:
            bequest = self._daemon.descriptors.take(name)
            if bequest is not None and bequest.descriptor is not None:
                resumed += self._resume(speaker, wanted, bequest.descriptor, bequest.state)
        return resumed

    def _resume(self, speaker: Speaker, wanted: Mapping[Address, Local], descriptor: int, state: Any) -> bool:
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
            _close(descriptor, Cease.PEER_DECONFIGURED)
        elif not speaker.resume(local, found, descriptor, self._vips):
            _close(descriptor, Cease.OTHER_CHANGE)
        else:
            self.keep(speaker, speaker.sessions[peer])
            how = "goes on where the former program ended" if found.exact else "goes on after a sudden end"
            self._daemon.record(EventKind.BGP, f"the session {how}", peer=peer, outcome="established")
            return True
        return False

    def keep(self, speaker: Speaker, session: Session) -> None:
        """Have a session outlive a sudden end, once it is established."""
        peer = session.local.peer.address
        given = self._left(speaker, session, exact=False)
        if given is None:
            return
        descriptor, state = given
        self._kept[peer] = bool(state["partial"])
        try:
            self._daemon.descriptors.keep(name_of(peer), descriptor, state)
        except HostError:
            self._daemon.descriptors.release(name_of(peer))  # then it ends with this program, as it would without us

    def release(self, peer: Address) -> None:
        """A session is over."""
        if self._kept.pop(peer, None) is not None:
            self._daemon.descriptors.release(name_of(peer))

    def look(self, speaker: Speaker, announced: Mapping[Address, object]) -> None:
        """Every second: note which VIPs may be known, and who is amid a message."""
        for session in speaker.sessions.values():
            peer = session.local.peer.address
            if peer in self._kept and self._kept[peer] != speaker.blocked(session):
                self.keep(speaker, session)
        if not self._kept or same_addresses(self._looked, announced):
            return
        self._looked = announced
        known = self._vips | frozenset(announced)
        if known != self._vips:
            self._vips = known
            self._write()

    def hand_over(self, speaker: Speaker) -> None:
        """Leave everything as it is, to the program that is about to take the place of this one."""
        for session in speaker.sessions.values():
            given = self._left(speaker, session, exact=True)
            if given is not None:
                one = Bequest(name_of(session.local.peer.address), *given)
                self._daemon.estate.offer(one.name, lambda one=one: one)  # type: ignore[misc]

    def _left(self, speaker: Speaker, session: Session, *, exact: bool) -> tuple[int, dict[str, Any]] | None:
        given = speaker.left(session, exact=exact)
        if given is None:
            return None
        descriptor, found = given
        told = {"peer": str(session.local.peer.address), "partial": speaker.blocked(session)}
        return descriptor, {**told, "session": found.as_json()}

    def _write(self) -> None:
        """Replace what the file says; who reads it amid that finds a list that is too short, never a wrong one."""
        fours = b"".join(one.packed for one in self._vips if one.version == 4)
        sixes = b"".join(one.packed for one in self._vips if one.version == 6)
        if self._file is None:
            self._file = os.memfd_create(VIPS, os.MFD_CLOEXEC)
        data = len(fours).to_bytes(4, "big") + fours + sixes
        os.pwrite(self._file, data, 0)
        os.ftruncate(self._file, len(data))
        self._daemon.descriptors.keep(VIPS, self._file)


def _read(descriptor: int) -> Iterable[Address]:
    data = os.pread(descriptor, MOST, 0)
    fours = int.from_bytes(data[:4], "big")
    for start in range(4, min(4 + fours, len(data)) - 3, 4):
        yield IPv4Address(data[start : start + 4])
    for start in range(4 + fours, len(data) - 15, 16):
        yield IPv6Address(data[start : start + 16])


def _close(descriptor: int, subcode: int | None = None) -> None:
    """Close a connection; with a subcode after a Cease, without one as if it had ended with the former program."""
    with suppress(OSError), socket.socket(fileno=descriptor) as end:
        end.setblocking(False)
        if subcode is not None:
            end.send(encode(Notification(Code.CEASE, subcode)))
        end.shutdown(socket.SHUT_RDWR)
