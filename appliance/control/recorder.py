"""Writing down what happens: probes and events into the log store, what operators care about also to the journal."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from appliance.control.changes import Changes
from appliance.control.plan import Plan
from appliance.control.trouble import Alarm
from appliance.errors import ConfigError
from appliance.model import Event, EventKind, ProbeResult, ServiceKey
from appliance.telemetry import journald
from appliance.telemetry.documents import Observer
from appliance.telemetry.spool import Spool, SpoolCounts

log = logging.getLogger("vc5")


class Recorder:
    """The daemon's memory of its own doings. Disk work happens in a thread; nothing waits for it."""

    def __init__(self, directory: Path) -> None:
        self._spool = Spool(directory)
        self._flushing: asyncio.Task[bool] | None = None
        self._changes = Changes()
        self.services_since: dict[ServiceKey, float] = {}
        """Since when services are as they are, those that changed; wall-clock seconds."""
        self.events = 0
        """How many events there were."""

    def event(self, kind: EventKind, message: str, **more: Any) -> None:
        """Take down an event; `more` are fields of Event."""
        event = Event(at=time.time(), kind=kind, message=message, **more)
        self._spool.append(event)
        self.events += 1
        level = logging.WARNING if kind is EventKind.ALARM else logging.INFO
        place = " ".join(str(more[name]) for name in ("service", "backend", "peer") if more.get(name))
        log.log(level, "%s%s", f"{place} " if place else "", message, extra={"event": event})

    def write_down(self, kind: EventKind, message: str, **more: Any) -> None:
        """Take down an event that nobody needs to read as it happens."""
        self._spool.append(Event(at=time.time(), kind=kind, message=message, **more))

    def describe(self, observer: Observer, namespace: str) -> None:
        """Say who writes, from now on."""
        self._spool.describe(observer, namespace)

    def bound(self, *, space: int, keep: float) -> None:
        """Say how much is kept, in bytes, and for how long, in seconds."""
        self._spool.bound(space=space, keep=keep)

    @property
    def counts(self) -> SpoolCounts:
        """What the spool did since it was opened."""
        return self._spool.counts

    def alarms(self, found: Iterable[Alarm]) -> None:
        """Take down what began or ended of what the host lacks."""
        for alarm in found:
            self.event(EventKind.ALARM, alarm.message, outcome=alarm.outcome, details=alarm.details)

    def services(self, before: Plan, after: Plan) -> None:
        """Take down which services, VIPs and interfaces went up or down from one plan to the next."""
        for change in self._changes.look(before, after):
            if change.kind is EventKind.SERVICE and (service := change.fields.get("service")) is not None:
                self.services_since[service] = time.time()
            self.event(change.kind, change.message, **change.fields)

    def probe(self, result: ProbeResult) -> None:
        """Take down a probe."""
        self._spool.append_probe(result)
        if self._spool.enough:
            self.flush_soon()

    def flush_soon(self) -> None:
        """Bring what was taken down to the disk, unless that is under way."""
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.ensure_future(asyncio.to_thread(self._spool.flush))

    def trouble(self) -> str:
        """What is wrong with the store; empty when all is well."""
        counts = self._spool.counts
        lost = f"{counts.dropped} events lost so far; " if counts.dropped else ""
        return f"log store: {lost}{self._spool.trouble}" if self._spool.trouble or lost else ""

    @property
    def size(self) -> int:
        """Bytes that the log store takes on disk."""
        return self._spool.size

    def write(self) -> None:
        """Bring what was taken down to the disk now."""
        self._spool.flush()

    def close(self) -> None:
        """Write the rest."""
        self._spool.close()


def headline(error: BaseException) -> str:
    """One line of an error, for a log and a status line."""
    if isinstance(error, ConfigError) and error.issues:
        more = f" (and {len(error.issues) - 1} more)" if len(error.issues) > 1 else ""
        return f"{error.issues[0]}{more}"
    return str(error).partition("\n")[0] or type(error).__name__


def log_to_stderr() -> None:
    """Send log lines to the journal if that is where standard error leads, else there.

    For a service manager that reads it, with the severity in front (sd-daemon(3)).
    """
    if journald.listens(os.environ):
        logging.basicConfig(handlers=[journald.JournalHandler()], format="%(message)s", level=logging.INFO)
        return
    prefix = "<%(priority)d>" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(format=f"{prefix}%(message)s", level=logging.INFO)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_priority)


def _priority(entry: logging.LogRecord) -> bool:
    entry.priority = journald.priority(entry)
    return True
