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
    """Where documents go: into the data streams of `namespace`, by any of the servers at `addresses` (URLs).

    The log is sent where there is an address. `api_key` is `ID:KEY` or its base64 form. `ca`, `certificate` and `key`
    are paths of PEM files.
    """

    index: str = ""
    """A word of the dialect; what it named are data streams now."""
    addresses: tuple[str, ...] = ()
    username: str = ""
    password: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    ca: str = ""
    certificate: str = ""
    key: str = ""
    namespace: str = "default"


@dataclass(frozen=True)
class Logging:
    """The outlets of the log. The webhooks' URLs are secrets: who knows one can write there."""

    alert: int = 0
    """The least grave severity that the webhooks get, 0 (emergency) to 7 (debug) as in syslog (RFC 5424, 6.2.1)."""
    teams: str = field(default="", repr=False)
    slack: str = field(default="", repr=False)
    syslog: tuple[str, ...] = ()
    """Where syslog messages go: `local` for the host's own, or URLs (`udp://`, `tcp://`, `tls://`, host and port)."""
    elasticsearch: Elasticsearch | None = None
    keep: float = 30 * 86400.0
    """Seconds after which the log store forgets."""
    space: int = 500
    """Megabytes (10**6 bytes) that the log store takes at most."""
