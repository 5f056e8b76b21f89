"""The control socket: the one way in through which an operator changes a running daemon.

A stream socket in the file system; who may open it decides who may command (mode 0660, group `vc5`). A request is one
line of JSON, the answer is one line of JSON, and requests on one connection are answered in order:

    {"verb": "drain", "arguments": {"service": "203.0.113.10:443/tcp", "backend": "10.1.10.11"}}
    {"ok": true, "result": ...}
    {"ok": false, "error": "what, where, why, what to do", "exit_status": 1, "issues": []}

Everything a peer can do is bounded: the length of a request, how many a user makes in a second, the time it may take to
write one or to read an answer, how long a handler may work, how many peers there are. What is no request is answered
with an error and hung up on.
"""

from __future__ import annotations

import asyncio
import grp
import json
import logging
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from appliance.control.allowance import USUAL, Allowance, Rate
from appliance.errors import EXIT_FAILED, AlreadyRunning, ConfigError, ControlError, HostError, Vc5Error

log = logging.getLogger(__name__)

GROUP = "vc5"
MODE = 0o660
PATH_BYTES = 107
"""The longest path that fits into sockaddr_un (unix(7))."""
GRACE = 1.0
"""Seconds that clients have to end what they began, before the program is replaced."""
PORTION = 64 * 1024
"""Octets of a long answer, about, that are encoded and handed to the connection in one turn of the loop."""
CREDENTIALS = struct.Struct("iII")
"""struct ucred of unix(7): pid, uid, gid."""


