"""What the telemetry process can be asked to do, each with a status: ship, tell people.

Each imports what it needs when it is made: who ships to nobody does without 20 MB of clients.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from appliance.errors import HostError, ShipError
from appliance.telemetry.feed import Feed
from appliance.telemetry.messages import Settings
from appliance.telemetry.shipper import Shipper

if TYPE_CHECKING:
    from appliance.telemetry.alerts.alerter import Alerter

STEP = 0.25
"""Seconds between two steps of the alerts."""
SAVE = 1.0
"""Seconds between two savings of how far the alerts have got."""


class Part(Protocol):
    """One thing to do."""

    async def run(self) -> None:
        """Do it for ever; ends by cancellation. Raises HostError or OSError where it cannot be done."""

    def status(self) -> dict[str, Any]:
        """Return what there is to say of it: `trouble`, and counts."""


class Shipping:
    """Sends everything to Elasticsearch."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shipper: Shipper | None = None

    async def run(self) -> None:
        """Ship."""
        from appliance.telemetry.elastic import Elastic

        assert self._settings.elasticsearch is not None
        try:
            async with Elastic(self._settings.elasticsearch, files=self._settings.files) as server:
                self._shipper = Shipper(Path(self._settings.log), Path(self._settings.place), server)
                await self._shipper.run()
        except ShipError as error:
            # Files of certificates that cannot be used; all else the shipper lives with.
            raise HostError(str(error)) from error

    def status(self) -> dict[str, Any]:
        """Return counts, trouble and place of the shipper."""
        if self._shipper is None:
            return {"trouble": ""}
        told = {"trouble": self._shipper.trouble, "sequence": self._shipper.place.sequence}
        return asdict(self._shipper.counts) | told | {"lag": self._shipper.lag(time.time())}


class Alerting:
    """Tells people what happens."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._feed = Feed(Path(settings.log), Path(settings.place) / "alerts.json")
        self._alerter: Alerter | None = None

    async def run(self) -> None:
        """Follow the events."""
        from appliance.telemetry.alerts.alerter import Alerter

        since, cursors = await asyncio.to_thread(self._feed.begin)
        seen = self._settings.observer
        alerter = self._alerter = Alerter(
            self._settings.logging, name=seen.name, hostname=seen.hostname, since=since, cursors=cursors
        )
        following = asyncio.create_task(self._feed.follow(alerter.take, alerter.skip))
        saved = 0.0
        try:
            while not following.done():
                now = time.monotonic()
                alerter.step(now)
                if now >= saved + SAVE:
                    saved = now
                    await asyncio.to_thread(self._feed.save, alerter.told, alerter.cursors)
                await asyncio.sleep(STEP)
            following.result()
        finally:
            following.cancel()
            await alerter.close()
            self._feed.save(alerter.told, alerter.cursors)

    def status(self) -> dict[str, Any]:
        """Return what became of the messages, by outlet."""
        if self._alerter is None:
            return {"trouble": ""}
        counts = {name: asdict(one) for name, one in self._alerter.counts.items()}
        return {"trouble": "; ".join(self._alerter.trouble()) or self._feed.trouble, "outlets": counts}

    @property
    def ready(self) -> bool:
        """Whether it has begun."""
        return self._alerter is not None

    async def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Answer `vc5 alert`, once this is ready."""
        assert self._alerter is not None
        return await self._alerter.answer(question)
