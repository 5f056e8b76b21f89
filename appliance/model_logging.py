"""Who is told of what happens. Frozen, and free of IO; secrets are kept out of every representation."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Priority(StrEnum):
    """How much it matters that a service goes down: the severity of its VIP's alerts, that of its gravest service."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True)
class Elasticsearch:
    """Where documents go. `index` is empty where nothing is to be sent; `addresses` are URLs."""

    index: str = ""
    addresses: tuple[str, ...] = ()
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Logging:
    """The outlets of the log. The webhooks' URLs are secrets: who knows one can write there."""

    alert: int = 0
    """The least grave severity that the webhooks get, 0 (emergency) to 7 (debug) as in syslog (RFC 5424, 6.2.1)."""
    teams: str = field(default="", repr=False)
    slack: str = field(default="", repr=False)
    syslog: bool = False
    elasticsearch: Elasticsearch | None = None