@dataclass(frozen=True)
class Peer:
    """Who is at the other end, as the kernel says (SO_PEERCRED)."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True)
class Request:
    """One command."""

    verb: str
    arguments: Mapping[str, Any]
    peer: Peer
    descriptor: int | None = None
    """The connection that it came by."""


@dataclass(frozen=True)
class Encoded:
    """A result that is JSON already, in pieces: to encode thousands of services takes more than a turn of the loop."""

    pieces: Sequence[str]


Handler = Callable[[Request], Awaitable[Any]]


@dataclass(frozen=True)
class Limits:
    """What a peer may use up; sizes in bytes, times in seconds."""

    request_bytes: int = 1024 * 1024
    connections: int = 32
    request_seconds: float = 30.0
    """For writing one request; an idle connection is closed after it."""
    work_seconds: float = 300.0
    """For a handler. A reload compiles and verifies a program."""
    reply_seconds: float = 30.0
    """For reading the answer."""
    rate: Rate = USUAL
    """Of requests, by user: one who asks in many connections asks no more for it."""


DEFAULT_LIMITS = Limits()


class Refused(Exception):
    """What came in is no request; says what it is not. The connection ends after the answer."""


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    peer: Peer = field(init=False)
    descriptor: int = field(init=False)

    def __post_init__(self) -> None:
        peer = self.writer.get_extra_info("socket")
        self.descriptor = peer.fileno()
        self.peer = Peer(*CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)))


class ControlServer:
    """Listens at `path` and gives each request to the handler of its verb.

    A handler returns what JSON can hold, or Encoded, or raises a Vc5Error; anything else it raises is a defect, which
    is logged with its traceback and answered without.
    """

    def __init__(self, path: Path, handlers: Mapping[str, Handler], limits: Limits = DEFAULT_LIMITS) -> None:
        self._path = path
        self._handlers = dict(handlers)
        self._limits = limits
        self._allowance = Allowance(limits.rate)
        self._server: asyncio.Server | None = None
        self._listener: socket.socket | None = None
        self._paused = False
        self._inode = 0
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, inherited: int | None = None) -> None:
        """Begin to listen; the socket of a dead daemon is replaced, an `inherited` one listens on.

        Raises AlreadyRunning where a live daemon listens at the path, HostError where no socket can be made there.
        """
        try:
            listener = _inherit(self._path, inherited) or _listen(self._path)
        except OSError as error:
            raise HostError(f"{self._path}: cannot make the control socket: {error.strerror}") from error
        self._inode = self._path.stat().st_ino
        self._closing = False
        await self._serve_at(listener)

    async def _serve_at(self, listener: socket.socket) -> None:
        self._listener, limit = listener, self._limits.request_bytes
        self._server = await asyncio.start_unix_server(self._connected, sock=listener, limit=limit)

    @property
    def descriptor(self) -> int | None:
        """The number of the listening socket."""
        return self._listener.fileno() if self._listener is not None else None

    async def pause(self, seconds: float = GRACE) -> None:
        """Accept nobody more: who connects waits. Comes back when all others but the caller's peer have hung up.

        Those who have not within `seconds` have nothing under way, or ask for too much.
        """
        if self._listener is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener.fileno())
        self._paused, limit = True, loop.time() + seconds
        while loop.time() < limit and len(self._tasks) > 1:
            await asyncio.sleep(0.01)

    async def resume(self) -> None:
        """Accept again."""
        if self._paused and self._listener is not None:
            self._paused = False
            await self._serve_at(socket.socket(fileno=os.dup(self._listener.fileno())))

    async def close(self) -> None:
        """Stop listening, hang up on everybody, remove the socket. Commands that are being worked on are cancelled."""
        if self._server is None:
            return
        self._closing = True
        try:
            # A successor may already listen there. The inode is ours alone for as long as the listener is open.
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        except FileNotFoundError:
            pass
        self._server.close()
        self._server = None
        # A handler may be what closes the server.
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # No coroutine: a task made by asyncio is not ours to cancel before it has run for the first time.
        if self._closing:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(_Connection(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, writer))

    def _ended(self, task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        self._tasks.discard(task)
        if writer.transport.get_write_buffer_size():
            writer.transport.abort()
        else:
            writer.close()
        # OSError, TimeoutError: the peer went away, or does not read; there is nobody left to tell.
        if not task.cancelled() and not isinstance(task.exception(), (OSError, TimeoutError, type(None))):
            log.error("control connection failed", exc_info=task.exception())

    async def _serve(self, connection: _Connection) -> None:
        if len(self._tasks) > self._limits.connections:
            text = f"{self._path}: {self._limits.connections} control connections are open; close one, or try again"
            await self._reply(connection, [failure(ControlError(text))])
            return
        while True:
            try:
                line = await self._line(connection.reader)
                if not line:
                    return
                request = parse_request(line, connection.peer)
            except Refused as refused:
                await self._reply(connection, [failure(ControlError(f"no valid request: {refused}"))])
                return
            wait = self._allowance.take(connection.peer.uid, asyncio.get_running_loop().time())
            if wait:
                reply: Iterable[bytes] = [failure(ControlError(self._too_many(connection.peer, wait)))]
            else:
                reply = await self._answer(replace(request, descriptor=connection.descriptor))
            await self._reply(connection, reply)

    def _too_many(self, peer: Peer, wait: float) -> str:
        return (
            f"uid {peer.uid} asks for more than {self._limits.rate.per_second:g} things in a second; "
            f"try again in {wait:.2f} s"
        )

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        """Return one line, nothing at the end of the stream."""
        limits = self._limits
        try:
            async with asyncio.timeout(limits.request_seconds):
                return await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise Refused("it does not end with a newline") from None
            return b""
        except asyncio.LimitOverrunError:
            raise Refused(f"it is longer than {limits.request_bytes} bytes") from None
        except TimeoutError:
            raise Refused(f"none came within {limits.request_seconds:g} s") from None

    async def _answer(self, request: Request) -> Iterable[bytes]:
        handler = self._handlers.get(request.verb)
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return [failure(ControlError(f"the daemon knows no verb {request.verb!r}; it knows {known}"))]
        try:
            async with asyncio.timeout(self._limits.work_seconds) as limit:
                result = await handler(request)
            if isinstance(result, Encoded):
                return portions(result.pieces)
            return [success(json.dumps(result, allow_nan=False))]
        except Vc5Error as error:
            return [failure(error)]
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                seconds = self._limits.work_seconds
                return [failure(ControlError(f"{request.verb} did not finish within {seconds:g} s and was given up"))]
            log.exception("control request %s failed", request.verb)
            return [
                failure(
                    ControlError(
                        f"{request.verb} failed inside the daemon: {type(error).__name__}: {error}; "
                        "this is a defect of vc5, and the daemon's log has the details"
                    )
                )
            ]

    async def _reply(self, connection: _Connection, reply: Iterable[bytes]) -> None:
        async with asyncio.timeout(self._limits.reply_seconds):
            for portion in reply:
                connection.writer.write(portion)
                await connection.writer.drain()
                # Draining waits only for a peer that reads slowly; one that reads fast must hold nobody up either.
                await asyncio.sleep(0)


def parse_request(line: bytes, peer: Peer) -> Request:
    """Read one line of any bytes; raises Refused, and nothing else."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refused(f"it is not JSON ({error})") from None
    if not isinstance(document, dict):
        raise Refused("it is not a JSON object")
    verb, arguments = document.get("verb"), document.get("arguments", {})
    if not isinstance(verb, str):
        raise Refused('it has no text "verb"')
    if not isinstance(arguments, dict):
        raise Refused('its "arguments" are not a JSON object')
    return Request(verb, arguments, peer)


