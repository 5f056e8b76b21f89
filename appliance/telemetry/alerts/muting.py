"""What is not told while the daemon learns how things are. Pure.

After a start every backend, service and VIP changes from unknown to something, which is no news. The daemon says in its
log when it begins to learn (`daemon-started`, with the seconds that takes at most) and when it knows (`daemon-learned`,
which names all that is down), so what is muted follows from the log alone and is the same for one who reads it again.

If the daemon dies before it knows, the latest that was heard of each thing that went down is told when time is over.
"""

from __future__ import annotations

from appliance.model import EventKind
from appliance.telemetry.alerts.notice import Notice

MUTED = frozenset({EventKind.VIP, EventKind.SERVICE, EventKind.BACKEND})
STARTED, LEARNED = "started", "learned"
MARGIN = 5.0
"""Seconds more than the daemon said it takes, before it is not waited for any longer."""
LONGEST = 86400.0
"""What `learn` may be at most, seconds."""
KEPT = 1000
"""Things that are remembered while muted; of more, the first to be heard of are."""


class Muting:
    """Between the log and those who are told. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._from = 0
        self._until = self._wall_until = 0.0
        self._seconds = 0.0
        self._on = self._timed = False
        self._kept: dict[tuple[str, str, str], Notice] = {}
        self.muted = 0
        """Notices that nobody was told of, so far; what they came to was told at the end."""

    @property
    def on(self) -> bool:
        """Whether the daemon learns."""
        return self._on

    @property
    def since(self) -> int | None:
        """The sequence number with which it began; None if it does not learn."""
        return self._from if self._on else None

    def take(self, heard: Notice) -> list[Notice]:
        """Return what is to be told now that this was heard."""
        if heard.kind is EventKind.DAEMON and heard.outcome in (STARTED, LEARNED):
            kept = self._end()
            if heard.outcome == STARTED:
                self._begin(heard)
            # The daemon names, or soon will name, all that is down; unless another program goes on in its place.
            return [heard] if self._on or heard.outcome == LEARNED else [*kept, heard]
        over = self._end() if self._on and heard.at > self._wall_until > 0 else []
        if self._on and heard.kind in MUTED:
            self.muted += 1
            if heard.key in self._kept or len(self._kept) < KEPT:
                self._kept[heard.key] = heard
            return []
        return [*over, heard]

    def _begin(self, heard: Notice) -> None:
        seconds = heard.details.get("learn_s")
        if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds <= LONGEST:
            self._on, self._timed, self._from = True, False, heard.sequence
            self._seconds = seconds + MARGIN
            self._wall_until = heard.at + self._seconds if heard.at else 0.0

    def step(self, now: float) -> list[Notice]:
        """Return what is to be told because the daemon does not say any more that it has learned."""
        if not self._on:
            return []
        if not self._timed:
            self._timed, self._until = True, now + self._seconds
        return self._end() if now >= self._until else []

    def _end(self) -> list[Notice]:
        down = [heard for heard in self._kept.values() if not heard.good]
        self._on = False
        self._kept.clear()
        return down
