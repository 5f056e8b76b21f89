"""A traffic tool as a process: started in a namespace, told things, asked for events (see tests.lab.dialogue)."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import TracebackType
from typing import IO, Any, Self

from tests.lab.backend import REPOSITORY
from tests.lab.namespace import LabError, Namespace

Event = dict[str, Any]


class Tool:
    """One traffic process. Waiting for an event has a limit; after that, or when the tool ends, LabError is raised."""

    def __init__(self, namespace: Namespace, module: str, *arguments: str) -> None:
        self._name = module
        self._events: queue.Queue[Event | None] = queue.Queue()
        self._errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in close()
        self._process = namespace.spawn(
            *(sys.executable, "-S", "-m", f"tests.lab.{module}", *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            directory=REPOSITORY,
        )
        self._reader = threading.Thread(target=self._read, name=f"reader of {module}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._events.put(json.loads(line))
        self._events.put(None)

    def expect(self, name: str, seconds: float) -> Event:
        """Return the next event of this name; passes over others."""
        while True:
            try:
                event = self._events.get(timeout=seconds)
            except queue.Empty:
                raise LabError(f"{self._name}: no {name!r} within {seconds:g} s\n{self.errors()}") from None
            if event is None:
                self._events.put(None)
                raise LabError(f"{self._name} ended ({self._process.wait()}) before {name!r}\n{self.errors()}")
            if event["event"] == name:
                return event

    def tell(self, command: str) -> None:
        """Send one command line. Does nothing where the tool has already ended."""
        assert self._process.stdin
        try:
            self._process.stdin.write(f"{command}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # what it said before tells more: expect() will report it

    def errors(self) -> str:
        """Return what the tool wrote to standard error so far."""
        self._errors.seek(0)
        return self._errors.read()

    def close(self) -> None:
        """End the process and give everything back; fine to call twice."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # a command that it never read
        self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def options_of(
    vip: IPv4Address | IPv6Address | str, port: int, sources: Iterable[IPv4Address | IPv6Address], **options: object
) -> list[str]:
    host = f"[{vip}]" if ip_address(str(vip)).version == 6 else str(vip)
    words = ["--target", f"{host}:{port}", "--sources", ",".join(map(str, sources))]
    for name, value in options.items():
        words += [f"--{name}", str(value)]
    return words
