"""From one program to the next in the same process: execve(2) keeps the process id and the descriptors that we name.

What is left is written into a file in memory, whose number is all that the environment carries. Until the new program
has said that it works, the service manager holds what is `kept` as well (FDSTORE of sd_notify(3)): should it die at
its start, the next one finds that under LISTEN_FDS (sd_listen_fds(3)). What is to outlive a program that is killed, it
holds all the time (descriptors.py).

Signals are blocked over the exec: between two programs nobody would hear them, and their default is to end the process.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from appliance import __version__
from appliance.control import ledger
from appliance.control.heritage import Bequest, Heritage, decode, encode
from appliance.control.notify import Notifier
from appliance.errors import HostError

VARIABLE = "VC5_HANDOVER"
DOCUMENT = "handover"
"""The name of the file in memory, where the service manager holds it."""
LEDGER = "ledger"
"""The name of the file in memory that tells of what the service manager holds all the time."""
FIRST = 3
"""SD_LISTEN_FDS_START."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
LIMIT = 64 << 20
"""Bytes of state that are read, at most."""

Giver = Callable[[], Bequest | None]


@dataclass
class Estate:
    """What this program would leave. Each owner of something gives it when it comes to that, or nothing."""

    givers: dict[str, Giver] = field(default_factory=dict)

    def offer(self, name: str, giver: Giver) -> None:
        """Have something left under a name; `giver` is asked just before the exec, and must not fail."""
        self.givers[name] = giver

    def withdraw(self, name: str) -> None:
        """Leave it no more."""
        self.givers.pop(name, None)

    def gather(self) -> tuple[Bequest, ...]:
        """Ask everybody."""
        return tuple(one for one in (give() for give in self.givers.values()) if one is not None)


class Inheritance:
    """What this program found at its start. Descriptors are closed on exec again, whoever takes them."""

    def __init__(self, heritage: Heritage, stored: Sequence[str] = ()) -> None:
        self.program = heritage.program
        """The version that left it; empty where there is nothing."""
        self.notes = list(heritage.notes)
        self._there = {one.name: one for one in heritage.bequests}
        self.kept: set[str] = set(stored)
        """Names that the service manager may hold, to be forgotten once all is well."""
        for one in heritage.bequests:
            if one.descriptor is None:
                continue
            try:
                os.set_inheritable(one.descriptor, False)
            except OSError:
                self.notes.append(f"{one.name}: was left, but is not open")
                del self._there[one.name]

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that was left and that nobody has taken yet."""
        return tuple(self._there)

    def take(self, name: str) -> Bequest | None:
        """Return what was left under a name, once; None where nothing was. The descriptor is the caller's to close."""
        return self._there.pop(name, None)

    def descriptor(self, name: str) -> int | None:
        """Return the descriptor alone that was left under a name, as `take` does."""
        one = self.take(name)
        return one.descriptor if one is not None else None

    def close(self) -> list[str]:
        """Close what nobody asked for; returns notes on all that went amiss."""
        for name, one in self._there.items():
            if one.descriptor is not None:
                os.close(one.descriptor)
            self.notes.append(f"{name}: was left by version {self.program or '?'}, and means nothing to this one")
        self._there.clear()
        return self.notes


def receive(environment: MutableMapping[str, str]) -> Inheritance:
    """Take over what the former program left, if there was one; the environment tells of it no more."""
    number = environment.pop(VARIABLE, "")
    given = _listening(environment)
    if number.isascii() and number.isdigit():
        for descriptor in given.values():
            os.close(descriptor)
        found = decode(_content(int(number)))
        return Inheritance(found, [DOCUMENT, *(one.name for one in found.bequests)])
    if not given:
        return Inheritance(Heritage(""))
    document = given.pop(DOCUMENT, None)
    if document is not None:
        told = decode(_content(document))
    else:
        told = ledger.read(given[LEDGER]) if LEDGER in given else Heritage("")
    states = {LEDGER: None, **{one.name: one.state for one in told.bequests}}
    bequests = tuple(
        Bequest(name, descriptor, states.get(name)) for name, descriptor in given.items() if name in states
    )
    for name, descriptor in given.items():
        if name not in states:
            os.close(descriptor)
    return Inheritance(Heritage(told.program, bequests, told.notes), [DOCUMENT, *given])


def _listening(environment: MutableMapping[str, str]) -> dict[str, int]:
    """The descriptors that a service manager passes, by name; of equal names the last one counts."""
    process, count, names = (environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if process != str(os.getpid()) or not count.isdigit():
        return {}
    numbers = range(FIRST, FIRST + int(count))
    found: dict[str, int] = {}
    for number, name in zip(numbers, [*names.split(":"), *[""] * len(numbers)], strict=False):
        try:
            os.set_inheritable(number, False)
        except OSError:
            continue
        if name in found:
            os.close(found[name])
        found[name] = number
    return found


def _content(descriptor: int) -> bytes:
    try:
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            return file.read(LIMIT)
    except OSError as error:
        return f"{error}".encode()


def command() -> list[str]:
    """The command line that this process was started with."""
    return [sys.executable, *sys.orig_argv[1:]]


def execute(bequests: Sequence[Bequest], notifier: Notifier) -> NoReturn:
    """Become the program that is installed now. Raises HostError, with everything as it was, where that fails."""
    document = os.memfd_create("vc5-handover", 0)
    opened = [one.descriptor for one in bequests if one.descriptor is not None]
    try:
        with os.fdopen(os.dup(document), "wb") as file:
            file.write(encode(Heritage(__version__, tuple(bequests))))
        for one in bequests:
            if one.kept and one.descriptor is not None:
                notifier.store(one.name, one.descriptor)
        notifier.store(DOCUMENT, document)
        for descriptor in opened:
            os.set_inheritable(descriptor, True)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            os.execve(sys.executable, command(), {**os.environ, VARIABLE: str(document)})
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    except OSError as error:
        for descriptor in opened:
            os.set_inheritable(descriptor, False)
        for name in (DOCUMENT, *(one.name for one in bequests if one.kept)):
            notifier.forget(name)
        os.close(document)
        raise HostError(f"{sys.executable}: cannot be executed: {error.strerror}") from error


def unblock() -> None:
    """Hear the signals that came since the former program went: handlers are in place."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
