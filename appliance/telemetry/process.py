"""The telemetry process: all that leaves this machine but packets, probes and routes.

Started by the daemon (control/telemetry.py), with a socket pair and the two directories it needs: no capability, no
privilege, no secret in its arguments. It reads the spool, which the daemon writes, and nothing waits for it. When the
daemon closes the socket it saves how far it has got, and ends; when it is killed, the next one goes on from what was
saved.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.child.worker import Worker, main
from appliance.errors import ControlError, HostError
from appliance.telemetry.messages import Settings, decode_settings
from appliance.telemetry.parts import Alerting, Part, Shipping

SECOND = 1.0
AGAIN = 10.0
"""Seconds after which a part that cannot work is tried again: somebody may be doing something about it."""


class Telemetry(Worker[Settings]):
    """What runs in the process, as the daemon asked for it."""

    FAREWELL = 3.0

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection, decode_settings, {"alert": self._alert})
        self._parts: dict[str, Part] = {}
        self._broken: dict[str, str] = {}

    async def work(self, settings: Settings) -> None:
        """Ship and alert, as far as it is configured."""
        made: dict[str, Callable[[], Part]] = {}
        if settings.elasticsearch is not None:
            made["shipper"] = lambda: Shipping(settings)
        if settings.alerts:
            made["alerts"] = lambda: Alerting(settings)
        async with asyncio.TaskGroup() as tasks:
            for name, make in made.items():
                tasks.create_task(self._keep(name, make))
            tasks.create_task(self._report(Path(settings.log)))

    async def _keep(self, name: str, make: Callable[[], Part]) -> None:
        """Have a part work; one that cannot begin is tried again."""
        while True:
            try:
                part = self._parts[name] = make()
                self._broken.pop(name, None)
                await part.run()
            except (HostError, OSError) as error:
                self._parts.pop(name, None)
                self._broken[name] = str(error)
                await asyncio.sleep(AGAIN)

    async def _report(self, log: Path) -> None:
        """Tell the daemon each second how things are."""
        while os.stat(log).st_nlink:
            self.channel.tell("status", **self.status())
            await asyncio.sleep(SECOND)
        raise HostError("the directory of the log was removed")

    def status(self) -> dict[str, Any]:
        """Return what there is to say of everything that runs here."""
        parts = {name: part.status() for name, part in self._parts.items()}
        return {**parts, **{name: {"trouble": words} for name, words in self._broken.items()}}

    async def _alert(self, question: dict[str, Any]) -> dict[str, Any]:
        if not (await self.settings).alerts:
            raise ControlError("no outlet is configured: set slack, teams or syslog")
        part = self._parts.get("alerts")
        while not (isinstance(part, Alerting) and part.ready):
            if "alerts" in self._broken:
                raise ControlError(self._broken["alerts"])
            await asyncio.sleep(0.05)
            part = self._parts.get("alerts")
        return await part.answer(question)


if __name__ == "__main__":
    sys.exit(main("vc5-telemetry", Telemetry))
