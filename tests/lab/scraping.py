"""A Prometheus from Debian that scrapes what vc5 says, and the server that says it.

daemon (control socket)  <-ask-  Serving (the shipped endpoint, in a thread)  <-HTTP-  Prometheus
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from appliance.cli.client import call
from appliance.model_console import Console
from appliance.paths import Root
from appliance.telemetry.exposition import exposition
from appliance.telemetry.readings import merged
from appliance.web.answers import Answers, Ask
from appliance.web.gate import Bounds
from appliance.web.history import History
from appliance.web.live import Live, Pace
from appliance.web.pages import Page
from appliance.web.server import BOUNDS, WebServer
from tests.lab.backend import REPOSITORY
from tests.lab.namespace import LabError, Namespace
from tests.lab.patience import wait_for
from tests.lab.standing import Standing

RULES = REPOSITORY / "packaging/prometheus/vc5.rules.yaml"
EXAMPLE = REPOSITORY / "packaging/prometheus/example.yaml"
PORT = 9091
"""Of Prometheus itself; the usual one is the endpoint's."""


def families(text: str, *, openmetrics: bool = False) -> list[Family]:
    """Read an exposition by Prometheus's own library; raises ValueError where it is none."""
    read = openmetrics_families if openmetrics else text_families
    return list(read(text))  # type: ignore[no-untyped-call]


def asking(root: Root, numbers: Mapping[str, Any] | None = None) -> Ask:
    """Return what asks the daemon of a root by its control socket; `numbers` are what others are to have counted."""

    async def ask() -> dict[str, Any]:
        return merged(await asyncio.to_thread(call, root, "metrics"), numbers or {})

    return ask


class Serving(Standing):
    """The endpoint on a socket that listens, in a thread with a loop of its own."""

    def __init__(
        self,
        ask: Ask,
        listening: socket.socket,
        bounds: Bounds = BOUNDS,
        patience: float = 9.0,
        *,
        console: Console | None = None,
        more: Mapping[str, Ask] | None = None,
        pace: Pace | None = None,
        pages: Mapping[str, Page] | None = None,
    ) -> None:
        """`ask` has the numbers for metrics, `more` the daemon's other answers by name."""
        self._answers = Answers({"metrics": ask, **(more or {})}, exposition, patience)
        self._listening, self._bounds, self._console = listening, bounds, console
        self._more, self._pace, self._pages = more or {}, pace, pages or {}
        self.address: tuple[Any, ...] = listening.getsockname()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.history = History()
        self.live: Live
        self.server: WebServer

    @property
    def scrapes(self) -> int:
        """How often metrics were asked for."""
        return self._answers.counts.get("/metrics", 0)

    def stand(self) -> None:
        """Serve."""
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async def nothing() -> dict[str, Any]:
            raise AssertionError("nobody looks at a console")

        ask = [self._more.get(name, nothing) for name in ("status", "numbers")]
        self.live = Live("test", ask[0], ask[1], self.history, self._pace)
        self.server = WebServer(
            self._answers, self._pages, self.history, self.live, self._console, names=("x",), bounds=self._bounds
        )
        try:
            await self.server.start([self._listening])
        finally:
            self._ready.set()
        await self._over.wait()
        await self.server.close()

    def do(self, what: Callable[[], None]) -> None:
        """Have something done in the server's loop."""
        self._loop.call_soon_threadsafe(what)

    def close(self) -> None:
        """Serve no more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join()
        self._listening.close()


def configuration(target: str) -> str:
    """Return the example configuration with another target, the rules of this tree, and little time in between."""
    text = EXAMPLE.read_text("utf-8")
    for pattern, value in (
        (r'targets: \[".*"\]', f'targets: ["{target}"]'),
        (r"scrape_interval: \S+", "scrape_interval: 500ms"),
        (r"/usr/share/vc5-appliance/prometheus/vc5.rules.yaml", str(RULES)),
    ):
        text, count = re.subn(pattern, value, text)
        assert count == 1, f"{EXAMPLE} has no {pattern}"
    return f"global: {{evaluation_interval: 500ms}}\n{text}"


class Prometheus(Standing):
    """A Prometheus in a namespace."""

    def __init__(self, namespace: Namespace, directory: Path, target: str) -> None:
        self._namespace = namespace
        self._directory = directory
        self._configuration = directory / "prometheus.yml"
        self._configuration.write_text(configuration(target))
        self._process: subprocess.Popen[str] | None = None

    def stand(self) -> None:
        """Start, and wait until it answers."""
        with (self._directory / "errors").open("w") as errors:
            self._process = self._namespace.spawn(
                "prometheus",
                f"--config.file={self._configuration}",
                f"--storage.tsdb.path={self._directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{PORT}",
                "--log.level=warn",
                stdout=errors,
                stderr=errors,
            )
        wait_for("Prometheus to be ready", self._ready, 30.0)

    def _ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise LabError(f"Prometheus ended\n{(self._directory / 'errors').read_text()}")
        try:
            return self._get("-/ready")[0] == 200
        except OSError:
            return False

    def _get(self, path: str) -> tuple[int, bytes]:
        def fetch() -> tuple[int, bytes]:
            with closing(HTTPConnection("127.0.0.1", PORT, timeout=10)) as connection:
                connection.request("GET", f"/{path}")
                answer = connection.getresponse()
                return answer.status, answer.read()

        return self._namespace.call(fetch)

    def ask(self, path: str, **query: str) -> Any:
        """Return the data that the API has at a path. Raises LabError where the question makes no sense to it."""
        status, body = self._get(f"api/v1/{path}?{urllib.parse.urlencode(query)}")
        if status != 200:
            raise LabError(f"{path} {query}: {status}, {body.decode()}")
        return json.loads(body)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the answer to an expression."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
