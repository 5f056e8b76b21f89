"""Long downloads through the VIP, of which one knows who serves them while they run."""

from __future__ import annotations

from collections import Counter

from tests.lab.requests import RequestRecord
from tests.lab.stage import Stage
from tests.lab.traffic import Requests

COUNT = 24
"""Enough that each of three backends has some, but for one run in ten thousand."""
LIMIT = 40.0


class Downloads:
    """A number of downloads of the big file, slowed down so that they last; a context manager."""

    def __init__(self, stage: Stage, rate: str) -> None:
        """Begin them; `rate` is nginx's, bytes a second for each."""
        self._stage = stage
        self._requests = stage.stack.enter_context(
            Requests(stage.lab.client, path=f"/big?rate={rate}", count=COUNT, together=COUNT, rate=200, timeout=LIMIT)
        )
        self.served: dict[int, str] = {}
        """The backend of each download, by its number."""

    def begun(self) -> list[RequestRecord]:
        """Wait until each has begun to arrive, and return them all."""

        def look() -> list[RequestRecord] | None:
            running = list(self._requests.status().requests)
            return running if len(running) == COUNT and all(r.backend or r.failure for r in running) else None

        running = self._stage.story.wait(look, 10, "downloads begin", 0.1) or []
        self.served = {request.number: request.backend for request in running if not request.done}
        seen = ", ".join(f"{name} {count}" for name, count in sorted(Counter(self.served.values()).items()))
        self._stage.story.check(len(self.served) == COUNT, f"{COUNT} downloads are running", seen or "none")
        return running

    def finish(self, expected: str, *names: str, lost: str = "") -> None:
        """Wait for the end of all and check that those of these backends are whole; those of `lost` cannot be."""
        stage = self._stage
        with stage.story.busy("downloads are running"):
            report = self._requests.finish()
        self._requests.close()
        mine = [request for request in report.requests if self.served.get(request.number, "") in names]
        broken = [request for request in report.failed if self.served.get(request.number, "") != lost]
        stage.figures.requests += len(report.done)
        stage.figures.broken += len(broken)
        stage.figures.lost_downloads += len(report.failed) - len(broken)
        whole = [request for request in mine if not request.failure]
        seen = f"{len(whole)} of {len(mine)}, SHA-256 right"
        if broken:
            seen += f"; {broken[0].backend}: {broken[0].failure}"
        stage.story.check(bool(whole) and len(whole) == len(mine) and not broken, expected, seen)
