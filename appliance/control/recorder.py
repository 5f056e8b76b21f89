"""Writing down what happens: probes and events into the log store, what operators care about also to the journal."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from appliance.control.plan import Plan
from appliance.control.trouble import Alarm
from appliance.errors import ConfigError
from appliance.model import Event, EventKind, ProbeResult
from appliance.telemetry.journal import Journal

log = logging.getLogger("vc5")


class Recorder:
    """The daemon's memory of its own doings. Disk work happens in a thread; nothing waits for it."""

    def __init__(self, directory: Path) -> None:
        self._journal = Journal(directory)
        self._flushing: asyncio.Task[bool] | None = None

    def event(self, kind: EventKind, message: str, **more: Any) -> None:
        """Take down an event; `more` are fields of Event."""
        self._journal.append(Event(at=time.time(), kind=kind, message=message, **more))
        level = logging.WARNING if kind is EventKind.ALARM else logging.INFO
        place = " ".join(str(more[name]) for name in ("service", "backend") if more.get(name))
        log.log(level, "%s%s", f"{place} " if place else "", message)

    def alarms(self, found: Iterable[Alarm]) -> None:
        """Take down what began or ended of what the host lacks."""
        for alarm in found:
            self.event(EventKind.ALARM, alarm.message, outcome=alarm.outcome, details=alarm.details)

    def services(self, before: Plan, after: Plan) -> None:
        """Take down which services went up or down from one plan to the next."""
        for key in after.looks:
            then, now = before.services.get(key), after.services[key]
            if then is not None and then.up != now.up:
                self.event(EventKind.SERVICE, f"service {'up' if now.up else 'down'}", service=key)

    def probe(self, result: ProbeResult) -> None:
        """Take down a probe."""
        details: dict[str, Any] = {"check": result.check, "total_ns": result.total_ns}
        for name in ("connect_ns", "tls_ns", "first_byte_ns", "http_status", "tls_version", "certificate_expires"):
            if value := getattr(result, name):
                details[name] = value
        self._journal.append(
            Event(
                at=result.at,
                kind=EventKind.PROBE,
                message=result.diagnostic,
                service=result.service,
                backend=result.backend,
                outcome=str(result.outcome),
                details=details,
            )
        )

    def flush_soon(self) -> None:
        """Bring what was taken down to the disk, unless that is under way."""
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.ensure_future(asyncio.to_thread(self._journal.flush))

    def trouble(self) -> str:
        """What is wrong with the store; empty when all is well."""
        counts = self._journal.counts
        lost = f"{counts.dropped} events lost so far; " if counts.dropped else ""
        return f"log store: {lost}{self._journal.trouble}" if self._journal.trouble or lost else ""

    def numbers(self) -> dict[str, float]:
        """What there is to measure of the store, by the names of telemetry/metrics.py."""
        return {"spool_dropped_total": self._journal.counts.dropped}

    def write(self) -> None:
        """Bring what was taken down to the disk now."""
        self._journal.flush()

    def close(self) -> None:
        """Write the rest."""
        self._journal.close()


def headline(error: BaseException) -> str:
    """One line of an error, for a log and a status line."""
    if isinstance(error, ConfigError) and error.issues:
        more = f" (and {len(error.issues) - 1} more)" if len(error.issues) > 1 else ""
        return f"{error.issues[0]}{more}"
    return str(error).partition("\n")[0] or type(error).__name__


def log_to_stderr() -> None:
    """Send log lines to standard error, for systemd with the severity in front (sd-daemon(3))."""
    prefix = "<%(priority)d>" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(format=f"{prefix}%(message)s", level=logging.INFO)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_priority)


def _priority(entry: logging.LogRecord) -> bool:
    entry.priority = 3 if entry.levelno >= logging.ERROR else 4 if entry.levelno >= logging.WARNING else 6
    return True
