"""What the daemon has its telemetry process do, from the configuration in force, and what is written down regularly.

The web process, which shows what others ask for, stands beside it (showing.py).

Level-triggered: every second the settings are made anew, and the process follows where they have changed.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from appliance import __version__
from appliance.control.measuring import counted, sums
from appliance.control.showing import Showing
from appliance.control.telemetry import TelemetryClient, begin_alerts, own_place
from appliance.errors import HostError
from appliance.model import EventKind, Service, ServiceKey
from appliance.telemetry.documents import Observer
from appliance.telemetry.messages import Settings
from appliance.telemetry.routing import every_minute

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

MINUTE = 60.0
MEGABYTE = 10**6
TURN = 20
"""Services whose traffic is read in one turn of the event loop."""
COUNTERS = ("packets", "octets", "flows", "drops")


class Telling:
    """The daemon's mouth: the telemetry process, and what is written down for it regularly."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.client = TelemetryClient(self._trouble)
        self.showing = Showing(daemon)
        self._described: tuple[Observer, str] | None = None
        self._minute = 0.0
        self._carried: dict[ServiceKey, tuple[int, ...]] = {}
        """What each service had carried when that was last written down."""
        self._lost = 0
        daemon.measuring.sources.append(self.numbers)

    def settings(self) -> Settings:
        """Return what the process should do."""
        config, root = self._daemon.instance.state.config, self._daemon.root
        hostname = socket.gethostname()
        return Settings(
            log=str(root.log),
            place=str(root.state / "telemetry"),
            observer=Observer(hostname, config.host_id or hostname, __version__),
            logging=config.logging,
        )

    def numbers(self) -> dict[str, Any]:
        """Return what is counted of the log and of those who are told, by the names of telemetry/metrics.py."""
        counts, status = self._daemon.recorder.counts, self.client.status
        shipper: dict[str, Any] = status.get("shipper", {})
        told: dict[str, Any] = {
            "spool_bytes": self._daemon.recorder.size,
            "spool_dropped_total": counts.dropped + int(shipper.get("lost", 0)),
        }
        if "requests" in shipper:
            told["ship_lag_seconds"] = shipper["lag"]
            told["ship_retries_total"] = shipper["failures"]
            told["dead_letter_documents_total"] = shipper["dead"]
            told["shipped_documents_total"] = shipper["shipped"]
        outlets: dict[str, Any] = status.get("alerts", {}).get("outlets", {})
        if outlets:
            told["alerts_sent_total"] = {name: one["sent"] for name, one in outlets.items()}
            told["alerts_failed_total"] = {name: one["failed"] for name, one in outlets.items()}
        return told

    def describe(self, settings: Settings) -> None:
        """Have documents say who writes them, and be kept as long as they should be."""
        search = settings.elasticsearch
        described = settings.observer, search.namespace if search else "default"
        if described != self._described:
            self._described = described
            self._daemon.recorder.describe(*described)
        logging = settings.logging
        self._daemon.recorder.bound(space=logging.space * MEGABYTE, keep=logging.keep)
        self._try("alerts-place", lambda: begin_alerts(self._daemon.root, wanted=settings.alerts))

    def look(self, now: float) -> None:
        """Every second, in monotonic seconds: follow the configuration, write down what is due."""
        self.showing.look(now)
        settings = self.settings()
        self.describe(settings)
        starting = settings.anything and self.client.child is None
        if not starting or self._try("telemetry-place", lambda: own_place(self._daemon.root)):
            self.client.follow(settings)
        self._count_losses()
        if now >= self._minute:
            first, self._minute = not self._minute, now + MINUTE
            self._daemon.go_on(self._write_traffic(first=first))

    async def stop(self) -> None:
        """End both processes."""
        await asyncio.gather(self.client.stop(), self.showing.stop())

    def troubles(self) -> list[str]:
        """Return what is wrong with both, for a status."""
        return [*self.client.troubles(), *self.showing.client.troubles()]

    def _try(self, name: str, work: Callable[[], object]) -> bool:
        """Return whether something succeeds; its trouble lasts until it does."""
        try:
            work()
        except HostError as error:
            self.client.trouble(name, str(error))
            return False
        self.client.trouble(name, "")
        return True

    def _count_losses(self) -> None:
        """Raise an alarm for documents that Elasticsearch will never have."""
        shipper = self.client.status.get("shipper", {})
        lost = int(shipper.get("lost", 0)) + int(shipper.get("dead", 0))
        if lost > self._lost:
            told = f"{lost - self._lost} documents will not be in Elasticsearch"
            parts = {name: shipper[name] for name in ("lost", "dead") if shipper.get(name)}
            why = "removed from the log before they could be sent"
            if shipper.get("dead"):
                why = f"refused for what they are; see {self.settings().place}/dead-letters.ndjson"
            self._daemon.record(EventKind.ALARM, f"{told}: {why}", outcome="lost", details=parts)
        self._lost = lost

    def _trouble(self, name: str, words: str, outcome: str) -> None:
        text = words if outcome == "began" else f"over: {words}"
        self._daemon.record(EventKind.ALARM, f"{name}: {text}", outcome=outcome, details={"reason": name})

    async def _write_traffic(self, *, first: bool) -> None:
        """Write down what each service has carried since the last time, and how it stands; and so with each router."""
        daemon = self._daemon
        for number, service in enumerate(list(daemon.instance.state.services())):
            if number % TURN == TURN - 1:
                await asyncio.sleep(0)
            self._write_traffic_of(service, first=first)
        for event in () if first else every_minute(daemon.routing.status(), time.time()):
            daemon.recorder.write_down(
                event.kind, event.message, peer=event.peer, outcome=event.outcome, details=event.details
            )
        keys = {service.key for service in daemon.instance.state.services()}
        self._carried = {key: counts for key, counts in self._carried.items() if key in keys}

    def _write_traffic_of(self, service: Service, *, first: bool) -> None:
        instance = self._daemon.instance
        plan = instance.current
        outcome = plan.services.get(service.key) if plan else None
        counts = counted(instance, service.key)
        if outcome is None or not counts:
            return
        carried = sums(counts)
        before = self._carried.get(service.key)
        self._carried[service.key] = carried
        if first or before is None:
            return
        # Never less: rows of backends that left stay, unless a program that knew nothing of them came in between.
        traffic = {name: max(0, now - then) for name, now, then in zip(COUNTERS, carried, before, strict=True)}
        backends = {"up": outcome.available, "total": len(service.backends)}
        state = "up" if outcome.up else "down"
        text = f"{state}, {outcome.available} of {len(service.backends)} backends, {traffic['packets']} packets"
        details = {"traffic": traffic, "backends": backends}
        self._daemon.recorder.write_down(EventKind.TRAFFIC, text, service=service.key, outcome=state, details=details)
