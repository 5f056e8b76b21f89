"""The telemetry process: all that leaves this machine but packets, probes and routes.

Started by the daemon (child.py), with a socket pair and nothing else: no capability, no privilege, no secret in its
arguments. It reads the spool, which the daemon writes, and nothing waits for it. When the daemon closes the socket it
saves how far it has got, and ends; when it is killed, the next one goes on from what was saved.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from appliance.errors import HostError, ShipError
from appliance.telemetry.channel import Channel
from appliance.telemetry.messages import Settings, decode_settings
from appliance.telemetry.shipper import Shipper

SECOND = 1.0
FAREWELL = 3.0
"""Seconds to end what is under way, once the daemon is gone."""

log = logging.getLogger("vc5-telemetry")


class Telemetry:
    """What runs in the process, as the daemon asked for it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._settings: asyncio.Future[Settings] = asyncio.get_running_loop().create_future()
        self.channel = Channel({}, {"settings": self._heard})
        self._shipper: Shipper | None = None

    def _heard(self, message: dict[str, Any]) -> None:
        if not self._settings.done():
            self._settings.set_result(decode_settings(message))

    async def run(self) -> None:
        """Do what the daemon asks for until it hangs up."""
        await self.channel.open(self._connection)
        talking = asyncio.create_task(self.channel.run())
        working = asyncio.create_task(self._work())
        done, _ = await asyncio.wait({talking, working}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        await asyncio.wait({working}, timeout=FAREWELL)
        for task in done:
            task.result()

    async def _work(self) -> None:
        settings = await self._settings
        async with asyncio.TaskGroup() as tasks:
            if settings.elasticsearch is not None:
                tasks.create_task(self._ship(settings))
            tasks.create_task(self._report())

    async def _ship(self, settings: Settings) -> None:
        # Imported where it is needed: the client takes 20 MB.
        from appliance.telemetry.elastic import Elastic

        assert settings.elasticsearch is not None
        while True:
            try:
                async with Elastic(settings.elasticsearch) as server:
                    self._shipper = Shipper(Path(settings.log), Path(settings.place), server)
                    await self._shipper.run()
            except ShipError as error:
                # Files of certificates that cannot be used: somebody may be putting them there.
                self._trouble = str(error)
                await asyncio.sleep(10)

    _trouble = ""

    async def _report(self) -> None:
        """Tell the daemon each second how things are."""
        log = Path((await self._settings).log)
        while log.stat().st_nlink:
            self.channel.tell("status", **self.status())
            await asyncio.sleep(SECOND)
        raise HostError("the directory of the log was removed")

    def status(self) -> dict[str, Any]:
        """Return what there is to say of everything that runs here."""
        if self._shipper is None:
            return {"shipper": {"trouble": self._trouble}} if self._trouble else {}
        shipper = self._shipper
        return {"shipper": asdict(shipper.counts) | {"trouble": shipper.trouble, "sequence": shipper.place.sequence}}


def main() -> int:
    """Run with the descriptor of the socket; returns the exit status."""
    parser = argparse.ArgumentParser(prog="vc5-telemetry")
    parser.add_argument("--fd", type=int, required=True)
    descriptor = parser.parse_args().fd
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)

    async def run() -> None:
        connection = socket.socket(fileno=descriptor)
        connection.setblocking(False)
        await Telemetry(connection).run()

    asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
