"""What the daemon has its web process do, from the configuration in force, and what it answers to it.

The sockets are the daemon's: it may use any port, and the process that speaks to anybody need not. Level-triggered:
every second the settings are made anew, and the process follows where they have changed.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address
from time import thread_time
from typing import TYPE_CHECKING, Any

from appliance import __version__, config
from appliance.child.channel import Handler, Text
from appliance.control import dropping, standing
from appliance.control.measuring import counted, sums
from appliance.control.offline import shape_digest
from appliance.control.socket import Peer, Request
from appliance.control.supervised import Supervised
from appliance.errors import HostError
from appliance.model import EventKind, Service
from appliance.model_address import Endpoint
from appliance.model_console import Console
from appliance.net.listener import listener
from appliance.web.messages import Settings

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon
    from appliance.control.fleet_face import Face

USUAL = (Endpoint(IPv4Address("127.0.0.1"), 9090),)
"""Where the console is offered unless `webserver` says otherwise (the help of that setting names it)."""
AGAIN = 10.0
"""Seconds after which an address that could not be had is tried again."""
TURN = 0.005
"""Seconds of processor time after which others have their turn."""
OURSELVES = Request("", {}, Peer(0, 0, 0))


class Showing:
    """The daemon's face: the web process and what it may ask."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        answers: dict[str, Handler] = {
            "metrics": self._metrics,
            "status": self._status,
            "numbers": self._numbers,
            "config": self._config,
            "prefixes": self._prefixes,
            "drops": self._drops,
            "ready": self._ready,
        }
        self.client = Supervised("web", "appliance.web.process", self._trouble, answers)
        self._sockets: dict[Endpoint, socket.socket] = {}
        self._next_try: dict[Endpoint, float] = {}
        self._refused: Counter[str] = Counter()
        """What was refused by processes that are gone."""
        self._refused_now: dict[str, int] = {}
        self.fleet: Face | None = None
        """What the fleet shows of itself; None: there is none."""
        daemon.measuring.sources.append(self.numbers)

    def look(self, now: float) -> None:
        """Every second, in monotonic seconds: follow the configuration."""
        instance = self._daemon.instance
        found = instance.state.config
        self.numbers()
        self._listen(USUAL if found.webserver is None else found.webserver, now)
        if self._sockets or self.client.child is not None:
            hostname = socket.gethostname()
            names = dict.fromkeys((hostname, hostname.partition(".")[0], found.host_id or hostname))
            listening = tuple(one.fileno() for one in self._sockets.values())
            log = str(self._daemon.root.log)
            settings = Settings(log, __version__, listening, tuple(names), found.console)
            self.client.follow(settings, lambda: unusable(found.console))

    async def stop(self) -> None:
        """End the process, and listen no more."""
        await self.client.stop()
        self._listen((), 0.0)

    def _listen(self, wanted: tuple[Endpoint, ...], now: float) -> None:
        for where in [one for one in (*self._sockets, *self._next_try) if one not in wanted]:
            self._next_try.pop(where, None)
            self.client.trouble(f"webserver {where}", "")
            if where in self._sockets:
                self._sockets.pop(where).close()
        for where in wanted:
            if where in self._sockets or now < self._next_try.get(where, now):
                continue
            try:
                self._sockets[where] = listener(where)
                self._next_try.pop(where, None)
                self.client.trouble(f"webserver {where}", "")
            except HostError as error:
                self._next_try[where] = now + AGAIN
                self.client.trouble(f"webserver {where}", str(error))

    def _trouble(self, name: str, words: str, outcome: str) -> None:
        text = words if outcome == "began" else f"over: {words}"
        self._daemon.record(EventKind.ALARM, f"{name}: {text}", outcome=outcome, details={"reason": name})

    def numbers(self) -> dict[str, Any]:
        """Return what is counted of those who look, by the names of telemetry/metrics.py."""
        status: dict[str, Any] = self.client.status.get("web", {})
        if "connections" not in status:
            return {}
        refused: dict[str, int] = status["refused"]
        if any(refused.get(reason, 0) < count for reason, count in self._refused_now.items()):
            self._refused.update(self._refused_now)  # another process, which begins to count at zero
        self._refused_now = refused
        return {
            "web_connections": status["connections"],
            "web_streams": status["streams"],
            "web_refused_total": dict(self._refused + Counter(refused)),
        }

    # ---- what may be asked

    async def _metrics(self, _: dict[str, Any]) -> Text:
        return Text((await self._daemon.measuring.snapshot()).pieces)

    async def _status(self, _: dict[str, Any]) -> Text:
        self._daemon.measuring.timing.look(time.monotonic())
        return Text((await standing.status(self._daemon)).pieces)

    async def _numbers(self, _: dict[str, Any]) -> Text:
        """Return counters of all services, in as many turns of the loop as it takes."""
        plan = self._daemon.instance.current
        if plan is None:
            raise HostError("the daemon is still starting")
        known = [self._daemon.recorder.events, id(plan), self._daemon.generation]
        pieces = [f'{{"at":{time.monotonic():.6f},"known":{json.dumps(known)},"services":[']
        began = thread_time()
        for told in self._counted():
            pieces += [json.dumps(told, separators=(",", ":")), ","]
            if thread_time() - began > TURN:
                await asyncio.sleep(0)
                began = thread_time()
        return Text([*(pieces[:-1] if len(pieces) > 1 else pieces), "]}"])

    def _counted(self) -> Iterator[list[Any]]:
        for service in list(self._daemon.instance.state.services()):
            yield self._of(service)

    def _of(self, service: Service) -> list[Any]:
        instance, key = self._daemon.instance, service.key
        counts = counted(instance, key)
        tables = instance.data.tables
        entry = tables.entry(key) if tables else None
        numbers = tables.numbers(key) if tables else {}
        active = instance.active_flows(key)
        backends = []
        for backend in service.backends:
            number = numbers.get(backend.address)
            carried = counts[number - entry.destinations] if entry and number is not None and counts else (0, 0, 0, 0)
            backends.append([str(backend.address), *carried, active.get(backend.address)])
        return [str(key), list(sums(counts)), sum(active.values()) if active else None, backends]

    async def _config(self, _: dict[str, Any]) -> Text:
        daemon, found = self._daemon, self._daemon.instance.state.config

        def expanded() -> str:
            body = config.expand(config.Loaded(found), shape_digest(found))
            return json.dumps({**body, "warnings": list(daemon.warnings)})

        return Text([await asyncio.to_thread(expanded)])

    async def _prefixes(self, _: dict[str, Any]) -> dict[str, Any]:
        request = Request("prefixes", {"all": True}, OURSELVES.peer)
        return {"result": await self._daemon.blocking.prefixes(request)}

    async def _drops(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"result": await dropping.handler(self._daemon)(Request("drops", {}, OURSELVES.peer))}

    async def _ready(self, _: dict[str, Any]) -> dict[str, Any]:
        if self._daemon.instance.current is None:
            raise HostError("the daemon is still starting")
        awaits = standing.waiting(self._daemon)
        why = f"waiting for {', '.join(awaits)}" if awaits else ""
        return {"result": {"ready": not awaits, "why": why}}


def unusable(console: Console) -> str:
    """Return why the certificate and key of the console cannot be used; empty where they can."""
    import ssl  # which is large, and only wanted when a certificate is replaced

    try:
        # Without a password for the key, somebody would be asked for it.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(console.certificate, console.key, password=bytes)
    except OSError as error:
        return f"{console.certificate}, {console.key}: the console's new certificate cannot be used: {error}"
    return ""
