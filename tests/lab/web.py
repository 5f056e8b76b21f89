"""Looks at the console of a daemon in a namespace, as browsers and scripts do."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Generator
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from tests.lab.namespace import Namespace


def process_of(daemon: int, module: str) -> int:
    """Return the id of a process that a daemon keeps, by its module; 0 for none."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            words = status.with_name("cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if lines.get("PPid") == str(daemon) and module.encode() in words:
            return int(lines["Pid"])
    return 0


def resident(process: int) -> int:
    """Return how much memory a process holds, in bytes (VmRSS of proc(5))."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ValueError(process)


class Looking:
    """One who looks at an address of a namespace; with a `context` by TLS."""

    def __init__(
        self, namespace: Namespace, host: str = "127.0.0.1", port: int = 9090, context: ssl.SSLContext | None = None
    ) -> None:
        self._namespace, self._place, self._context = namespace, (host, port), context

    def connect(self) -> socket.socket:
        """Return a connection. Raises OSError."""
        made = self._namespace.call(lambda: socket.create_connection(self._place, timeout=20))
        return made if self._context is None else self._context.wrap_socket(made, server_hostname=self._place[0])

    def _ask(self, path: str, method: str, headers: dict[str, str]) -> tuple[HTTPConnection, HTTPResponse]:
        connection = HTTPConnection(self._place[0], self._place[1], timeout=20)
        connection.sock = self.connect()
        connection.request(method, path, headers=headers)
        return connection, connection.getresponse()

    def fetch(self, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, HTTPResponse]:
        """Return status, body, and the whole answer. Raises OSError, HTTPException."""
        connection, answer = self._ask(path, method, headers)
        with closing(connection):
            return answer.status, answer.read(), answer

    def json(self, path: str, **headers: str) -> Any:
        """Return the body, read as JSON."""
        return json.loads(self.fetch(path, **headers)[1])

    def there(self, **headers: str) -> bool:
        """Return whether anything is answered."""
        try:
            return self.fetch("/healthz", **headers)[0] == 200
        except (OSError, HTTPException):
            return False

    def events(self, **headers: str) -> Generator[tuple[str, Any], None, None]:
        """Yield the events of a stream, until the other side ends it."""
        connection, answer = self._ask("/events", "GET", headers)
        with closing(connection):
            kind = ""
            while line := answer.readline().decode("ascii"):
                name, _, value = line.rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield kind, json.loads(value)