def success(result: str) -> bytes:
    """Return the answer line that carries a result, which is JSON."""
    return b"".join(portions([result]))


def portions(result: Sequence[str]) -> Iterator[bytes]:
    """Yield the same line for a result in pieces, so many of them at a time that they make a portion."""
    gathered, size = ['{"ok": true, "result": '], 0
    for piece in result:
        gathered.append(piece)
        size += len(piece)
        if size >= PORTION:
            yield "".join(gathered).encode("ascii")
            gathered, size = [], 0
    yield "".join([*gathered, "}\n"]).encode("ascii")


def failure(error: Vc5Error) -> bytes:
    """Return the answer line that carries an error."""
    issues = [issue.as_json() for issue in error.issues] if isinstance(error, ConfigError) else []
    status = error.exit_status or EXIT_FAILED
    reply = {"ok": False, "error": str(error), "exit_status": status, "issues": issues}
    return json.dumps(reply).encode("ascii") + b"\n"


def _inherit(path: Path, descriptor: int | None) -> socket.socket | None:
    """Return the socket that a former program listened with, if it is bound to `path`; the lock says it is ours."""
    if descriptor is None:
        return None
    listener = socket.socket(fileno=descriptor)
    try:
        if listener.getsockname() == os.fspath(path) and stat.S_ISSOCK(path.lstat().st_mode):
            listener.setblocking(False)
            return listener
    except OSError:
        pass
    listener.close()
    return None


def _listen(path: Path) -> socket.socket:
    """Return a listening socket at `path`; raises OSError, AlreadyRunning, HostError."""
    if len(os.fsencode(path)) > PATH_BYTES:
        raise HostError(f"{path}: longer than the {PATH_BYTES} bytes of a socket's path; choose a shorter --root")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    # Between bind and chmod nobody may slip in: the mask makes the socket with no more rights than it will have.
    mask = os.umask(0o777 & ~MODE)
    try:
        listener.bind(os.fspath(path))
        _give_to_group(path)
        listener.listen()
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    listener.setblocking(False)
    return listener


def _give_to_group(path: Path) -> None:
    """Hand the socket to the group of operators where it exists and this process may (not outside a package)."""
    try:
        os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)
    except (KeyError, PermissionError):
        pass


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise HostError(f"{path}: is in the way of the control socket and is no socket; move it away")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # Unblocked: a daemon that is alive but busy has a full backlog, and answers BlockingIOError at once.
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
        except BlockingIOError:
            raise AlreadyRunning(str(path), None) from None
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        raise AlreadyRunning(str(path), Peer(*CREDENTIALS.unpack(credentials)).pid)
