"""A real Elasticsearch, one node on loopback, with data of its own.

    with Elasticsearch() as elasticsearch:      returns when it answers, after 5 to 8 s
        elasticsearch.url                       http://127.0.0.1:20480
        elasticsearch.request("PUT", "/_index_template/x", {...})
        elasticsearch.refresh()                 what was stored can now be found
        elasticsearch.count("logs-vc5.probe-*")
        elasticsearch.search("logs-vc5.event-*", {"query": ...})
        elasticsearch.stop(); elasticsearch.start()     same URL, same data
        elasticsearch.kill()                            kill -9; start() again repairs

Tests use the fixture of the same name (tests/telemetry/conftest.py), one node for all of a worker's tests.

    python3 -m tests.lab.elasticsearch          fetches what it runs from, where that is not there yet

The jars are fetched once with Maven, into build/elasticsearch. That is the server alone: it has data streams, but no
lifecycle policies, no security, no scripts, `GET` and `DELETE _data_stream` are missing, and so are the field types
constant_keyword, wildcard, match_only_text, version, histogram and unsigned_long.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.lab.backend import REPOSITORY
from tests.lab.namespace import LabError, Namespace, run
from tests.lab.patience import wait_for
from tests.lab.standing import Standing

SOURCES: Final = Path(__file__).with_suffix("")
PLACE: Final = REPOSITORY / "build" / "elasticsearch"
VERSION: Final = "8.6.2"
PORTS: Final = range(20000, 30000)
"""Below the ports that the kernel gives out by itself: while the node is down nobody else gets its port, and a client
that goes on knocking never meets itself there."""

START: Final = 60.0
"""Seconds within which it must answer."""
# A small heap, and little effort for what runs but seconds.
JAVA: Final = ("java", "-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
DESCRIPTION: Final = (
    "description=HTTP and transport",
    f"version={VERSION}",
    "name=transport-netty4",
    "classname=org.elasticsearch.transport.netty4.Netty4Plugin",
    "java.version=17",
    f"elasticsearch.version={VERSION}",
    "has.native.controller=false",
)

T = TypeVar("T")


def ready(say: Callable[[str], None] = lambda line: None) -> Path:
    """Return the directory of what a node runs from, `app`, `classes`, `modules`; it is made where it is missing.

    Whoever comes meanwhile waits. Raises LabError where that cannot be done.
    """
    for tool, package in (("java", "default-jdk-headless"), ("javac", "default-jdk-headless"), ("mvn", "maven")):
        if not shutil.which(tool):
            raise LabError(f"there is no {tool} for the real Elasticsearch: apt-get install {package}")
    sources = b"\0".join(file.read_bytes() for file in (SOURCES / "pom.xml", SOURCES / "LabNode.java"))
    digest = hashlib.sha256(sources + repr(DESCRIPTION).encode()).hexdigest()[:16]
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = PLACE / digest
        if not made.exists():
            say(f"fetching Elasticsearch {VERSION} (33 MB) into {PLACE.relative_to(REPOSITORY)}")
            for old in PLACE.iterdir():
                if old.is_dir():
                    shutil.rmtree(old)
            _build(PLACE / "unfinished")
            shutil.rmtree(PLACE / "repository")
            (PLACE / "unfinished").rename(made)
    return made


def _build(directory: Path) -> None:
    """Fetch the jars, put those of HTTP where modules lie, compile our class."""
    app, classes, module = directory / "app", directory / "classes", directory / "modules" / "transport-netty4"
    for each in (app, classes, module):
        each.mkdir(parents=True)
    run(
        *("mvn", "-q", "-B", f"-Dmaven.repo.local={PLACE / 'repository'}", "-f", str(SOURCES / "pom.xml")),
        *("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={app}"),
        timeout=900,
    )
    for pattern in ("netty-*.jar", "transport-netty4-*.jar"):
        for jar in app.glob(pattern):
            jar.rename(module / jar.name)
    (module / "plugin-descriptor.properties").write_text("\n".join(DESCRIPTION) + "\n", encoding="ascii")
    run("javac", "-cp", f"{app}/*", "-d", str(classes), str(SOURCES / "LabNode.java"), timeout=120)


def _free_port() -> int:
    """Return a port of PORTS that nobody listens on; processes that ask at once begin at different ones."""
    for step in range(len(PORTS)):
        port = PORTS[(os.getpid() * 16 + step) % len(PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise LabError(f"no port from {PORTS.start} to {PORTS.stop} is free")


class Elasticsearch(Standing):
    """One node; `url` stays the same over stops and starts."""

    def __init__(self, *settings: str, namespace: Namespace | None = None) -> None:
        """Prepare a node with `NAME=VALUE` settings, on the loopback of `namespace` if that is given."""
        self._settings = settings
        self._namespace = namespace
        self._home = Path(tempfile.mkdtemp(prefix="vc5-elasticsearch-"))
        self._console = self._home / "console"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = self._inside(_free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _inside(self, function: Callable[[], T]) -> T:
        return self._namespace.call(function) if self._namespace else function()

    def stand(self) -> None:
        """Start it."""
        jars = ready()
        for name in ("config", "plugins", "data", "logs"):
            (self._home / name).mkdir()
        for name in ("app", "classes", "modules"):
            (self._home / name).symlink_to(jars / name)
        self.start()

    def start(self) -> None:
        """Start it with the data that it has, and return when it answers. Raises LabError with what it printed."""
        command = [
            *(*JAVA, f"-Djava.io.tmpdir={self._home}", "-cp", f"{self._home}/classes:{self._home}/app/*"),
            *("LabNode", str(self._home), str(self.port), *self._settings),
        ]
        if self._namespace:
            command = self._namespace.command(*command)
        with self._console.open("ab") as console:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=console, stderr=console, start_new_session=True
            )
        wait_for("Elasticsearch to answer", self._answers, START)

    def _answers(self) -> bool:
        assert self._process
        if self._process.poll() is not None:
            raise LabError(f"Elasticsearch ended at once with status {self._process.returncode}\n{self.said()}")
        try:
            status, body = self.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s")
        except (OSError, http.client.HTTPException):
            return False
        return status == 200 and not body["timed_out"]

    def said(self) -> str:
        """Return the end of what it printed."""
        return self._console.read_text(errors="replace")[-4000:] if self._console.exists() else ""

    def stop(self) -> None:
        """End it in good order; its data stays."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with kill -9; its data stays, as far as it was on disk."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdin
        self._process.stdin.close()
        self._process = None

    def close(self) -> None:
        """End it, and remove its data."""
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def request(self, method: str, path: str, body: Any = None, timeout: float = 30.0) -> tuple[int, Any]:
        """Return status and body of an answer, whatever the status is; `body` is JSON-ready, or ready bytes of NDJSON.

        A refused or broken connection raises OSError, or HTTPException.
        """
        ready_made = isinstance(body, bytes)
        sent = body if ready_made or body is None else json.dumps(body).encode()
        kind = "application/x-ndjson" if ready_made else "application/json"

        def ask() -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
            try:
                connection.request(method, path, sent, {"Content-Type": kind} if sent is not None else {})
                answer = connection.getresponse()
                return answer.status, answer.read()
            finally:
                connection.close()

        status, text = self._inside(ask)
        return status, json.loads(text) if text else None

    def asked(self, method: str, path: str, body: Any = None) -> Any:
        """Return the body of an answer that must be a good one. Raises LabError otherwise."""
        status, answer = self.request(method, path, body)
        if not 200 <= status < 300:
            raise LabError(f"Elasticsearch answers {method} {path} with {status}: {json.dumps(answer)[:2000]}")
        return answer

    def refresh(self) -> None:
        """Let what has been stored be found."""
        self.asked("POST", "/_refresh")

    def count(self, index: str) -> int:
        """Return how many documents there are in an index, data stream or pattern; 0 where it does not exist."""
        found: int = self.asked("GET", f"/{index}/_count?ignore_unavailable=true")["count"]
        return found

    def search(self, index: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a search."""
        answer: dict[str, Any] = self.asked("POST", f"/{index}/_search", body)
        return answer

    def ids(self, index: str) -> list[str]:
        """Return the ids of all documents, in order, for tests that hold what went in against what is there.

        Of any number, where the mapping has `event.id`, which is what documents are called by.
        """
        found: list[str] = []
        by_id = {"event.id": {"order": "asc", "unmapped_type": "keyword"}}
        body: dict[str, Any] = {"size": 10000, "_source": False, "sort": [by_id]}
        while hits := self.search(index, body)["hits"]["hits"]:
            found += [hit["_id"] for hit in hits]
            body["search_after"] = hits[-1]["sort"]
        return found

    def wipe(self) -> None:
        """Forget everything, which takes a stop and a start: nothing in it can remove a data stream.

        A namespace of their own (`logs-vc5.probe-NAMESPACE`) keeps tests apart as well, and costs nothing.
        """
        self.kill()
        shutil.rmtree(self._home / "data")
        self.start()


def main() -> int:
    """Fetch what a node runs from; what tests/setup.sh calls."""
    try:
        ready(lambda line: print(f"setup: {line}", file=sys.stderr))
    except LabError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
