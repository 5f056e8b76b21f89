"""A spool and the real telemetry process that ships it, for tests: what goes in, and what has arrived."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from appliance import paths
from appliance.control.telemetry import TelemetryClient, own_place
from appliance.model import CheckKind, Event, EventKind, Outcome, ProbeResult, ServiceKey
from appliance.model_logging import Elasticsearch as Settings
from appliance.model_logging import Logging
from appliance.telemetry import cursor, record
from appliance.telemetry.cursor import Cursor
from appliance.telemetry.documents import Observer
from appliance.telemetry.messages import Settings as TelemetrySettings
from appliance.telemetry.spool import Spool
from appliance.telemetry.templates import resources
from tests.lab.elasticsearch import Elasticsearch
from tests.lab.namespace import LabError
from tests.lab.patience import SLOWNESS

SERVICE = ServiceKey.parse("203.0.113.10:443/tcp")
OBSERVER = Observer("lb1.example.com", "balancer-1", "0.1.0")


def prepare(server: Elasticsearch) -> None:
    """Install what the product installs, where there is no lifecycle."""
    for resource in resources(lifecycle=False):
        server.asked("PUT", resource.path, resource.body)


def ids(log: Path) -> list[str]:
    """Return the ids of all records of a spool."""
    found, place = [], Cursor()
    while piece := cursor.next_piece(log, place):
        names = [record.name_of(one.splitlines(keepends=True)[-1]) for one in record.records(piece.data)]
        found += [name.id for name in names if name]
        place = piece.end
    return found


def probe(number: int) -> ProbeResult:
    """Return a probe."""
    address = SERVICE.vip + 1 + number % 40
    return ProbeResult(
        SERVICE, address, 0, Outcome.OK, "HTTP 200", time.time(), 1, http_status=200, kind=CheckKind.HTTP
    )


class Shipping:
    """One spool with its process. `url` is where the process believes Elasticsearch to be."""

    def __init__(self, directory: Path, server: Elasticsearch, namespace: str, url: str | None = None) -> None:
        directory.chmod(0o700)
        self.root = paths.root(str(directory))
        self.root.log.mkdir(parents=True)
        self._server, self._namespace = server, namespace
        self.spool = Spool(self.root.log, observer=OBSERVER)
        self.spool.describe(OBSERVER, namespace)
        own_place(self.root)
        self.written = 0
        self.told: list[tuple[str, str, str]] = []
        self.client = TelemetryClient(lambda *words: self.told.append(words))
        self.settings = TelemetrySettings(
            str(self.root.log),
            str(self.root.state / "telemetry"),
            OBSERVER,
            Logging(elasticsearch=Settings(addresses=(url or server.url,), namespace=namespace)),
        )
        prepare(server)

    @property
    def streams(self) -> str:
        return f"logs-vc5.*-{self._namespace}"

    def write(self, count: int) -> None:
        """Bring probes into the spool, and one event for every hundred of them."""
        for number in range(count):
            if number % 100 == 99:
                self.spool.append(Event(time.time(), EventKind.BACKEND, "up -> down: timeout", SERVICE, outcome="down"))
            else:
                self.spool.append_probe(probe(number))
        self.written += count
        assert self.spool.flush()

    def write_one_that_does_not_fit(self) -> None:
        """Bring a probe into the spool whose `http` is a word, where the mapping has fields below it."""
        self.spool._sequence += 1
        line = self.spool._documents.probe(probe(0), self.spool._sequence)
        self.spool._append(time.time(), line.replace(b'"http":{"response":{"status_code":200}}', b'"http":"a word"'))
        self.written += 1
        assert self.spool.flush()

    def said(self, name: str) -> int:
        """Return a count of the shipper, 0 before it said anything."""
        return int(self.client.status.get("shipper", {}).get(name, 0))

    @property
    def trouble(self) -> str:
        return str(self.client.status.get("shipper", {}).get("trouble", ""))

    async def until(self, what: str, look: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds * SLOWNESS
        while not look():
            if time.monotonic() > end:
                raise LabError(f"waited {seconds:g} s in vain for {what}; the process said {self.client.status}")
            await asyncio.sleep(0.02)

    async def delivered(self) -> None:
        """Wait until everything in the spool has been dealt with."""
        await self.until("everything to arrive", lambda: self.said("sequence") == self.written, 90)

    def arrived(self) -> list[int]:
        """Return the sequence numbers of all documents that Elasticsearch has, in order."""
        self._server.refresh()
        return sorted(int(name.rpartition("-")[2]) for name in self._server.ids(self.streams))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have the process run."""
        self.client.follow(self.settings)
        try:
            yield
        finally:
            await self.client.stop()
            self.spool.close()
