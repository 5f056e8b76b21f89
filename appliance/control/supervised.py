"""The daemon's side of a process that it keeps: started where there is something for it to do, replaced when it fails.

The process has no capability, and is nobody where the daemon is root. What it needs besides code is handed over:
directories and sockets as descriptors, files that only the daemon may read as copies in memory, and settings, secrets
among them, as the first message on its socket (child/channel.py). It tells every second how things are; what is wrong
becomes an alarm. Nothing waits for it.
"""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from appliance.child.channel import Channel, Handler
from appliance.child.process import Child, python, tool
from appliance.errors import ControlError, HostError, Vc5Error

USER = "nobody"
BACK_OFF = (0.2, 5.0)
"""Seconds before the first restart, and at most; doubled from one to the next."""
PROVEN = 30.0
"""Seconds that a process must have lived for the back-off to begin again."""
FAREWELL = 5.0
HANDED = "/proc/self/fd/{}"
"""Where the process finds what it was handed."""

Tell = Callable[[str, str, str], None]
"""Takes the topic of a trouble, its words (empty: it is over), and `began` or `over`."""


class Wanted(Protocol):
    """What a process is to do, and what has to be handed to it."""

    @property
    def anything(self) -> bool:
        """Whether there is anything to do at all."""

    @property
    def directories(self) -> tuple[str, ...]:
        """Directories that it works in."""

    @property
    def credentials(self) -> tuple[str, ...]:
        """Files that it may not be allowed to read."""

    @property
    def sockets(self) -> tuple[int, ...]:
        """Descriptors that it gets under the same numbers."""

    def message(self, places: Mapping[str, str]) -> dict[str, Any]:
        """Return the settings as a message. `places` says where it finds what it was handed, by the paths here."""


def command(name: str, module: str, descriptor: int) -> list[str]:
    """Return the command line of a process, without any capability, and as nobody where the daemon is root."""
    away = ["--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs", "--pdeathsig=TERM"]
    if os.geteuid() == 0:
        account = pwd.getpwnam(USER)
        # The group of root may read the spool; the way there is open to nobody, so directories are handed over.
        identity = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--groups=0", "--bounding-set=-all"]
        away = [*identity, *away]
    return [tool("setpriv", f"{name} process"), *away, *python(module, "--fd", str(descriptor))]


