"""The process of BFD: sockets and timers around the engines of all sessions. It outlives the daemon.

Theory of operation. It is small, holds no privilege, and does nothing but BFD, so that neither a reload nor a new
version of the daemon nor a thousand services make a packet late. So it imports little, and its nouns are tuples: the
module `dataclasses` alone takes more memory than all of BFD. It is one loop around epoll(7): what has come is read
before anything is taken for silent, so a process that was stopped for a while does not blame its peers.

It listens on a socket for its daemon, of which it serves one, the newest. The daemon says what sessions there are to be
(messages.py). When it goes without a word, all sessions go on as they are for as many seconds as it has granted before:
the kernel forwards as well (that is what the C bit says), and the next daemon, which connects and wants the same, finds
them up. When nobody has come by then, the peers are told (AdminDown), and the process ends. When the daemon says
farewell, that happens at once.

    serving --- the daemon goes ---> alone --- grace is over ---> leaving --- all are told ---> ended
       ^                               |                             |
       +------- a daemon connects -----+-----------------------------+

Another version of the program takes over by execve(2) (succession.py): same process, same sockets, same sessions.
"""

from __future__ import annotations

import heapq
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

from appliance import __version__
from appliance.child.watchdog import alive
from appliance.routing.bfd import messages, sockets
from appliance.routing.bfd.line import Gone, Line
from appliance.routing.bfd.link import Key, Link
from appliance.routing.bfd.messages import Become, BfdSession, Farewell, Wanted
from appliance.routing.bfd.packet import Drop, Unusable, decode
from appliance.routing.bfd.session import Action, Changed

if TYPE_CHECKING:
    from appliance.model_address import Address

