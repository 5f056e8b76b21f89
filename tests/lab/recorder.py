"""A server that notes what it is asked and answers as it was told: for what a real one cannot be made to show.

    with Recorder(answers) as recorder:
        recorder.url                       http://127.0.0.1:41234
        recorder.asked                     every Request, in order

`answers` is a function of the request, or a table of "METHOD /path" (without the query) to Reply.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.lab.standing import Standing

ELASTIC = {"X-Elastic-Product": "Elasticsearch"}
"""Without it, clients take it for something else."""


@dataclass(frozen=True)
class Request:
    """What was asked; `headers` by their names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What is answered: `body` is bytes, or JSON-ready. A `cut` one ends before its last byte."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


Answers = Callable[[Request], Reply] | Mapping[str, Reply]


class Recorder(Standing):
    """The server, on a free port of loopback; with a TLS context it speaks HTTPS."""

    def __init__(self, answers: Answers, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Request] = []
        self._answers = answers
        self._scheme = "https" if tls else "http"
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, body)
                recorder.asked.append(request)
                reply = recorder.reply(request)
                data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                sent = {"Content-Type": "application/json", "Content-Length": str(len(data)), **reply.headers}
                for name, value in sent.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data[:-1] if reply.cut else data)
                self.close_connection = self.close_connection or reply.cut

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815 - the names are http.server's

            def log_message(self, form: str, *words: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that goes away, or does not trust us, is part of the test."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="recorder", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def reply(self, request: Request) -> Reply:
        if callable(self._answers):
            return self._answers(request)
        known = f"{request.method} {request.path.partition('?')[0]}"
        return self._answers.get(known, Reply(404, {"error": f"nothing is known of {known}"}, ELASTIC))

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
