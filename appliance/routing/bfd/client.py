"""The daemon's side of BFD: finds or starts the process, keeps telling it what is wanted, and hears how that is.

Theory of operation. One task (`_supervise`) lives from the first `follow` to `stop`. Each turn of it is one connection:

    connect (start the process where nobody listens) -> hello -> of another version: have it become the installed
    program -> tell what is wanted, whenever that changes -> hear states, until it hangs up or is silent -> back off

What is wanted is told whole, so it makes no difference how often: a session that the process has already goes on. For
that reason a daemon that comes back finds its sessions as they are, and a process that died is given all of them anew.

`changed` is called for each change of a state, and for each session whose state was not known so far. A path is only
broken where `states()[peer].broken` says so (RFC 5882 section 4.2): a session that begins is down as well.

Under systemd the process is a unit of its own, started when somebody connects, so nothing is started here (`starts`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from appliance import __version__
from appliance.child.code import handed_over
from appliance.child.process import python
from appliance.errors import HostError
from appliance.routing.bfd import launch, messages
from appliance.routing.bfd.messages import BfdSession, Change, Hello, Sessions, SessionState
from appliance.routing.bfd.packet import State

if TYPE_CHECKING:
    from appliance.model_address import Address
    from appliance.paths import Root

SILENCE = 5.0
"""Seconds without a word after which the process is taken for hung; it speaks each second."""
FIRST_WORD = 30.0
"""Seconds for its first word: where a machine is busy, Python alone takes many to start."""
TICK = 0.5
"""Seconds between two looks at the silence; looks are counted, so a daemon that was stopped itself blames nobody."""
BACK_OFF = (0.2, 5.0)
"""Seconds before the first attempt to connect again, and at most; doubled from one to the next."""
PROVEN = 30.0
"""Seconds that a connection must have lasted for the back-off to begin again."""
FAREWELL = 2.0
"""Seconds that the process has to tell all peers of the end."""
REHEARSAL = 30.0
"""Seconds in which the installed program has to show that its code is whole."""

log = logging.getLogger(__name__)

Changed = Callable[["Address", State, int, str], None]
"""Takes the peer, its state, the diagnostic (RFC 5880 section 4.1), and why, in words."""


class Gone(Exception):
    """The connection is over; says why."""


class BfdClient:
    """BFD of one daemon. `changed` runs on the event loop; it must not raise and not block."""

    def __init__(self, root: Root, changed: Changed, *, starts: bool = True, version: str = __version__) -> None:
        """With `starts`, a process is started where nobody listens. `version` is that of the installed program."""
        self._place = root.bfd_socket
        self._changed = changed
        self._starts = starts
        self._version = version
        self._wanted: tuple[BfdSession, ...] = ()
        self._grace = messages.GRACE
        self._news = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._connection: socket.socket | None = None
        self._child = 0
        self._states: dict[Address, SessionState] = {}
        self._known: dict[Address, State] = {}
        self._greeted = asyncio.Event()
        self._ticks = 0
        self._said = ""
        self.hello: Hello | None = None
        """Who is at the other end; None while nobody is."""
        self.drops: Mapping[str, int] = {}
        """Packets that were not used, by reason (`packet.DROPS`), since the process began."""
        self.connections = 0
        """How often the process was reached."""
        self.trouble = ""
        """What is wrong with the process, or what it said last that an operator should know; empty if nothing is."""

    # ---- what the daemon uses

    def follow(self, wanted: Iterable[BfdSession], grace: float) -> None:
        """Want these sessions and no others; for `grace` seconds they outlive this daemon. Cheap where nothing changes.

        Must be called on a running loop. The first session wanted of a peer's address counts.
        """
        first = {one.peer: one for one in reversed(tuple(wanted))}
        sessions = tuple(sorted(first.values(), key=lambda one: (one.peer.version, int(one.peer), str(one.peer))))
        grace = min(max(0.0, grace), messages.MAX_GRACE)
        if (sessions, grace) == (self._wanted, self._grace) and self._supervisor is not None:
            return
        self._wanted, self._grace = sessions, grace
        for peer in set(self._states) - set(first):
            del self._states[peer]
        for peer in set(self._known) - set(first):
            del self._known[peer]
        self._news.set()
        if self._supervisor is None:
            self._supervisor = asyncio.get_running_loop().create_task(self._supervise())

    def states(self) -> Mapping[Address, SessionState]:
        """Return how the sessions are; of one that nothing is known of, nothing."""
        return self._states

    async def stop(self, farewell: bool) -> None:
        """Leave the process: with `farewell` it tells all peers (AdminDown) and ends, else it goes on for the grace."""
        if self._supervisor is None:
            return
        self._supervisor.cancel()
        await asyncio.gather(self._supervisor, return_exceptions=True)
        self._supervisor = None
        connection, self._connection = self._connection, None
        if connection is None and farewell and self._starts:
            with suppress(Gone, HostError, OSError):  # it may be starting, or be one that a former daemon has left
                self._wanted = ()
                connection = await self._connect()
        if connection is None:
            return
        try:
            if farewell:
                await self._farewell(connection)
        finally:
            connection.close()

    # ---- one connection after the other

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        delay = BACK_OFF[0]
        first = True
        while True:
            # At first one that a former daemon has left is looked for, even where nothing is wanted any more.
            while not self._wanted and not (first and self._starts):
                self._news.clear()
                await self._news.wait()
            began, first = loop.time(), False
            try:
                await self._serve(await self._connect())
                why = ""
            except (Gone, HostError, OSError) as error:
                why = str(error)
            except Exception as error:
                log.exception("defect in the client of BFD")
                why = repr(error)
            self._leave_states()
            if not self._wanted:
                self._tidy()
            if not why or loop.time() - began >= PROVEN:
                delay = BACK_OFF[0]
            if why and self._wanted:
                self._complain(f"{why}; BFD is tried again")
                await asyncio.sleep(delay)
                delay = min(delay * 2, BACK_OFF[1])

    def _complain(self, text: str) -> None:
        self.trouble = text
        if text != self._said:
            self._said = text
            log.warning("BFD: %s", text)

    def _leave_states(self) -> None:
        self._states = {}
        self.hello = None

    async def _connect(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            try:
                async with asyncio.timeout(SILENCE):
                    await loop.sock_connect(connection, os.fspath(self._place))
            except (FileNotFoundError, ConnectionRefusedError):
                if not self._starts:
                    unit = "systemctl status vc5-bfd.socket"
                    raise Gone(f"{self._place}: nobody listens there; see `{unit}`") from None
                if not self._wanted:
                    raise Gone("there is no process, and none is needed") from None
                self._child = launch.start(self._place)
                await loop.sock_connect(connection, os.fspath(self._place))
        except TimeoutError:
            connection.close()
            raise Gone(f"{self._place}: nobody takes a connection there") from None
        except BaseException:
            connection.close()
            raise
        self.connections += 1
        return connection

    async def _serve(self, connection: socket.socket) -> None:
        """Live with one connection until it ends; raises Gone that says why."""
        self._connection = connection
        self._greeted = asyncio.Event()
        self._ticks = round((SILENCE - FIRST_WORD) / TICK)
        tasks = [
            asyncio.create_task(self._read(connection)),
            asyncio.create_task(self._tell(connection)),
            asyncio.create_task(self._watch()),
        ]
        reason: Exception | None = None
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for error in filter(None, [task.exception() for task in done]):
                reason = error if isinstance(error, Exception) else Gone(str(error))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if (current := asyncio.current_task()) is None or not current.cancelling():
                self._connection = None  # else `stop` has a word to say
                connection.close()
        await self._bury()
        if reason is not None:
            if not isinstance(reason, Gone | OSError):
                log.error("defect in the client of BFD", exc_info=reason)
            raise Gone(f"process {self.hello.pid if self.hello else self._child}: {reason}{self._last_words()}")

    def _last_words(self) -> str:
        words = "" if self.hello is not None else launch.last_words()
        return f": {words}" if words else ""

    async def _bury(self) -> None:
        """Reap a process that was started here, or by the program in whose place this one runs."""
        for number in {self._child, self.hello.pid if self.hello is not None else 0} - {0}:
            for _ in range(20):
                if launch.reaped(number):
                    break
                await asyncio.sleep(TICK / 10)

    async def _read(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        rest = b""
        while True:
            data = await loop.sock_recv(connection, 1 << 16)
            if not data:
                raise Gone("it hung up")
            self._ticks = 0
            *lines, rest = (rest + data).split(b"\n")
            for text in lines:
                try:
                    self._hear(messages.decode_from_process(text))
                except ValueError as error:
                    raise Gone(f"it said something malformed ({error})") from None
            if len(rest) > messages.MAX_MESSAGE:
                raise Gone("its message has no end")

    def _hear(self, message: messages.FromProcess) -> None:
        if isinstance(message, Hello):
            self.hello = message
            self.trouble = self._said = ""
            self._greeted.set()
        elif isinstance(message, Change):
            self._take(message.session)
        elif isinstance(message, Sessions):
            self.drops = message.drops
            for one in message.sessions:
                self._take(one)
        elif message.text:
            self._complain(message.text)
        else:
            self.trouble = ""

    def _take(self, one: SessionState) -> None:
        if not any(one.peer == wanted.peer for wanted in self._wanted):
            return
        self._states[one.peer] = one
        if self._known.get(one.peer) is not one.state:
            self._known[one.peer] = one.state
            self._changed(one.peer, one.state, one.diagnostic, one.why)

    async def _tell(self, connection: socket.socket) -> None:
        """Say what is wanted, now and whenever that changes; farewell, where nothing is."""
        await self._greeted.wait()
        if self.hello is not None and self.hello.version != self._version:
            await self._replace(connection)
        loop = asyncio.get_running_loop()
        self._news.set()
        while True:
            await self._news.wait()
            self._news.clear()
            if not self._wanted:
                await loop.sock_sendall(connection, messages.line({"farewell": True}))
                await asyncio.sleep(FAREWELL)
                raise Gone("it has not ended when it was told to")
            await loop.sock_sendall(connection, messages.encode_wanted(self._wanted, self._grace))

    async def _replace(self, connection: socket.socket) -> None:
        """Have the process become the installed program, which is tried first. Raises Gone where they cannot talk."""
        former = self.hello
        assert former is not None
        with handed_over() as (path, descriptors):
            why = await _rehearsed(path, descriptors)
            if not why:
                self._greeted.clear()
                text = messages.line({"become": "" if descriptors else path})
                if descriptors:
                    socket.send_fds(connection, [text], descriptors)
                else:
                    await asyncio.get_running_loop().sock_sendall(connection, text)
                try:
                    async with asyncio.timeout(FIRST_WORD):
                        await self._greeted.wait()
                except TimeoutError:
                    why = "it has not become another program in time"
        if not why and self.hello is not None:
            versions = f"version {self.hello.version} in place of {former.version}"
            log.info("BFD: process %d runs %s, after a gap of %.3f s", former.pid, versions, self.hello.gap)
        if why:
            self._complain(f"process {former.pid} goes on as version {former.version}: {why}")
        if self.hello is not None and self.hello.protocol != messages.PROTOCOL:
            raise Gone(f"it speaks protocol {self.hello.protocol}, and this daemon {messages.PROTOCOL}")

    async def _watch(self) -> None:
        while self._ticks * TICK < SILENCE:
            await asyncio.sleep(TICK)
            self._ticks += 1
        if self._starts and self.hello is not None and launch.is_ours(self.hello.pid):
            # It holds the ports. Under systemd its watchdog does this.
            with suppress(OSError):
                os.kill(self.hello.pid, signal.SIGKILL)
        raise Gone(f"it has been silent for {SILENCE if self.hello else FIRST_WORD:g} s")

    async def _farewell(self, connection: socket.socket) -> None:
        """Have the process tell all peers, and wait for its end."""
        loop = asyncio.get_running_loop()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await loop.sock_sendall(connection, messages.line({"farewell": True}))
                while await loop.sock_recv(connection, 1 << 16):
                    pass
                await self._bury()
        self._tidy()

    def _tidy(self) -> None:
        """Remove the socket of a process that has ended, where it was made here."""
        if self._starts:
            with suppress(OSError):
                self._place.unlink(missing_ok=True)


async def _rehearsed(path: str, descriptors: tuple[int, ...]) -> str:
    """Return what keeps the installed program from running; empty if nothing does."""
    try:
        child = await asyncio.create_subprocess_exec(
            *python(launch.MODULE, "--rehearse", "yes"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=descriptors,
            cwd="/",
            env={"PYTHONPATH": path, "LANG": "C.UTF-8"},
        )
    except OSError as error:
        return f"the installed program cannot be started: {error.strerror}"
    try:
        async with asyncio.timeout(REHEARSAL):
            _, errors = await child.communicate()
    except TimeoutError:
        return f"the installed program has not started within {REHEARSAL:g} s"
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        lines = errors.decode(errors="replace").split("\n")
        return f"the installed program fails: {next((one for one in reversed(lines) if one.strip()), '')[:200]}"
    return ""