TICK = 1.0
"""Seconds between two looks at all that is not BFD."""
UNWANTED = 10.0
"""Seconds for which a process waits for a daemon that has no sessions yet."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def chance() -> float:
    """Return a random number from 0 to 1."""
    return int.from_bytes(os.urandom(4), "big") / 0xFFFFFFFF


class Process:
    """All sessions of one machine, and the way to its daemon."""

    def __init__(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        self.listener = listener
        self.daemon: Line | None = None
        self.grace = messages.GRACE
        self.alone_since = time.monotonic()
        self.ending = False
        self.gap = 0.0
        """Seconds that the last change of the program took."""
        self.links: dict[int, Link] = {}
        """All of them, by discriminator; those that are being ended as well."""
        self.wanted: dict[Address, Link] = {}
        self.drops: dict[str, int] = {}
        self.ears: dict[tuple[int, bool], sockets.Ear] = {}
        self.become: Callable[[Process, Become, int | None], str] | None = None
        """What makes another program of this one; it comes back only where that fails, and says why."""
        self._by_key: dict[Key, Link] = {}
        self._due: list[tuple[float, int]] = []
        self._armed: dict[int, float] = {}
        self._second = 0.0
        self._stopped = False
        self._troubles: dict[str, str] = {}
        self._poll = select.epoll()
        self._poll.register(listener.fileno(), select.EPOLLIN)
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll.register(self._wake, select.EPOLLIN)

    # ---- the loop

    def run(self) -> None:
        """Work until the end."""
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        while not (self.ending and not self.links and self._nobody_comes()):
            self.turn()
        # The daemon notices last: then it can start another at once.
        for ear in self.ears.values():
            ear.socket.close()
        self.listener.close()
        self.hang_up()

    def turn(self) -> None:
        """Wait for the next thing that happens, and do it."""
        due = self._due[0][0] if self._due else inf
        pause = min(due, self._second) - time.monotonic()
        ready = dict(self._poll.poll(max(0.0, pause)))
        now = time.monotonic()
        for ear in self.ears.values():
            if ear.socket.fileno() in ready:
                self._listen_to(ear)
        self._expire(now)
        if self._wake in ready:
            os.read(self._wake, 64)
            self._stopped = True
            self.end()
        if self.daemon is not None and (what := ready.get(self.daemon.connection.fileno())):
            self._converse(self.daemon, what)
        if self.listener.fileno() in ready:
            self._welcome()
        if now >= self._second:
            self._each_second(now)

    def _expire(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            at, number = heapq.heappop(self._due)
            if self._armed.get(number) != at:
                continue
            del self._armed[number]
            link = self.links[number]
            if link.session.silent_at <= now:
                # What had come by now is read before anybody counts as silent.
                for ear in self.ears.values():
                    self._listen_to(ear)
            self._perform(link, link.expire(now))
            if link.over:
                self._forget(link)

    def arm(self, link: Link) -> None:
        """Have `expire` called when a session wants it; a deadline that moves away costs nothing."""
        number, deadline = link.session.discriminator, link.deadline
        if deadline < self._armed.get(number, inf):
            self._armed[number] = deadline
            heapq.heappush(self._due, (deadline, number))

    def _each_second(self, now: float) -> None:
        self._second = now + TICK
        alive()
        for link in self.wanted.values():
            if not link.sound:
                self._open(link)
        self.listen()
        if self.daemon is not None:
            if not self.daemon.behind:
                self._tell_all()
        elif not self.ending and now - self.alone_since >= (self.grace if self.wanted else UNWANTED):
            self.end()

    # ---- packets

    def _listen_to(self, ear: sockets.Ear) -> None:
        for one in ear.heard():
            self._hear(ear.multihop, one)

    def _hear(self, multihop: bool, heard: sockets.Heard) -> None:
        """RFC 5880 section 6.8.6: find the session, and give it the packet."""
        now = time.monotonic()
        link = self._by_key.get((multihop, heard.host, heard.zone))
        try:
            if not multihop and heard.hops != sockets.TTL:
                raise Unusable(Drop.HOPS)
            packet = decode(heard.data)
            if packet.yours:
                named = self.links.get(packet.yours)
                if named is None or named.wanted.multihop is not multihop:
                    raise Unusable(Drop.UNKNOWN)
                # A session is with one address: nobody else speaks for it who has seen or guessed its discriminator.
                if named is not link and named.key != (multihop, heard.host, heard.zone):
                    raise Unusable(Drop.STRANGER)
                link = named
            elif link is None:
                raise Unusable(Drop.STRANGER)
        except Unusable as refused:
            self.drops[refused.reason] = self.drops.get(refused.reason, 0) + 1
            if link is not None:
                link.drop(refused.reason)
            return
        self._perform(link, link.session.receive(packet, now))

    def _perform(self, link: Link, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Changed):
                if self.daemon is not None and not link.leaving:  # there may be another with the same peer by now
                    self.tell(messages.line({"changed": messages.encode_session(link.state())}))
            else:
                link.send(action.data)
        self.arm(link)

    # ---- sessions

    def follow(self, wanted: Wanted) -> None:
        """Have these sessions and no others; those that are there already are not disturbed."""
        if self._stopped:
            return
        now = time.monotonic()
        self.grace = wanted.grace
        self.ending = False
        named = {one.peer: one for one in wanted.sessions}
        for link in tuple(self.wanted.values()):
            one = named.get(link.wanted.peer)
            if one is None or not link.same_way(one):
                self._leave(link, now)
        for peer, one in named.items():
            link = self.wanted.get(peer) or self._begin(one, now)
            link.retime(one, now)
            self.arm(link)
        self.listen()

    def _begin(self, wanted: BfdSession, now: float) -> Link:
        number = 0
        while not number or number in self.links:
            number = int.from_bytes(os.urandom(4), "big")
        link = Link.begin(wanted, number, now, chance)
        self.adopt(link)
        return link

    def adopt(self, link: Link) -> None:
        """Take over a session that is wanted."""
        self.links[link.session.discriminator] = link
        self.wanted[link.wanted.peer] = link
        self._open(link)
        self.arm(link)

    def _open(self, link: Link) -> None:
        if link.key is not None and self._by_key.get(link.key) is link:
            del self._by_key[link.key]
        link.open()
        if link.key is not None:
            self._by_key[link.key] = link

    def _leave(self, link: Link, now: float) -> None:
        del self.wanted[link.wanted.peer]
        if link.key is not None and self._by_key.get(link.key) is link:
            del self._by_key[link.key]
        self._armed.pop(link.session.discriminator, None)
        self._perform(link, link.leave(now))
        if link.over:
            self._forget(link)

    def _forget(self, link: Link) -> None:
        number = link.session.discriminator
        del self.links[number]
        self._armed.pop(number, None)
        link.close()

    def end(self) -> None:
        """Tell all peers; the loop ends when that is done."""
        self.ending = True
        for link in tuple(self.wanted.values()):
            self._leave(link, time.monotonic())

    def listen(self) -> None:
        """Hear what the sessions need, and no more: another program's BFD is not in the way of a family without."""
        needed = {(sockets.family_of(link.wanted.peer), link.wanted.multihop) for link in self.links.values()}
        for what in tuple(self.ears):
            if what not in needed:
                self.ears.pop(what).socket.close()  # which takes it out of epoll as well
        for what in needed - set(self.ears):
            try:
                self.hear_with(sockets.ear(*what))
            except OSError as error:
                self.trouble(f"ear {what}", error.strerror or str(error))
            else:
                self.trouble(f"ear {what}", "")

    def hear_with(self, ear: sockets.Ear) -> None:
        """Take a socket that packets come to."""
        self.ears[ear.family, ear.multihop] = ear
        self._poll.register(ear.socket.fileno(), select.EPOLLIN)

    # ---- the daemon

    def _welcome(self) -> None:
        with suppress(OSError):
            connection, _ = self.listener.accept()
            self.hang_up()
            self.ending = self._stopped
            self.serve(Line(connection))

    def serve(self, daemon: Line) -> None:
        """Listen to this daemon, and to no other any more."""
        self.daemon = daemon
        self._poll.register(daemon.connection.fileno(), select.EPOLLIN)
        hello = {"protocol": messages.PROTOCOL, "version": __version__, "pid": os.getpid(), "gap": self.gap}
        self.tell(messages.line({"hello": hello}))
        self._tell_all()
        for text in self._troubles.values():
            self.tell(messages.line({"trouble": text}))

    def hang_up(self) -> None:
        """Be alone from now on, if there is a daemon."""
        if self.daemon is not None:
            self.daemon.close()
            self.daemon = None
            self.alone_since = time.monotonic()

    def tell(self, text: bytes) -> None:
        """Say something to the daemon, if there is one."""
        if self.daemon is None:
            return
        try:
            self.daemon.say(text)
        except Gone:
            self.hang_up()
            return
        self._watch_line(self.daemon)

    def _watch_line(self, daemon: Line) -> None:
        self._poll.modify(daemon.connection.fileno(), select.EPOLLIN | (select.EPOLLOUT if daemon.behind else 0))

    def _tell_all(self) -> None:
        rows = [messages.encode_session(link.state()) for link in self.wanted.values()]
        self.tell(messages.line({"sessions": rows, "drops": self.drops}))

    def _converse(self, daemon: Line, what: int) -> None:
        try:
            if what & select.EPOLLOUT:
                daemon.flush()
                self._watch_line(daemon)
            for text in daemon.read() if what & ~select.EPOLLOUT else ():
                self._obey(daemon, messages.decode_to_process(text))
                if self.daemon is not daemon:
                    return
        except Gone:
            self.hang_up()
        except ValueError as error:
            self.hang_up()
            self.trouble("message", f"hung up on a daemon that said something malformed ({error})"[:200])

    def _obey(self, daemon: Line, message: messages.ToProcess) -> None:
        if isinstance(message, Wanted):
            self.follow(message)
            self._tell_all()
        elif isinstance(message, Farewell):
            self.end()
        elif self.become is not None:
            self.trouble("become", self.become(self, message, daemon.take_descriptor()))

    def trouble(self, topic: str, text: str) -> None:
        """Say what is wrong, once: to each daemon, and where systemd or a person may read it. Empty: it is over."""
        if not text:
            if self._troubles.pop(topic, ""):
                self.tell(messages.line({"trouble": next(iter(self._troubles.values()), "")}))
        elif self._troubles.get(topic) != text:
            self._troubles[topic] = text
            print(text, file=sys.stderr, flush=True)
            self.tell(messages.line({"trouble": text}))

    def _nobody_comes(self) -> bool:
        """Whether no daemon has come while all peers were told of the end; one that has is served."""
        self._welcome()
        return self.ending