def _opened(path: str, name: str, held: ExitStack) -> int:
    """Return a descriptor of a directory, which `held` closes; raises HostError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"{path}: cannot be handed to the {name} process: {error.strerror}") from None
    held.callback(os.close, descriptor)
    return descriptor


def _copied(path: str, held: ExitStack) -> int | None:
    """Return a descriptor of a copy, in memory, of a file that the process need not be allowed to read.

    None where there is nothing to copy: the process finds out by itself, and says so.
    """
    try:
        content = Path(path).read_bytes()
        descriptor = os.memfd_create("vc5-credential", os.MFD_CLOEXEC)
        held.callback(os.close, descriptor)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
    except OSError:
        return None
    return descriptor


def _stamp(path: str) -> tuple[int, ...]:
    """Return what changes with a file; empty without one."""
    try:
        state = os.stat(path)
    except OSError:
        return ()
    return state.st_ino, state.st_mtime_ns, state.st_size


class Supervised:
    """Keeps one process as `follow` last said it should be."""

    def __init__(self, name: str, module: str, tell: Tell, answers: dict[str, Handler] | None = None) -> None:
        """`tell` hears of troubles, that with the process itself being called `name`; `answers` has what it may ask."""
        self.name, self._module = name, module
        self._tell = tell
        self._channel = Channel(answers or {}, {"status": self._heard})
        self._wanted: Wanted | None = None
        self._stamps: list[tuple[int, ...]] = []
        self._changed = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._troubles: dict[str, str] = {}
        self._parts: set[str] = set()
        """Those whose troubles the process tells; the others are the daemon's own."""
        self.child: Child | None = None
        self.restarts = 0
        self.status: dict[str, Any] = {}
        """What the process said last, by part."""
        self.idle = "it has nothing to do"
        """What to say to who asks a process that there need not be."""

    def follow(self, settings: Wanted, unusable: Callable[[], str] = str) -> None:
        """Have the process do what `settings` say, with certificates as they are now; end it with nothing to do.

        Where nothing but certificates has changed, `unusable` may say what is wrong with them: then the process goes on
        with those that it has.
        """
        stamps = [_stamp(path) for path in settings.credentials]
        replaced = settings == self._wanted and stamps != self._stamps and self.child is not None
        why = unusable() if replaced else ""
        self.trouble(f"{self.name} credentials", f"{why}; what was there before stays in use" if why else "")
        if why:
            return
        if settings != self._wanted or stamps != self._stamps:
            self._wanted, self._stamps = settings, stamps
            self._changed.set()
            if self._supervisor is None and settings.anything:
                self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """End the process; it saves how far it has got. `follow` starts it again."""
        self._wanted, self._stamps = None, []
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait({self._supervisor})
            self._supervisor = None

    async def ask(self, what: str, patience: float = 10.0, **more: Any) -> dict[str, Any]:
        """Return the process's answer; raises ControlError."""
        if self.child is None and self._supervisor is not None:
            raise ControlError(f"the {self.name} process is being started again; try again in a moment")
        if self.child is None:
            raise ControlError(self.idle)
        return await self._channel.ask(what, patience, **more)

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        pause, most = BACK_OFF
        while True:
            settings = self._wanted
            self._changed.clear()
            if settings is None or not settings.anything:
                self._forget()
                await self._changed.wait()
                continue
            began = loop.time()
            try:
                how = await self._live(settings)
            except (Vc5Error, OSError, KeyError) as error:
                how = f"cannot be started: {error}"
            self.status = {}
            if self._changed.is_set():
                continue
            self.trouble(self.name, f"the {self.name} process {how}; it is started again")
            self.restarts += 1
            if loop.time() - began > PROVEN:
                pause = BACK_OFF[0]
            await asyncio.sleep(pause)
            pause = min(most, 2 * pause)

    async def _live(self, settings: Wanted) -> str:
        """Have one process live until it ends or the settings change; return how it ended."""
        with ExitStack() as held:
            handed = {path: _opened(path, self.name, held) for path in settings.directories}
            handed |= {path: copy for path in settings.credentials if (copy := _copied(path, held)) is not None}
            self.child = child = Child(
                self.name,
                lambda descriptor: command(self.name, self._module, descriptor),
                (*handed.values(), *settings.sockets),
            )
        places = {path: HANDED.format(descriptor) for path, descriptor in handed.items()}
        await self._channel.open(child.connection)
        talking = asyncio.create_task(self._channel.run())
        changed = asyncio.create_task(self._changed.wait())
        try:
            self._channel.tell("settings", **settings.message(places))
            await asyncio.wait({talking, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (talking, changed):
                task.cancel()
            self.child = None
            how = await asyncio.shield(child.end(FAREWELL))
        return how

    def _heard(self, message: dict[str, Any]) -> None:
        self.status = {name: value for name, value in message.items() if name != "tell"}
        self.trouble(self.name, "")
        for name in self._parts - self.status.keys():
            self.trouble(name, "")  # nobody is to do that any more
        self._parts = set(self.status)
        for name, part in self.status.items():
            self.trouble(name, str(part.get("trouble", "")))

    def _forget(self) -> None:
        """Nothing is to be done, so nothing of it can be wrong."""
        for name in (self.name, *self._parts):
            self.trouble(name, "")
        self._parts = set()

    def trouble(self, name: str, words: str) -> None:
        """Hear what is wrong with something, as often as somebody looks: told when it begins, and when it is over."""
        before = self._troubles.get(name, "")
        if words and not before:
            self._tell(name, words, "began")
        elif before and not words:
            self._tell(name, before, "over")
        if words:
            self._troubles[name] = words
        else:
            self._troubles.pop(name, None)

    def troubles(self) -> list[str]:
        """Return what is wrong, for a status."""
        return [self._troubles[name] for name in sorted(self._troubles)]
