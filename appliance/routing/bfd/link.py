"""One session at work: the engine, the socket that it speaks with, and what is counted of it."""

from __future__ import annotations

from collections.abc import Callable
from socket import socket
from typing import TYPE_CHECKING

from appliance.routing.bfd import sockets
from appliance.routing.bfd.messages import BfdSession, SessionState
from appliance.routing.bfd.packet import State
from appliance.routing.bfd.session import Action, Session, Timing

if TYPE_CHECKING:
    from appliance.routing.bfd.packet import Drop

FAREWELLS = 3
"""Packets that tell a peer of the end; any of them is enough."""
FAREWELL_PAUSES = (0.05, 0.3)
"""Seconds between two of them, at least and at most: never faster than the peer can take, and a process that ends does
not wait for the one packet a second that RFC 5880 section 6.8.3 leaves to a session that is not up."""

Key = tuple[bool, str, int]


def timing(wanted: BfdSession) -> Timing:
    """Return what the engine wants to know of it."""
    return Timing(round(wanted.interval * 1e6), wanted.multiplier)


class Link:
    """A session with a socket of its own. Without one (`trouble` says why) it is silent, and goes on to try."""

    def __init__(self, wanted: BfdSession, session: Session, mouth: socket | None = None) -> None:
        """With the socket that a former program has opened, if there is one."""
        self.wanted = wanted
        self.session = session
        self.mouth = mouth
        self.key: Key | None = None
        """By what a packet is found that does not name our discriminator; None while that is not known."""
        self._shut = "" if mouth else "the socket is not open yet"
        self._refused = ""
        self.unsent = 0
        self.drops: dict[str, int] = {}
        self._destination: tuple[str, int] | tuple[str, int, int, int] | None = None
        self._farewells = 0
        self._next_farewell = 0.0

    @classmethod
    def begin(cls, wanted: BfdSession, discriminator: int, now: float, chance: Callable[[], float]) -> Link:
        """Make a new session, in state Down."""
        return cls(wanted, Session(discriminator, timing(wanted), now, chance))

    @property
    def leaving(self) -> bool:
        """Whether the session has been ended, and its peer is being told."""
        return self.session.state is State.ADMIN_DOWN

    @property
    def over(self) -> bool:
        """Whether it can be closed: the peer has been told."""
        return self.leaving and not self._farewells

    @property
    def deadline(self) -> float:
        """When `expire` is to be called."""
        return self._next_farewell if self.leaving else self.session.deadline

    def open(self) -> None:
        """Find the way to the peer, where that is not known or may have changed; `trouble` says what is in the way."""
        try:
            self._destination = sockets.destination(self.wanted)
            self.key = sockets.key(self.wanted)
            if self.mouth is None:
                self.mouth = sockets.mouth(self.wanted)
        except OSError as error:
            self._shut = error.strerror or str(error)
        else:
            self._shut = ""

    @property
    def trouble(self) -> str:
        """What keeps us from sending; empty if nothing does."""
        return self._shut or self._refused

    @property
    def sound(self) -> bool:
        """Whether `open` has nothing to do: an interface may go, and come again with another index."""
        return self.mouth is not None and "%" not in str(self.wanted.peer)

    def retime(self, wanted: BfdSession, now: float) -> None:
        """Take other intervals, or another multiplier, and keep the session."""
        if wanted != self.wanted:
            self.wanted = wanted
            self.session.retime(timing(wanted), now)

    def same_way(self, wanted: BfdSession) -> bool:
        """Whether this session can become that one."""
        mine = self.wanted
        return (mine.peer, mine.multihop, mine.source) == (wanted.peer, wanted.multihop, wanted.source)

    def leave(self, now: float) -> list[Action]:
        """End the session."""
        actions = self.session.close(now)
        self._farewells = FAREWELLS - 1 if self.session.remote_discriminator else 0
        self._pause(now)
        return actions

    def expire(self, now: float) -> list[Action]:
        """Do what is due."""
        if not self.leaving:
            return self.session.expire(now)
        if not self._farewells or now < self._next_farewell:
            return []
        self._farewells -= 1
        self._pause(now)
        return [self.session.say_again()]

    def _pause(self, now: float) -> None:
        least, most = FAREWELL_PAUSES
        self._next_farewell = now + min(max(least, self.session.remote_required / 1e6), most)

    def send(self, data: bytes) -> None:
        """Let a packet go; one that the kernel does not take is counted, for the next is on its way soon."""
        if self.mouth is None or self._destination is None:
            self.unsent += 1
            return
        try:
            self.mouth.sendto(data, self._destination)
        except OSError as error:
            self.unsent += 1
            self._refused = f"cannot send to {self.wanted.peer}: {error.strerror}"
        else:
            self._refused = ""

    def drop(self, reason: Drop) -> None:
        """Count a packet that was not used."""
        self.drops[reason] = self.drops.get(reason, 0) + 1

    def state(self) -> SessionState:
        """Return what the daemon is told."""
        session = self.session
        return SessionState(
            peer=self.wanted.peer,
            multihop=self.wanted.multihop,
            state=session.state,
            remote_state=session.remote_state,
            diagnostic=session.diagnostic,
            remote_diagnostic=session.remote_diagnostic,
            why=session.why,
            since=session.since,
            interval=session.transmit_us / 1e6,
            detection=session.detection_us / 1e6,
            packets_in=session.heard,
            packets_out=max(0, session.sent - self.unsent),
            unsent=self.unsent,
            drops=self.drops,
            trouble=self.trouble,
            discriminator=session.discriminator,
            remote_discriminator=session.remote_discriminator,
            port=self.mouth.getsockname()[1] if self.mouth is not None else 0,
            remote_independent=session.remote_independent,
        )

    def close(self) -> None:
        """Give the socket back."""
        if self.mouth is not None:
            self.mouth.close()
            self.mouth = None
