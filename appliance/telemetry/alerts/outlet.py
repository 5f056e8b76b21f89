"""What all who are told have in common: what they count, and what a test of one says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from appliance.telemetry.alerts.answers import FIRST_DELAY
from appliance.telemetry.alerts.grouping import PAUSE, WAIT
from appliance.telemetry.alerts.notice import Notice


@dataclass
class Counts:
    """What became of the messages of one outlet."""

    sent: int = 0
    """Messages that arrived, as far as the outlet can tell."""
    failed: int = 0
    """Attempts that came to nothing; most are made again."""
    given_up: int = 0
    """Messages that the other end refused for good."""
    dropped: int = 0
    """Events that nobody was told of: those of messages given up, and those that waited too long in a full queue."""


@dataclass(frozen=True)
class Pace:
    """How messages follow each other, in seconds."""

    wait: float = WAIT
    """How long the first event waits for company. Webhooks only, as is the next."""
    pause: float = PAUSE
    """How long a message has to itself."""
    limit: float = 10.0
    """How long one attempt may take."""
    back_off: float = FIRST_DELAY
    """What the first failed attempt is followed by; see answers.py."""


PACE = Pace()


@dataclass(frozen=True)
class Result:
    """What came of a test message. `outlet` is slack, teams, or a syslog server's URL."""

    outlet: str
    ok: bool
    reason: str
    """Why it failed; of one that was sent, what is known of it."""
    seconds: float

    @property
    def as_json(self) -> dict[str, Any]:
        return {"outlet": self.outlet, "ok": self.ok, "reason": self.reason, "seconds": round(self.seconds, 3)}


class Outlet(Protocol):
    """Someone who is told. `now` is monotonic seconds; nothing here waits, but for what is a coroutine."""

    name: str
    kind: str
    """As `vc5 alert test --outlet` names it: slack, teams or syslog."""
    counts: Counts

    def take(self, told: Notice) -> None:
        """An event that is to be told."""

    def step(self, now: float) -> None:
        """Do what is due. To be called a few times a second, within the event loop."""

    @property
    def untold(self) -> int | None:
        """The lowest sequence number that is not told yet; None where all are."""

    def trouble(self) -> str:
        """What is wrong with it; empty if nothing is."""

    async def test(self, told: Notice) -> Result:
        """Send a test message now."""

    async def close(self) -> None:
        """End what is under way."""
