"""What can go wrong between a client and an HTTP server: a proxy on loopback that does it when it is told to.

with Interference(elasticsearch.port) as between:
    between.url
    between.mode = Mode.HANG        from now on, for requests that come and those that are under way
    between.mode = Mode.ANSWER_429
    between.mode = Mode.PASS
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from enum import Enum
from typing import Final

from tests.lab.namespace import Namespace
from tests.lab.standing import Standing

PIECE: Final = 1 << 16
DRIP: Final = 0.05
"""Seconds between two bytes of a slow answer."""
REFUSAL: Final = b'{"error":{"type":"security_exception","reason":"said by the laboratory"},"status":%d}'


class Mode(Enum):
    """What is done to each request."""

    PASS = "pass"
    REFUSE = "refuse"
    """The connection is reset at once."""
    HANG = "hang"
    """The request is read, and there is no answer."""
    CUT = "cut"
    """The server does what it is asked for, and half of its answer arrives."""
    CUT_REQUEST = "cut-request"
    """Half of the request arrives."""
    SLOW = "slow"
    """Requests and answers take a second longer."""
    GARBAGE = "garbage"
    """Something else answers: a page in HTML."""
    ANSWER_401 = 401
    ANSWER_403 = 403
    ANSWER_429 = 429
    ANSWER_503 = 503


class Interference(Standing):
    """One proxy; `seen` counts the requests in each mode."""

    def __init__(self, port: int, namespace: Namespace | None = None) -> None:
        """Prepare a proxy to a `port` here; it listens on the loopback of `namespace` if that is given."""
        self._port = port
        self._socket = namespace.call(socket.socket) if namespace else socket.socket()
        self._ends = False
        self.mode = Mode.PASS
        self.seen: Counter[Mode] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def stand(self) -> None:
        """Listen."""
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(64)
        threading.Thread(target=self._accept, name="interference", daemon=True).start()

    def close(self) -> None:
        """Listen no more; connections end with the next request."""
        self._ends = True
        self._socket.close()

    def _accept(self) -> None:
        while not self._ends:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), name="interference", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket() as server:
            try:
                client.settimeout(60)
                if self.mode is Mode.REFUSE:
                    _reset(client)
                    return
                connected = False
                while not self._ends and (request := _message(client)):
                    mode = self.mode
                    self.seen[mode] += 1
                    if mode in (Mode.PASS, Mode.CUT, Mode.CUT_REQUEST, Mode.SLOW) and not connected:
                        server.connect(("127.0.0.1", self._port))
                        server.settimeout(60)
                        connected = True
                    if not self._treat(mode, request, client, server):
                        return
            except OSError:
                return

    def _treat(self, mode: Mode, request: bytes, client: socket.socket, server: socket.socket) -> bool:
        """Do what the mode says; return whether the connection goes on."""
        if mode is Mode.REFUSE:
            _reset(client)
            return False
        if mode is Mode.HANG:
            while self.mode is Mode.HANG and not self._ends:
                time.sleep(0.05)
            return False
        if mode is Mode.GARBAGE:
            client.sendall(_answer(200, b"<html>Please log in</html>", "text/html", product=False))
            return True
        if isinstance(mode.value, int):
            client.sendall(_answer(mode.value, REFUSAL % mode.value, "application/json"))
            return True
        if mode is Mode.CUT_REQUEST:
            server.sendall(request[: len(request) // 2])
            return False
        if mode is Mode.SLOW:
            time.sleep(1.0)
        server.sendall(request)
        answer = _message(server)
        if mode is Mode.CUT:
            client.sendall(answer[: max(1, len(answer) - 20)])
            return False
        client.sendall(answer)
        return bool(answer)


def _reset(connection: socket.socket) -> None:
    """Have the connection reset instead of ended."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def _message(connection: socket.socket) -> bytes:
    """Return one HTTP message with the length that it says; empty at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(PIECE)
        if not more:
            return b""
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and not head.startswith(b"HEAD"):
            length = int(value)
    while len(rest) < length:
        more = connection.recv(PIECE)
        if not more:
            return b""
        rest += more
    return head + b"\r\n\r\n" + rest


def _answer(status: int, body: bytes, kind: str, *, product: bool = True) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"content-type: {kind}", f"content-length: {len(body)}"]
    if product:
        lines.append("X-Elastic-Product: Elasticsearch")
    return "\r\n".join([*lines, "", ""]).encode() + body
