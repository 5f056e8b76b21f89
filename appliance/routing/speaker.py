"""The sockets and the clock of BGP: sessions (bgp/session.py) decide, this does.

Everything is written at once as far as the peer takes it; what it does not take yet is not made yet (back-pressure), so
a peer that is slow or dead costs neither memory nor the others' time.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from appliance.errors import HostError
from appliance.model_address import Address
from appliance.routing import sockets
from appliance.routing.bgp.agreement import Local
from appliance.routing.bgp.connection import Close, Dial, Order, Send
from appliance.routing.bgp.notification import Cease
from appliance.routing.bgp.session import News, Session
from appliance.routing.bgp.succession import Left, leave, resume, terms
from appliance.routing.farewell import FAREWELL, Farewells
from appliance.routing.route import Attributes, Routes
from appliance.routing.status import Direction

READ = 65536
ROOM = 65536
"""Bytes of updates that are made at a time."""
SETTLE = 0.25
"""Seconds that routers have, once they have hung up for good, to send packets elsewhere."""

Tap = Callable[[Address, Direction, bytes], None]
"""Sees whole messages, one or more, as they are sent and received."""


class Wire:
    """One TCP connection. `waiting` is what the peer has not taken yet."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.waiting = bytearray()
        self.open = False


class Speaker:
    """All sessions. `routes` says what a peer is to know; `told` hears of what is worth telling."""

    def __init__(self, routes: Callable[[Session], Routes], told: Callable[[Session, News], None], tap: Tap) -> None:
        self._routes, self._told, self._tap = routes, told, tap
        self.held_up: Callable[[Session], None] = lambda session: None
        """Hears when a peer takes no more for now, amid a message perhaps."""
        self._loop = asyncio.get_running_loop()
        self.sessions: dict[Address, Session] = {}
        self._wires: dict[tuple[Address, int], Wire] = {}
        self._farewells = Farewells(self._loop)
        self._due: dict[Address, None] = {}  # whose routes are to be looked at
        self._timers: dict[Address, asyncio.TimerHandle] = {}
        self._listeners: dict[int, socket.socket] = {}
        self._keys: dict[int, dict[Address, str]] = {}
        self.listen_trouble = ""
        """Why peers cannot connect although they should; empty if they can."""
        self.strangers = 0
        """Connections of those who are no peers."""

    # ---- what is wanted

    def follow(self, wanted: Iterable[Local], *, listen: bool) -> None:
        """Have sessions with these peers and no others; one that need not change is not touched."""
        now, locals_ = self._loop.time(), {one.peer.address: one for one in wanted}
        for address in [one for one in self.sessions if one not in locals_]:
            self._end(address, Cease.PEER_DECONFIGURED, "the peer was removed from the configuration")
        self._listen(locals_ if listen else {})
        for address, local in locals_.items():
            session = self.sessions.get(address)
            if session is not None and terms(session.local) != terms(local):
                self._end(address, Cease.OTHER_CHANGE, "the configuration of the session has changed")
                session = None
            if session is None:
                self.sessions[address] = session = Session(local, random.random, now)
                session.tap = partial(self._tap, address)
                session.start(now)
                self._act(session)
            else:
                session.local = replace(session.local, peer=local.peer)

    def want(self) -> None:
        """Have all peers know what they should know by now, one in each turn of the loop: there may be many routes."""
        self._due, busy = dict.fromkeys(self.sessions), bool(self._due)
        if not busy:
            self._loop.call_soon(self._want_next)

    def _want_next(self) -> None:
        if not self._due:
            return
        session = self.sessions.get(self._due.popitem()[0])
        if session is not None and session.outbox is not None:
            session.want(self._routes(session))
            self._act(session)
        self._loop.call_soon(self._want_next)

    def change(self, session: Session, changes: Mapping[Address, Attributes | None]) -> None:
        """Have a peer know what has changed of some VIPs: attributes, or None for those it should not know."""
        if session.outbox is not None:
            for address, attributes in changes.items():
                session.outbox.change(address, attributes)
            self._act(session)

    def bfd(self, address: Address, *, down: bool, why: str) -> None:
        """Take what BFD says of the way to a peer."""
        session = self.sessions.get(address)
        if session is not None:
            session.bfd(down=down, why=why, now=self._loop.time())
            self._act(session)

    async def close(self, why: str, data: bytes = b"") -> None:
        """End all sessions with a word; returns when the peers act on it, or after FAREWELL."""
        end = self._loop.time() + FAREWELL - SETTLE
        served = any(session.serving for session in self.sessions.values())
        for address in list(self.sessions):
            self._end(address, Cease.ADMINISTRATIVE_SHUTDOWN, why, data)
        self._listen({})
        while self._farewells and self._loop.time() < end:
            await asyncio.sleep(0.01)
        if served:
            await asyncio.sleep(SETTLE)
        self.abandon()

    def abandon(self) -> None:
        """Close all sockets without a word: peers that restart gracefully with us keep what they know (RFC 4724)."""
        self._listen({})
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for key in list(self._wires):
            self._drop(key, word=False)
        self._farewells.close()
        self.sessions.clear()

    # ---- what outlives the program

    def breathe(self) -> None:
        """Have all peers hear of us now: for a while they will not."""
        for session in self.sessions.values():
            session.breathe(self._loop.time())
            self._act(session)

    def left(self, session: Session, *, exact: bool) -> tuple[int, Left] | None:
        """Return the descriptor of an established session, and what to leave of it; None without one."""
        serving = session.serving
        wire = self._wires.get((session.local.peer.address, serving.serial)) if serving else None
        if wire is None:
            return None
        found = leave(session, exact=exact, unsent=bytes(wire.waiting))
        return (wire.end.fileno(), found) if found else None

    def blocked(self, session: Session) -> bool:
        """Return whether a peer has taken part of a message, or may have."""
        serving = session.serving
        wire = self._wires.get((session.local.peer.address, serving.serial)) if serving else None
        return wire is not None and bool(wire.waiting)

    def resume(self, local: Local, left: Left, descriptor: int, may_have_told: Iterable[Address]) -> bool:
        """Go on with a session that another program has left; False where it cannot be: the socket is the caller's."""
        made = resume(local, left, may_have_told, random.random, self._loop.time())
        if made is None:
            return False
        address, (session, connection) = local.peer.address, made
        end = socket.socket(fileno=descriptor)
        end.setblocking(False)
        session.tap = partial(self._tap, address)
        self.sessions[address] = session
        wire = self._wires[address, connection.serial] = Wire(end)
        wire.waiting += left.unsent
        self._begin(session, connection.serial, wire)
        session.want(self._routes(session))
        self._act(session)
        return True

    def _end(self, address: Address, subcode: int, why: str, data: bytes = b"") -> None:
        session = self.sessions.pop(address)
        session.stop(subcode, why, self._loop.time(), data)
        self._act(session)
        if address in self._timers:
            self._timers.pop(address).cancel()

    @property
    def listening(self) -> bool:
        """Whether routers may connect."""
        return bool(self._listeners)

    # ---- what is to be done

    def _act(self, session: Session) -> None:
        """Do what a session has ordered, tell what is new, and see when it is due again."""
        address = session.local.peer.address
        while session.orders or session.news:
            orders, session.orders[:] = session.orders[:], []
            for order in orders:
                self._obey(session, address, order)
            news, session.news[:] = session.news[:], []
            for one in news:
                if one.ending is None:
                    session.want(self._routes(session))
                self._told(session, one)
        serving = session.serving
        if serving is not None and (wire := self._wires.get((address, serving.serial))):
            self._write(session, serving.serial, wire)
        self._arm(session, address)

    def _obey(self, session: Session, address: Address, order: Order) -> None:
        wire = self._wires.get((address, order.serial))
        match order:
            case Dial():
                self._dial(session, order.serial)
            case Send():
                if wire is not None:
                    wire.waiting += order.data
                    self._write(session, order.serial, wire)
            case Close():
                if wire is not None and wire.open:
                    del self._wires[address, order.serial]
                    self._farewells.bid(wire.end, bytes(wire.waiting))
                elif wire is not None:
                    self._drop((address, order.serial))

    def _arm(self, session: Session, address: Address) -> None:
        timer = self._timers.get(address)
        deadline = session.deadline if self.sessions.get(address) is session else None
        if timer is not None and (deadline is None or timer.when() != deadline):
            timer.cancel()
            del self._timers[address]
            timer = None
        if timer is None and deadline is not None:
            self._timers[address] = self._loop.call_at(deadline, self._tick, session, address)

    def _tick(self, session: Session, address: Address) -> None:
        self._timers.pop(address, None)
        session.tick(self._loop.time())
        self._act(session)

    # ---- sockets

    def _dial(self, session: Session, serial: int) -> None:
        peer, now = session.local.peer, self._loop.time()
        try:
            end = sockets.dialling(peer)
        except OSError as error:
            where = f" from {peer.source_ip}" if peer.source_ip else ""
            session.closed(serial, f"cannot connect{where}: {error.strerror}", now)
            return
        wire = self._wires[peer.address, serial] = Wire(end)
        try:
            end.connect(sockets.place(peer.address, sockets.PORT))
        except BlockingIOError:
            self._loop.add_writer(end, self._connected, session, serial, wire)
        except OSError as error:
            self._drop((peer.address, serial))
            session.closed(serial, f"cannot connect: {error.strerror}", now)
        else:
            self._connected(session, serial, wire)

    def _connected(self, session: Session, serial: int, wire: Wire) -> None:
        address = session.local.peer.address
        self._loop.remove_writer(wire.end)
        problem = wire.end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            own = None if problem else sockets.own_address(wire.end)
        except OSError as error:
            problem, own = error.errno or 1, None
        if own is None:
            self._drop((address, serial))
            session.closed(serial, f"cannot connect: {os.strerror(problem)}", self._loop.time())
        else:
            self._begin(session, serial, wire)
            session.opened(serial, own, self._loop.time())
        self._act(session)

    def _begin(self, session: Session, serial: int, wire: Wire) -> None:
        wire.open = True
        self._loop.add_reader(wire.end, self._read, session, serial, wire)

    def _read(self, session: Session, serial: int, wire: Wire) -> None:
        now = self._loop.time()
        try:
            data = wire.end.recv(READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(session, serial, f"the connection broke: {error.strerror}")
            return
        if not data:
            self._lost(session, serial, "the peer closed the connection without a word")
            return
        session.received(serial, data, now)
        self._act(session)

    def _write(self, session: Session, serial: int, wire: Wire) -> None:
        """Send what waits, and make more where that is gone, until the peer takes no more."""
        if not wire.open:
            return
        try:
            while True:
                if not wire.waiting and (data := session.supply(serial, ROOM)):
                    wire.waiting += data
                if not wire.waiting:
                    break
                del wire.waiting[: wire.end.send(wire.waiting)]
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(wire.end, self._writable, session, serial, wire)
            if serial in session.connections:
                session.connections[serial].blocked(self._loop.time())
                self.held_up(session)
            return
        except OSError as error:
            self._lost(session, serial, f"the connection broke: {error.strerror}")
            return
        self._loop.remove_writer(wire.end)
        if serial in session.connections:
            session.connections[serial].unblocked()

    def _writable(self, session: Session, serial: int, wire: Wire) -> None:
        if serial in session.connections:
            session.connections[serial].unblocked()
        self._write(session, serial, wire)
        self._arm(session, session.local.peer.address)

    def _lost(self, session: Session, serial: int, why: str) -> None:
        self._drop((session.local.peer.address, serial))
        session.closed(serial, why, self._loop.time())
        self._act(session)

    def _drop(self, key: tuple[Address, int], *, word: bool = True) -> None:
        """Close a socket; with a `word` the peer hears of it although somebody else may hold it open as well."""
        wire = self._wires.pop(key, None)
        if wire is None:
            return
        self._loop.remove_reader(wire.end)
        self._loop.remove_writer(wire.end)
        if word:
            with suppress(OSError):
                wire.end.shutdown(socket.SHUT_RDWR)
        wire.end.close()

    # ---- those who connect to us

    def _listen(self, peers: Mapping[Address, Local]) -> None:
        self.listen_trouble = ""
        for family in (socket.AF_INET, socket.AF_INET6):
            keys = {one: local.peer.password for one, local in peers.items() if sockets.family_of(one) == family}
            if not keys:
                if family in self._listeners:
                    listener = self._listeners.pop(family)
                    self._loop.remove_reader(listener)
                    listener.close()
                    del self._keys[family]
                continue
            try:
                if family not in self._listeners:
                    self._listeners[family] = listener = sockets.listening(family)
                    self._keys[family] = {}
                    self._loop.add_reader(listener, self._accept, listener)
                known = self._keys[family]
                for address in keys.keys() | known.keys():
                    if known.get(address, "") != keys.get(address, ""):
                        sockets.set_key(self._listeners[family], address, keys.get(address, ""))
                self._keys[family] = keys
            except HostError as error:
                self.listen_trouble = str(error)
            except OSError as error:
                self.listen_trouble = f"no TCP-MD5 for those who connect: {error.strerror}"

    def _accept(self, listener: socket.socket) -> None:
        try:
            end, _ = listener.accept()
        except OSError:
            return
        end.setblocking(False)
        try:
            address, own = sockets.peer_address(end), sockets.own_address(end)
            session = self.sessions.get(address)
            if session is not None:
                sockets.distance(end, session.local.peer)
        except OSError:
            session = None
        if session is None:
            self.strangers += 1
            end.close()
            return
        wire = Wire(end)
        serial = session.accepted(own, self._loop.time())
        if serial is None:
            end.close()
            return
        self._wires[address, serial] = wire
        self._begin(session, serial, wire)
        self._act(session)
